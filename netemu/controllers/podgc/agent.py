"""The pod garbage loop: force-deletes pods whose node is gone for good, and other pods without a keeper."""

from __future__ import annotations

from typing import Final

from netemu.api import core
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import readiness, views
from netemu.controllers.podgc import plan
from netemu.reconcile import loops

_ALL: Final = "all pods"
_QUARANTINE: Final = 40.0  # seconds a node may be missing: its object may be about to come back


class PodGarbage:
    """Looks only when there is a reason: a node went, a pod was deleted unplaced, too many have ended."""

    def __init__(self, client: api.Client, known: informers.Informers, clock: clock.Clock) -> None:
        self._client = client
        self._clock = clock
        self._loop = loops.Loop("podgc", self._reconcile, clock=clock)
        self._nodes = known.of(core.Node)
        self._pods = views.View(known.of(core.Pod), lambda pod: (pod.spec.nodeName,))
        self._missing: dict[str, float] = {}  # nodes, and since when
        self._ended = 0
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        await self._nodes.synced.wait()
        await self._pods.synced.wait()
        self._loop.enqueue(_ALL)
        await self._loop.run()

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        if change.current is None:
            self._loop.enqueue(_ALL)
        else:
            self._missing.pop(change.key.name, None)

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        before, now = change.previous, change.current
        ended = now is not None and readiness.is_terminal(now)
        self._ended += ended - (before is not None and readiness.is_terminal(before))
        if now is None:
            return
        lost = (
            now.spec.nodeName
            and (before is None or not before.spec.nodeName)
            and not self._has(now.spec.nodeName)
        )
        unplaced = now.metadata.deletionTimestamp and not now.spec.nodeName
        if lost or unplaced or (ended and self._ended > plan.MAX_TERMINATED):
            self._loop.enqueue(_ALL)

    def _has(self, node: str) -> bool:
        return informers.Key("", node) in self._nodes.objects

    async def _reconcile(self, _: str) -> float | None:
        pods = list(self._pods.every())
        now = self._clock.monotonic()
        nodes = {key.name for key in self._nodes.objects}
        orphans = plan.orphaned(pods, nodes)
        names = {pod.spec.nodeName for pod in orphans}
        self._missing = {name: self._missing.get(name, now) for name in names}
        waits = [since + _QUARANTINE - now for since in self._missing.values() if since + _QUARANTINE > now]
        for name, since in self._missing.items():
            if since + _QUARANTINE <= now and not await self._exists(name):
                for pod in orphans:
                    if pod.spec.nodeName == name:
                        await self._delete(pod, "PodGC: node no longer exists")
        for pod in plan.never_placed(pods):
            await self._delete(pod, "")
        for pod in plan.surplus(pods):
            await self._delete(pod, "")
        return min(waits, default=None)

    async def _exists(self, node: str) -> bool:
        try:
            await self._client.get(core.Node, node)
        except api_errors.NotFound:
            return False
        return True

    async def _delete(self, pod: core.Pod, why: str) -> None:
        about = pod.metadata
        try:
            if why and not readiness.is_terminal(pod):
                await self._fail(pod, why)
            await self._client.delete(core.Pod, about.name, about.namespace, grace=0, uid=about.uid)
        except (api_errors.NotFound, api_errors.Conflict):
            return

    async def _fail(self, pod: core.Pod, why: str) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": why,
            "lastTransitionTime": clock.rfc3339(self._clock.now()),
        }
        await self._client.patch(
            core.Pod,
            pod.metadata.name,
            pod.metadata.namespace,
            body={
                "metadata": {"uid": pod.metadata.uid},
                "status": {"phase": "Failed", "conditions": [condition]},
            },
            how="strategic",
            subresource="status",
        )
