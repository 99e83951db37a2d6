"""The ReplicaSet loop: adopts, releases, creates and deletes pods as planned, and reports the counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from netemu.api import apps, core
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.controllers import news, ownership, paces, podcontrol, readiness, views
from netemu.controllers.replicaset import plan
from netemu.reconcile import loops, recorders

_log = logging.getLogger("replicaset")
_FIRST_BATCH: Final = 8  # creations at once at first; doubled as long as all succeed
_PACE, _PACE_PER_POD = 0.02, 0.001  # seconds between two looks at one set while its pods change


class ReplicaSets:
    """Keeps every ReplicaSet's number of pods."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._clock = clock
        self._loop = loops.Loop("replicaset", self._reconcile, workers=4, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._sets = views.View(known.of(apps.ReplicaSet), _set_groups)
        self._pods = views.View(known.of(core.Pod), views.by_controller)
        self._control = podcontrol.PodControl(client, self._pods, events)
        self._failures: dict[informers.Key, str] = {}
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        await self._sets.synced.wait()
        await self._pods.synced.wait()
        await self._loop.run()

    def _set_changed(self, change: informers.Change[apps.ReplicaSet]) -> None:
        if change.current is None:
            self._failures.pop(change.key, None)
        self._loop.enqueue(change.key)

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        before, now = change.previous, change.current
        if before is not None and now is not None and _facts(before) == _facts(now):
            return
        for owner in news.owners(change, "ReplicaSet"):
            replica_set = self._sets.get(owner)
            if replica_set is not None:
                self._pace.touch(owner, _PACE + _PACE_PER_POD * plan.wanted(replica_set))
        for adopter in news.adopters(change, self._sets.group(change.key.namespace)):
            self._loop.enqueue(adopter)

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        replica_set = self._sets.get(key)
        if replica_set is None:
            self._pace.forget(key)
            return None
        pods = await self._control.claim(replica_set)
        now = self._clock.now()
        steps = plan.plan(replica_set, pods, self._siblings(replica_set), now)
        failure: errors.NetemuError | None = None
        if steps.create or steps.delete:
            failure = await (
                self._create(replica_set, steps.create)
                if steps.create
                else self._control.delete(replica_set, steps.delete)
            )
            self._failures[key] = str(failure) if failure is not None else ""
        wait = await self._report(replica_set)
        if failure is not None and not podcontrol.is_farewell(failure):
            raise failure
        return wait

    def _siblings(self, replica_set: apps.ReplicaSet) -> Iterable[core.Pod]:
        owner = ownership.controller(replica_set)
        related = [replica_set] if owner is None else list(self._sets.group(owner.uid))
        return [pod for one in related for pod in self._control.of(one) if readiness.is_active(pod)]

    async def _create(self, replica_set: apps.ReplicaSet, count: int) -> errors.NetemuError | None:
        wanted = plan.pod(replica_set)
        batch = _FIRST_BATCH
        while count > 0:
            size = min(batch, count)
            failure = await self._control.create(replica_set, [wanted] * size)
            if failure is not None:
                return failure
            count -= size
            batch *= 2
        return None

    async def _report(self, replica_set: apps.ReplicaSet) -> float | None:
        key = informers.key(replica_set)
        latest = self._sets.get(key)
        if latest is None or latest.metadata.uid != replica_set.metadata.uid:
            return None
        now = self._clock.now()
        status, wait = plan.status(
            latest, self._control.of(latest), self._failures.get(key, ""), clock.rfc3339(now), now
        )
        if status != latest.status:
            self._sets.wrote(await self._client.update_status(ownership.with_status(latest, status)))
        return wait


def _facts(pod: core.Pod) -> tuple[Any, ...]:
    """What of a pod matters to its ReplicaSet."""
    return (
        readiness.is_active(pod),
        readiness.ready_since(pod),
        pod.metadata.labels,
        pod.metadata.ownerReferences,
        bool(pod.metadata.deletionTimestamp),
    )


def _set_groups(replica_set: apps.ReplicaSet) -> Iterable[str]:
    yield replica_set.metadata.namespace
    owner = ownership.controller(replica_set)
    if owner is not None:
        yield owner.uid
