"""From objects to what a node has to hold: the side of each of its pods, the signature of each address. Pure.

The whole answer at once, from everything; `changes` keeps it up to date and has to agree with this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netemu.netpol import policies, ports, sides, terms

Place = terms.Address | terms.Range


class Cluster(NamedTuple):
    """What policies speak of. `spaces`: labels of namespaces by name."""

    pods: Mapping[terms.Key, terms.Pod]
    spaces: Mapping[str, terms.Labels]
    policies: Mapping[terms.Key, policies.Policy]
    nodes: Mapping[str, terms.Node]


class Standing(NamedTuple):
    """A pod of this node, and what it is under; `to_node`: on its way to this node itself."""

    pod: terms.Pod
    egress: sides.Side
    to_node: sides.Side
    ingress: sides.Side


class Wanted(NamedTuple):
    """All that a node has to hold. Places that no term matches are not in it."""

    standings: Mapping[terms.Key, Standing]
    signatures: Mapping[Place, sides.Signature]


def resolve(cluster: Cluster, node: str) -> Wanted:
    """The answer for one node."""
    standings = {
        key: standing(pod, selecting(cluster, pod)) for key, pod in cluster.pods.items() if pod.node == node
    }
    used = asked(standings.values())
    return Wanted(standings, dict(signatures(cluster, used)))


def selecting(cluster: Cluster, pod: terms.Pod) -> Iterator[policies.Policy]:
    """The policies whose subject the pod is."""
    return (p for p in cluster.policies.values() if p.subject.selects(pod, cluster.spaces))


def standing(pod: terms.Pod, selecting: Iterable[policies.Policy]) -> Standing:
    every = tuple(selecting)
    egress, ingress = (sides.of(pod, every, direction) for direction in policies.DIRECTIONS)
    return Standing(pod, egress, sides.to_node(egress), ingress)


def asked(standings: Iterable[Standing]) -> frozenset[terms.Term]:
    """All terms in use."""
    return frozenset(term for one in standings for side in one[1:] for term in side.asked)


def signatures(cluster: Cluster, used: Iterable[terms.Term]) -> Iterator[tuple[Place, sides.Signature]]:
    every = tuple(used)
    for point in points(cluster):
        found = signature(point, every, cluster.spaces)
        if found:
            yield point.address, found
    yield from ranges(every)


def ranges(used: Iterable[terms.Term]) -> Iterator[tuple[Place, sides.Signature]]:
    """Addresses that nobody known has. Names of ports match nothing there."""
    blocks = {
        term.who: (term, ports.ALL) for term in used if isinstance(term.who, terms.Block) and not term.names
    }
    for cell, holding in terms.cells(blocks):
        yield cell, frozenset(blocks[block] for block in holding)


def points(cluster: Cluster) -> Iterator[terms.Point]:
    """Everybody's addresses; a pod's before a node's."""
    seen = set()
    for pod in cluster.pods.values():
        for address in pod.addresses:
            seen.add(address)
            yield terms.Point(address, pod)
    for node in cluster.nodes.values():
        for address in node.addresses:
            if address not in seen:
                yield terms.Point(address, node=node)


def signature(
    point: terms.Point, used: Iterable[terms.Term], spaces: Mapping[str, terms.Labels]
) -> sides.Signature:
    found = ((term, terms.match(term, point, spaces)) for term in used)
    return frozenset((term, where) for term, where in found if where)
