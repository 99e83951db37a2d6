"""NodePorts: two pods of one node cannot have the same host port of the same protocol and address."""

from netemu.scheduler import framework, nodes, pods, snapshots


class NodePorts:
    name = "NodePorts"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> framework.Skip | None:
        return None if pod.host_ports else framework.SKIP

    def filter(self, state: None, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        if not any(mine.clashes(taken) for mine in pod.host_ports for taken in node.host_ports):
            return None
        return framework.Rejection(self.name, ("node(s) didn't have free ports for the requested pod ports",))
