"""What a Deployment says of itself: counts, Available, Progressing, ReplicaFailure. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from netemu.api import apps
from netemu.controllers import readiness
from netemu.controllers.deployment import rollout

# "No deadline" in the API is the largest 32-bit number.
_NO_DEADLINE: Final = 2**31 - 1

NEW_CREATED: Final = "NewReplicaSetCreated"
NEW_FOUND: Final = "FoundNewReplicaSet"
UPDATED: Final = "ReplicaSetUpdated"
AVAILABLE: Final = "NewReplicaSetAvailable"
TIMED_OUT: Final = "ProgressDeadlineExceeded"
PAUSED: Final = "DeploymentPaused"
RESUMED: Final = "DeploymentResumed"


class Now(NamedTuple):
    """One moment, as a number and as the API writes it."""

    seconds: float
    text: str


def status(
    deployment: apps.Deployment,
    new: apps.ReplicaSet | None,
    every: Sequence[apps.ReplicaSet],
    progress: apps.DeploymentCondition | None,
    now: Now,
) -> apps.DeploymentStatus:
    """The status to write. `progress`: a Progressing condition which this round has already decided on."""
    counts = _counts(deployment, new, every)
    current = (
        deployment.status.conditions if progress is None else put(deployment.status.conditions, progress)
    )
    conditions = put(current, _available(deployment, counts, now))
    if has_deadline(deployment) and deployment.spec.paused:
        pass  # a paused rollout neither progresses nor runs late
    elif has_deadline(deployment):
        conditions = _progressing(deployment, new, counts, conditions, now)
    else:
        conditions = without(conditions, "Progressing")
    return msgspec.structs.replace(counts, conditions=_failures(conditions, new, every))


def _counts(
    deployment: apps.Deployment, new: apps.ReplicaSet | None, every: Sequence[apps.ReplicaSet]
) -> apps.DeploymentStatus:
    total = sum(one.status.replicas for one in every)
    available = sum(one.status.availableReplicas for one in every)
    return apps.DeploymentStatus(
        observedGeneration=deployment.metadata.generation,
        replicas=total,
        updatedReplicas=new.status.replicas if new is not None else 0,
        readyReplicas=sum(one.status.readyReplicas for one in every),
        availableReplicas=available,
        unavailableReplicas=max(0, total - available),
        collisionCount=deployment.status.collisionCount,
    )


def complete(deployment: apps.Deployment, status: apps.DeploymentStatus) -> bool:
    """All replicas are new ones and available."""
    desired = rollout.replicas(deployment)
    return (
        status.updatedReplicas == desired
        and status.replicas == desired
        and status.availableReplicas == desired
        and status.observedGeneration >= deployment.metadata.generation
    )


def has_deadline(deployment: apps.Deployment) -> bool:
    deadline = deployment.spec.progressDeadlineSeconds
    return deadline is not None and deadline != _NO_DEADLINE


def deadline_in(deployment: apps.Deployment, status: apps.DeploymentStatus, now: Now) -> float | None:
    """Seconds until a rollout under way will have taken too long; None when nothing runs out."""
    condition = find(status.conditions, "Progressing")
    if not has_deadline(deployment) or condition is None or complete(deployment, status):
        return None
    if deployment.spec.paused:
        return None
    if condition.reason in (TIMED_OUT, AVAILABLE):
        return None
    deadline = deployment.spec.progressDeadlineSeconds or 0
    return max(0.0, readiness.seconds(condition.lastUpdateTime) + deadline - now.seconds) + 1.0


def pausing(deployment: apps.Deployment, now: Now) -> apps.DeploymentCondition | None:
    """The Progressing condition of a Deployment just paused or resumed, or None."""
    if not has_deadline(deployment):
        return None
    current = find(deployment.status.conditions, "Progressing")
    if current is not None and current.reason == TIMED_OUT:
        return None
    was_paused = current is not None and current.reason == PAUSED
    if deployment.spec.paused and not was_paused:
        return condition("Progressing", "Unknown", PAUSED, "Deployment is paused", now)
    if not deployment.spec.paused and was_paused:
        return condition("Progressing", "Unknown", RESUMED, "Deployment is resumed", now)
    return None


def _available(
    deployment: apps.Deployment, status: apps.DeploymentStatus, now: Now
) -> apps.DeploymentCondition:
    if status.availableReplicas >= rollout.replicas(deployment) - rollout.max_unavailable(deployment):
        return condition(
            "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now
        )
    return condition(
        "Available",
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
        now,
    )


def _progressing(
    deployment: apps.Deployment,
    new: apps.ReplicaSet | None,
    status: apps.DeploymentStatus,
    conditions: tuple[apps.DeploymentCondition, ...],
    now: Now,
) -> tuple[apps.DeploymentCondition, ...]:
    current = find(conditions, "Progressing")
    if status.replicas == status.updatedReplicas and current is not None and current.reason == AVAILABLE:
        return conditions  # it was complete before: scaling is not progress
    who = (
        f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{deployment.metadata.name}"'
    )
    if complete(deployment, status):
        done = condition("Progressing", "True", AVAILABLE, f"{who} has successfully progressed.", now)
        return put(conditions, done)
    if _has_progressed(deployment.status, status):
        moving = condition("Progressing", "True", UPDATED, f"{who} is progressing.", now)
        if current is not None and current.status == "True":
            moving = msgspec.structs.replace(moving, lastTransitionTime=current.lastTransitionTime)
        return (*without(conditions, "Progressing"), moving)
    if _timed_out(deployment, current, now):
        late = condition("Progressing", "False", TIMED_OUT, f"{who} has timed out progressing.", now)
        return put(conditions, late)
    return conditions


def _has_progressed(before: apps.DeploymentStatus, after: apps.DeploymentStatus) -> bool:
    return (
        after.updatedReplicas > before.updatedReplicas
        or after.replicas - after.updatedReplicas < before.replicas - before.updatedReplicas
        or after.readyReplicas > before.readyReplicas
        or after.availableReplicas > before.availableReplicas
    )


def _timed_out(deployment: apps.Deployment, current: apps.DeploymentCondition | None, now: Now) -> bool:
    if current is None or current.reason == AVAILABLE:
        return False
    if current.reason == TIMED_OUT:
        return True
    since = readiness.seconds(current.lastUpdateTime)
    return since + (deployment.spec.progressDeadlineSeconds or 0) < now.seconds


def _failures(
    conditions: tuple[apps.DeploymentCondition, ...],
    new: apps.ReplicaSet | None,
    every: Sequence[apps.ReplicaSet],
) -> tuple[apps.DeploymentCondition, ...]:
    order = ([new] if new is not None else []) + [one for one in every if one is not new]
    for replica_set in order:
        for failure in replica_set.status.conditions:
            if failure.type == "ReplicaFailure":
                return put(
                    conditions,
                    apps.DeploymentCondition(
                        type="ReplicaFailure",
                        status=failure.status,
                        reason=failure.reason,
                        message=failure.message,
                        lastTransitionTime=failure.lastTransitionTime,
                        lastUpdateTime=failure.lastTransitionTime,
                    ),
                )
    return without(conditions, "ReplicaFailure")


def condition(kind: str, status: str, reason: str, message: str, now: Now) -> apps.DeploymentCondition:
    """One that has changed just now."""

    return apps.DeploymentCondition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        lastUpdateTime=now.text,
        lastTransitionTime=now.text,
    )


def find(conditions: Sequence[apps.DeploymentCondition], kind: str) -> apps.DeploymentCondition | None:
    return next((one for one in conditions if one.type == kind), None)


def without(
    conditions: Sequence[apps.DeploymentCondition], kind: str
) -> tuple[apps.DeploymentCondition, ...]:
    return tuple(one for one in conditions if one.type != kind)


def put(
    conditions: Sequence[apps.DeploymentCondition], new: apps.DeploymentCondition
) -> tuple[apps.DeploymentCondition, ...]:
    """Same status and reason: nothing changes. Same status: the time of transition stays
    (SetDeploymentCondition).
    """
    current = find(conditions, new.type)
    if current is not None and (current.status, current.reason) == (new.status, new.reason):
        return tuple(conditions)
    if current is not None and current.status == new.status:
        new = msgspec.structs.replace(new, lastTransitionTime=current.lastTransitionTime)
    return (*without(conditions, new.type), new)
