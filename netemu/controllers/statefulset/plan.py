"""Which pods of a StatefulSet to make, replace and delete next, and its status. Pure; times are unix seconds.

Pods have numbers and keep their names. With OrderedReady, one step at a time: upwards when made, downwards
when removed or updated, each waiting until its predecessors serve.
Source: upstream's stateful_set_control (updateStatefulSet) and KEP-961 for maxUnavailable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from netemu.api import apps, core, meta
from netemu.controllers import history, readiness, templates

NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
_NUMBERED: Final = re.compile(r"(.*)-(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Versions:
    """Hash of the version pods were last all at, and of the template as it is now; templates by hash."""

    current: str
    update: str
    templates: dict[str, core.PodTemplateSpec]


@dataclass(frozen=True, slots=True)
class Plan:
    """Pods to make now and pods to delete now."""

    create: tuple[core.Pod, ...] = ()
    delete: tuple[core.Pod, ...] = ()


def plan(stateful_set: apps.StatefulSet, pods: Sequence[core.Pod], versions: Versions, now: float) -> Plan:
    """`pods`: those it owns, leaving and ended ones included."""
    if stateful_set.metadata.deletionTimestamp:
        return Plan()
    numbers = ordinals(stateful_set)
    there = {number: pod for pod in pods if (number := ordinal(stateful_set, pod)) is not None}
    surplus = sorted((number for number in there if number not in numbers), reverse=True)
    ordered = stateful_set.spec.podManagementPolicy != "Parallel"
    create: list[core.Pod] = []
    delete: list[core.Pod] = []
    for number in numbers:
        pod = there.get(number)
        if pod is None:
            create.append(new_pod(stateful_set, number, versions))
        elif readiness.is_terminal(pod) and not pod.metadata.deletionTimestamp:
            delete.append(pod)  # its successor has the same name
        if ordered and (pod is None or not _serves(stateful_set, pod, now)):
            return Plan(tuple(create), tuple(delete))
    if ordered:
        # Every wanted one serves, so the highest of those beyond them may go, one after another.
        leaving = any(there[number].metadata.deletionTimestamp for number in surplus)
        return (
            Plan(delete=() if leaving else (there[surplus[0]],))
            if surplus
            else Plan(delete=_outdated(stateful_set, numbers, there, versions, now))
        )
    delete.extend(there[number] for number in surplus if not there[number].metadata.deletionTimestamp)
    if not create and not delete:
        delete.extend(_outdated(stateful_set, numbers, there, versions, now))
    return Plan(tuple(create), tuple(delete))


def ordinals(stateful_set: apps.StatefulSet) -> range:
    """The numbers of the wanted pods."""
    start = stateful_set.spec.ordinals.start if stateful_set.spec.ordinals is not None else 0
    size = 1 if stateful_set.spec.replicas is None else stateful_set.spec.replicas
    return range(start, start + size)


def ordinal(stateful_set: apps.StatefulSet, pod: core.Pod) -> int | None:
    """The number in a pod's name; None for a pod that is not named after the set."""
    found = _NUMBERED.fullmatch(pod.metadata.name)
    return int(found[2]) if found is not None and found[1] == stateful_set.metadata.name else None


def new_pod(stateful_set: apps.StatefulSet, number: int, versions: Versions) -> core.Pod:
    """The pod of that number, at the version it should have: below the partition, the one of before."""
    is_held_back = number < ordinals(stateful_set).start + _partition(stateful_set)
    version = versions.current if is_held_back else versions.update
    template = versions.templates[version]
    name = f"{stateful_set.metadata.name}-{number}"
    labels = {NAME_LABEL: name, INDEX_LABEL: str(number), history.HASH_LABEL: version}
    spec = msgspec.structs.replace(
        template.spec,
        hostname=name,
        subdomain=stateful_set.spec.serviceName,
        volumes=_volumes(stateful_set, template.spec, name),
    )
    return templates.pod(stateful_set, template, spec, name=name, labels=labels)


