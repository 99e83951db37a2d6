"""NodeResourcesBalancedAllocation: prefers nodes whose cpu and memory would be used in equal shares."""

from collections.abc import Mapping, Sequence

from netemu.api import demands
from netemu.scheduler import framework, nodes, pods, snapshots

_WEIGHED = (demands.CPU, demands.MEMORY)


class BalancedAllocation:
    name = "NodeResourcesBalancedAllocation"

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> framework.Skip | None:
        # A best-effort pod changes no share.
        return None if any(pod.requests.get(name) for name in _WEIGHED) else framework.SKIP

    def score(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> int:
        shares = [
            min(1.0, (node.requested.get(name, 0) + pod.requests.get(name, 0)) / node.allocatable[name])
            for name in _WEIGHED
            if node.allocatable.get(name)
        ]
        # The standard deviation of two numbers is half their distance.
        deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
        return int((1 - deviation) * framework.MAX_NODE_SCORE)

    def normalize(self, state: None, scores: Mapping[str, int]) -> Mapping[str, int]:
        return scores
