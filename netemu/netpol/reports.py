"""Since when policies are in force: what each node reports, and what follows for a policy. Pure.

A node's enforcer says up to which revision it has programmed the policies of each kind; a policy is in force
when every ready node says so of its revision. The report is an annotation of the Node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from netemu.api import core

NODE = "netemu.dev/policies-in-force"  # annotation of a Node
POLICY = "netemu.dev/in-force"  # annotation of a policy that wants it: its generation, once that is in force
CONDITION = "netemu.dev/PolicyInForce"  # of a pod


class Report(NamedTuple):
    """Revisions of NetworkPolicies and ClusterNetworkPolicies; when the last of them was (unix seconds)."""

    policies: int = 0
    cluster: int = 0
    at: float = 0.0

    def __str__(self) -> str:
        return f"{self.policies},{self.cluster},{self.at:.6f}"

    def covers(self, policies: int, cluster: int) -> bool:
        return self.policies >= policies and self.cluster >= cluster


def parse(text: str) -> Report:
    """What a node reported; nothing yet, or nothing that can be read, is a report of nothing."""
    try:
        policies, cluster, at = text.split(",")
        return Report(int(policies), int(cluster), float(at))
    except ValueError:
        return Report()


class Coverage(NamedTuple):
    """Of how many nodes, on how many; those that are missing, and when the last one was ready."""

    nodes: int
    on: int
    missing: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def whole(self) -> bool:
        return self.on == self.nodes > 0

    def __str__(self) -> str:
        return f"{self.on}/{self.nodes} nodes"


def coverage(nodes: Iterable[core.Node], policies: int, cluster: int) -> Coverage:
    """Where these revisions are in force. Nodes that are not ready do not count."""
    reported = {
        node.metadata.name: parse(node.metadata.annotations.get(NODE, ""))
        for node in nodes
        if any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    }
    missing = tuple(sorted(name for name, one in reported.items() if not one.covers(policies, cluster)))
    at = max((one.at for one in reported.values()), default=0.0)
    return Coverage(len(reported), len(reported) - len(missing), missing, at)
