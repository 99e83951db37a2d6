"""The network between pods of different nodes: from Node objects to routes, rules and a CNI configuration.

Pure. Every node has its own pod subnets; others reach them through its address on the common link (host-gw).
Only routes that carry our protocol number are ours. Pods keep their address inside the cluster and lose it
outside, where nobody has a route back to them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from netemu.api import core
from netemu.wire import nft

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

TABLE = "netemu-podnet"
PROTOCOL = 158  # in `ip route`: proto 158; iproute2's rt_protos has no name for it
BRIDGE = "cni0"


class Node(NamedTuple):
    """What others need of a node: where it is, and which pods it has."""

    name: str
    addresses: tuple[Address, ...]
    subnets: tuple[Network, ...]

    def address(self, version: int) -> Address | None:
        """Its first address of the family 4 or 6."""
        return next((a for a in self.addresses if a.version == version), None)


class Route(NamedTuple):
    """A pod subnet of another node, and the way there."""

    subnet: Network
    via: Address


class Wanted(NamedTuple):
    """All that this node's network has to be."""

    own: tuple[Network, ...]
    routes: frozenset[Route]
    nodes: tuple[Node, ...]


class Sysctl(NamedTuple):
    key: str
    value: str
    why: str


# Written in this order; one that the kernel does not have is left out (br_netfilter may be missing).
SYSCTLS = (
    Sysctl("net.ipv4.ip_forward", "1", "the node is its pods' router"),
    Sysctl("net.ipv6.conf.all.forwarding", "1", "the node is its pods' router"),
    Sysctl(
        "net.ipv4.conf.all.rp_filter", "2", "replies of a Service may come another way; loose beats strict"
    ),
    Sysctl("net.ipv4.conf.default.rp_filter", "2", "the same for links that come later"),
    Sysctl("net.ipv6.conf.default.accept_dad", "0", "addresses are allocated, and usable at once"),
    Sysctl("net.ipv6.conf.default.dad_transmits", "0", "probes would flood the bridge for every new pod"),
    Sysctl(
        "net.bridge.bridge-nf-call-iptables", "1", "a Service's reply between two ports needs translating"
    ),
    Sysctl("net.bridge.bridge-nf-call-ip6tables", "1", "the same for IPv6"),
)


def parse(node: core.Node) -> Node:
    """A Node object; addresses and subnets that are none are left out."""
    internal = (a.address for a in node.status.addresses if a.type == "InternalIP")
    subnets = node.spec.podCIDRs or ((node.spec.podCIDR,) if node.spec.podCIDR else ())
    return Node(node.metadata.name, tuple(_addresses(internal)), tuple(_networks(subnets)))


def wanted(nodes: Iterable[Node], own_name: str) -> Wanted:
    """From all nodes of the cluster, seen from one of them."""
    ordered = tuple(sorted(nodes))
    own = next((node.subnets for node in ordered if node.name == own_name), ())
    routes = (
        Route(subnet, via)
        for node in ordered
        if node.name != own_name
        for subnet in node.subnets
        if subnet not in own and (via := node.address(subnet.version)) is not None
    )
    return Wanted(own, frozenset(routes), ordered)


class Observed(NamedTuple):
    """Of the node's own routing table: our routes, destinations of others' routes, networks on links."""

    ours: frozenset[Route]
    foreign: frozenset[Network]
    links: frozenset[Network]


class Changes(NamedTuple):
    """Routes to delete, then to add; and those that cannot be, with the reason."""

    delete: tuple[Route, ...] = ()
    add: tuple[Route, ...] = ()
    impossible: tuple[tuple[Route, str], ...] = ()


def plan(want: Wanted, have: Observed) -> Changes:
    """Our routes as wanted; nobody else's are touched."""
    possible, impossible = [], []
    for route in _ordered(want.routes):
        if route.subnet in have.foreign:
            impossible.append((route, "somebody else has a route there"))
        elif not any(route.via in link for link in have.links if link.version == route.via.version):
            impossible.append((route, "the node is on no link of this one"))
        else:
            possible.append(route)
    delete = _ordered(have.ours - set(possible))
    add = (route for route in possible if route not in have.ours)
    return Changes(tuple(delete), tuple(add), tuple(impossible))


def _ordered(routes: Iterable[Route]) -> list[Route]:
    return sorted(routes, key=lambda route: (route.subnet.version, route.subnet, route.via.packed))


def masquerade(want: Wanted, inside: Iterable[Network]) -> tuple[nft.Transaction, ...]:
    """Pods that speak to the outside borrow the node's address. `inside`: pod and Service ranges."""
    return tuple(
        nft.replacement(
            nft.Table(family, TABLE, "netemu: pods leave the cluster by their node's address"),
            _table(family, kind, version, want, tuple(inside)),
        )
        for family, kind, version in (("ip", "ipv4_addr", 4), ("ip6", "ipv6_addr", 6))
    )


def _table(
    family: str, kind: str, version: int, want: Wanted, inside: tuple[Network, ...]
) -> Iterator[nft.Thing]:
    yield nft.Set("own-pods", f"type {kind}", flags=("interval",))
    yield nft.Set("inside", f"type {kind}", flags=("interval",))
    yield nft.Set("nodes", f"type {kind}")
    yield nft.Chain("postrouting", nft.Hook("nat", "postrouting", 100))
    to_outside = f"{family} saddr @own-pods {family} daddr != @inside {family} daddr != @nodes"
    yield nft.Rule("postrouting", f"{to_outside} masquerade fully-random")
    yield from (nft.Element("own-pods", str(n)) for n in want.own if n.version == version)
    yield from (nft.Element("inside", str(n)) for n in inside if n.version == version)
    seen: set[Address] = set()
    for node in want.nodes:
        for address in node.addresses:
            if address.version == version and address not in seen:
                seen.add(address)
                yield nft.Element("nodes", str(address), "", node.name)


def cni_configuration(subnets: Iterable[Network], *, mtu: int = 0) -> dict[str, Any]:
    """The configuration list for this node's pods (CNI 1.0.0): a bridge that is their gateway, dual stack.

    hairpinMode: a pod that reaches itself through a Service comes back through the port it left by.
    """
    ranges = [[{"subnet": str(subnet)}] for subnet in subnets]
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges},
    }
    if mtu:
        bridge["mtu"] = mtu
    return {"cniVersion": "1.0.0", "name": "netemu", "plugins": [bridge]}


def _addresses(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield ip_address(text)


def _networks(texts: Iterable[str]) -> Iterator[Network]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield ip_network(text)
