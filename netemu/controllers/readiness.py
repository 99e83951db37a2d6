"""What a pod's status says to controllers: active, ready, available. Knows conditions; asks no clock.

Times are unix seconds.
"""

from collections.abc import Iterable

from netemu.api import core, times


def is_terminal(pod: core.Pod) -> bool:
    """It has run to its end, well or badly."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: core.Pod) -> bool:
    """Counts as a replica: neither ended nor on its way out."""
    return not is_terminal(pod) and not pod.metadata.deletionTimestamp


def condition(pod: core.Pod, kind: str) -> core.PodCondition | None:
    for one in pod.status.conditions:
        if one.type == kind:
            return one
    return None


def is_ready(pod: core.Pod) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def ready_since(pod: core.Pod) -> float | None:
    """When it became Ready; None when it is not, 0.0 when its kubelet did not say."""
    ready = condition(pod, "Ready")
    if ready is None or ready.status != "True":
        return None
    return seconds(ready.lastTransitionTime)


def available_in(pod: core.Pod, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until a ready pod counts as available: 0.0 when it does, None when it is not ready."""
    since = ready_since(pod)
    if since is None:
        return None
    if min_ready_seconds == 0:
        return 0.0
    return max(0.0, since + min_ready_seconds - now)


def available(pods: Iterable[core.Pod], min_ready_seconds: int, now: float) -> tuple[int, float | None]:
    """How many pods are available, and in how many seconds the next one will be (None: no such)."""
    waits = [available_in(pod, min_ready_seconds, now) for pod in pods]
    coming = [wait for wait in waits if wait]
    return sum(1 for wait in waits if wait == 0.0), min(coming, default=None)


def seconds(timestamp: str | None) -> float:
    """Unix seconds of an RFC 3339 time; 0.0 for none."""
    return times.seconds(timestamp) if timestamp else 0.0
