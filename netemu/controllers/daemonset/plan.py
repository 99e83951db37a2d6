"""Which nodes a DaemonSet's pod belongs on, and what to make and delete for it. Pure; times are unix seconds.

Source: upstream's daemon controller (NodeShouldRunDaemonPod, podsShouldBeOnNode, rollingUpdate).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from netemu.api import apps, core, node_terms, tolerations, wellknown
from netemu.controllers import history, readiness, templates

_BURST: Final = 250  # upstream's BurstReplicas: no more at once
_ANY_EFFECT: Final = (
    (wellknown.NOT_READY, "NoExecute"),
    (wellknown.UNREACHABLE, "NoExecute"),
    (wellknown.DISK_PRESSURE, "NoSchedule"),
    (wellknown.MEMORY_PRESSURE, "NoSchedule"),
    (wellknown.PID_PRESSURE, "NoSchedule"),
    (wellknown.UNSCHEDULABLE, "NoSchedule"),
)
_HOST_NETWORK: Final = (wellknown.NETWORK_UNAVAILABLE, "NoSchedule")


@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes that are to get a pod, and pods to delete."""

    create: tuple[str, ...] = ()
    delete: tuple[core.Pod, ...] = ()


def plan(
    daemon_set: apps.DaemonSet, nodes: Iterable[core.Node], pods: Sequence[core.Pod], newest: str, now: float
) -> Plan:
    """`pods`: those it owns, ended ones included; `newest`: the hash of the current template."""
    if daemon_set.metadata.deletionTimestamp:
        return Plan()
    placed = by_node(pods)
    surge = _share(_rolling(daemon_set).maxSurge, len(placed), 0)
    create: list[str] = []
    delete: list[core.Pod] = []
    kept: dict[str, list[core.Pod]] = {}
    names = set()
    for node in nodes:
        name = node.metadata.name
        names.add(name)
        stays, goes = _on_node(daemon_set, node, placed.get(name, []), newest if surge else "")
        delete.extend(goes)
        if stays:
            kept[name] = stays
        elif name not in placed and runs_on(daemon_set, node):
            create.append(name)
    delete.extend(pod for name, there in placed.items() if name and name not in names for pod in there)
    if daemon_set.spec.updateStrategy.type != "OnDelete":
        more = (
            _surged(daemon_set, kept, surge, newest, now=now)
            if surge
            else _replaced(daemon_set, kept, len(create), newest, now=now)
        )
        create.extend(more.create)
        delete.extend(more.delete)
    return Plan(tuple(create[:_BURST]), tuple(delete[:_BURST]))


def by_node(pods: Iterable[core.Pod]) -> Mapping[str, list[core.Pod]]:
    """Pods by the node they are on, or are meant for while not yet bound."""
    placed: dict[str, list[core.Pod]] = defaultdict(list)
    for pod in pods:
        placed[target(pod)].append(pod)
    return placed


def target(pod: core.Pod) -> str:
    """The node of a daemon pod: where it is bound, else the one its affinity names, else empty."""
    if pod.spec.nodeName:
        return pod.spec.nodeName
    terms = node_terms.required_terms(pod.spec)
    named = node_terms.names(terms) if terms else None
    return next(iter(named)) if named and len(named) == 1 else ""


def runs_on(daemon_set: apps.DaemonSet, node: core.Node) -> bool:
    """Whether the node should have a pod: it has the name and labels asked for, no taint repels the pod."""
    return _fits(daemon_set, node) and _untolerated(daemon_set, node, tolerations.REPELLING) is None


def continues_on(daemon_set: apps.DaemonSet, node: core.Node) -> bool:
    """Whether a pod that is there may stay: a NoSchedule taint that came later does not drive it away."""
    return _fits(daemon_set, node) and _untolerated(daemon_set, node, ("NoExecute",)) is None


def pod(daemon_set: apps.DaemonSet, node: str, newest: str) -> core.Pod:
    """The pod for one node: the scheduler binds it there and nowhere else."""
    template = daemon_set.spec.template
    generation = str(daemon_set.metadata.generation)
    spec = msgspec.structs.replace(
        template.spec, affinity=_only(template.spec, node), tolerations=_tolerations(template.spec)
    )
    labels = {history.HASH_LABEL: newest, "pod-template-generation": generation}
    return templates.pod(daemon_set, template, spec, labels=labels)


def status(
    daemon_set: apps.DaemonSet,
    nodes: Iterable[core.Node],
    pods: Sequence[core.Pod],
    newest: str,
    now: float,
) -> tuple[apps.DaemonSetStatus, float | None]:
    """The status, and the seconds until it changes by time alone (minReadySeconds)."""
    placed = by_node(pods)
    wanted, misplaced = [], 0
    first: list[core.Pod] = []
    for node in nodes:
        here = [pod for pod in placed.get(node.metadata.name, ()) if not readiness.is_terminal(pod)]
        if runs_on(daemon_set, node):
            wanted.append(node)
            first.extend(sorted(here, key=_rank)[:1])
        elif here:
            misplaced += 1
    available, wait = readiness.available(first, daemon_set.spec.minReadySeconds, now)
    return apps.DaemonSetStatus(
        desiredNumberScheduled=len(wanted),
        currentNumberScheduled=len(first),
        numberMisscheduled=misplaced,
        numberReady=sum(1 for pod in first if readiness.is_ready(pod)),
        updatedNumberScheduled=sum(
            1 for pod in first if pod.metadata.labels.get(history.HASH_LABEL) == newest
        ),
        numberAvailable=available,
        numberUnavailable=len(wanted) - available,
        observedGeneration=daemon_set.metadata.generation,
        collisionCount=daemon_set.status.collisionCount,
        conditions=daemon_set.status.conditions,
    ), wait


