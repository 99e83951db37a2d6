"""From what is wanted of a node's network and what is there to operations, in their order. Pure.

Ours are routes that carry our protocol number, and VXLAN ends of flannel's names with all that is on them.
Nobody else's are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netemu.kernel import operations as ops
from netemu.kernel import states
from netemu.podnet import flannel, nodes, wanted

PROTOCOL = 158  # in `ip route`: proto 158; iproute2's rt_protos has no name for it
_CHECKSUMS_SINCE = (5, 7)


class Changes(NamedTuple):
    """Operations in order; and what cannot be, with the reason."""

    operations: tuple[ops.Operation, ...] = ()
    impossible: tuple[tuple[str, str], ...] = ()


def plan(want: wanted.Wanted, have: states.State, *, software_checksums: bool = False) -> Changes:
    """The difference. Tunnels before the peers on them, peers before routes over them; going, the reverse.

    `software_checksums`: the kernel must not leave those of tunnelled packets to the links (see below).
    """
    stale = tuple(_stale(want.ends, have))
    left = _without(have, stale)
    foreign = {r.dst for r in left.routes if r.protocol != PROTOCOL}
    mine = {_route(r) for r in left.routes if r.protocol == PROTOCOL}
    taken = [r for r in _ordered(want.routes) if r.via is not None and r.subnet in foreign]
    routes = want.routes - set(taken)
    operations = (
        *(ops.DelRoute(r.subnet, r.via, protocol=PROTOCOL) for r in _ordered(mine - routes)),
        *_gone(want, left),
        *(ops.DelLink(name) for name in stale),
        *(step for end in want.ends for step in _end(end, left, software_checksums)),
        *_come(want, left),
        *(_add(r) for r in _ordered(routes - mine)),
    )
    reason = "somebody else has a route there"
    return Changes(operations, (*want.impossible, *((f"{r.subnet} via {r.via}", reason) for r in taken)))


def software_checksums(release: str) -> bool:
    """Whether a kernel of that release spoils checksums of packets it translated and then tunnelled.

    Before 5.7 NAT "corrected" the outer UDP checksum, whose zero means none (Linux commit ea64d8d6c675).
    """
    numbers = release.split("-", maxsplit=1)[0].split(".")
    return tuple(int(n) for n in numbers[:2] if n.isdecimal()) < _CHECKSUMS_SINCE


def _stale(ends: tuple[wanted.End, ...], have: states.State) -> Iterator[str]:
    wishes = {end.link: end for end in ends}
    for name in sorted(flannel.LINKS.values()):
        link, end = have.links.get(name), wishes.get(name)
        if link is not None and link.vxlan is not None and (end is None or end.tunnel != link.vxlan):
            yield name


def _without(have: states.State, links: Iterable[str]) -> states.State:
    gone = frozenset(links)
    return states.State(
        {name: link for name, link in have.links.items() if name not in gone},
        frozenset(a for a in have.addresses if a.link not in gone),
        frozenset(r for r in have.routes if r.dev not in gone),
        frozenset(n for n in have.neighbours if n.link not in gone),
        frozenset(f for f in have.forwarding if f.link not in gone),
    )


def _end(end: wanted.End, have: states.State, software: bool) -> Iterator[ops.Operation]:
    link = have.links.get(end.link)
    tunnel = end.tunnel
    if link is None:
        assert tunnel.local is not None
        yield ops.AddVxlan(end.link, tunnel.vni, tunnel.local, tunnel.port, end.mac, tunnel.link, end.mtu)
        if software:
            yield ops.SetTxChecksum(end.link, on=False)
    elif link.mtu != end.mtu:
        yield ops.SetMTU(end.link, end.mtu)
    held = {a.ip for a in have.addresses if a.link == end.link}
    yield from (ops.DelAddress(end.link, ip) for ip in sorted(held - {end.address}, key=str))
    if end.address not in held:
        yield ops.AddAddress(end.link, end.address)
    if link is None or not link.up:
        yield ops.SetUp(end.link)


def _gone(want: wanted.Wanted, have: states.State) -> Iterator[ops.Operation]:
    links = {end.link for end in want.ends}
    near = {(p.link, p.gateway) for p in want.peers}
    far = {(p.link, p.mac) for p in want.peers}
    for neighbour in sorted(have.neighbours, key=str):
        if neighbour.link in links and (neighbour.link, neighbour.ip) not in near:
            yield ops.DelNeighbour(neighbour.link, neighbour.ip)
    for entry in sorted(have.forwarding, key=str):
        if entry.link in links and (entry.link, entry.mac) not in far:
            yield ops.DelForwarding(entry.link, entry.mac, entry.ip)


def _come(want: wanted.Wanted, have: states.State) -> Iterator[ops.Operation]:
    """An entry that has changed is replaced, not removed first."""
    for peer in sorted(want.peers, key=str):
        if states.Neighbour(peer.link, peer.gateway, peer.mac) not in have.neighbours:
            yield ops.AddNeighbour(peer.link, peer.gateway, peer.mac)
        if states.Forwarding(peer.link, peer.mac, peer.public) not in have.forwarding:
            yield ops.AddForwarding(peer.link, peer.mac, peer.public)


def _route(route: states.Route) -> wanted.Route:
    dev = route.dev if route.dev in flannel.LINKS.values() else ""
    return wanted.Route(route.dst, route.via, dev)


def _add(route: wanted.Route) -> ops.AddRoute:
    if route.via is None:
        metric = wanted.FALLBACK_METRIC
        return ops.AddRoute(route.subnet, metric=metric, protocol=PROTOCOL, reachable=False)
    onlink = bool(route.dev)
    return ops.AddRoute(route.subnet, route.via, route.dev or None, protocol=PROTOCOL, onlink=onlink)


def _ordered(routes: Iterable[wanted.Route]) -> list[wanted.Route]:
    def key(route: wanted.Route) -> tuple[int, nodes.Network, bytes, str]:
        return route.subnet.version, route.subnet, route.via.packed if route.via else b"", route.dev

    return sorted(routes, key=key)
