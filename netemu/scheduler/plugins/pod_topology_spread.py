"""PodTopologySpread: keeps matching pods even over the values of a node label (hostname, zone).

DoNotSchedule constraints filter; ScheduleAnyway ones, and the default ones of pods without any, score.
https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from netemu.api import core, node_terms, selectors, tolerations, wellknown
from netemu.scheduler import framework, nodes, pods, snapshots

_MISMATCH: Final = "node(s) didn't match pod topology spread constraints"
_MISSING: Final = _MISMATCH + " (missing required label)"
_IGNORED: Final = -1  # a score no node can reach: lacks a label the pod's own constraints need


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint with its selectors parsed; a pod counts when all of them match."""

    topology_key: str
    max_skew: int
    min_domains: int
    selectors: tuple[selectors.Selector, ...]
    honor_affinity: bool = True
    honor_taints: bool = False

    def matches(self, labels: dict[str, str]) -> bool:
        return all(selector.matches(labels) for selector in self.selectors)

    def admits(self, pod: pods.PodInfo, node: nodes.NodeInfo) -> bool:
        """Whether a node takes part in the count (KEP-3094)."""
        if self.honor_affinity and not node_terms.wanted(pod.pod.spec, node.name, node.labels):
            return False
        if self.honor_taints:
            return tolerations.untolerated(pod.pod.spec.tolerations, node.taints) is None
        return True

    def count(self, namespace: str, node: nodes.NodeInfo) -> int:
        """Matching pods on one node; those on their way out do not count."""
        return sum(
            1
            for pod in node.placed.values()
            if pod.namespace == namespace and not pod.terminating and self.matches(pod.labels)
        )


# Upstream's systemDefaultConstraints, with the selector of the pod's Services and ReplicaSet.
_DEFAULTS: Final = ((wellknown.HOSTNAME, 3), (wellknown.ZONE, 5))


@dataclass(frozen=True, slots=True)
class Filtering:
    """Matching pods by (constraint, label value), and what a domain is compared with."""

    constraints: tuple[Constraint, ...]
    counts: tuple[Mapping[str, int], ...]
    least: tuple[int, ...]
    own: tuple[int, ...]  # 1 where the incoming pod matches its own constraint


@dataclass(frozen=True, slots=True)
class Scoring:
    """The same for scoring; hostname domains are counted node by node instead (counts None)."""

    constraints: tuple[Constraint, ...]
    counts: tuple[Mapping[str, int] | None, ...]
    weights: tuple[float, ...]
    ignored: frozenset[str]


class PodTopologySpread:
    name = "PodTopologySpread"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> Filtering | framework.Skip:
        constraints = _own(pod, "DoNotSchedule")
        if not constraints:
            return framework.SKIP
        keys = [constraint.topology_key for constraint in constraints]
        counts: tuple[dict[str, int], ...] = tuple({} for _ in constraints)
        for node in snapshot.nodes.values():
            if not all(key in node.labels for key in keys):
                continue
            for constraint, count in zip(constraints, counts, strict=True):
                if constraint.admits(pod, node):
                    value = node.labels[constraint.topology_key]
                    count[value] = count.get(value, 0) + constraint.count(pod.namespace, node)
        return Filtering(
            constraints,
            counts,
            tuple(
                0 if len(count) < constraint.min_domains else min(count.values(), default=0)
                for constraint, count in zip(constraints, counts, strict=True)
            ),
            tuple(int(constraint.matches(pod.labels)) for constraint in constraints),
        )

    def filter(self, state: Filtering, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        rows = zip(state.constraints, state.counts, state.least, state.own, strict=True)
        for constraint, counts, least, own in rows:
            value = node.labels.get(constraint.topology_key)
            if value is None:
                return framework.Rejection(self.name, (_MISSING,), resolvable=False)
            if counts.get(value, 0) + own - least > constraint.max_skew:
                return framework.Rejection(self.name, (_MISMATCH,))
        return None

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> Scoring | framework.Skip:
        constraints = _own(pod, "ScheduleAnyway")
        explicit = bool(pod.pod.spec.topologySpreadConstraints)
        if not explicit:
            constraints = _default(pod, snapshot)
        if not constraints:
            return framework.SKIP
        keys = [constraint.topology_key for constraint in constraints]
        # A pod's own constraints need every label; the defaults make do with what a node has.
        lacking = [node for node in feasible if explicit and not all(key in node.labels for key in keys)]
        ignored = frozenset(node.name for node in lacking)
        counts = tuple(
            _domain_counts(
                pod,
                constraint,
                snapshot,
                [n for n in feasible if n.name not in ignored],
                (keys if explicit else ()),
            )
            for constraint in constraints
        )
        sizes = (len(feasible) - len(ignored) if count is None else len(count) for count in counts)
        return Scoring(constraints, counts, tuple(math.log(size + 2) for size in sizes), ignored)

    def score(self, state: Scoring, pod: pods.PodInfo, node: nodes.NodeInfo) -> int:
        if node.name in state.ignored:
            return _IGNORED
        total = 0.0
        for constraint, counts, weight in zip(state.constraints, state.counts, state.weights, strict=True):
            value = node.labels.get(constraint.topology_key)
            if value is None:
                continue
            count = constraint.count(pod.namespace, node) if counts is None else counts.get(value, 0)
            total += count * weight + (constraint.max_skew - 1)
        return round(total)

    def normalize(self, state: Scoring, scores: Mapping[str, int]) -> Mapping[str, int]:
        counted = [score for score in scores.values() if score != _IGNORED]
        least, most = min(counted, default=0), max(counted, default=0)
        return {
            name: 0
            if score == _IGNORED
            else framework.MAX_NODE_SCORE
            if most == 0
            else framework.MAX_NODE_SCORE * (most + least - score) // most
            for name, score in scores.items()
        }


def _domain_counts(
    pod: pods.PodInfo,
    constraint: Constraint,
    snapshot: snapshots.Snapshot,
    feasible: Sequence[nodes.NodeInfo],
    needed: Sequence[str],
) -> Mapping[str, int] | None:
    if constraint.topology_key == wellknown.HOSTNAME:
        return None
    counts = {
        node.labels[constraint.topology_key]: 0 for node in feasible if constraint.topology_key in node.labels
    }
    for node in snapshot.nodes.values():
        value = node.labels.get(constraint.topology_key)
        if value not in counts or value is None or not all(key in node.labels for key in needed):
            continue
        if constraint.admits(pod, node):
            counts[value] += constraint.count(pod.namespace, node)
    return counts


def _own(pod: pods.PodInfo, when: str) -> tuple[Constraint, ...]:
    return tuple(
        _constraint(pod, one)
        for one in pod.pod.spec.topologySpreadConstraints
        if one.whenUnsatisfiable == when
    )


def _constraint(pod: pods.PodInfo, spec: core.TopologySpreadConstraint) -> Constraint:
    selector = pods.with_match_label_keys(spec.labelSelector, pod.labels, spec.matchLabelKeys)
    return Constraint(
        topology_key=spec.topologyKey,
        max_skew=spec.maxSkew,
        min_domains=spec.minDomains or 1,
        selectors=(selectors.of(selector),),
        honor_affinity=spec.nodeAffinityPolicy != "Ignore",
        honor_taints=spec.nodeTaintsPolicy == "Honor",
    )


def _default(pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> tuple[Constraint, ...]:
    siblings = snapshot.spreading_selector(pod)
    if not siblings:
        return ()
    return tuple(Constraint(key, max_skew, 1, siblings) for key, max_skew in _DEFAULTS)
