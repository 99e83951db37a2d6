"""When what endpoints now show has happened, for endpoints.kubernetes.io/last-change-trigger-time.

The earliest change since the last look: a pod that became ready or not, a Service that was made.
Knows times only; upstream's TriggerTimeTracker.
"""

from __future__ import annotations

from collections.abc import Iterable

from netemu.api import core
from netemu.client import informers
from netemu.controllers import readiness


class Triggers:
    """The times seen last, by Service."""

    def __init__(self) -> None:
        self._seen: dict[informers.Key, tuple[str, dict[str, str]]] = {}

    def take(self, key: informers.Key, service: core.Service, pods: Iterable[core.Pod]) -> str:
        """The earliest time that is new, or empty."""
        made = service.metadata.creationTimestamp
        times = {pod.metadata.uid: _time(pod) for pod in pods}
        before_made, before = self._seen.get(key, ("", {}))
        self._seen[key] = (made, times)
        new = [time for uid, time in times.items() if time and time > before.get(uid, "")]
        if made and made != before_made:
            new.append(made)
        return min(new, default="")

    def forget(self, key: informers.Key) -> None:
        self._seen.pop(key, None)


def _time(pod: core.Pod) -> str:
    ready = readiness.condition(pod, "Ready")
    return ready.lastTransitionTime if ready is not None else pod.metadata.creationTimestamp