def claims(stateful_set: apps.StatefulSet, pod: core.Pod) -> Iterable[core.PersistentVolumeClaim]:
    """The claims a pod needs before it is made, named `TEMPLATE-POD`; they stay when the pod goes."""
    matching = stateful_set.spec.selector.matchLabels if stateful_set.spec.selector is not None else {}
    for template in stateful_set.spec.volumeClaimTemplates:
        about = template.metadata
        yield msgspec.structs.replace(
            template,
            metadata=meta.ObjectMeta(
                name=f"{about.name}-{pod.metadata.name}",
                namespace=pod.metadata.namespace,
                labels={**about.labels, **matching},
                annotations=about.annotations,
            ),
        )


def status(
    stateful_set: apps.StatefulSet, pods: Iterable[core.Pod], versions: Versions, now: float
) -> tuple[apps.StatefulSetStatus, float | None]:
    """The status, and the seconds until it changes by time alone (minReadySeconds)."""
    wanted = ordinals(stateful_set)
    active = [pod for pod in pods if readiness.is_active(pod) and ordinal(stateful_set, pod) is not None]
    available, wait = readiness.available(active, stateful_set.spec.minReadySeconds, now)
    updated = [pod for pod in active if _version(pod) == versions.update]
    ready = sum(1 for pod in active if readiness.is_ready(pod))
    # The rollout is over when all are at the new version and ready: then it is the current one.
    done = len(updated) == len(active) == len(wanted) == ready
    current = versions.update if done else versions.current
    return apps.StatefulSetStatus(
        observedGeneration=stateful_set.metadata.generation,
        replicas=len(active),
        readyReplicas=ready,
        availableReplicas=available,
        currentReplicas=sum(1 for pod in active if _version(pod) == current),
        updatedReplicas=len(updated),
        currentRevision=current,
        updateRevision=versions.update,
        collisionCount=stateful_set.status.collisionCount or 0,
        conditions=stateful_set.status.conditions,
    ), wait


def _outdated(
    stateful_set: apps.StatefulSet,
    numbers: range,
    there: dict[int, core.Pod],
    versions: Versions,
    now: float,
) -> tuple[core.Pod, ...]:
    """Old pods that may go now, highest number first, as long as maxUnavailable are not without service."""
    if stateful_set.spec.updateStrategy.type == "OnDelete":
        return ()
    rolling = stateful_set.spec.updateStrategy.rollingUpdate
    limit = rolling.maxUnavailable if rolling is not None else None
    most = 1 if limit is None else _share(limit, len(numbers))
    unavailable = sum(1 for number in numbers if not _serves(stateful_set, there[number], now))
    goes = []
    for number in reversed(numbers[_partition(stateful_set) :]):
        pod = there[number]
        if _version(pod) == versions.update or pod.metadata.deletionTimestamp:
            continue
        serves = _serves(stateful_set, pod, now)
        if serves and unavailable >= most:
            break
        unavailable += serves
        goes.append(pod)
    return tuple(goes)


def _partition(stateful_set: apps.StatefulSet) -> int:
    rolling = stateful_set.spec.updateStrategy.rollingUpdate
    return rolling.partition or 0 if rolling is not None else 0


def _share(limit: int | str, size: int) -> int:
    """maxUnavailable as a number: percentages rounded up, never less than one."""
    number = math.ceil(size * int(limit.rstrip("%")) / 100) if isinstance(limit, str) else limit
    return max(1, number)


def _serves(stateful_set: apps.StatefulSet, pod: core.Pod, now: float) -> bool:
    available = readiness.available_in(pod, stateful_set.spec.minReadySeconds, now) == 0.0
    return available and readiness.is_active(pod)


def _version(pod: core.Pod) -> str:
    return pod.metadata.labels.get(history.HASH_LABEL, "")


def _volumes(stateful_set: apps.StatefulSet, spec: core.PodSpec, name: str) -> tuple[core.Volume, ...]:
    claimed = {one.metadata.name for one in stateful_set.spec.volumeClaimTemplates}
    own = (
        core.Volume(
            name=one,
            persistentVolumeClaim=core.PersistentVolumeClaimVolumeSource(claimName=f"{one}-{name}"),
        )
        for one in sorted(claimed)
    )
    return (*own, *(volume for volume in spec.volumes if volume.name not in claimed))
