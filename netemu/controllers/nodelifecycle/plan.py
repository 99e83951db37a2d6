"""What a node's silence and its conditions mean: Unknown conditions, taints, pods no longer Ready. Pure.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from netemu.api import core, wellknown
from netemu.controllers import readiness

# (condition, status) -> the taint it brings, with effect NoSchedule (KEP-382 TaintNodesByCondition).
_BY_CONDITION: Final = {
    ("Ready", "False"): wellknown.NOT_READY,
    ("Ready", "Unknown"): wellknown.UNREACHABLE,
    ("MemoryPressure", "True"): wellknown.MEMORY_PRESSURE,
    ("DiskPressure", "True"): wellknown.DISK_PRESSURE,
    ("PIDPressure", "True"): wellknown.PID_PRESSURE,
    ("NetworkUnavailable", "True"): wellknown.NETWORK_UNAVAILABLE,
}
_SCHEDULING: Final = frozenset((*_BY_CONDITION.values(), wellknown.UNSCHEDULABLE))
_EVICTING: Final = {("Ready", "False"): wellknown.NOT_READY, ("Ready", "Unknown"): wellknown.UNREACHABLE}
_REPORTED: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def silent(node: core.Node, now: str) -> tuple[core.NodeCondition, ...]:
    """The conditions of a node whose kubelet has stopped reporting: those it reports become Unknown."""
    known = {condition.type: condition for condition in node.status.conditions}
    for kind in _REPORTED:
        before = known.get(kind)
        if before is None:
            known[kind] = core.NodeCondition(
                type=kind,
                status="Unknown",
                reason="NodeStatusNeverUpdated",
                message="Kubelet never posted node status.",
                lastHeartbeatTime=node.metadata.creationTimestamp,
                lastTransitionTime=now,
            )
        elif before.status != "Unknown":
            known[kind] = msgspec.structs.replace(
                before,
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                lastTransitionTime=now,
            )
    return tuple(known.values())


def ready_status(conditions: Iterable[core.NodeCondition]) -> str:
    """True, False or Unknown; Unknown, too, when nothing was ever said."""
    return next((one.status for one in conditions if one.type == "Ready"), "Unknown")


def taints(node: core.Node, now: str) -> tuple[core.Taint, ...]:
    """The taints the node should have: foreign ones as they are, ours by its conditions and its cordon."""
    said = {(condition.type, condition.status) for condition in node.status.conditions}
    wanted = {(taint, "NoSchedule") for state, taint in _BY_CONDITION.items() if state in said}
    wanted |= {(taint, "NoExecute") for state, taint in _EVICTING.items() if state in said}
    if node.spec.unschedulable:
        wanted.add((wellknown.UNSCHEDULABLE, "NoSchedule"))
    kept = [taint for taint in node.spec.taints if not _is_ours(taint) or (taint.key, taint.effect) in wanted]
    have = {(taint.key, taint.effect) for taint in kept}
    new = (core.Taint(key=key, effect=effect, timeAdded=now) for key, effect in sorted(wanted - have))
    return (*kept, *new)


def _is_ours(taint: core.Taint) -> bool:
    if taint.effect == "NoExecute":
        return taint.key in (wellknown.NOT_READY, wellknown.UNREACHABLE)
    return taint.effect == "NoSchedule" and taint.key in _SCHEDULING


def no_longer_ready(pods: Iterable[core.Pod]) -> tuple[core.Pod, ...]:
    """Pods of a node that is not Ready which still claim to be."""
    return tuple(pod for pod in pods if readiness.is_ready(pod))


def not_ready(pod: core.Pod, now: str) -> tuple[core.PodCondition, ...]:
    """The pod's conditions with Ready turned off."""
    return tuple(
        msgspec.structs.replace(one, status="False", reason="NodeNotReady", lastTransitionTime=now)
        if one.type == "Ready"
        else one
        for one in pod.status.conditions
    )


def remaining(last_heard: float, grace: float, now: float) -> float:
    """Seconds until silence is too long; 0.0 when it is."""
    return max(0.0, last_heard + grace - now)


def same(one: Sequence[core.Taint], other: Sequence[core.Taint]) -> bool:
    """Whether two lists of taints say the same, in whatever order."""
    return {(t.key, t.value, t.effect) for t in one} == {(t.key, t.value, t.effect) for t in other}
