"""What a Deployment does next to its ReplicaSets. Pure: objects in, one step of writes out.

Steps repeat until nothing is left to write; the status is worked out then (conditions.py), the arithmetic is
in rollout.py. Source: upstream's deployment controller (sync, rolling, recreate).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from netemu.api import apps, core, meta, wellknown
from netemu.controllers import hashes, ownership, readiness
from netemu.controllers.deployment import rollout

# Annotations of a Deployment which are not its ReplicaSets' business.
_NOT_COPIED: Final = frozenset((
    wellknown.LAST_APPLIED,
    rollout.REVISION,
    rollout.HISTORY,
    rollout.DESIRED,
    rollout.MAX,
    "deprecated.deployment.rollback.to",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resize:
    """Another size for a ReplicaSet."""

    replica_set: apps.ReplicaSet
    replicas: int
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """Writes that can all be made at once. `annotate`: annotations of ReplicaSets and minReadySeconds, by
    name.
    """

    new: apps.ReplicaSet | None = None  # the current ReplicaSet of the template, if there is one
    create: apps.ReplicaSet | None = None
    resize: tuple[Resize, ...] = ()
    refresh: tuple[apps.ReplicaSet, ...] = ()
    delete: tuple[apps.ReplicaSet, ...] = ()
    revision: str = ""  # for the Deployment's own annotation; empty: leave it

    @property
    def is_empty(self) -> bool:
        return self.create is None and not (self.resize or self.refresh or self.delete or self.revision)


@dataclass(frozen=True, slots=True)
class View:
    """A Deployment with its ReplicaSets, sorted into the current one and the others."""

    deployment: apps.Deployment
    new: apps.ReplicaSet | None
    old: tuple[apps.ReplicaSet, ...]

    @property
    def every(self) -> tuple[apps.ReplicaSet, ...]:
        return self.old if self.new is None else (*self.old, self.new)


def view(deployment: apps.Deployment, replica_sets: Iterable[apps.ReplicaSet]) -> View:
    """The current ReplicaSet is the oldest with the Deployment's template."""
    by_age = sorted(replica_sets, key=lambda one: (one.metadata.creationTimestamp or "", one.metadata.name))
    wanted = _plain(deployment.spec.template)
    new = next((one for one in by_age if _plain(one.spec.template) == wanted), None)
    return View(deployment, new, tuple(one for one in by_age if one is not new))


def plan(
    deployment: apps.Deployment, replica_sets: Sequence[apps.ReplicaSet], old_pods: Iterable[core.Pod] = ()
) -> Step:
    """The next writes. `old_pods`: those of other ReplicaSets than the current one (for Recreate)."""
    seen = view(deployment, replica_sets)
    if deployment.metadata.deletionTimestamp:
        return Step(seen.new)
    if deployment.spec.paused:
        return _scale(seen, _revise(seen))
    revised = _revise(seen)
    if _rescaled(seen):
        return _scale(seen, revised)
    if rollout.is_rolling(deployment):
        return _roll(seen, revised)
    return _recreate(seen, revised, old_pods)


def _plain(template: core.PodTemplateSpec) -> core.PodTemplateSpec:
    labels = {key: value for key, value in template.metadata.labels.items() if key != rollout.HASH_LABEL}
    return msgspec.structs.replace(
        template, metadata=msgspec.structs.replace(template.metadata, labels=labels)
    )


def _rescaled(seen: View) -> bool:
    desired = str(rollout.replicas(seen.deployment))
    return any(
        one.metadata.annotations.get(rollout.DESIRED, desired) != desired
        for one in seen.every
        if rollout.replicas(one) > 0
    )


# --- revisions ----------------------------------------------------------------------------------------------


def _revision(thing: apps.ReplicaSet | apps.Deployment) -> int:
    try:
        return int(thing.metadata.annotations.get(rollout.REVISION, "0"))
    except ValueError:
        return 0


def _revise(seen: View) -> Step:
    # The current ReplicaSet carries the highest revision, also when an old template became current again.
    if seen.new is None:
        return Step()
    number = str(max((_revision(one) for one in seen.old), default=0) + 1)
    annotations = _annotations(seen, seen.new, number)
    revision = annotations[rollout.REVISION]
    own = seen.deployment.metadata.annotations.get(rollout.REVISION)
    minimum = seen.deployment.spec.minReadySeconds
    refresh: tuple[apps.ReplicaSet, ...] = ()
    if annotations != seen.new.metadata.annotations or seen.new.spec.minReadySeconds != minimum:
        refresh = (
            msgspec.structs.replace(
                seen.new,
                metadata=msgspec.structs.replace(seen.new.metadata, annotations=annotations),
                spec=msgspec.structs.replace(seen.new.spec, minReadySeconds=minimum),
            ),
        )
    return Step(seen.new, refresh=refresh, revision=revision if own != revision else "")


def _annotations(seen: View, replica_set: apps.ReplicaSet, number: str) -> dict[str, str]:
    copied = {k: v for k, v in seen.deployment.metadata.annotations.items() if k not in _NOT_COPIED}
    annotations = {**replica_set.metadata.annotations, **copied}
    before = annotations.get(rollout.REVISION, "")
    if _revision(replica_set) < int(number):
        annotations[rollout.REVISION] = number
        if before:
            history = [past for past in annotations.get(rollout.HISTORY, "").split(",") if past]
            annotations[rollout.HISTORY] = ",".join([*history, before])
    return annotations


# --- the steps ----------------------------------------------------------------------------------------------


