"""Pods in a table. The status is the reason a person would give for how the pod is.

Its precedence is that of upstream's printers (pkg/printers/internalversion): phase, reason, gates, init
containers, containers, deletion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netemu.api import core, times
from netemu.api.tables.layout import AGE, NAME, NONE, Cell, Table, age, text, wide


@dataclass
class _Tally:
    """What is counted while walking over container statuses."""

    restarts: int = 0
    last: str = ""
    ready: int = 0

    def count(self, status: core.ContainerStatus) -> None:
        self.restarts += status.restartCount
        ended = status.lastState.terminated
        if ended is not None and ended.finishedAt > self.last:
            self.last = ended.finishedAt


def row(pod: core.Pod, now: float) -> tuple[Cell, ...]:
    reason, tally = summary(pod)
    sidecars = sum(container.restartPolicy == "Always" for container in pod.spec.initContainers)
    restarts = str(tally.restarts)
    if tally.restarts and tally.last:
        restarts = f"{tally.restarts} ({times.age(tally.last, now)} ago)"
    return (
        pod.metadata.name,
        f"{tally.ready}/{len(pod.spec.containers) + sidecars}",
        reason,
        restarts,
        age(pod.metadata, now),
        next((found.ip for found in pod.status.podIPs), pod.status.podIP) or NONE,
        pod.spec.nodeName or NONE,
        pod.status.nominatedNodeName or NONE,
        _gates(pod),
    )


def summary(pod: core.Pod) -> tuple[str, _Tally]:
    """The status a person sees, and restarts and ready containers."""
    status = pod.status
    reason = status.reason or status.phase
    if any(c.type == "PodScheduled" and c.reason == "SchedulingGated" for c in status.conditions):
        reason = "SchedulingGated"
    whole, sidecars = _Tally(), _Tally()
    initialising = _initialising(pod, whole, sidecars)
    if not initialising or _is_true(status.conditions, "Initialized"):
        reason, tally = _running(pod, initialising or reason, sidecars)
    else:
        reason, tally = initialising, whole
    if pod.metadata.deletionTimestamp is not None:
        if status.reason == "NodeLost":
            reason = "Unknown"
        elif status.phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    return reason, tally


def _initialising(pod: core.Pod, whole: _Tally, sidecars: _Tally) -> str:
    """Which init container holds the pod up and why; "" if none does."""
    restartable = {c.name for c in pod.spec.initContainers if c.restartPolicy == "Always"}
    for index, status in enumerate(pod.status.initContainerStatuses):
        whole.count(status)
        if status.name in restartable:
            sidecars.count(status)
        ended, waiting = status.state.terminated, status.state.waiting
        if ended is not None and ended.exitCode == 0:
            continue
        if status.name in restartable and status.started:
            sidecars.ready += status.ready
            whole.ready += status.ready
            continue
        if ended is not None:
            return f"Init:{_ending(ended)}"
        if waiting is not None and waiting.reason not in ("", "PodInitializing"):
            return f"Init:{waiting.reason}"
        return f"Init:{index}/{len(pod.spec.initContainers)}"
    return ""


def _running(pod: core.Pod, reason: str, tally: _Tally) -> tuple[str, _Tally]:
    running = False
    for status in reversed(pod.status.containerStatuses):
        tally.count(status)
        ended, waiting = status.state.terminated, status.state.waiting
        if waiting is not None and waiting.reason:
            reason = waiting.reason
        elif ended is not None:
            reason = _ending(ended)
        elif status.ready and status.state.running is not None:
            running = True
            tally.ready += 1
    if reason == "Completed" and running:
        reason = "Running" if _is_true(pod.status.conditions, "Ready") else "NotReady"
    return reason, tally


def _ending(ended: core.ContainerStateTerminated) -> str:
    if ended.reason:
        return ended.reason
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exitCode}"


def _is_true(conditions: Iterable[core.PodCondition], type_: str) -> bool:
    return any(c.type == type_ and c.status == "True" for c in conditions)


def _gates(pod: core.Pod) -> str:
    gates = pod.spec.readinessGates
    if not gates:
        return NONE
    return f"{sum(_is_true(pod.status.conditions, gate.conditionType) for gate in gates)}/{len(gates)}"


TABLE = Table(
    (
        NAME,
        text("Ready"),
        text("Status"),
        text("Restarts"),
        AGE,
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ),
    row,
)
