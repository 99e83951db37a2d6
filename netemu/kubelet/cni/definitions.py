"""NetworkAttachmentDefinitions, a custom kind: configurations of networks that pods ask for by name."""

from __future__ import annotations

from netemu.base import errors
from netemu.client import api
from netemu.http import messages
from netemu.kubelet import supplies
from netemu.kubelet.cni import multus
from netemu.wire import documents


class Definitions:
    """Asks the API each time: a definition is read once a pod, and may have changed."""

    def __init__(self, client: api.Client) -> None:
        self._client = client

    async def config(self, namespace: str, name: str) -> str | None:
        """Its spec.config; None when there is none of that name, or no such kind. ApiError."""
        path = f"/apis/{multus.GROUP}/{multus.VERSION}/namespaces/{namespace}/{multus.PLURAL}/{name}"
        answer = await self._client.raw("GET", path)
        body = await messages.whole(answer)
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise supplies.refusal(answer.status, body)
        spec = documents.load(body).get("spec") or {}
        config = spec.get("config") or ""
        if not isinstance(config, str):
            raise errors.Rejected(f"{namespace}/{name}: spec.config is not a string")
        return config
