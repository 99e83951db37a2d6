"""The StatefulSet loop: records versions, makes and deletes pods in their order, reports the counts."""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from netemu.api import apps, core
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import history, news, ownership, paces, podcontrol, revisions, views
from netemu.controllers.statefulset import plan
from netemu.reconcile import loops, recorders

_PACE: Final = 0.02  # seconds between two looks at one set while its pods change


class StatefulSets:
    """Keeps the numbered pods of every StatefulSet."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._clock = clock
        self._loop = loops.Loop("statefulset", self._reconcile, workers=2, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._sets = views.View(known.of(apps.StatefulSet), views.by_namespace)
        self._pods = views.View(known.of(core.Pod), views.by_controller)
        self._revisions = revisions.Revisions(client, known)
        self._control = podcontrol.PodControl(client, self._pods, events)
        self._sets.subscribe(lambda change: self._loop.enqueue(change.key))
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        for synced in (self._sets.synced, self._pods.synced, self._revisions.synced):
            await synced.wait()
        await self._loop.run()

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        for owner in news.owners(change, "StatefulSet"):
            if self._sets.get(owner) is not None:
                self._pace.touch(owner, _PACE)
        for adopter in news.adopters(change, self._sets.group(change.key.namespace)):
            self._loop.enqueue(adopter)

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        stateful_set = self._sets.get(key)
        if stateful_set is None:
            self._pace.forget(key)
            return None
        failure: errors.NetemuError | None = None
        await self._control.claim(stateful_set)
        pods = list(self._pods.group(stateful_set.metadata.uid))
        newest = await self._revisions.record(stateful_set, pods)
        versions = self._versions(stateful_set, history.digest(newest))
        # Somebody asked to go whose echo has not come yet counts as going.
        steps = plan.plan(stateful_set, pods, versions, self._clock.now())
        delete = [pod for pod in steps.delete if not self._pods.is_leaving(pod)]
        if delete:
            failure = await self._control.delete(stateful_set, delete)
        for pod in steps.create:
            await self._claim_volumes(stateful_set, pod)
        if steps.create:
            failure = await self._control.create(stateful_set, steps.create) or failure
        wait = await self._report(key, versions)
        if failure is not None and not podcontrol.is_farewell(failure):
            raise failure
        return wait

    def _versions(self, stateful_set: apps.StatefulSet, update: str) -> plan.Versions:
        templates = {
            history.digest(one): msgspec.convert(one.data["spec"]["template"], core.PodTemplateSpec)
            for one in self._revisions.of(stateful_set)
        }
        templates[update] = stateful_set.spec.template
        current = stateful_set.status.currentRevision
        return plan.Versions(current if current in templates else update, update, templates)

    async def _claim_volumes(self, stateful_set: apps.StatefulSet, pod: core.Pod) -> None:
        for claim in plan.claims(stateful_set, pod):
            with contextlib.suppress(api_errors.AlreadyExists):
                await self._client.create(claim)

    async def _report(self, key: informers.Key, versions: plan.Versions) -> float | None:
        latest = self._sets.get(key)
        if latest is None:
            return None
        status, wait = plan.status(latest, self._control.of(latest), versions, self._clock.now())
        if status != latest.status:
            self._sets.wrote(await self._client.update_status(ownership.with_status(latest, status)))
            self._loop.enqueue(key)
        return wait
