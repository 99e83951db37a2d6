"""Which endpoints a node chooses from: what EndpointSlices offer, readiness, hints, traffic policies. Pure.

KEPs 1669 (terminating endpoints), 2086 (internal traffic), 2433 and 4444 (hints). Knows nothing of senders.
"""

from typing import NamedTuple

from netemu.api import core, discovery
from netemu.model import worlds

ZONE_LABEL = "topology.kubernetes.io/zone"


class Endpoint(NamedTuple):
    """Whom a Service may choose; `node` is where it is ("" unknown)."""

    name: str
    namespace: str
    node: str
    address: str
    port: int


class Offer(NamedTuple):
    """An endpoint as its slice lists it. `leaving`: terminating, and still serving."""

    endpoint: Endpoint
    ready: bool
    leaving: bool
    zones: tuple[str, ...]
    nodes: tuple[str, ...]


Offers = tuple[Offer, ...]


class Choice(NamedTuple):
    """What a node chooses from (of one kind: all ready, or all leaving), and why these."""

    offers: Offers
    because: tuple[str, ...] = ()


def offers(world: worlds.World, service: core.Service, port: core.ServicePort, family: int) -> Offers:
    """Each address and port once, as the EndpointSlices list them."""
    found: dict[tuple[str, int], Offer] = {}
    namespace = service.metadata.namespace
    for piece in world.slices_of(service):
        if piece.addressType != f"IPv{family}":
            continue
        for number in (entry.port for entry in piece.ports if entry.port and _same(entry, port)):
            for endpoint in piece.endpoints:
                for address in worlds.canonical(endpoint.addresses[:1]):
                    found.setdefault((address, number), _offer(endpoint, namespace, address, number))
    return tuple(found[key] for key in sorted(found))


def _same(offered: discovery.EndpointPort, port: core.ServicePort) -> bool:
    return (offered.name or "") == port.name and (offered.protocol or "TCP") == (port.protocol or "TCP")


def _offer(endpoint: discovery.Endpoint, namespace: str, address: str, number: int) -> Offer:
    conditions, hints = endpoint.conditions, endpoint.hints
    ready = conditions.ready is not False
    name = endpoint.targetRef.name if endpoint.targetRef else address
    return Offer(
        Endpoint(name, namespace, endpoint.nodeName or "", address, number),
        ready,
        not ready and conditions.serving is not False and conditions.terminating is True,
        tuple(zone.name for zone in hints.forZones) if hints is not None else (),
        tuple(node.name for node in hints.forNodes) if hints is not None else (),
    )


def anywhere(offered: Offers, world: worlds.World, at: str) -> Choice:
    """By the policy Cluster: the ready ones, of them the near ones; without any ready, those that leave."""
    ready = tuple(one for one in offered if one.ready)
    if ready:
        return _near(ready, world.node(at), at)
    leaving = tuple(one for one in offered if one.leaving)
    return Choice(leaving, ("none is ready",) if leaving else ())


def _near(ready: Offers, node: core.Node | None, at: str) -> Choice:
    """Hints count when every ready endpoint has them and one of them means us."""
    zone = node.metadata.labels.get(ZONE_LABEL, "") if node is not None else ""
    if all(one.nodes for one in ready):
        near = tuple(one for one in ready if at in one.nodes)
        if near:
            return Choice(near, (f"endpoints hinted for node {at} (PreferSameNode)",))
    if zone and all(one.zones for one in ready):
        near = tuple(one for one in ready if zone in one.zones)
        if near:
            return Choice(near, (f"endpoints hinted for zone {zone}",))
    return Choice(ready)


def on(offered: Offers, at: str) -> Offers:
    """By the policy Local: those on the node, the ready ones; without any, those that leave."""
    own = [one for one in offered if one.endpoint.node == at]
    return tuple(one for one in own if one.ready) or tuple(one for one in own if one.leaving)
