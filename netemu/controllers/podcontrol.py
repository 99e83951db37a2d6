"""The pods of an owner: which are its own, and the writes that adopt, release, make and delete them.

Knows ownerReferences and what is worth an event; how many pods and which is for the controllers to say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from netemu.api import core, meta, selectors
from netemu.base import errors
from netemu.client import api
from netemu.client import errors as api_errors
from netemu.controllers import ownership, views
from netemu.reconcile import recorders


class PodControl:
    """`pods` must be grouped by `views.by_controller`; `events` is the controller's recorder."""

    def __init__(self, client: api.Client, pods: views.View[core.Pod], events: recorders.Recorder) -> None:
        self._client = client
        self._pods = pods
        self._events = events

    def of(self, owner: meta.Object) -> list[core.Pod]:
        """Those it controls, without those whose deletion it has asked for."""
        pods = self._pods.group(owner.metadata.uid)
        return [pod for pod in pods if not self._pods.is_leaving(pod)]

    async def claim(self, owner: Any) -> list[core.Pod]:
        """Adopt matching orphans, release what no longer matches; then the pods of the owner."""
        orphans = self._pods.group(views.orphans(owner.metadata.namespace))
        claims = ownership.claims(owner, selectors.of(owner.spec.selector), [*self.of(owner), *orphans])
        if claims.adopt and await self._still_there(owner):
            for pod in claims.adopt:
                await self._own(pod, (*pod.metadata.ownerReferences, ownership.reference(owner)))
        for pod in claims.release:
            await self._own(
                pod, tuple(o for o in pod.metadata.ownerReferences if o.uid != owner.metadata.uid)
            )
        return self.of(owner)

    async def create(self, owner: Any, wanted: Iterable[core.Pod]) -> errors.NetemuError | None:
        """Make all of them at once; the first refusal, if there was one, has its event already."""
        made = (self._client.create(pod) for pod in wanted)
        results = await asyncio.gather(*made, return_exceptions=True)
        for result in results:
            if isinstance(result, core.Pod):
                self._pods.wrote(result)
                self._events.record(
                    owner, "Normal", "SuccessfulCreate", f"Created pod: {result.metadata.name}"
                )
        failure = _first_failure(results)
        if failure is not None and not is_farewell(failure):
            self._events.record(owner, "Warning", "FailedCreate", f"Error creating: {failure}")
        return failure

    async def delete(self, owner: Any, pods: Sequence[core.Pod]) -> errors.NetemuError | None:
        """Delete all of them at once; the first refusal, if there was one, has its event already."""
        results = await asyncio.gather(*(self._delete(pod) for pod in pods), return_exceptions=True)
        for pod, result in zip(pods, results, strict=True):
            if result is None:
                name = pod.metadata.name
                self._events.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        failure = _first_failure(results)
        if failure is not None:
            self._events.record(owner, "Warning", "FailedDelete", f"Error deleting: {failure}")
        return failure

    async def _delete(self, pod: core.Pod) -> None:
        about = pod.metadata
        # Gone already, or another pod of that name.
        with contextlib.suppress(api_errors.NotFound, api_errors.Conflict):
            await self._client.delete(core.Pod, about.name, about.namespace, uid=about.uid)
        self._pods.deleted(pod)

    async def _still_there(self, owner: Any) -> bool:
        # Adopt only for an owner that still is the one we know (upstream's RecheckDeletionTimestamp).
        fresh = await self._client.get(type(owner), owner.metadata.name, owner.metadata.namespace)
        return fresh.metadata.uid == owner.metadata.uid and not fresh.metadata.deletionTimestamp

    async def _own(self, pod: core.Pod, owners: tuple[meta.OwnerReference, ...]) -> None:
        about = pod.metadata
        references = {
            "resourceVersion": about.resourceVersion,
            "ownerReferences": ownership.documents(owners),
        }
        try:
            patched = await self._client.patch(
                core.Pod, about.name, about.namespace, body={"metadata": references}
            )
        except api_errors.NotFound:
            return
        self._pods.wrote(patched)


def is_farewell(failure: errors.NetemuError) -> bool:
    """The namespace is going away: nothing to complain about and nothing to retry."""
    return isinstance(failure, api_errors.Forbidden) and any(
        cause.reason == "NamespaceTerminating"
        for cause in (failure.status.details.causes if failure.status.details is not None else ())
    )


def _first_failure(results: Iterable[object]) -> errors.NetemuError | None:
    """The first refusal; anything else that was raised is a bug and goes on up."""
    failure = None
    for result in results:
        if isinstance(result, errors.NetemuError):
            failure = failure or result
        elif isinstance(result, BaseException):
            raise result
    return failure
