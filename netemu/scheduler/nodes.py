"""A node and the pods on it, as one frozen value. Knows sums; decides nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from netemu.api import core, demands
from netemu.scheduler import pods


@dataclass(frozen=True, slots=True, eq=False)
class NodeInfo:
    """One node with what its pods take of it. A pod more or less makes a new value; nothing is changed in
    place.
    """

    node: core.Node
    name: str
    labels: dict[str, str]
    taints: tuple[core.Taint, ...]
    unschedulable: bool
    allocatable: dict[str, int]
    placed: dict[tuple[str, str], pods.PodInfo] = field(default_factory=dict)
    requested: dict[str, int] = field(default_factory=dict)
    scored_cpu: int = 0
    scored_memory: int = 0
    host_ports: tuple[pods.HostPort, ...] = ()
    with_affinity: tuple[pods.PodInfo, ...] = ()
    with_anti_affinity: tuple[pods.PodInfo, ...] = ()

    def put(self, pod: pods.PodInfo) -> "NodeInfo":
        """With `pod` on it, in place of another version of itself."""
        base = self.drop(pod.key) if pod.key in self.placed else self
        return replace(
            base,
            placed={**base.placed, pod.key: pod},
            requested=demands.total((base.requested, pod.requests)),
            scored_cpu=base.scored_cpu + pod.scored_cpu,
            scored_memory=base.scored_memory + pod.scored_memory,
            host_ports=(*base.host_ports, *pod.host_ports),
            with_affinity=(*base.with_affinity, pod) if pod.has_affinity else base.with_affinity,
            with_anti_affinity=(*base.with_anti_affinity, pod)
            if pod.anti_affinity
            else base.with_anti_affinity,
        )

    def drop(self, key: tuple[str, str]) -> "NodeInfo":
        """Without that pod."""
        gone = self.placed.get(key)
        if gone is None:
            return self
        left = {other: pod for other, pod in self.placed.items() if other != key}
        requested = {name: amount - gone.requests.get(name, 0) for name, amount in self.requested.items()}
        return replace(
            self,
            placed=left,
            requested=requested,
            scored_cpu=self.scored_cpu - gone.scored_cpu,
            scored_memory=self.scored_memory - gone.scored_memory,
            host_ports=(
                tuple(port for pod in left.values() for port in pod.host_ports)
                if gone.host_ports
                else self.host_ports
            ),
            with_affinity=tuple(pod for pod in self.with_affinity if pod is not gone),
            with_anti_affinity=tuple(pod for pod in self.with_anti_affinity if pod is not gone),
        )


def of(node: core.Node, on_it: Iterable[pods.PodInfo] = ()) -> NodeInfo:
    """Parse a node; `on_it`: the pods it has already. Without allocatable, its capacity counts."""
    info = NodeInfo(
        node=node,
        name=node.metadata.name,
        labels=dict(node.metadata.labels),
        taints=node.spec.taints,
        unschedulable=node.spec.unschedulable,
        allocatable=demands.amounts(node.status.allocatable or node.status.capacity),
    )
    for pod in on_it:
        info = info.put(pod)
    return info
