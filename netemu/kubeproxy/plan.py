"""From a Service and its endpoints to the elements that serve it. Pure: no nft is run, nothing is remembered.

A backend keeps its slot while it lives, so that one endpoint more or less changes few elements. Who may go
where: kubernetes.io/docs/reference/networking/virtual-ips, KEP-2086, service.spec.externalTrafficPolicy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import collapse_addresses, ip_address, ip_network
from types import MappingProxyType
from typing import Any, NamedTuple

from netemu.api import meta
from netemu.kubeproxy import affinity, changes, endpoints, layout, services
from netemu.wire import nft

Backends = tuple[endpoints.Backend, ...]


class Placement(NamedTuple):
    """Backends of one Service port in one family; a backend's index is its slot."""

    family: layout.Family
    port: services.Port
    cluster: Backends = ()
    local: Backends = ()
    numbers: affinity.Numbers | None = None  # for session affinity


class Wanted(NamedTuple):
    """All that the table has to hold for one Service."""

    service: services.Service
    placements: tuple[Placement, ...] = ()


Replaced = Mapping[meta.Key, tuple[Wanted | None, Wanted | None]]  # what was, and what is


class Claim(NamedTuple):
    """What one Service alone can have: a port at an address, or a node port (no address)."""

    family: layout.Family
    protocol: str
    port: int
    address: str = ""

    @property
    def place(self) -> str:
        return "vip" if self.address else "node"

    @property
    def key(self) -> str:
        """As nft spells it, in an element of `services` or `node-ports`."""
        if self.address:
            return f"{self.address} . {self.protocol} . {self.port}"
        return f"{self.protocol} . {self.port}"

    @property
    def slotless(self) -> str:
        """Likewise in a map of backends, which is one protocol's; the slot follows."""
        return f"{self.address} . {self.port}" if self.address else str(self.port)


class Programmed(NamedTuple):
    """One element of the table of one family."""

    family: layout.Family
    element: nft.Element


def place(
    state: changes.State,
    topology: endpoints.Topology,
    previous: Wanted | None,
    identities: Iterator[int],
    past: Mapping[str, affinity.Numbers] = MappingProxyType({}),
) -> Wanted | None:
    """Choose backends and give them slots, the ones they had in `previous` where possible.

    `identities` are numbers not in use, for Service ports that become sticky; `past` are those which an
    earlier proxy gave, by cluster IP, protocol and port.
    """
    service = state.service
    if service is None:
        return None
    had = {(p.family, p.port.name, p.port.protocol): p for p in previous.placements} if previous else {}
    placements = []
    for family in _families(service):
        for port in service.ports:
            choice = endpoints.choose(state.slices, port, family.name, topology)
            old = had.get((family, port.name, port.protocol))
            placed = _placed(family, port, choice, old)
            if service.affinity_seconds:
                before = (old.numbers if old else None) or _remembered(service, placed, past)
                placed = _numbered(placed, before or affinity.Numbers(next(identities)))
            placements.append(placed)
    return Wanted(service, tuple(placements))


def _placed(
    family: layout.Family, port: services.Port, choice: endpoints.Choice, old: Placement | None
) -> Placement:
    if old is None:
        return Placement(family, port, choice.cluster, choice.local)
    return Placement(family, port, assign(old.cluster, choice.cluster), assign(old.local, choice.local))


def _remembered(
    service: services.Service, placed: Placement, past: Mapping[str, affinity.Numbers]
) -> affinity.Numbers | None:
    six, port = placed.family is layout.IP6, placed.port
    own = (ip for ip in service.cluster_ips if (":" in ip) == six)
    dialled = (Claim(placed.family, port.protocol, port.port, ip).key for ip in own)
    return next((past[key] for key in dialled if key in past), None)


def _numbered(placed: Placement, before: affinity.Numbers) -> Placement:
    backends = ((b.ip, b.port) for b in (*placed.cluster, *placed.local))
    return placed._replace(numbers=affinity.renumber(before, backends))


