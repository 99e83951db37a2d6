"""What the API is told of one pod: its status while it runs, and that nothing is left of it.

Knows requests; what is said is statuses'. A static pod is not the API's: its mirror there is told instead.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from netemu.api import core
from netemu.client import api, errors


class Teller:
    """`gate` bounds how many requests are under way at once."""

    def __init__(self, client: api.Client, gate: asyncio.Semaphore) -> None:
        self._client = client
        self._gate = gate

    async def status(
        self, pod: core.Pod, body: dict[str, Any], notes: dict[str, str] | None = None
    ) -> core.Pod | None:
        """Patch a pod's status, and annotations if there are any; the pod as the API has it then.

        None: it has another pod of that name, or none, as the informer will say. ApiError.
        """
        return await self._patch(pod, pod.metadata.uid, body, notes or {})

    async def _patch(
        self, pod: core.Pod, uid: str, body: dict[str, Any], notes: dict[str, str]
    ) -> core.Pod | None:
        about = pod.metadata
        told: dict[str, Any] = {"uid": uid, **({"annotations": notes} if notes else {})}
        try:
            async with self._gate:
                return await self._client.patch(
                    core.Pod,
                    about.name,
                    about.namespace,
                    body={"metadata": told, "status": body},
                    how="strategic",
                    subresource="status",
                )
        except (errors.NotFound, errors.Conflict):
            return None

    async def ended(self, pod: core.Pod) -> None:
        """Nothing of a deleted pod is left on the node: the API may forget it. ApiError."""
        about = pod.metadata
        try:
            async with self._gate:
                await self._client.delete(core.Pod, about.name, about.namespace, grace=0, uid=about.uid)
        except (errors.NotFound, errors.Conflict):
            return


class MirrorTeller(Teller):
    """`mirror`: the uid of the pod that stands for a static one in the API; "" as long as there is none."""

    mirror = ""

    async def status(
        self, pod: core.Pod, body: dict[str, Any], notes: dict[str, str] | None = None
    ) -> core.Pod | None:
        """Likewise; the answer is the static pod with the status that the API has now."""
        if not self.mirror:
            return None
        written = await self._patch(pod, self.mirror, body, notes or {})
        return msgspec.structs.replace(pod, status=written.status) if written is not None else None

    async def ended(self, pod: core.Pod) -> None:
        """Mirrors come and go with the files; what runs does not matter to them."""
