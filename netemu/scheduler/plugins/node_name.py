"""NodeName: a pod which names its node fits nowhere else."""

from netemu.scheduler import framework, nodes, pods, snapshots


class NodeName:
    name = "NodeName"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> framework.Skip | None:
        return None if pod.pod.spec.nodeName else framework.SKIP

    def filter(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        if pod.pod.spec.nodeName == node.name:
            return None
        return framework.Rejection(
            self.name, ("node(s) didn't match the requested node name",), resolvable=False
        )