def assign(held: Backends, wanted: Backends) -> Backends:
    """`wanted`, ordered so that as many as possible stay where `held` had them; no slot is left empty."""
    if held == wanted or not held:
        return wanted
    at = {(b.ip, b.port): b for b in wanted}
    count = len(wanted)
    kept = [at.get((b.ip, b.port)) for b in held[:count]]
    kept += [None] * (count - len(kept))
    settled = {(b.ip, b.port) for b in kept if b is not None}
    movers = iter([b for b in wanted if (b.ip, b.port) not in settled])
    return tuple(b if b is not None else next(movers) for b in kept)


def _families(service: services.Service) -> tuple[layout.Family, ...]:
    """Those in which it has a cluster address; the others are not served."""
    if len(service.cluster_ips) == 1:
        return _SIX if ":" in service.cluster_ips[0] else _FOUR
    six = [":" in address for address in service.cluster_ips]
    return tuple(family for family in layout.FAMILIES if (family is layout.IP6) in six)


_FOUR, _SIX = (layout.IP,), (layout.IP6,)


def crowded(wanted: Wanted) -> bool:
    """Whether a port of it is sticky and has more backends than such a port can draw from."""
    most = (max(len(p.cluster), len(p.local)) for p in wanted.placements if p.numbers is not None)
    return any(count > affinity.SIZE_LIMIT for count in most)


def claims(wanted: Wanted) -> Iterator[Claim]:
    """What this Service takes for itself."""
    for family, port, *_ in wanted.placements:
        for address in (*wanted.service.cluster_ips, *wanted.service.externals):
            if (":" in address) == (family is layout.IP6):
                yield Claim(family, port.protocol, port.port, address)
        if port.node_port:
            yield Claim(family, port.protocol, port.node_port)


FIRST = "cluster-ips"  # what the elements of every Service begin with


class Here(NamedTuple):
    """The node that is programmed, and its own addresses."""

    node: str
    addresses: tuple[str, ...] = ()


def elements(wanted: Wanted, here: Here, refused: Collection[Claim] = ()) -> Iterator[Programmed]:
    """Every element that serves this Service `here`, without those of claims that others hold."""
    service = wanted.service
    for family in _families(service):
        for address in service.cluster_ips:
            if (":" in address) == (family is layout.IP6):
                yield Programmed(family, nft.Element("cluster-ips", address, "", str(service.key)))
    for placement in wanted.placements:
        comment = f"{service.key}:{placement.port.name or placement.port.port}"
        for element in _port(service, placement, comment, refused, here.addresses):
            yield Programmed(placement.family, element)
        for backend in dict.fromkeys((*placement.cluster, *placement.local)):
            # Other nodes' pods come here only by external addresses, and keep theirs only with policy Local.
            if service.external_local or backend.node in ("", here.node):
                yield Programmed(placement.family, nft.Element("hairpins", f"{backend.ip} . {backend.ip}"))


def _port(
    service: services.Service,
    placement: Placement,
    comment: str,
    refused: Collection[Claim],
    own: tuple[str, ...],
) -> Iterator[nft.Element]:
    family, port, cluster, local, _ = placement
    offer = _Offer(placement, service.affinity_seconds, comment)
    for address in dict.fromkeys((*service.cluster_ips, *service.externals)):
        if (":" in address) != (family is layout.IP6):
            continue
        claim = Claim(family, port.protocol, port.port, address)
        if refused and claim in refused:
            continue
        if service.source_ranges and address in service.balancer_ips and (cluster or local):
            yield from _guarded(claim, service, comment, own)
        yield from offer.identity(claim)
        if address not in service.cluster_ips:
            yield from _external(claim, service.external_local, cluster, local, offer)
        elif service.internal_local and (cluster or local):
            yield from offer.sent(claim, layout.CLUSTER, local)
        else:
            yield from offer.served(claim, layout.CLUSTER, cluster)
    if port.node_port:
        claim = Claim(family, port.protocol, port.node_port)
        if not (refused and claim in refused):
            yield from offer.identity(claim)
            yield from _external(claim, service.external_local, cluster, local, offer)


