"""Whether a node takes a pod that was bound to it: pods may be bound past the scheduler. Pure.

Upstream's pkg/kubelet/lifecycle (GeneralPredicates): resources, node selector and affinity, node name, host
ports; reasons and messages are its own, since people search for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from netemu.api import core, demands, node_terms


class Refusal(NamedTuple):
    """What the pod's event says, and its status. It has failed, and is not tried again."""

    reason: str
    message: str


class Claim(NamedTuple):
    """What a pod takes of a node. `ports` are (address, protocol, port)."""

    amounts: demands.Amounts
    ports: frozenset[tuple[str, str, int]]


def claim(pod: core.Pod) -> Claim:
    """Of a pod that runs, or shall."""
    ports = frozenset(
        (port.hostIP or "0.0.0.0", port.protocol or "TCP", port.hostPort)
        for container in (*pod.spec.initContainers, *pod.spec.containers)
        for port in container.ports
        if port.hostPort
    )
    return Claim(demands.requests(pod.spec), ports)


def refusal(
    pod: core.Pod, others: Sequence[Claim], node: core.Node, allocatable: Mapping[str, str]
) -> Refusal | None:
    """Why a node on which the `others` are cannot run the pod; None when it can."""
    mine = claim(pod)
    for name, asked, used, most in _lacking(mine, others, demands.amounts(allocatable)):
        text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {most}"
        return Refusal(f"OutOf{name}", text)
    if pod.spec.nodeName != node.metadata.name:
        return _predicate("NodeName", "node(s) didn't match the requested node name")
    if not node_terms.wanted(pod.spec, node.metadata.name, node.metadata.labels):
        return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if any(_clash(one, other) for one in mine.ports for claimed in others for other in claimed.ports):
        return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _predicate(name: str, message: str) -> Refusal:
    return Refusal(name, f"Predicate {name} failed: {message}")


def _lacking(
    mine: Claim, others: Sequence[Claim], allocatable: demands.Amounts
) -> Iterator[tuple[str, int, int, int]]:
    """(resource, requested, used, capacity) of what there is too little of; a pod is a resource itself."""
    most = allocatable.get(demands.PODS, 0)
    if len(others) + 1 > most:
        yield demands.PODS, 1, len(others), most
    used = demands.total(other.amounts for other in others)
    for name, asked in sorted(mine.amounts.items()):
        if asked and used.get(name, 0) + asked > allocatable.get(name, 0):
            yield name, asked, used.get(name, 0), allocatable.get(name, 0)


def _clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    """Of one port and protocol, and at one address: 0.0.0.0 and :: are all of them."""
    everywhere = ("0.0.0.0", "::")
    same = one[0] == other[0] or one[0] in everywhere or other[0] in everywhere
    return same and one[1:] == other[1:]
