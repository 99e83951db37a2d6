"""Asking a node's kubelet on behalf of a client: over TLS, with the server's own certificate.

Knows nodes' addresses. What the kubelet refuses comes back as a Status.
"""

from __future__ import annotations

from netemu.api import core, kinds
from netemu.apiserver import contexts, statuses
from netemu.base import errors
from netemu.http import client, messages

_REASONS = {400: "BadRequest", 403: "Forbidden", 404: "NotFound"}


async def ask(call: contexts.Call, node: str, path: str, query: messages.Fields) -> messages.Response:
    """GET from the node's kubelet; the answer is streamed on. NotFound, ServiceUnavailable."""
    where = address(call, node)
    if call.parts.kubelet_tls is None:
        raise statuses.unavailable("this server has no credentials for kubelets")
    host = f"[{where}]" if ":" in where else where
    pool = client.Connections(
        f"https://{host}:{call.parts.config.kubelet_port}", call.parts.kubelet_tls, timeout=30.0
    )
    try:
        response = await pool.send(messages.Request("GET", path, query))
        if response.status != 200:
            text = (await messages.whole(response, limit=1 << 20)).decode("utf-8", "replace").strip()
            raise statuses.Refusal(response.status, _REASONS.get(response.status, "InternalError"), text)
    except errors.Transient as error:
        await pool.close()
        raise statuses.unavailable(f"kubelet of node {node}: {error.message}") from None
    except statuses.Refusal:
        await pool.close()
        raise
    headers = (("content-type", "text/plain"),)
    if isinstance(response.body, bytes):
        await pool.close()
        return messages.Response(200, headers, response.body)
    return messages.Response(200, headers, Relay(response.body, pool))


class Relay:
    """A streamed body with the connection it comes over."""

    def __init__(self, body: messages.Body, pool: client.Connections) -> None:
        self._body = body
        self._pool = pool

    def __aiter__(self) -> Relay:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._body.__anext__()
        except errors.Transient:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        await messages.discard(self._body)
        await self._pool.close()


def address(call: contexts.Call, node: str) -> str:
    """Where a node is. NotFound, ServiceUnavailable."""
    found = call.parts.cache.of(kinds.of(core.Node)).get("", node)
    if found is None:
        raise statuses.not_found("", "nodes", node)
    for address in found.document().get("status", {}).get("addresses", ()):
        if address.get("type") == "InternalIP":
            return str(address["address"])
    raise statuses.unavailable(f"node {node} has no InternalIP")
