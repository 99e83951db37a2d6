"""Pods that wait for a node: active, backing off, or unschedulable until something changes. Knows no clock.

Upstream's scheduling queue: priority first, then the time of arrival; back-off 1, 2, 4, 8, 10 seconds by the
number of attempts; whoever nothing has helped for five minutes is tried again anyway. A scheduler that has
nothing else to do does not sit a back-off out (KEP-5142, on since 1.33), unless an API error caused it.
"""

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Final

from netemu.scheduler import pods

Key = tuple[str, str]
INITIAL_BACKOFF: Final = 1.0
MAX_BACKOFF: Final = 10.0
FLUSH_AFTER: Final = 300.0

_ACTIVE, _BACKOFF, _UNSCHEDULABLE, _GATED, _TAKEN = "active", "backoff", "unschedulable", "gated", "taken"

# Which plugin's refusal an event of the cluster may lift (upstream's EventsToRegister).
HELPS: Final[dict[str, frozenset[str]]] = {
    "node added": frozenset((
        "NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit",
        "PodTopologySpread", "InterPodAffinity",
    )),
    "node deleted": frozenset(("PodTopologySpread",)),
    "node cordon changed": frozenset(("NodeUnschedulable",)),
    "node taints changed": frozenset(("TaintToleration", "NodeUnschedulable", "PodTopologySpread")),
    "node labels changed": frozenset(("NodeAffinity", "PodTopologySpread", "InterPodAffinity")),
    "node resources changed": frozenset(("NodeResourcesFit",)),
    "pod placed": frozenset(("PodTopologySpread", "InterPodAffinity")),
    "pod labels changed": frozenset(("PodTopologySpread", "InterPodAffinity")),
    "pod gone": frozenset(("NodePorts", "NodeResourcesFit", "PodTopologySpread", "InterPodAffinity")),
    "namespace changed": frozenset(("InterPodAffinity",)),
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Waiting:
    """One pod in the queue."""

    pod: pods.PodInfo
    since: float
    attempts: int = 0
    state: str = _ACTIVE
    plugins: frozenset[str] = frozenset()
    due: float = 0.0  # when its back-off ends
    parked: float = 0.0
    order: int = field(default=0)

    @property
    def rank(self) -> tuple[int, float, int]:
        return -(self.pod.pod.spec.priority or 0), self.since, self.order


class Queue:
    """All pods without a node. Times are monotonic seconds which the caller brings."""

    def __init__(self) -> None:
        self._all: dict[Key, Waiting] = {}
        self._active: list[tuple[tuple[int, float, int], Waiting]] = []
        self._backoff: list[tuple[float, int, Waiting]] = []
        self._refused: list[tuple[float, int, Waiting]] = []
        self._unschedulable: dict[Key, Waiting] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: Key) -> bool:
        return key in self._all

    def add(self, pod: pods.PodInfo, now: float, *, gated: bool = False) -> None:
        """A pod that has appeared, or another version of one that waits.

        A change of its specification or labels is a reason to look at it again; a change of its status is
        not.
        """
        waiting = self._all.get(pod.key)
        if waiting is None or waiting.pod.uid != pod.uid:
            self.remove(pod.key)
            waiting = Waiting(pod, now, order=next(self._order), state=_GATED if gated else "")
            self._all[pod.key] = waiting
            if not gated:
                self._activate(waiting)
            return
        before, waiting.pod = waiting.pod, pod
        opened = waiting.state == _GATED and not gated
        changed = before.pod.spec != pod.pod.spec or before.labels != pod.labels
        if opened or (changed and waiting.state == _UNSCHEDULABLE):
            self._unschedulable.pop(pod.key, None)
            self._release(waiting, now)

    def remove(self, key: Key) -> None:
        """It has a node, or is gone."""
        waiting = self._all.pop(key, None)
        if waiting is not None:
            waiting.state = _TAKEN
            self._unschedulable.pop(key, None)

    def pop(self, now: float) -> Waiting | None:
        """The next pod to place; it stays known until it is removed or parked."""
        self._flush(now)
        while self._active:
            _, waiting = heapq.heappop(self._active)
            if waiting.state == _ACTIVE:
                return self._take(waiting)
        while self._backoff:
            _, _, waiting = heapq.heappop(self._backoff)
            if waiting.state == _BACKOFF:
                return self._take(waiting)
        return None

    def _take(self, waiting: Waiting) -> Waiting:
        waiting.state = _TAKEN
        waiting.attempts += 1
        return waiting

    def park(self, waiting: Waiting, plugins: frozenset[str], now: float) -> None:
        """No node today: wait for an event that may change the mind of one of `plugins`."""
        if self._all.get(waiting.pod.key) is not waiting:
            return
        waiting.state, waiting.plugins, waiting.parked = _UNSCHEDULABLE, plugins, now
        waiting.due = now + backoff(waiting.attempts)
        self._unschedulable[waiting.pod.key] = waiting

    def again(self, waiting: Waiting, now: float) -> None:
        """Not the cluster's fault (a binding was refused): try after the back-off."""
        if self._all.get(waiting.pod.key) is waiting:
            waiting.due, waiting.state = now + backoff(waiting.attempts), _BACKOFF
            heapq.heappush(self._refused, (waiting.due, next(self._order), waiting))

    def happened(self, event: str, now: float) -> int:
        """Something changed (a row of HELPS): wake those it may help. Returns how many."""
        helps = HELPS[event]
        woken = [
            waiting
            for waiting in self._unschedulable.values()
            if not waiting.plugins or waiting.plugins & helps
        ]
        for waiting in woken:
            del self._unschedulable[waiting.pod.key]
            self._release(waiting, now)
        return len(woken)

    def next_due(self) -> float | None:
        """When `pop` may have something without an event: the end of a back-off or of five minutes."""
        due = []
        for heap in (self._backoff, self._refused):
            while heap and heap[0][2].state != _BACKOFF:
                heapq.heappop(heap)
            due += [heap[0][0]] if heap else []
        if self._unschedulable:
            due.append(next(iter(self._unschedulable.values())).parked + FLUSH_AFTER)
        return min(due, default=None)

    def _flush(self, now: float) -> None:
        for heap in (self._backoff, self._refused):
            while heap and heap[0][0] <= now:
                _, _, waiting = heapq.heappop(heap)
                if waiting.state == _BACKOFF:
                    self._activate(waiting)
        while self._unschedulable:
            key, oldest = next(iter(self._unschedulable.items()))  # parked in order of time
            if oldest.parked + FLUSH_AFTER > now:
                break
            del self._unschedulable[key]
            self._release(oldest, now)

    def _release(self, waiting: Waiting, now: float) -> None:
        if waiting.due <= now:
            self._activate(waiting)
        else:
            waiting.state = _BACKOFF
            heapq.heappush(self._backoff, (waiting.due, next(self._order), waiting))

    def _activate(self, waiting: Waiting) -> None:
        waiting.state = _ACTIVE
        heapq.heappush(self._active, (waiting.rank, waiting))


def backoff(attempts: int) -> float:
    """Seconds before a pod is tried again, after that many attempts."""
    return min(INITIAL_BACKOFF * 2.0 ** max(attempts - 1, 0), MAX_BACKOFF)
