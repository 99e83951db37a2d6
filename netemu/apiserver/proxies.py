"""HTTP through the API server to a pod, a service's endpoint or a node: /proxy[/path] below each of them.

`name`, `name:port` or `https:name:port` says which port and scheme; upgrades (WebSocket) pass, too. What
cannot be reached is 503. Redirects and links in HTML pages are put right.
"""

from __future__ import annotations

import random
import ssl
from typing import NamedTuple

from netemu.api import core, discovery, kinds, wellknown
from netemu.apiserver import contexts, kubelets, links, relaying, statuses
from netemu.base import errors
from netemu.http import client, messages, tls, upgrades

_LARGEST_PAGE = 1 << 24  # bytes


class _Name(NamedTuple):
    """What a client calls the thing: [scheme:]name[:port]."""

    scheme: str
    name: str
    port: str


class _Place(NamedTuple):
    """Where requests go."""

    host: str
    port: int
    tls: ssl.SSLContext | None


def _unavailable(why: str) -> statuses.Refusal:
    """Without Retry-After: clients would try it ten times over."""
    return statuses.Refusal(503, "ServiceUnavailable", why)


async def answer(call: contexts.Call) -> messages.Response:
    """Pass the request on, and the answer back."""
    name = _name(call.name)
    place = _PLACES[call.kind.plural](call, name)
    base, path = _split(call)
    if not path and call.request.method in ("GET", "HEAD"):
        location = messages.Request("GET", f"{base}/", call.request.query).target()
        return messages.Response(301, (("location", location),))
    headers = relaying.forward(call.request, without=("accept-encoding",))
    request = messages.Request(
        call.request.method, path or "/", call.request.query, headers, call.request.body
    )
    try:
        if upgrades.wanted(call.request):
            return await upgrades.ask(place.host, place.port, place.tls, request)
        return await _returned(await _send(place, request), base, call.request.header("host"))
    except errors.Transient as error:
        raise _unavailable(f"error trying to reach service: {error.message}") from None


def _split(call: contexts.Call) -> tuple[str, str]:
    """The path up to /proxy, and what follows it, which may be nothing."""
    path = call.request.path
    marker = f"/{call.kind.plural}/{call.name}/proxy"
    at = path.index(marker) + len(marker)
    return path[:at], path[at:]


def _name(text: str) -> _Name:
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https"):
        return _Name(*parts)
    if len(parts) == 2:
        return _Name("http", *parts)
    if len(parts) == 1:
        return _Name("", text, "")
    raise statuses.bad_request(f"invalid proxy request {text!r}")


def _place(host: str, port: int, scheme: str) -> _Place:
    return _Place(host, port, tls.unverified() if scheme == "https" else None)


def _found(call: contexts.Call, name: str) -> statuses.Document:
    entry = call.collection.get(call.namespace, name)
    if entry is None:
        raise statuses.not_found("", call.kind.plural, name)
    return entry.document()


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and 0 < int(text) < 1 << 16 else None


def _pod(call: contexts.Call, name: _Name) -> _Place:
    pod = _found(call, name.name)
    ip = pod.get("status", {}).get("podIP", "")
    if not ip:
        raise statuses.bad_request("address not allowed: the pod has no IP")
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    if not name.port:
        return _place(ip, ports[0]["containerPort"] if ports else 80, name.scheme)
    number = _number(name.port)
    if number is None:
        number = next((port["containerPort"] for port in ports if port.get("name") == name.port), None)
    if number is None:
        raise statuses.bad_request(f"pod {name.name} has no port {name.port!r}")
    return _place(ip, number, name.scheme)


def _service(call: contexts.Call, name: _Name) -> _Place:
    """A ready endpoint, by chance; without a selector of its own the proxy of kube-proxy is not needed."""
    ports = _found(call, name.name)["spec"].get("ports", ())
    if not name.port and len(ports) > 1:
        raise _unavailable(f'no endpoints available for service "{name.name}"')
    number = _number(name.port)
    chosen = [
        port
        for port in ports
        if not name.port or port.get("name") == name.port or (number is not None and port["port"] == number)
    ]
    if not chosen:
        raise _unavailable(f'no service port "{name.port}" found for service "{name.name}"')
    wanted = chosen[0].get("name", "")
    found = [
        (address, port["port"])
        for entry in call.parts.cache.of(kinds.of(discovery.EndpointSlice)).all(call.namespace)
        if entry.labels.get(wellknown.SERVICE_NAME) == name.name
        for port in entry.document().get("ports", ())
        if port.get("name", "") == wanted and port.get("port")
        for endpoint in entry.document().get("endpoints", ())
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint.get("addresses", ())[:1]
    ]
    if not found:
        raise _unavailable(f'no endpoints available for service "{call.name}"')
    return _place(*random.choice(found), name.scheme)


def _node(call: contexts.Call, name: _Name) -> _Place:
    """The node's kubelet, as the API server itself, or any other port of the node."""
    host = kubelets.address(call, name.name)
    port = _number(name.port) if name.port else call.parts.config.kubelet_port
    if port is None:
        raise statuses.bad_request(f"invalid port {name.port!r}")
    if port == call.parts.config.kubelet_port:
        return _Place(host, port, call.parts.kubelet_tls)
    return _place(host, port, name.scheme)


_PLACES = {
    kinds.of(core.Pod).plural: _pod,
    kinds.of(core.Service).plural: _service,
    kinds.of(core.Node).plural: _node,
}


async def _send(place: _Place, request: messages.Request) -> messages.Response:
    host = f"[{place.host}]" if ":" in place.host else place.host
    scheme = "https" if place.tls else "http"
    pool = client.Connections(f"{scheme}://{host}:{place.port}", place.tls, timeout=60.0)
    try:
        response = await relaying.send(pool, request)
    except BaseException:
        await pool.close()
        raise
    if isinstance(response.body, bytes):
        await pool.close()
        return response
    return messages.Response(response.status, response.headers, kubelets.Relay(response.body, pool))


async def _returned(response: messages.Response, base: str, host: str) -> messages.Response:
    headers = tuple(
        (name, links.moved(value, base, host) if name == "location" else value)
        for name, value in relaying.returned(response)
    )
    page = response.header("content-type").startswith("text/html") and response.body != b""
    if not page or response.header("content-encoding"):
        return messages.Response(response.status, headers, response.body)
    try:
        body = await messages.whole(response, limit=_LARGEST_PAGE)
    except ValueError:
        await messages.discard(response.body)
        raise _unavailable("the page is too large to put its links right") from None
    await messages.discard(response.body)
    return messages.Response(response.status, headers, links.rewrite(body, base, host))
