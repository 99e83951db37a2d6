"""NodeAffinity: nodeSelector and required affinity filter, preferred affinity scores."""

from collections.abc import Mapping, Sequence

from netemu.api import core, node_terms
from netemu.scheduler import framework, nodes, pods, snapshots


class NodeAffinity:
    name = "NodeAffinity"

    def pre_filter(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot
    ) -> framework.Skip | framework.Only | framework.Rejection | None:
        spec = pod.pod.spec
        required = node_terms.required_terms(spec)
        if required is None:
            return None if spec.nodeSelector else framework.SKIP
        named = node_terms.names(required) if required else None
        if named is None:
            return None
        if not named:
            return framework.Rejection(self.name, ("pod affinity terms conflict",), resolvable=False)
        return framework.Only(named, None)

    def filter(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        if node_terms.wanted(pod.pod.spec, node.name, node.labels):
            return None
        return framework.Rejection(
            self.name, ("node(s) didn't match Pod's node affinity/selector",), resolvable=False
        )

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> tuple[core.PreferredSchedulingTerm, ...] | framework.Skip:
        affinity = pod.pod.spec.affinity
        if affinity is None or affinity.nodeAffinity is None:
            return framework.SKIP
        preferred = affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution
        return preferred or framework.SKIP

    def score(
        self, state: tuple[core.PreferredSchedulingTerm, ...], pod: pods.PodInfo, node: nodes.NodeInfo
    ) -> int:
        return sum(
            term.weight for term in state if node_terms.matches(term.preference, node.name, node.labels)
        )

    def normalize(
        self, state: tuple[core.PreferredSchedulingTerm, ...], scores: Mapping[str, int]
    ) -> Mapping[str, int]:
        return framework.normalized(scores)
