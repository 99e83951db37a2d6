"""NodeResourcesFit: what a pod requests must be left on the node; the emptier node scores more
(LeastAllocated).
"""

from collections.abc import Mapping, Sequence

from netemu.api import demands
from netemu.scheduler import framework, nodes, pods, snapshots


class NodeResourcesFit:
    name = "NodeResourcesFit"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> None:
        return None

    def filter(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        reasons: list[str] = []
        resolvable = True
        if len(node.placed) + 1 > node.allocatable.get(demands.PODS, 0):
            reasons.append("Too many pods")
        for name, asked in pod.requests.items():
            allocatable = node.allocatable.get(name, 0)
            if asked > 0 and asked > allocatable - node.requested.get(name, 0):
                reasons.append(f"Insufficient {name}")
                # More than the whole node has: evicting others would not help.
                resolvable = resolvable and asked <= allocatable
        return framework.Rejection(self.name, tuple(reasons), resolvable) if reasons else None

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> None:
        return None

    def score(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> int:
        scores = [
            (allocatable - used) * framework.MAX_NODE_SCORE // allocatable if used <= allocatable else 0
            for allocatable, used in (
                (node.allocatable.get(demands.CPU, 0), node.scored_cpu + pod.scored_cpu),
                (node.allocatable.get(demands.MEMORY, 0), node.scored_memory + pod.scored_memory),
            )
            if allocatable
        ]
        return sum(scores) // len(scores) if scores else 0

    def normalize(self, state: None, scores: Mapping[str, int]) -> Mapping[str, int]:
        return scores
