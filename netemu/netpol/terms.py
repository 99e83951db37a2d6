"""Whom a rule speaks of: pods by labels, ranges of addresses, nodes by labels. Pure.

A term matches an address or it does not; with port names it matches where somebody serves one of them, and
tells which number it has there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from itertools import pairwise
from typing import NamedTuple

from netemu.api import selectors
from netemu.netpol import ports

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Labels = Mapping[str, str]
NAME_LABEL = "kubernetes.io/metadata.name"


class Key(NamedTuple):
    """A pod's, or a policy's (one of the whole cluster has no namespace)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Pod(NamedTuple):
    """A pod that has an address of its own. `serves`: name, protocol (`tcp` ...) and number of ports."""

    key: Key
    node: str
    labels: Labels
    addresses: tuple[Address, ...] = ()
    serves: tuple[tuple[str, str, int], ...] = ()

    def named(self, name: str, protocol: str) -> ports.Ports:
        """What the name stands for in this pod; `protocol` "" is any. The first of each protocol counts."""
        found: dict[str, int] = {}
        for called, spoken, number in self.serves:
            if called == name and protocol in ("", spoken):
                found.setdefault(spoken, number)
        return ports.union(ports.one(spoken, number, number) for spoken, number in found.items())


class Node(NamedTuple):
    """A node as `nodes` peers see it."""

    name: str
    labels: Labels
    addresses: tuple[Address, ...] = ()


class Pods(NamedTuple):
    """Pods by their labels in one namespace, or in those with certain labels."""

    pods: selectors.Selector
    namespace: str = ""
    namespaces: selectors.Selector | None = None

    def selects(self, pod: Pod, spaces: Mapping[str, Labels]) -> bool:
        """`spaces`: labels of namespaces by name."""
        if self.namespaces is None:
            return pod.key.namespace == self.namespace and self.pods.matches(pod.labels)
        labels = spaces.get(pod.key.namespace, {NAME_LABEL: pod.key.namespace})
        return self.pods.matches(pod.labels) and self.namespaces.matches(labels)

    @property
    def bucket(self) -> Bucket:
        """Where it is looked for: only pods with that label, in that namespace, can be among them."""
        wanted = (r for r in self.pods.requirements if r.operator in ("=", "in") and len(r.values) == 1)
        one = next(wanted, None)
        space = self.namespace if self.namespaces is None else ""
        return space, (one.key, one.values[0]) if one is not None else None


Bucket = tuple[str, tuple[str, str] | None]  # namespace ("": any) and label (None: any)


def buckets(pod: Pod) -> Iterator[Bucket]:
    """All in which something may be that selects the pod."""
    for space in (pod.key.namespace, ""):
        yield space, None
        for pair in pod.labels.items():
            yield space, pair


class Block(NamedTuple):
    """A range of addresses, without some inside it."""

    network: Network
    without: tuple[Network, ...] = ()

    def holds(self, address: Address) -> bool:
        if address.version != self.network.version or address not in self.network:
            return False
        return not any(address in network for network in self.without)


class Nodes(NamedTuple):
    """Nodes by their labels: their addresses."""

    labels: selectors.Selector


@dataclass(frozen=True, slots=True)
class Term:
    """`names`: ports by name and protocol ("" any); none: whatever port."""

    who: Pods | Block | Nodes
    names: tuple[tuple[str, str], ...] = ()
    hashed: int = field(init=False, compare=False, repr=False)  # asked for a thousand times

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashed", hash((self.who, self.names)))

    def __hash__(self) -> int:
        return self.hashed


class Point(NamedTuple):
    """An address and who has it: a pod, a node, or nobody known."""

    address: Address
    pod: Pod | None = None
    node: Node | None = None


def match(term: Term, point: Point, spaces: Mapping[str, Labels]) -> ports.Ports:
    """The ports at which the term speaks of that point: NONE when it does not, ALL unless it has names."""
    who = term.who
    if isinstance(who, Pods):
        found = point.pod is not None and who.selects(point.pod, spaces)
    elif isinstance(who, Block):
        found = who.holds(point.address)
    else:
        found = point.node is not None and who.labels.matches(point.node.labels)
    if not found:
        return ports.NONE
    if not term.names:
        return ports.ALL
    pod = point.pod
    return ports.union(pod.named(*name) for name in term.names) if pod else ports.NONE


class Range(NamedTuple):
    """Addresses from the first to the last one, both included."""

    first: Address
    last: Address


def cells(blocks: Iterable[Block]) -> Iterator[tuple[Range, frozenset[Block]]]:
    """The address space cut wherever one of these begins or ends, and which of them hold each piece.

    What is in none of them is left out.
    """
    for version, kind in ((4, IPv4Address), (6, IPv6Address)):
        begins: dict[int, list[Block]] = {}
        ends: dict[int, list[Block]] = {}
        for block in {block for block in blocks if block.network.version == version}:
            for low, high in _pieces(block):
                begins.setdefault(low, []).append(block)
                ends.setdefault(high + 1, []).append(block)
        cuts = sorted(begins.keys() | ends.keys())
        active: set[Block] = set()
        for low, following in pairwise(cuts):
            active.difference_update(ends.get(low, ()))
            active.update(begins.get(low, ()))
            if active:
                yield Range(kind(low), kind(following - 1)), frozenset(active)


def _pieces(block: Block) -> Iterator[tuple[int, int]]:
    """The numbers of the addresses that are in it, first and last of each stretch."""
    at, last = int(block.network[0]), int(block.network[-1])
    for network in sorted(block.without, key=lambda network: int(network[0])):
        low, high = int(network[0]), int(network[-1])
        if high < at or low > last:
            continue
        if low > at:
            yield at, low - 1
        at = max(at, high + 1)
    if at <= last:
        yield at, last


def block(cidr: str, without: Iterable[str] = ()) -> Block:
    """ValueError for what is no range. Host bits count for nothing: old API servers let them pass."""
    inner = tuple(sorted({ip_network(text, strict=False) for text in without}, key=str))
    return Block(ip_network(cidr, strict=False), inner)
