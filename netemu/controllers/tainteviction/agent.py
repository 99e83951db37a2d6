"""The taint eviction loop: deletes pods that do not (or no longer) tolerate a NoExecute taint of a node."""

from __future__ import annotations

from typing import Any

from netemu.api import core
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import readiness, views
from netemu.controllers.tainteviction import plan
from netemu.reconcile import loops, recorders


class TaintEviction:
    """One timer a pod, and only for pods on nodes with such taints."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._clock = clock
        self._events = events
        self._loop = loops.Loop("tainteviction", self._reconcile, workers=4, clock=clock)
        self._nodes = known.of(core.Node)
        self._pods = views.View(known.of(core.Pod), lambda pod: (pod.spec.nodeName,))
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        await self._nodes.synced.wait()
        await self._pods.synced.wait()
        await self._loop.run()

    def _taints(self, name: str) -> tuple[core.Taint, ...]:
        node = self._nodes.get(informers.Key("", name))
        return tuple(t for t in node.spec.taints if t.effect == "NoExecute") if node is not None else ()

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        before, now = change.previous, change.current
        if not self._taints(change.key.name):
            return
        if before is not None and now is not None and before.spec.taints == now.spec.taints:
            return
        for pod in self._pods.group(change.key.name):
            self._loop.enqueue(informers.key(pod))

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        before, now = change.previous, change.current
        if now is None or not self._taints(now.spec.nodeName):
            return
        if before is None or _facts(before) != _facts(now):
            self._loop.enqueue(change.key)

    async def _reconcile(self, key: informers.Key) -> float | None:
        pod = self._pods.get(key)
        if (
            pod is None
            or pod.metadata.deletionTimestamp
            or readiness.is_terminal(pod)
            or not pod.spec.nodeName
        ):
            return None
        now = self._clock.now()
        at = plan.evict_at(pod, self._taints(pod.spec.nodeName), now)
        if at is None:
            return None
        if at > now:
            return at - now
        await self._evict(pod)
        return None

    async def _evict(self, pod: core.Pod) -> None:
        about = pod.metadata
        self._events.record(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {about.namespace}/{about.name}"
        )
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": clock.rfc3339(self._clock.now()),
        }
        try:
            await self._client.patch(
                core.Pod,
                about.name,
                about.namespace,
                body={"metadata": {"uid": about.uid}, "status": {"conditions": [condition]}},
                how="strategic",
                subresource="status",
            )
            await self._client.delete(core.Pod, about.name, about.namespace, uid=about.uid)
        except (api_errors.NotFound, api_errors.Conflict):
            pass


def _facts(pod: core.Pod) -> tuple[Any, ...]:
    return pod.spec.nodeName, pod.spec.tolerations
