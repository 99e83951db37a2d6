"""TaintToleration: NoSchedule and NoExecute taints repel; PreferNoSchedule ones count against a node."""

from collections.abc import Mapping, Sequence

from netemu.api import core, tolerations
from netemu.scheduler import framework, nodes, pods, snapshots

_PREFERENCE = "PreferNoSchedule"


class TaintToleration:
    name = "TaintToleration"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> None:
        return None

    def filter(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        taint = tolerations.untolerated(pod.pod.spec.tolerations, node.taints)
        if taint is None:
            return None
        reason = f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
        return framework.Rejection(self.name, (reason,), resolvable=False)

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> tuple[core.Toleration, ...] | framework.Skip:
        if not any(taint.effect == _PREFERENCE for node in feasible for taint in node.taints):
            return framework.SKIP
        return tuple(one for one in pod.pod.spec.tolerations if one.effect in ("", _PREFERENCE))

    def score(self, state: tuple[core.Toleration, ...], pod: pods.PodInfo, node: nodes.NodeInfo) -> int:
        return sum(
            1 for taint in node.taints if tolerations.untolerated(state, (taint,), (_PREFERENCE,)) is not None
        )

    def normalize(self, state: tuple[core.Toleration, ...], scores: Mapping[str, int]) -> Mapping[str, int]:
        return framework.normalized(scores, reverse=True)
