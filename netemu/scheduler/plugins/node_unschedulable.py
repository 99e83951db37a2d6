"""NodeUnschedulable: a cordoned node takes no pods, except those which tolerate the taint that says so."""

from netemu.api import core, tolerations, wellknown
from netemu.scheduler import framework, nodes, pods, snapshots

_CORDONED = core.Taint(key=wellknown.UNSCHEDULABLE, effect="NoSchedule")


class NodeUnschedulable:
    name = "NodeUnschedulable"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> None:
        return None

    def filter(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        if not node.unschedulable:
            return None
        if tolerations.untolerated(pod.pod.spec.tolerations, (_CORDONED,)) is None:
            return None
        return framework.Rejection(self.name, ("node(s) were unschedulable",), resolvable=False)