def _create(seen: View, size: int) -> Step:
    deployment = seen.deployment
    number = str(max((_revision(one) for one in seen.old), default=0) + 1)
    digest = hashes.of_template(_plain(deployment.spec.template), deployment.status.collisionCount)
    template = deployment.spec.template
    labels = {**template.metadata.labels, rollout.HASH_LABEL: digest}
    selector = deployment.spec.selector or meta.LabelSelector()
    replica_set = apps.ReplicaSet(
        metadata=meta.ObjectMeta(
            name=f"{deployment.metadata.name}-{digest}",
            namespace=deployment.metadata.namespace,
            labels=labels,
            ownerReferences=(ownership.reference(deployment),),
        ),
        spec=apps.ReplicaSetSpec(
            replicas=size,
            minReadySeconds=deployment.spec.minReadySeconds,
            selector=meta.LabelSelector(
                matchLabels={**selector.matchLabels, rollout.HASH_LABEL: digest},
                matchExpressions=selector.matchExpressions,
            ),
            template=msgspec.structs.replace(
                template, metadata=msgspec.structs.replace(template.metadata, labels=labels)
            ),
        ),
    )
    annotations = {**_annotations(seen, replica_set, number), **_sizes(deployment)}
    metadata = msgspec.structs.replace(replica_set.metadata, annotations=annotations)
    return Step(create=msgspec.structs.replace(replica_set, metadata=metadata), revision=number)


def _sizes(deployment: apps.Deployment) -> dict[str, str]:
    desired = rollout.replicas(deployment)
    return {rollout.DESIRED: str(desired), rollout.MAX: str(desired + rollout.max_surge(deployment))}


def _with(step: Step, seen: View, sizes: Mapping[str, int], *, always: bool = False) -> Step:
    """`step` with ReplicaSets resized; `always`: also those whose size is right but whose annotations are
    old.
    """
    annotations = _sizes(seen.deployment)
    resize = tuple(
        Resize(one, sizes[one.metadata.name], annotations)
        for one in seen.every
        if one.metadata.name in sizes
        and (
            sizes[one.metadata.name] != rollout.replicas(one)
            or (always and not annotations.items() <= one.metadata.annotations.items())
        )
    )
    return Step(step.new, step.create, resize, step.refresh, step.delete, step.revision)


def _scale(seen: View, step: Step) -> Step:
    deployment = seen.deployment
    active = [one for one in seen.every if rollout.replicas(one) > 0]
    desired = rollout.replicas(deployment)
    if len(active) <= 1:
        only = active[0] if active else seen.new or _latest(seen.old)
        if only is None:
            return step
        return _with(step, seen, {only.metadata.name: desired}, always=True)
    if seen.new is not None and _saturated(deployment, seen.new):
        return _with(step, seen, {one.metadata.name: 0 for one in active if one is not seen.new})
    if not rollout.is_rolling(deployment):
        return step
    return _with(step, seen, rollout.proportional(deployment, active), always=True)


def _latest(replica_sets: Sequence[apps.ReplicaSet]) -> apps.ReplicaSet | None:
    return replica_sets[-1] if replica_sets else None


def _saturated(deployment: apps.Deployment, new: apps.ReplicaSet) -> bool:
    desired = rollout.replicas(deployment)
    return (
        rollout.replicas(new) == desired
        and new.metadata.annotations.get(rollout.DESIRED) == str(desired)
        and new.status.availableReplicas == desired
    )


def _roll(seen: View, step: Step) -> Step:
    deployment = seen.deployment
    if seen.new is None:
        return _create(seen, rollout.new_size(deployment, 0, rollout.total(seen.old)))
    desired = rollout.replicas(deployment)
    size = rollout.replicas(seen.new)
    target = desired if size > desired else rollout.new_size(deployment, size, rollout.total(seen.every))
    if target != size:
        return _with(step, seen, {seen.new.metadata.name: target})
    shrunk = _with(step, seen, rollout.shrink(deployment, seen.new, seen.old))
    return shrunk if shrunk.resize else _tidy(seen, step)


def _recreate(seen: View, step: Step, old_pods: Iterable[core.Pod]) -> Step:
    desired = rollout.replicas(seen.deployment)
    running = {one.metadata.name: 0 for one in seen.old if rollout.replicas(one) > 0}
    if running:
        return _with(step, seen, running)
    if any(not readiness.is_terminal(pod) for pod in old_pods):
        return step
    if seen.new is None:
        return _create(seen, desired)
    if rollout.replicas(seen.new) != desired:
        return _with(step, seen, {seen.new.metadata.name: desired})
    return _tidy(seen, step)


def _tidy(seen: View, step: Step) -> Step:
    # cleanupDeployment: only when complete; empty old ReplicaSets beyond the history limit go, oldest
    # revision first.
    deployment, new = seen.deployment, seen.new
    limit = deployment.spec.revisionHistoryLimit
    desired = rollout.replicas(deployment)
    if limit is None or new is None or len(seen.old) <= limit:
        return step
    counts = [one.status for one in seen.every]
    if not (
        new.status.replicas == desired
        and sum(c.replicas for c in counts) == desired
        and sum(c.availableReplicas for c in counts) == desired
    ):
        return step
    by_revision = sorted(seen.old, key=lambda one: (_revision(one), one.metadata.creationTimestamp or ""))
    gone = tuple(
        one
        for one in by_revision[: len(seen.old) - limit]
        if one.status.replicas == 0
        and rollout.replicas(one) == 0
        and one.metadata.generation <= one.status.observedGeneration
        and not one.metadata.deletionTimestamp
    )
    return Step(step.new, step.create, step.resize, step.refresh, gone, step.revision)