def allowed(service: services.Service, six: bool, own: tuple[str, ...]) -> tuple[str, ...]:
    """Who may dial its load balancer IPs, in one family; empty: everybody (spec.loadBalancerSourceRanges).

    Ranges of the other family count for nothing. Where the node itself may, so may the IPs themselves: a
    balancer often gives them to the node as its own, and the node then sends from them.
    """
    ranges = [text for text in service.source_ranges if (":" in text) == six]
    if any(ip_address(address) in ip_network(text) for text in ranges for address in own):
        ranges += [address for address in service.balancer_ips if (":" in address) == six]
    return tuple(ranges)


def _guarded(
    claim: Claim, service: services.Service, comment: str, own: tuple[str, ...]
) -> Iterator[nft.Element]:
    given: Any = map(ip_network, allowed(service, ":" in claim.address, own))
    networks = tuple(collapse_addresses(given))  # nft refuses overlapping intervals
    if not networks or any(net.prefixlen == 0 for net in networks):
        return  # the whole world
    yield nft.Element("guarded", claim.key, "", comment)
    for net in networks:
        yield nft.Element("allowed", f"{claim.key} . {net}", "", comment)


def _external(
    claim: Claim, only_local: bool, cluster: Backends, local: Backends, offer: _Offer
) -> Iterator[nft.Element]:
    """For traffic from beyond the cluster. With Local, outsiders reach local backends and keep their address;
    pods and the node itself still reach all, since no load balancer chose this node for them."""
    vip = claim.place == "vip"
    if only_local and (cluster or local):
        yield from offer.served(claim, layout.CLUSTER if vip else layout.NODE_CLUSTER, cluster)
        yield from offer.sent(claim, layout.LOCAL if vip else layout.NODE_LOCAL, local)
    else:
        yield from offer.served(claim, layout.EXTERNAL if vip else layout.NODE, cluster)


class _Offer(NamedTuple):
    """Elements of one Service port: `comment` leads back to it."""

    placement: Placement
    seconds: int
    comment: str

    def identity(self, claim: Claim) -> Iterator[nft.Element]:
        numbers = self.placement.numbers
        if numbers is not None and numbers.held:
            yield nft.Element(
                affinity.identities(claim.place), claim.key, f"{numbers.identity:#x}", self.comment
            )

    def served(self, claim: Claim, mode: layout.Mode, backends: Backends) -> Iterator[nft.Element]:
        """Sent to a backend; refused when there is none anywhere."""
        if backends:
            yield from self.sent(claim, mode, backends)
        else:
            yield nft.Element(layout.REJECTED[claim.place], claim.key, "", self.comment)

    def sent(self, claim: Claim, mode: layout.Mode, backends: Backends) -> Iterator[nft.Element]:
        """Sent to a backend; dropped when there is none here."""
        sticky = backends and self.placement.numbers is not None
        size = min(len(backends), affinity.SIZE_LIMIT) if sticky else len(backends)
        kind = layout.Shape(mode, size, self.seconds if sticky else 0).kind if backends else layout.DROP
        names = layout.LOCAL_SERVICES if mode.masquerade == "never" else layout.SERVICES
        yield nft.Element(names[claim.place], claim.key, hex(kind), self.comment)
        if sticky:
            yield from self._numbered(claim, mode, backends[:size])
            return
        of, key = mode.backends(claim.protocol), claim.slotless
        for slot, backend in enumerate(backends):
            yield nft.Element(of, f"{key} . {slot}", f"{backend.ip} . {backend.port}", backend.target)

    def _numbered(self, claim: Claim, mode: layout.Mode, backends: Backends) -> Iterator[nft.Element]:
        assert self.placement.numbers is not None
        numbers = dict(self.placement.numbers.held)
        drawn, numbered = affinity.drawn(mode.scope), affinity.numbered(mode.scope)
        for slot, backend in enumerate(backends):
            number = affinity.spelled(numbers[backend.ip, backend.port])
            yield nft.Element(drawn, f"{claim.key} . {slot}", number)
            yield nft.Element(
                numbered, f"{claim.key} . {number}", f"{backend.ip} . {backend.port}", backend.target
            )
