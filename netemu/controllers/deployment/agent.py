"""The Deployment loop: makes the planned writes to ReplicaSets, step by step, then reports the status."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from netemu.api import apps, core, selectors
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import news, ownership, paces, readiness, views
from netemu.controllers.deployment import conditions, plan, rollout
from netemu.reconcile import loops, recorders

_PACE: Final = 0.03  # seconds between two looks at one Deployment while its ReplicaSets change
_STEPS: Final = 8  # more in one round would be a plan that does not settle


class Deployments:
    """Keeps every Deployment's ReplicaSets."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._clock = clock
        self._events = events
        self._loop = loops.Loop("deployment", self._reconcile, workers=4, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._deployments = views.View(known.of(apps.Deployment), views.by_namespace)
        self._sets = views.View(known.of(apps.ReplicaSet), views.by_controller)
        self._pods = views.View(known.of(core.Pod), views.by_controller)
        self._deployments.subscribe(self._deployment_changed)
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        for view in (self._deployments, self._sets, self._pods):
            await view.synced.wait()
        await self._loop.run()

    # --- news -----------------------------------------------------------------------------------------------

    def _deployment_changed(self, change: informers.Change[apps.Deployment]) -> None:
        self._loop.enqueue(change.key)

    def _set_changed(self, change: informers.Change[apps.ReplicaSet]) -> None:
        for owner in news.owners(change, "Deployment"):
            self._pace.touch(owner, _PACE)
        for adopter in news.adopters(change, self._deployments.group(change.key.namespace)):
            self._loop.enqueue(adopter)

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        # Only Recreate waits for pods themselves; all others count by ReplicaSet.
        if change.previous is None or (
            change.current is not None and not readiness.is_terminal(change.current)
        ):
            return
        owner = news.owner(change.previous, "ReplicaSet")
        replica_set = None if owner is None else self._sets.get(owner)
        above = None if replica_set is None else news.owner(replica_set, "Deployment")
        deployment = None if above is None else self._deployments.get(above)
        if deployment is not None and not rollout.is_rolling(deployment):
            self._loop.enqueue(informers.key(deployment))

    # --- one Deployment -------------------------------------------------------------------------------------

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        deployment = self._deployments.get(key)
        if deployment is None:
            self._pace.forget(key)
            return None
        await self._claim(deployment)
        now = conditions.Now(self._clock.now(), clock.rfc3339(self._clock.now()))
        progress = conditions.pausing(deployment, now)
        for _ in range(_STEPS):
            latest = self._deployments.get(key)
            if latest is None or latest.metadata.uid != deployment.metadata.uid:
                return None
            step = plan.plan(latest, self._mine(latest), self._old_pods(latest))
            if step.is_empty:
                break
            progress = await self._apply(latest, step, now) or progress
        latest = self._deployments.get(key) or deployment
        return await self._report(latest, progress, now)

    def _mine(self, deployment: apps.Deployment) -> list[apps.ReplicaSet]:
        return [one for one in self._sets.group(deployment.metadata.uid) if not self._sets.is_leaving(one)]

    def _old_pods(self, deployment: apps.Deployment) -> list[core.Pod]:
        if rollout.is_rolling(deployment):
            return []
        seen = plan.view(deployment, self._mine(deployment))
        return [pod for one in seen.old for pod in self._pods.group(one.metadata.uid)]

    async def _claim(self, deployment: apps.Deployment) -> None:
        orphans = self._sets.group(views.orphans(deployment.metadata.namespace))
        claims = ownership.claims(
            deployment, selectors.of(deployment.spec.selector), [*self._mine(deployment), *orphans]
        )
        for one in claims.adopt:
            owners = (*one.metadata.ownerReferences, ownership.reference(deployment))
            await self._patch_set(one, {"metadata": {"ownerReferences": ownership.documents(owners)}})
        for one in claims.release:
            others = [o for o in one.metadata.ownerReferences if o.uid != deployment.metadata.uid]
            await self._patch_set(one, {"metadata": {"ownerReferences": ownership.documents(others)}})

    async def _apply(
        self, deployment: apps.Deployment, step: plan.Step, now: conditions.Now
    ) -> apps.DeploymentCondition | None:
        """Make the writes of one step; a Progressing condition if they are news."""
        progress = None
        if step.create is not None:
            progress = await self._create(deployment, step.create, now)
        for one in step.refresh:
            annotations = {"annotations": one.metadata.annotations}
            await self._patch_set(
                one, {"metadata": annotations, "spec": {"minReadySeconds": one.spec.minReadySeconds}}
            )
        for resize in step.resize:
            await self._resize(deployment, resize)
        for one in step.delete:
            await self._client.delete(
                apps.ReplicaSet, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid
            )
            self._sets.deleted(one)
        if step.revision:
            body = {"metadata": {"annotations": {rollout.REVISION: step.revision}}}
            about = deployment.metadata
            self._deployments.wrote(
                await self._client.patch(apps.Deployment, about.name, about.namespace, body=body)
            )
        first = conditions.find(deployment.status.conditions, "Progressing") is None
        if progress is None and step.new is not None and first and conditions.has_deadline(deployment):
            message = f'Found new replica set "{step.new.metadata.name}"'
            progress = conditions.condition("Progressing", "True", conditions.NEW_FOUND, message, now)
        return progress

    async def _create(
        self, deployment: apps.Deployment, wanted: apps.ReplicaSet, now: conditions.Now
    ) -> apps.DeploymentCondition | None:
        try:
            made = await self._client.create(wanted)
        except api_errors.AlreadyExists:
            await self._collided(deployment, wanted)
            return None
        self._sets.wrote(made)
        name, size = made.metadata.name, rollout.replicas(made)
        if size:
            self._events.record(
                deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}"
            )
        if not conditions.has_deadline(deployment):
            return None
        message = f'Created new replica set "{name}"'
        return conditions.condition("Progressing", "True", conditions.NEW_CREATED, message, now)

    async def _collided(self, deployment: apps.Deployment, wanted: apps.ReplicaSet) -> None:
        """The name is taken: by ours, not seen yet (then it is seen now), or by a stranger (then another
        name).
        """
        taken = await self._client.get(apps.ReplicaSet, wanted.metadata.name, wanted.metadata.namespace)
        owner = ownership.controller(taken)
        if owner is not None and owner.uid == deployment.metadata.uid:
            self._sets.wrote(taken)
            return
        collisions = (deployment.status.collisionCount or 0) + 1
        status = msgspec.structs.replace(deployment.status, collisionCount=collisions)
        self._deployments.wrote(await self._client.update_status(ownership.with_status(deployment, status)))

    async def _resize(self, deployment: apps.Deployment, resize: plan.Resize) -> None:
        before = rollout.replicas(resize.replica_set)
        name = resize.replica_set.metadata.name
        await self._patch_set(
            resize.replica_set,
            {"metadata": {"annotations": dict(resize.annotations)}, "spec": {"replicas": resize.replicas}},
        )
        if before != resize.replicas:
            way = "up" if resize.replicas > before else "down"
            self._events.record(
                deployment,
                "Normal",
                "ScalingReplicaSet",
                f"Scaled {way} replica set {name} from {before} to {resize.replicas}",
            )

    async def _patch_set(self, replica_set: apps.ReplicaSet, body: dict[str, Any]) -> None:
        """Patch the version that was looked at, or the one this round has made of it; Conflict if there is
        another.
        """
        about = replica_set.metadata
        latest = self._sets.get(informers.key(replica_set)) or replica_set
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": latest.metadata.resourceVersion}}
        self._sets.wrote(await self._client.patch(apps.ReplicaSet, about.name, about.namespace, body=body))

    async def _report(
        self, deployment: apps.Deployment, progress: apps.DeploymentCondition | None, now: conditions.Now
    ) -> float | None:
        every = plan.view(deployment, self._mine(deployment))
        status = conditions.status(deployment, every.new, every.every, progress, now)
        if status != deployment.status:
            written = await self._client.update_status(ownership.with_status(deployment, status))
            self._deployments.wrote(written)
        return conditions.deadline_in(deployment, status, now)
