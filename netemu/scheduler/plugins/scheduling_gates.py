"""SchedulingGates: a pod with gates is not queued. KEP-3521."""

from netemu.scheduler import framework, pods


class SchedulingGates:
    name = "SchedulingGates"

    def pre_enqueue(self, pod: pods.PodInfo) -> framework.Rejection | None:
        gates = pod.pod.spec.schedulingGates
        if not gates:
            return None
        listed = " ".join(gate.name for gate in gates)
        return framework.Rejection(
            self.name, (f"waiting for scheduling gates: [{listed}]",), resolvable=False
        )
