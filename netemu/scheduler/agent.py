"""The scheduling loop: takes waiting pods one by one, decides on the cache, binds in the background.

Decisions are made without waiting for anybody: a placed pod counts at once (Reserve), its binding follows,
and is taken back when the API server refuses it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from netemu.api import apps, core
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.reconcile import recorders
from netemu.scheduler import caches, plan, pods, profiles, queues

_log = logging.getLogger("scheduler")
_BINDINGS: Final = 32  # at once
_CYCLES: Final = 16  # decisions before others get their turn on the event loop


async def run(
    client: api.Client,
    clock: clock.Clock,
    *,
    shared: informers.Informers | None = None,
    chance: random.Random | None = None,
) -> None:
    """Schedule for ever. `shared`: informers run by somebody else in this process, to spare a second copy."""
    async with asyncio.TaskGroup() as tasks:
        known = shared
        if known is None:
            known = informers.Informers(client, clock)
        agent = Scheduler(client, known, clock, chance or random.Random())
        if shared is None:
            tasks.create_task(known.run())
        await agent.run()


class Scheduler:
    """One profile, one queue, one cache."""

    def __init__(
        self,
        client: api.Client,
        shared: informers.Informers,
        clock: clock.Clock,
        chance: random.Random,
        profile: profiles.Profile = profiles.DEFAULT,
    ) -> None:
        self._client = client
        self._clock = clock
        self._chance = chance
        self._profile = profile
        self._cache = caches.Cache()
        self._queue = queues.Queue()
        self._events = recorders.Recorder(client, profile.scheduler_name, clock)
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_BINDINGS)
        self._start = 0
        self._synced = [
            shared.of(kind).synced
            for kind in (core.Node, core.Pod, core.Namespace, core.Service, apps.ReplicaSet)
        ]
        shared.of(core.Namespace).subscribe(self._namespace_changed)
        shared.of(core.Service).subscribe(lambda c: self._cache.service_changed(c.key, c.current))
        shared.of(apps.ReplicaSet).subscribe(lambda c: self._cache.replica_set_changed(c.key, c.current))
        shared.of(core.Node).subscribe(self._node_changed)
        shared.of(core.Pod).subscribe(self._pod_changed)

    async def run(self) -> None:
        """Wait for a whole picture, then schedule for ever."""
        for synced in self._synced:
            await synced.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events.run())
            cycles = 0
            while True:
                waiting = self._queue.pop(self._clock.monotonic())
                if waiting is None:
                    await self._sleep()
                    continue
                self._schedule(waiting, tasks)
                cycles += 1
                if cycles % _CYCLES == 0:
                    await asyncio.sleep(0)

    async def _sleep(self) -> None:
        due = self._queue.next_due()
        self._wake.clear()
        if due is None:
            await self._wake.wait()
            return
        woken = asyncio.ensure_future(self._wake.wait())
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, due - self._clock.monotonic())))
        try:
            await asyncio.wait((woken, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            timer.cancel()

    # --- one pod --------------------------------------------------------------------------------------------

    def _schedule(self, waiting: queues.Waiting, tasks: asyncio.TaskGroup) -> None:
        pod = waiting.pod
        if pod.terminating:
            return
        decision = plan.plan(
            self._cache.snapshot(), pod, self._chance, profile=self._profile, start=self._start
        )
        self._start += decision.looked_at
        if decision.node is None:
            self._queue.park(waiting, decision.plugins, self._clock.monotonic())
            tasks.create_task(self._report(pod, decision.message))
            return
        self._cache.reserve(pod, decision.node)
        self._happened("pod placed")
        tasks.create_task(self._bind(waiting, pod, decision.node))

    async def _bind(self, waiting: queues.Waiting, pod: pods.PodInfo, node: str) -> None:
        try:
            async with self._slots:
                await self._client.bind(pod.namespace, pod.name, pod.uid, node)
        except errors.NetemuError as error:
            _log.warning("binding refused pod=%s/%s node=%s error=%s", pod.namespace, pod.name, node, error)
            if self._cache.is_assumed(pod.key):
                self._cache.unreserve(pod)
                self._queue.again(waiting, self._clock.monotonic())
                self._happened("pod gone")
            return
        self._events.record(
            pod.pod, "Normal", "Scheduled", f"Successfully assigned {pod.namespace}/{pod.name} to {node}"
        )

    async def _report(self, pod: pods.PodInfo, message: str) -> None:
        """The PodScheduled condition and the event of a pod that found no node."""
        self._events.record(pod.pod, "Warning", "FailedScheduling", message)
        current = next((one for one in pod.pod.status.conditions if one.type == "PodScheduled"), None)
        wanted = ("False", "Unschedulable", message)
        if current is not None and (current.status, current.reason, current.message) == wanted:
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if current is None or current.status != "False":
            condition["lastTransitionTime"] = clock.rfc3339(self._clock.now())
        try:
            async with self._slots:
                await self._client.patch(
                    core.Pod,
                    pod.name,
                    pod.namespace,
                    body={"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}},
                    how="strategic",
                    subresource="status",
                )
        except errors.NetemuError as error:
            _log.debug("condition not written pod=%s/%s error=%s", pod.namespace, pod.name, error)

    # --- what happens in the cluster ------------------------------------------------------------------------

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        before, now = change.previous, change.current
        if before is not None and now is not None and _same_place(before, now):
            return  # its kubelet reports progress
        self._cache.pod_changed(change.key, now)
        if before is not None and before.spec.nodeName and (now is None or _ended(now)):
            self._happened("pod gone")
        elif now is not None and now.spec.nodeName:
            if before is None or not before.spec.nodeName:
                self._happened("pod placed")
            elif before.metadata.labels != now.metadata.labels:
                self._happened("pod labels changed")
        if now is None or now.spec.nodeName or _ended(now) or now.metadata.deletionTimestamp:
            self._queue.remove(change.key)
        elif now.spec.schedulerName in ("", self._profile.scheduler_name):
            info = pods.of(now)
            self._queue.add(info, self._clock.monotonic(), gated=plan.gated(info, self._profile) is not None)
            self._wake.set()

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        before, now = change.previous, change.current
        if before is not None and now is not None and _same_for_scheduling(before, now):
            return  # a heartbeat
        self._cache.node_changed(change.key.name, now)
        if now is None:
            self._happened("node deleted")
        elif before is None:
            self._happened("node added")
        else:
            if before.spec.unschedulable != now.spec.unschedulable:
                self._happened("node cordon changed")
            if before.spec.taints != now.spec.taints:
                self._happened("node taints changed")
            if before.metadata.labels != now.metadata.labels:
                self._happened("node labels changed")
            if before.status.allocatable != now.status.allocatable:
                self._happened("node resources changed")

    def _namespace_changed(self, change: informers.Change[core.Namespace]) -> None:
        self._cache.namespace_changed(change.key.name, change.current)
        self._happened("namespace changed")

    def _happened(self, event: str) -> None:
        if self._queue.happened(event, self._clock.monotonic()):
            self._wake.set()


def _ended(pod: core.Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def _same_place(one: core.Pod, other: core.Pod) -> bool:
    return (
        bool(one.spec.nodeName)
        and one.spec == other.spec
        and one.metadata.uid == other.metadata.uid
        and one.metadata.labels == other.metadata.labels
        and one.metadata.deletionTimestamp == other.metadata.deletionTimestamp
        and _ended(one) == _ended(other)
    )


def _same_for_scheduling(one: core.Node, other: core.Node) -> bool:
    return (
        one.spec == other.spec
        and one.metadata.labels == other.metadata.labels
        and one.status.allocatable == other.status.allocatable
        and one.status.capacity == other.status.capacity
    )
