"""The DaemonSet loop: records versions, makes and deletes pods node by node as planned, reports counts."""

from __future__ import annotations

from typing import Final

from netemu.api import apps, core
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.controllers import history, news, ownership, paces, podcontrol, readiness, revisions, views
from netemu.controllers.daemonset import plan
from netemu.reconcile import loops, recorders

_PACE: Final = 0.05  # seconds between two looks at one set while its pods change


class DaemonSets:
    """Keeps a pod of every DaemonSet on every node it belongs on."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._clock = clock
        self._loop = loops.Loop("daemonset", self._reconcile, workers=2, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._sets = views.View(known.of(apps.DaemonSet), views.by_namespace)
        self._pods = views.View(known.of(core.Pod), views.by_controller)
        self._nodes = known.of(core.Node)
        self._revisions = revisions.Revisions(client, known)
        self._control = podcontrol.PodControl(client, self._pods, events)
        self._sets.subscribe(lambda change: self._loop.enqueue(change.key))
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)

    async def run(self) -> None:
        for synced in (self._sets.synced, self._pods.synced, self._nodes.synced, self._revisions.synced):
            await synced.wait()
        await self._loop.run()

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        for owner in news.owners(change, "DaemonSet"):
            if self._sets.get(owner) is not None:
                self._pace.touch(owner, _PACE)
        for adopter in news.adopters(change, self._sets.group(change.key.namespace)):
            self._loop.enqueue(adopter)

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        before, now = change.previous, change.current
        if before is not None and now is not None and _facts(before) == _facts(now):
            return
        for one in self._sets.every():
            self._pace.touch(informers.key(one), _PACE)

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        daemon_set = self._sets.get(key)
        if daemon_set is None:
            self._pace.forget(key)
            return None
        failure: errors.NetemuError | None = None
        pods = await self._control.claim(daemon_set)
        newest = history.digest(await self._revisions.record(daemon_set, pods))
        nodes = tuple(self._nodes.objects.values())
        steps = plan.plan(daemon_set, nodes, pods, newest, self._clock.now())
        if steps.delete:
            failure = await self._control.delete(daemon_set, steps.delete)
        if steps.create:
            wanted = [plan.pod(daemon_set, node, newest) for node in steps.create]
            failure = await self._control.create(daemon_set, wanted) or failure
        wait = await self._report(key, newest)
        if failure is not None and not podcontrol.is_farewell(failure):
            raise failure
        return wait

    async def _report(self, key: informers.Key, newest: str) -> float | None:
        latest = self._sets.get(key)
        if latest is None:
            return None
        pods = [pod for pod in self._control.of(latest) if not readiness.is_terminal(pod)]
        nodes = tuple(self._nodes.objects.values())
        status, wait = plan.status(latest, nodes, pods, newest, self._clock.now())
        if status != latest.status:
            self._sets.wrote(await self._client.update_status(ownership.with_status(latest, status)))
        return wait


def _facts(node: core.Node) -> tuple[object, ...]:
    """What of a node decides whether a pod belongs on it."""
    return node.metadata.uid, node.metadata.labels, node.spec.taints
