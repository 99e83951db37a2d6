"""The node lifecycle loop: hears leases and statuses, and says so when a node falls silent.

Nothing is polled: each node is looked at again when its grace would run out.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from netemu.api import coordination, core
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import ownership, views
from netemu.controllers.nodelifecycle import plan
from netemu.reconcile import loops, recorders

_log = logging.getLogger("nodelifecycle")
LEASES: Final = "kube-node-lease"


class NodeLifecycle:
    """Turns silence into Unknown conditions and conditions into taints. Grace in seconds."""

    def __init__(
        self,
        client: api.Client,
        known: informers.Informers,
        clock: clock.Clock,
        events: recorders.Recorder,
        *,
        grace: float,
        startup_grace: float,
    ) -> None:
        self._client = client
        self._clock = clock
        self._events = events
        self._grace = grace
        self._startup_grace = startup_grace
        self._loop = loops.Loop("nodelifecycle", self._reconcile, workers=4, clock=clock)
        self._heard: dict[str, float] = {}  # by our own clock: nodes' clocks may differ
        self._nodes = views.View(known.of(core.Node))
        self._pods = views.View(known.of(core.Pod), lambda pod: (pod.spec.nodeName,))
        self._leases = known.of(coordination.Lease)
        self._nodes.subscribe(self._node_changed)
        self._leases.subscribe(self._lease_changed)

    async def run(self) -> None:
        for synced in (self._nodes.synced, self._pods.synced, self._leases.synced):
            await synced.wait()
        await self._loop.run()

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        name, before, now = change.key.name, change.previous, change.current
        if now is None:
            self._heard.pop(name, None)
            return
        if before is None or _heartbeats(before) != _heartbeats(now):
            self._heard[name] = self._clock.monotonic()
        if before is None or before.status.conditions != now.status.conditions or before.spec != now.spec:
            self._loop.enqueue(name)

    def _lease_changed(self, change: informers.Change[coordination.Lease]) -> None:
        if change.key.namespace == LEASES and change.current is not None:
            self._heard[change.key.name] = self._clock.monotonic()

    async def _reconcile(self, name: str) -> float | None:
        node = self._nodes.get(informers.Key("", name))
        if node is None:
            return None
        remaining = self._remaining(node)
        if remaining <= 0:
            node = await self._silence(node)
            remaining = self._grace
        await self._taint(node)
        if plan.ready_status(node.status.conditions) != "True":
            await self._turn_pods_off(name)
        return remaining

    def _remaining(self, node: core.Node) -> float:
        reported = any(condition.type == "Ready" for condition in node.status.conditions)
        grace = self._grace if reported else self._startup_grace
        heard = self._heard.setdefault(node.metadata.name, self._clock.monotonic())
        return plan.remaining(heard, grace, self._clock.monotonic())

    async def _silence(self, node: core.Node) -> core.Node:
        wanted = plan.silent(node, clock.rfc3339(self._clock.now()))
        if wanted == node.status.conditions:
            return node
        _log.warning("node is silent node=%s", node.metadata.name)
        status = msgspec.structs.replace(node.status, conditions=wanted)
        written = await self._client.update_status(ownership.with_status(node, status))
        self._events.record(
            node, "Normal", "NodeNotReady", f"Node {node.metadata.name} status is now: NodeNotReady"
        )
        return self._nodes.wrote(written)

    async def _taint(self, node: core.Node) -> None:
        wanted = plan.taints(node, clock.rfc3339(self._clock.now()))
        if plan.same(wanted, node.spec.taints):
            return
        body = {
            "metadata": {"resourceVersion": node.metadata.resourceVersion},
            "spec": {"taints": [msgspec.to_builtins(taint) for taint in wanted]},
        }
        self._nodes.wrote(await self._client.patch(core.Node, node.metadata.name, body=body))

    async def _turn_pods_off(self, name: str) -> None:
        now = clock.rfc3339(self._clock.now())
        for pod in plan.no_longer_ready(tuple(self._pods.group(name))):
            status = msgspec.structs.replace(pod.status, conditions=plan.not_ready(pod, now))
            try:
                written = await self._client.update_status(ownership.with_status(pod, status))
            except api_errors.NotFound:
                continue
            self._pods.wrote(written)
            self._events.record(pod, "Warning", "NodeNotReady", "Node is not ready")


def _heartbeats(node: core.Node) -> tuple[str, ...]:
    return tuple(condition.lastHeartbeatTime for condition in node.status.conditions)