def _on_node(
    daemon_set: apps.DaemonSet, node: core.Node, here: Sequence[core.Pod], beside: str
) -> tuple[list[core.Pod], list[core.Pod]]:
    """Those that stay and those that go: one pod a node, the oldest; a failed one is replaced.

    `beside`: a version that may stand next to an older one until it is available (maxSurge), or empty.
    """
    if not continues_on(daemon_set, node):
        return [], [pod for pod in here if not pod.metadata.deletionTimestamp]
    ended = [pod for pod in here if readiness.is_terminal(pod) and not pod.metadata.deletionTimestamp]
    active = sorted((pod for pod in here if not readiness.is_terminal(pod)), key=_rank)
    new = [pod for pod in active if beside and _is(pod, beside)]
    old = [pod for pod in active if pod not in new]
    stays = old[:1] + new[:1]
    goes = [pod for pod in active if pod not in stays and not pod.metadata.deletionTimestamp]
    return stays, ended + goes


def _replaced(
    daemon_set: apps.DaemonSet, kept: Mapping[str, list[core.Pod]], missing: int, newest: str, *, now: float
) -> Plan:
    """Old pods that may go now: at most maxUnavailable of the nodes are without an available pod."""
    most = _share(_rolling(daemon_set).maxUnavailable, len(kept) + missing, 1)
    unavailable = missing
    broken: list[core.Pod] = []
    working: list[core.Pod] = []
    for (one,) in kept.values():
        serves = _serves(daemon_set, one, now)
        unavailable += not serves
        if not _is(one, newest) and not one.metadata.deletionTimestamp:
            (working if serves else broken).append(one)
    return Plan(delete=tuple(broken + working[: max(0, most - unavailable)]))


def _surged(
    daemon_set: apps.DaemonSet, kept: Mapping[str, list[core.Pod]], surge: int, newest: str, *, now: float
) -> Plan:
    """Nodes that get a new pod beside the old one, `surge` at a time; old ones whose successor serves."""
    delete: list[core.Pod] = []
    waiting: list[str] = []
    for name, pods in kept.items():
        old = [pod for pod in pods if not _is(pod, newest)]
        new = [pod for pod in pods if _is(pod, newest)]
        if old and new:
            if _serves(daemon_set, new[0], now):
                delete.extend(pod for pod in old if not pod.metadata.deletionTimestamp)
            else:
                surge -= 1
        elif old:
            waiting.append(name)
    return Plan(tuple(waiting[: max(0, surge)]), tuple(delete))


def _serves(daemon_set: apps.DaemonSet, pod: core.Pod, now: float) -> bool:
    ready = readiness.available_in(pod, daemon_set.spec.minReadySeconds, now) == 0.0
    return ready and not pod.metadata.deletionTimestamp


def _rolling(daemon_set: apps.DaemonSet) -> apps.RollingUpdateDaemonSet:
    return daemon_set.spec.updateStrategy.rollingUpdate or apps.RollingUpdateDaemonSet()


def _is(pod: core.Pod, version: str) -> bool:
    return pod.metadata.labels.get(history.HASH_LABEL) == version


def _share(limit: int | str | None, size: int, default: int) -> int:
    """maxUnavailable or maxSurge as a number; percentages are rounded up."""
    if limit is None:
        return default
    if isinstance(limit, str):
        return math.ceil(size * int(limit.rstrip("%")) / 100)
    return limit


def _fits(daemon_set: apps.DaemonSet, node: core.Node) -> bool:
    spec = daemon_set.spec.template.spec
    name = node.metadata.name
    return spec.nodeName in ("", name) and node_terms.wanted(spec, name, node.metadata.labels)


def _untolerated(daemon_set: apps.DaemonSet, node: core.Node, effects: tuple[str, ...]) -> core.Taint | None:
    accepted = _tolerations(daemon_set.spec.template.spec)
    return tolerations.untolerated(accepted, node.spec.taints, effects)


def _tolerations(spec: core.PodSpec) -> tuple[core.Toleration, ...]:
    extra = (*_ANY_EFFECT, _HOST_NETWORK) if spec.hostNetwork else _ANY_EFFECT
    own = tuple(core.Toleration(key=key, operator="Exists", effect=effect) for key, effect in extra)
    return (*spec.tolerations, *(one for one in own if one not in spec.tolerations))


def _only(spec: core.PodSpec, node: str) -> core.Affinity:
    """The template's affinity, its required node terms narrowed to one node."""
    affinity = spec.affinity or core.Affinity()
    of_nodes = affinity.nodeAffinity or core.NodeAffinity()
    name = core.NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,))
    terms = node_terms.required_terms(spec) or (core.NodeSelectorTerm(),)
    narrowed = tuple(msgspec.structs.replace(term, matchFields=(name,)) for term in terms)
    required = core.NodeSelector(nodeSelectorTerms=narrowed)
    of_nodes = msgspec.structs.replace(of_nodes, requiredDuringSchedulingIgnoredDuringExecution=required)
    return msgspec.structs.replace(affinity, nodeAffinity=of_nodes)


def _rank(pod: core.Pod) -> tuple[bool, str, str]:
    """Bound ones first, then by age."""
    return not pod.spec.nodeName, pod.metadata.creationTimestamp or "", pod.metadata.name
