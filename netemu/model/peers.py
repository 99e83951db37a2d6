"""Who is meant: the peers and ports that policy rules name, and whether an address or a port is among them.

Knows NetworkPolicyPeer, the peers of ClusterNetworkPolicy and their ports; not what a rule does with them.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from netemu.api import clusterpolicies, meta, networking, selectors

ANYBODY = 1  # the bit that everybody has: a rule without peers asks for it
PROTOCOLS = ("TCP", "UDP", "SCTP")


class Block(NamedTuple):
    """Addresses of one family from `first` to `last` as numbers, without those in `holes`."""

    family: int
    first: int
    last: int
    holes: tuple[tuple[int, int], ...] = ()

    def has(self, family: int, number: int) -> bool:
        """Whether the address, as a number, is in the block and in none of its holes."""
        if family != self.family or not self.first <= number <= self.last:
            return False
        return not any(first <= number <= last for first, last in self.holes)


class Peer(NamedTuple):
    """One entry of from or to: exactly one of `pods`, `nodes`, `block` is set; none of them means nobody.

    With `pods`: those in `namespace`, or, where that is empty, in the Namespaces that `namespaces` selects.
    """

    text: str
    namespace: str = ""
    namespaces: selectors.Selector = selectors.EVERYTHING
    pods: selectors.Selector | None = None
    nodes: selectors.Selector | None = None
    block: Block | None = None

    @property
    def sort(self) -> str:
        """Which addresses it may mean: block, nodes, pods/NAMESPACE, "" for pods of several Namespaces."""
        if self.block is not None:
            return "block"
        if self.nodes is not None:
            return "nodes"
        return f"pods/{self.namespace}" if self.namespace else ""

    def has_pod(self, namespace: str, space_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        """Whether a pod (never one in the host's network) is meant."""
        if self.pods is None or not self.pods.matches(labels):
            return False
        return namespace == self.namespace if self.namespace else self.namespaces.matches(space_labels)


class Ports(NamedTuple):
    """One entry of ports. `protocol` "" is any. A `name` stands for the pod's own port of that name."""

    protocol: str
    first: int = 0
    last: int = 65535
    name: str = ""

    def has(self, protocol: str, port: int, names: Collection[str] = ()) -> bool:
        """Whether a flow to that port is meant; `names` are those that the destination has for it."""
        if self.protocol and protocol != self.protocol:
            return False
        if self.name:
            return self.name in names and protocol in PROTOCOLS
        return self.first <= port <= self.last

    def __str__(self) -> str:
        protocol = self.protocol.lower() or "any protocol"
        if self.name:
            return f"{protocol}/{self.name}"
        if (self.first, self.last) == (0, 65535):
            return protocol
        return f"{protocol}/{self.first}" + (f"-{self.last}" if self.last != self.first else "")


def holds(peer: Peer, address: str) -> bool:
    """Whether a peer is a block that the address is in."""
    parsed = ipaddress.ip_address(address)
    return peer.block is not None and peer.block.has(parsed.version, int(parsed))


def covers(peer: Peer, network: str) -> bool:
    """Whether a peer is a block that has all of a range, its holes apart."""
    parsed = ipaddress.ip_network(network)
    first, last = _ends(parsed)
    block = peer.block
    return (
        block is not None and block.family == parsed.version and block.first <= first and last <= block.last
    )


def of_policy(namespace: str, found: Iterable[networking.NetworkPolicyPeer]) -> Iterator[Peer]:
    """The peers of a NetworkPolicy in `namespace`. An absent selector and an empty one differ."""
    for peer in found:
        if peer.ipBlock is not None:
            yield of_block(peer.ipBlock.cidr, peer.ipBlock.except_)
        elif peer.namespaceSelector is None:
            pods = selectors.of(peer.podSelector)
            yield Peer(f"{_pods(pods)} in Namespace {namespace}", namespace=namespace, pods=pods)
        else:
            yield of_selectors(peer.namespaceSelector, peer.podSelector)


def of_selectors(namespaces: meta.LabelSelector, pods: meta.LabelSelector | None) -> Peer:
    """Pods by their labels (None: all) in Namespaces by theirs: both must match."""
    spaces = selectors.of(namespaces)
    wanted = selectors.EVERYTHING if pods is None else selectors.of(pods)
    where = "all Namespaces" if spaces.everything else f"Namespaces {spaces}"
    return Peer(f"{_pods(wanted)} in {where}", namespaces=spaces, pods=wanted)


def of_block(cidr: str, holes: Iterable[str] = ()) -> Peer:
    """A range of addresses; pods' addresses count as well."""
    network = ipaddress.ip_network(cidr, strict=False)
    cut = tuple(_ends(ipaddress.ip_network(hole, strict=False)) for hole in holes)
    text = f"{network}{' except ' + ', '.join(holes) if cut else ''}"
    return Peer(text, block=Block(network.version, *_ends(network), cut))


def of_cluster_peer(
    peer: clusterpolicies.ClusterNetworkPolicyIngressPeer | clusterpolicies.ClusterNetworkPolicyEgressPeer,
) -> tuple[Peer, ...]:
    """The peers of one entry (each network is one). None at all: it has no field that is known here.

    domainNames are not supported: they mean nobody, and the rule fails closed as upstream asks.
    """
    if peer.namespaces is not None:
        return (of_selectors(peer.namespaces, None),)
    if peer.pods is not None:
        return (of_selectors(peer.pods.namespaceSelector, peer.pods.podSelector),)
    if isinstance(peer, clusterpolicies.ClusterNetworkPolicyEgressPeer):
        if peer.nodes is not None:
            nodes = selectors.of(peer.nodes)
            return (Peer("all nodes" if nodes.everything else f"nodes {nodes}", nodes=nodes),)
        return tuple(of_block(network) for network in peer.networks)
    return ()


def ports_of_policy(found: Iterable[networking.NetworkPolicyPort]) -> Iterator[Ports]:
    """The ports of a NetworkPolicy's rule; the protocol is TCP unless given."""
    for entry in found:
        protocol = entry.protocol or "TCP"
        if entry.port is None:
            yield Ports(protocol)
        elif isinstance(entry.port, str):
            yield Ports(protocol, name=entry.port)
        else:
            yield Ports(protocol, entry.port, entry.port if entry.endPort is None else entry.endPort)


def ports_of_cluster(protocol: clusterpolicies.ClusterNetworkPolicyProtocol) -> Ports | None:
    """The ports of one entry of a ClusterNetworkPolicy's protocols; None: no field that is known here."""
    if protocol.destinationNamedPort:
        return Ports("", name=protocol.destinationNamedPort)
    for name in PROTOCOLS:
        entry = getattr(protocol, name.lower())
        if entry is None:
            continue
        if (wanted := entry.destinationPort) is None:
            return Ports(name)
        if wanted.range is not None:
            return Ports(name, wanted.range.start, wanted.range.end)
        return Ports(name, wanted.number, wanted.number) if wanted.number else None
    return None


def _pods(selector: selectors.Selector) -> str:
    return "all pods" if selector.everything else f"pods {selector}"


def _ends(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)
