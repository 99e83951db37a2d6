"""What a node's part of the pod network has to be: from the nodes of the cluster and its own links. Pure.

host-gw   a route a subnet, by the other node's address            dst 10.244.2.0/24 via 172.18.0.4
vxlan     flannel's scheme: the route's gateway is the other subnet's first address, a permanent neighbour
          says the MAC of the tunnel's other end, the tunnel's forwarding says on which machine that MAC is
bgp       none of it: the node's router learns and makes the routes
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import ip_interface
from typing import NamedTuple

from netemu.kernel import operations as ops
from netemu.kernel import states
from netemu.podnet import backends, flannel, nodes

FALLBACK_METRIC = 4096  # behind every route a CNI plugin or the kernel makes for the node's own pods


class Route(NamedTuple):
    """A pod subnet and the way there; without `via` unreachable. With `dev`, `via` is on that tunnel."""

    subnet: nodes.Network
    via: nodes.Address | None
    dev: str = ""


class End(NamedTuple):
    """A tunnel's end here: carried by the link `below`, whose address `local` the others know it by."""

    link: str
    tunnel: states.Vxlan
    mac: str
    mtu: int
    address: ops.IPInterface


class Peer(NamedTuple):
    """A tunnel's end elsewhere: `gateway` is there at `mac`, which is on the machine `public`."""

    link: str
    gateway: nodes.Address
    mac: str
    public: nodes.Address


class Underlay(NamedTuple):
    """Where a node is on a link of its own: the address by which others know it, the link and its MTU."""

    address: nodes.Address
    link: str
    mtu: int


class Wanted(NamedTuple):
    """All of it. `impossible`: what cannot be reached, and why; `mtu` is for pods' links, 0: the kernel's."""

    own: tuple[nodes.Network, ...] = ()
    routes: frozenset[Route] = frozenset()
    ends: tuple[End, ...] = ()
    peers: frozenset[Peer] = frozenset()
    impossible: tuple[tuple[str, str], ...] = ()
    mtu: int = 0

    @property
    def leases(self) -> tuple[flannel.Lease, ...]:
        """What the others have to know of the ends here."""
        found = ((end.tunnel, end.mac) for end in self.ends)
        return tuple(
            flannel.Lease(tunnel.vni, mac, tunnel.local) for tunnel, mac in found if tunnel.local is not None
        )


def plan(
    machines: Iterable[nodes.Node], own_name: str, settings: backends.Settings, have: states.State
) -> Wanted:
    """Seen from one node. Nothing while it has no subnets, and nothing where somebody else sees to it."""
    ordered = {node.name: node for node in sorted(machines)}
    own = ordered.pop(own_name, None)
    if own is None or not own.subnets:
        return Wanted()
    underlays = underlay(own, have)
    mtu = settings.mtu or _mtu(settings.backend, underlays)
    if settings.backend in (backends.NONE, backends.FLANNEL):
        return Wanted(own.subnets, mtu=mtu)
    ends = tuple(_ends(own, underlays, have)) if settings.backend == backends.VXLAN else ()
    ways: list[Route | Peer] = []
    impossible: list[tuple[str, str]] = []
    links = frozenset(address.ip.network for address in have.addresses)
    for node, subnet in _remote(ordered.values(), own):
        found = _way(node, subnet, settings, {end.address.version: end for end in ends}, links)
        if isinstance(found, str):
            impossible.append((f"{subnet} on {node.name}", found))
        else:
            ways += found
    return Wanted(
        own.subnets,
        frozenset(way for way in ways if isinstance(way, Route)) | {Route(s, None) for s in own.subnets},
        ends,
        frozenset(way for way in ways if isinstance(way, Peer)),
        tuple(impossible),
        mtu,
    )


def underlay(own: nodes.Node, have: states.State) -> dict[int, Underlay]:
    """By family (4, 6): where this node is."""
    held = {address.ip.ip: address.link for address in have.addresses}
    found: dict[int, Underlay] = {}
    for address in own.addresses:
        link = have.links.get(held.get(address, ""))
        if link is not None and address.version not in found:
            found[address.version] = Underlay(address, link.name, link.mtu)
    return found


def _mtu(backend: str, underlays: dict[int, Underlay]) -> int:
    rooms = (below.mtu - backends.overhead(backend, (version,)) for version, below in underlays.items())
    return min(rooms, default=0)


def _remote(machines: Iterable[nodes.Node], own: nodes.Node) -> Iterator[tuple[nodes.Node, nodes.Network]]:
    return ((node, subnet) for node in machines for subnet in node.subnets if subnet not in own.subnets)


def _way(
    node: nodes.Node,
    subnet: nodes.Network,
    settings: backends.Settings,
    ends: dict[int, End],
    links: frozenset[nodes.Network],
) -> list[Route | Peer] | str:
    """To one subnet of another node; or why there is none."""
    if settings.backend == backends.BGP:
        return []
    address = node.address(subnet.version)
    near = any(address in link for link in links if address is not None and link.version == address.version)
    if settings.backend == backends.HOST_GW or (settings.direct_routing and near):
        if address is None:
            return f"it has no IPv{subnet.version} address"
        return [Route(subnet, address)] if near else "it is on no link of this node"
    end, lease = ends.get(subnet.version), node.lease(subnet.version)
    if end is None:
        return f"this node has no IPv{subnet.version} address on a link"
    if lease is None:
        return "it has not said where its tunnel ends"
    gateway = subnet.network_address
    return [Peer(end.link, gateway, lease.mac, lease.public), Route(subnet, gateway, end.link)]


def _ends(own: nodes.Node, underlays: dict[int, Underlay], have: states.State) -> Iterator[End]:
    for subnet in own.subnets:
        below = underlays.get(subnet.version)
        if below is None:
            continue
        name = flannel.LINKS[subnet.version]
        tunnel = states.Vxlan(flannel.VNI, below.address, flannel.PORT, below.link)
        present = have.links.get(name)
        # Whoever made it first (flannel's daemon draws lots): the others have learned its address.
        same = present is not None and present.vxlan == tunnel
        mac = present.mac if present is not None and same else mac_of(own.name, subnet.version)
        mtu = below.mtu - backends.ENCAPSULATION[subnet.version]
        # A host's address, so that no connected or broadcast routes come with it.
        address = ip_interface(f"{subnet.network_address}/{subnet.max_prefixlen}")
        yield End(name, tunnel, mac, mtu, address)


def mac_of(name: str, version: int) -> str:
    """Of the tunnel's end on a node: the same for ever, and locally administered (RFC 9542, 2.1)."""
    digest = hashlib.blake2s(f"{name}/{version}".encode(), digest_size=5).digest()
    return "0e:" + digest.hex(":")
