"""Pods that speak to the outside borrow the node's address: from nodes and ranges to an nft table. Pure.

Pods keep their address inside the cluster (pods, nodes, Services) and lose it outside, where nobody has a
route back to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netemu.podnet import nodes
from netemu.wire import nft

TABLE = "netemu-podnet"


_RAW = -300  # before conntrack (linux/netfilter_ipv4.h: NF_IP_PRI_RAW)


def plan(
    own: Iterable[nodes.Network],
    machines: Iterable[nodes.Node],
    inside: Iterable[nodes.Network],
    *,
    tunnel_port: int = 0,
) -> tuple[nft.Transaction, ...]:
    """One table a family. `own`: this node's pods; `machines`: all nodes; `inside`: pods and Services.

    `tunnel_port`: of the UDP datagrams that are a tunnel between nodes, which are not tracked.
    """
    own, machines, inside = tuple(own), tuple(machines), tuple(inside)
    return tuple(
        nft.replacement(
            nft.Table(family, TABLE, "netemu: pods leave the cluster by their node's address"),
            (*_table(family, version, own, machines, inside), *_untracked(family, tunnel_port)),
        )
        for family, version in (("ip", 4), ("ip6", 6))
    )


def _table(
    family: str,
    version: int,
    own: tuple[nodes.Network, ...],
    machines: tuple[nodes.Node, ...],
    inside: tuple[nodes.Network, ...],
) -> Iterator[nft.Thing]:
    kind = f"type ipv{version}_addr"
    yield nft.Set("own-pods", kind, flags=("interval",))
    yield nft.Set("inside", kind, flags=("interval",))
    yield nft.Set("nodes", kind)
    yield nft.Chain("postrouting", nft.Hook("nat", "postrouting", 100))
    to_outside = f"{family} saddr @own-pods {family} daddr != @inside {family} daddr != @nodes"
    yield nft.Rule("postrouting", f"{to_outside} masquerade fully-random")
    yield from (nft.Element("own-pods", str(n)) for n in own if n.version == version)
    yield from (nft.Element("inside", str(n)) for n in inside if n.version == version)
    seen: set[nodes.Address] = set()
    for node in machines:
        for address in node.addresses:
            if address.version == version and address not in seen:
                seen.add(address)
                yield nft.Element("nodes", str(address), "", node.name)


def _untracked(family: str, port: int) -> Iterator[nft.Thing]:
    """A tunnel's source port stands for the flow in it (RFC 7348, 5), so its answers have another.

    Tracked, each of its flows would be a new one for ever: an entry that never ends, every rule about new
    connections for every packet. What is inside is tracked when it comes out.
    """
    if not port:
        return
    between = f"udp dport {port} {family} saddr @nodes {family} daddr @nodes"
    for hook in ("prerouting", "output"):
        yield nft.Chain(f"raw-{hook}", nft.Hook("filter", hook, _RAW))
        yield nft.Rule(f"raw-{hook}", f"{between} notrack")
