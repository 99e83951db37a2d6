"""How many pods a ReplicaSet is short of or has too many of, which go first, and its status. Pure.

Source of the order: upstream's ActivePodsWithRanks.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from netemu.api import apps, core
from netemu.controllers import readiness, templates

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}
_BURST: Final = 500  # upstream's BurstReplicas: no more at once


@dataclass(frozen=True, slots=True)
class Plan:
    """`create` pods, or `delete` these."""

    create: int = 0
    delete: tuple[core.Pod, ...] = ()


def plan(
    replica_set: apps.ReplicaSet, pods: Sequence[core.Pod], siblings: Iterable[core.Pod], now: float
) -> Plan:
    """`pods`: those it owns; `siblings`: active pods of all ReplicaSets with the same owner, which count for
    crowding.
    """
    if replica_set.metadata.deletionTimestamp:
        return Plan()
    active = [pod for pod in pods if readiness.is_active(pod)]
    missing = wanted(replica_set) - len(active)
    if missing >= 0:
        return Plan(create=min(missing, _BURST))
    crowd = Counter(pod.spec.nodeName for pod in siblings if pod.spec.nodeName)
    order = sorted(active, key=lambda pod: _worth(pod, crowd, now))
    return Plan(delete=tuple(order[: min(-missing, _BURST)]))


def wanted(replica_set: apps.ReplicaSet) -> int:
    """spec.replicas, which the API server defaults to 1."""
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def _worth(pod: core.Pod, crowd: Counter[str], now: float) -> tuple[Any, ...]:
    ready = readiness.ready_since(pod)
    return (
        bool(pod.spec.nodeName),
        _PHASES.get(pod.status.phase, 0),
        ready is not None,
        _cost(pod),
        -crowd[pod.spec.nodeName] if pod.spec.nodeName else 0,
        _age(ready, now) if ready is not None else 0,
        -max((s.restartCount for s in pod.status.containerStatuses), default=0),
        _age(readiness.seconds(pod.metadata.creationTimestamp), now),
        pod.metadata.uid,
    )


def _age(since: float, now: float) -> int:
    # Ages are compared by order of magnitude (KEP-2185), so that not always the newest goes; ties by uid.
    # Unknown times count as young.
    return int(math.log2((now - since) * 1e9)) if since and now > since else -1


def _cost(pod: core.Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def pod(replica_set: apps.ReplicaSet) -> core.Pod:
    """The pod to create; the API server completes its name."""
    template = replica_set.spec.template
    return templates.pod(replica_set, template, template.spec)


def status(
    replica_set: apps.ReplicaSet, pods: Iterable[core.Pod], failure: str, now: str, now_seconds: float
) -> tuple[apps.ReplicaSetStatus, float | None]:
    """The status, and the seconds until it changes by time alone (minReadySeconds).

    `failure`: what the last attempt to create or delete failed with, or empty.
    """
    active = [pod for pod in pods if readiness.is_active(pod)]
    template = replica_set.spec.template.metadata.labels
    available, wait = readiness.available(active, replica_set.spec.minReadySeconds, now_seconds)
    return apps.ReplicaSetStatus(
        replicas=len(active),
        fullyLabeledReplicas=sum(1 for pod in active if template.items() <= pod.metadata.labels.items()),
        readyReplicas=sum(1 for pod in active if readiness.is_ready(pod)),
        availableReplicas=available,
        observedGeneration=replica_set.metadata.generation,
        conditions=_conditions(replica_set.status.conditions, failure, now),
    ), wait


def _conditions(
    current: tuple[apps.ReplicaSetCondition, ...], failure: str, now: str
) -> tuple[apps.ReplicaSetCondition, ...]:
    others = tuple(one for one in current if one.type != "ReplicaFailure")
    if not failure:
        return others
    known = next((one for one in current if one.type == "ReplicaFailure" and one.message == failure), None)
    return (
        *others,
        known
        or apps.ReplicaSetCondition(
            type="ReplicaFailure",
            status="True",
            reason="FailedCreate",
            message=failure,
            lastTransitionTime=now,
        ),
    )
