"""Which endpoints a connection may go to. Knows EndpointSlices and the rules of choice; not nft.

Ready ones; where none is ready, those that still serve while they terminate (KEP-1669). The local set is
chosen in the same way, among this node's own (KEP-2086).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from netemu.api import discovery, meta, wellknown
from netemu.kubeproxy import services


class Endpoint(NamedTuple):
    """One address of a slice. `node` is empty when unknown; `zones` are its topology hints."""

    ip: str
    ready: bool
    serving: bool
    terminating: bool
    node: str = ""
    target: str = ""
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class Slice(NamedTuple):
    """One EndpointSlice: ports as (name, protocol in lower case, number), each offered by every endpoint."""

    service: meta.Key
    ports: tuple[tuple[str, str, int], ...]
    endpoints: tuple[Endpoint, ...]


class Backend(NamedTuple):
    """Where a connection can be sent. `node` is empty when unknown; `target` names the pod."""

    ip: str
    port: int
    node: str = ""
    target: str = ""


class Topology(NamedTuple):
    """Where this node is, for hints."""

    node: str
    zone: str = ""


class Choice(NamedTuple):
    """Backends for a Cluster policy and for a Local one, of one family. Both empty: nobody to talk to."""

    cluster: tuple[Backend, ...] = ()
    local: tuple[Backend, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cluster or self.local)


def parse(slice_: discovery.EndpointSlice) -> Slice | None:
    """None when it belongs to no Service or holds no addresses (FQDN slices never do)."""
    name = slice_.metadata.labels.get(wellknown.SERVICE_NAME, "")
    if not name or slice_.addressType not in {"IPv4", "IPv6"}:
        return None
    ports = tuple(
        (p.name, (p.protocol or "TCP").lower(), p.port) for p in slice_.ports if p.port and p.name is not None
    )
    endpoints = tuple(_endpoint(e) for e in slice_.endpoints if e.addresses)
    return Slice(meta.Key(slice_.metadata.namespace, name), ports, endpoints)


def _endpoint(endpoint: discovery.Endpoint) -> Endpoint:
    conditions, hints, target = endpoint.conditions, endpoint.hints, endpoint.targetRef
    return Endpoint(
        ip=services.canonical(endpoint.addresses[0]),  # the API lets several be written, and means the first
        ready=conditions.ready is not False,
        serving=conditions.serving is not False,
        terminating=conditions.terminating is True,
        node=endpoint.nodeName or "",
        target=target.name if target is not None else "",
        zones=tuple(z.name for z in hints.forZones) if hints is not None else (),
        nodes=tuple(n.name for n in hints.forNodes) if hints is not None else (),
    )


def choose(slices: Iterable[Slice], port: services.Port, family: str, topology: Topology) -> Choice:
    """Backends of one Service port in family `ip` or `ip6`, sorted, each once (local wins over remote)."""
    offered = [
        (endpoint, number)
        for slice_ in slices
        for name, protocol, number in slice_.ports
        if name == port.name and protocol == port.protocol
        for endpoint in slice_.endpoints
        if (":" in endpoint.ip) == (family == "ip6")
    ]
    ready = [(e, number) for e, number in offered if e.ready]
    leaving = [(e, number) for e, number in offered if e.serving and e.terminating]
    cluster = _near(ready, topology) or leaving
    local = _here(ready, topology) or _here(leaving, topology)
    return Choice(_backends(cluster, topology), _backends(local, topology))


Offer = tuple[Endpoint, int]


def _here(offers: list[Offer], topology: Topology) -> list[Offer]:
    return [o for o in offers if o[0].node == topology.node]


def _near(ready: list[Offer], topology: Topology) -> list[Offer]:
    """Hints count only when every ready endpoint has them and one of them means us (KEP-2433, KEP-4444)."""
    if topology.node and all(e.nodes for e, _ in ready):
        near = [o for o in ready if topology.node in o[0].nodes]
        if near:
            return near
    if topology.zone and all(e.zones for e, _ in ready):
        near = [o for o in ready if topology.zone in o[0].zones]
        if near:
            return near
    return ready


def _backends(offers: list[Offer], topology: Topology) -> tuple[Backend, ...]:
    found: dict[tuple[str, int], Backend] = {}
    for endpoint, number in offers:
        at = (endpoint.ip, number)
        if at not in found or endpoint.node == topology.node:
            found[at] = Backend(endpoint.ip, number, endpoint.node, endpoint.target)
    return tuple(found[at] for at in sorted(found))
