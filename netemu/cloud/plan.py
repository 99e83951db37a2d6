"""LoadBalancer Services: which addresses they get, and which nodes each address is routed to. Pure.

Addresses come from pools, one for each family of the Service; a Service keeps what it has. All nodes that
may have it announce an address; with externalTrafficPolicy Local those with ready endpoints: they keep the
source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from netemu.api import core, discovery, meta, wellknown

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
CLASS = "netemu.io/announced"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
_FAMILIES = {"IPv4": 4, "IPv6": 6}


class Demand(NamedTuple):
    """A Service that wants an address of each of `versions` (4, 6). `asked` is spec.loadBalancerIP."""

    key: meta.Key
    since: str
    versions: tuple[int, ...]
    asked: Address | None = None
    local: bool = False
    held: tuple[Address, ...] = ()


class Given(NamedTuple):
    """Addresses by Service, and why some have not all that they want."""

    addresses: dict[meta.Key, tuple[Address, ...]]
    lacking: dict[meta.Key, str]


class Revisions(NamedTuple):
    """Up to which Services and EndpointSlices are known, or must be."""

    services: int
    endpoints: int = 0

    def covers(self, needed: Revisions) -> bool:
        return self.services >= needed.services and self.endpoints >= needed.endpoints


class Machine(NamedTuple):
    """A node that may be sent to, and its addresses on the common link."""

    name: str
    addresses: tuple[Address, ...]


def demand(service: core.Service) -> Demand | None:
    """None when it wants none of ours: another type, another class, or about to be deleted."""
    spec = service.spec
    if spec.type != "LoadBalancer" or spec.loadBalancerClass not in (None, "", CLASS):
        return None
    if service.metadata.deletionTimestamp is not None:
        return None
    return Demand(
        meta.key(service),
        service.metadata.creationTimestamp or "",
        tuple(_FAMILIES[family] for family in spec.ipFamilies or ("IPv4",)),
        _address(spec.loadBalancerIP),
        spec.externalTrafficPolicy == "Local",
        ingress(service),
    )


def _address(text: str) -> Address | None:
    """Nothing was asked for when it is no address."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def ingress(service: core.Service) -> tuple[Address, ...]:
    """What its status says that it has."""
    found = (_address(one.ip) for one in service.status.loadBalancer.ingress)
    return tuple(address for address in found if address is not None)


def promised(service: core.Service) -> tuple[Address, ...]:
    """What proxies already know that it has."""
    found = map(_address, service.metadata.annotations.get(wellknown.PROMISED, "").split(","))
    return tuple(address for address in found if address is not None)


def needed(
    service: core.Service, address: Address, slices: Iterable[discovery.EndpointSlice]
) -> Revisions | None:
    """What the proxy of a node must have programmed before packets to `address` are sent there.

    `slices` are those on which it depends which nodes these are. None: it cannot know of the address yet.
    """
    if address not in (*promised(service), *ingress(service)):
        return None
    endpoints = max((int(one.metadata.resourceVersion) for one in slices), default=0)
    return Revisions(int(service.metadata.resourceVersion), endpoints)


def allocate(demands: Iterable[Demand], pools: Iterable[Network]) -> Given:
    """Who has an address keeps it; the others follow in the order in which they were made."""
    ranges, taken = tuple(pools), dict[Address, meta.Key]()
    queue = sorted(demands, key=lambda one: (one.since, one.key))
    for one in queue:
        for address in one.held:
            if _fits(one, address, ranges):
                taken.setdefault(address, one.key)
    given: dict[meta.Key, tuple[Address, ...]] = {}
    lacking: dict[meta.Key, str] = {}
    for one in queue:
        found = []
        for version in one.versions:
            chosen, why = _choose(one, version, ranges, taken)
            if chosen is None:
                lacking[one.key] = why
                continue
            taken[chosen] = one.key
            found.append(chosen)
        given[one.key] = tuple(found)
    return Given(given, lacking)


def _choose(
    one: Demand, version: int, ranges: tuple[Network, ...], taken: Mapping[Address, meta.Key]
) -> tuple[Address | None, str]:
    held = [a for a in one.held if a.version == version and taken.get(a) == one.key]
    if held:
        return held[0], ""
    asked = one.asked
    if asked is not None and asked.version == version:
        if not _fits(one, asked, ranges):
            return None, f"{asked} is in no pool"
        if asked in taken:
            return None, f"{asked} is taken by {taken[asked]}"
        return asked, ""
    free = (a for net in ranges if net.version == version for a in net.hosts() if a not in taken)
    first = next(free, None)
    return first, "" if first else f"no IPv{version} address is left in the pools"


def _fits(one: Demand, address: Address, ranges: tuple[Network, ...]) -> bool:
    if one.asked is not None and one.asked.version == address.version and one.asked != address:
        return False
    return address.version in one.versions and any(address in net for net in ranges)


def machine(node: core.Node) -> Machine | None:
    """None while it must not be sent to: not ready, excluded by its label, or about to leave."""
    ready = any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    leaving = node.metadata.deletionTimestamp or any(
        t.key == wellknown.TO_BE_DELETED for t in node.spec.taints
    )
    if not ready or leaving or wellknown.NOT_BALANCED in node.metadata.labels:
        return None
    addresses = (a.address for a in node.status.addresses if a.type == "InternalIP")
    return Machine(node.metadata.name, tuple(map(ip_address, addresses)))


def serving(slices: Iterable[discovery.EndpointSlice]) -> frozenset[str]:
    """Nodes with ready endpoints in these slices of one Service."""
    ready = (e.nodeName for s in slices for e in s.endpoints if e.conditions.ready is not False)
    return frozenset(name for name in ready if name)


Ways = tuple[Address, ...]  # next hops of the same right, in order


def announce(address: Address, machines: Iterable[Machine], only: Collection[str] | None) -> Ways:
    """The addresses of nodes that packets to `address` may go to; none: nobody may have it.

    `only` these nodes have endpoints (None: it does not matter).
    """
    able = (one for one in machines if only is None or one.name in only)
    hops = (next((a for a in one.addresses if a.version == address.version), None) for one in able)
    return tuple(sorted((hop for hop in hops if hop is not None), key=int))


class Route(NamedTuple):
    """One address, and the ways there. `metric` tells an old route from the one that replaces it."""

    address: Address
    via: Ways
    metric: int


_METRICS = (159, 160)


def difference(wanted: Mapping[Address, Ways], present: Collection[Route]) -> Iterator[tuple[str, Route]]:
    """What to add and, after that, to delete: an address that moves is never without a way."""
    held: dict[Address, set[int]] = {}
    right = {route for route in present if wanted.get(route.address) == route.via}
    for route in present:
        held.setdefault(route.address, set()).add(route.metric)
    there = {route.address for route in right}
    for address in sorted(wanted.keys() - there, key=str):
        free = next(
            metric for metric in (*_METRICS, max(_METRICS) + 1) if metric not in held.get(address, ())
        )
        yield "add", Route(address, wanted[address], free)
    yield from (("delete", route) for route in sorted(set(present) - right, key=str))
