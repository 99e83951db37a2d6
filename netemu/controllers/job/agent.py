"""The Job loop: makes pods, counts how they ended without losing one, ends the Job, removes it in time."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable
from typing import Final

from netemu.api import batch, core
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import news, ownership, paces, podcontrol, views
from netemu.controllers.job import plan
from netemu.reconcile import loops, recorders

_PACE: Final = 0.05  # seconds between two looks at one Job while its pods change


class Jobs:
    """Runs every Job to its end."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._clock = clock
        self._events = events
        self._loop = loops.Loop("job", self._reconcile, workers=2, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._jobs = views.View(known.of(batch.Job))
        self._pods = views.View(known.of(core.Pod), _groups)
        self._control = podcontrol.PodControl(client, self._pods, events)
        self._jobs.subscribe(lambda change: self._loop.enqueue(change.key))
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        await self._jobs.synced.wait()
        await self._pods.synced.wait()
        await self._loop.run()

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        for owner in news.owners(change, "Job"):
            self._pace.touch(owner, _PACE)

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        job = self._jobs.get(key)
        await self._let_orphans_go(key, job)
        if job is None or job.metadata.deletionTimestamp:
            self._pace.forget(key)
            return None
        if job.spec.managedBy not in (None, "kubernetes.io/job-controller"):
            return None
        pods = list(self._pods.group(job.metadata.uid))
        steps = plan.plan(job, pods, self._clock.now())
        if steps.status != job.status:
            was = plan.finished(job)
            job = self._jobs.wrote(await self._client.update_status(ownership.with_status(job, steps.status)))
            self._loop.enqueue(key)
            if was is None and (over := plan.finished(job)) is not None:
                self._say(job, over)
        for pod in steps.release:
            await self._release(pod)
            self._loop.enqueue(key)  # it can be counted now
        if steps.again == 0.0 and plan.finished(job) is not None:
            await self._remove(job)
            return None
        delete = [pod for pod in steps.delete if not self._pods.is_leaving(pod)]
        failure: errors.NetemuError | None = None
        if delete:
            failure = await self._control.delete(job, delete)
        if steps.create:
            wanted = [plan.pod(job, index) for index in steps.create]
            failure = await self._control.create(job, wanted) or failure
        if failure is not None and not podcontrol.is_farewell(failure):
            raise failure
        return steps.again

    async def _let_orphans_go(self, key: informers.Key, job: batch.Job | None) -> None:
        """Nobody counts the pods of a Job that is gone: nothing holds them any longer."""
        alive = "" if job is None or job.metadata.deletionTimestamp else job.metadata.uid
        for pod in tuple(self._pods.group(key)):
            owner = ownership.controller(pod)
            if owner is not None and owner.uid != alive:
                await self._release(pod)

    async def _release(self, pod: core.Pod) -> None:
        """Take the finalizer off, and nothing else that others may have put there meanwhile."""
        if plan.FINALIZER not in pod.metadata.finalizers:
            return
        about = pod.metadata
        body = {"metadata": {"$deleteFromPrimitiveList/finalizers": [plan.FINALIZER]}}
        with contextlib.suppress(api_errors.NotFound):
            self._pods.wrote(
                await self._client.patch(core.Pod, about.name, about.namespace, body=body, how="strategic")
            )

    async def _remove(self, job: batch.Job) -> None:
        about = job.metadata
        with contextlib.suppress(api_errors.NotFound):
            await self._client.delete(
                batch.Job, about.name, about.namespace, uid=about.uid, propagation="Foreground"
            )

    def _say(self, job: batch.Job, over: batch.JobCondition) -> None:
        if over.type == "Complete":
            self._events.record(job, "Normal", "Completed", "Job completed")
        else:
            self._events.record(job, "Warning", over.reason, over.message)


def _groups(pod: core.Pod) -> Iterable[Hashable]:
    """By the owner's uid, and by its name: who is called like a Job that is gone may be left over."""
    yield from views.by_controller(pod)
    owner = news.owner(pod, "Job")
    if owner is not None:
        yield owner
