"""InterPodAffinity: near to, or away from, other pods, by node label. What existing pods want counts too.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from netemu.scheduler import framework, nodes, pods, snapshots

_EXISTING_ANTI: Final = "node(s) didn't satisfy existing pods anti-affinity rules"
_AFFINITY: Final = "node(s) didn't match pod affinity rules"
_ANTI: Final = "node(s) didn't match pod anti-affinity rules"
_HARD_AFFINITY_WEIGHT: Final = 1  # what an existing pod's required affinity adds to the score of its domain

Domain = tuple[str, str]  # label key, label value


@dataclass(frozen=True, slots=True)
class Filtering:
    """How many pods stand for or against the incoming one in each domain."""

    wanted: Mapping[Domain, int]
    unwanted: Mapping[Domain, int]
    refusing: Mapping[Domain, int]
    first_of_its_kind: bool  # nobody to be near to yet, and the pod matches its own terms


class InterPodAffinity:
    name = "InterPodAffinity"

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> Filtering | framework.Skip:
        refusing = _refusing(pod, snapshot)
        if not refusing and not pod.affinity and not pod.anti_affinity:
            return framework.SKIP
        wanted: Counter[Domain] = Counter()
        unwanted: Counter[Domain] = Counter()
        for node in snapshot.nodes.values() if pod.affinity or pod.anti_affinity else ():
            for other in node.placed.values():
                if pod.affinity and all(term.matches(other, snapshot.namespaces) for term in pod.affinity):
                    wanted.update(_domains(node, pod.affinity))
                unwanted.update(
                    _domains(node, (t for t in pod.anti_affinity if t.matches(other, snapshot.namespaces)))
                )
        itself = all(term.matches(pod, snapshot.namespaces) for term in pod.affinity)
        return Filtering(wanted, unwanted, refusing, first_of_its_kind=not wanted and itself)

    def filter(self, state: Filtering, pod: pods.PodInfo, node: nodes.NodeInfo) -> framework.Rejection | None:
        if not _near_enough(state, pod, node):
            return framework.Rejection(self.name, (_AFFINITY,), resolvable=False)
        if any(state.unwanted.get(domain, 0) for domain in _domains(node, pod.anti_affinity)):
            return framework.Rejection(self.name, (_ANTI,))
        if state.refusing and any(state.refusing.get(label, 0) for label in node.labels.items()):
            return framework.Rejection(self.name, (_EXISTING_ANTI,))
        return None

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> Mapping[Domain, int] | framework.Skip:
        prefers = bool(pod.preferred_affinity or pod.preferred_anti_affinity)
        scores: Counter[Domain] = Counter()
        for node in snapshot.nodes.values():
            for other in node.placed.values() if prefers else node.with_affinity:
                _weigh(scores, node, pod, other, snapshot)
        return scores or framework.SKIP

    def score(self, state: Mapping[Domain, int], pod: pods.PodInfo, node: nodes.NodeInfo) -> int:
        return sum(state.get(label, 0) for label in node.labels.items())

    def normalize(self, state: Mapping[Domain, int], scores: Mapping[str, int]) -> Mapping[str, int]:
        least, most = min(scores.values(), default=0), max(scores.values(), default=0)
        if most == least:
            return dict.fromkeys(scores, 0)
        return {
            name: framework.MAX_NODE_SCORE * (score - least) // (most - least)
            for name, score in scores.items()
        }


def _domains(node: nodes.NodeInfo, terms: Iterable[pods.Term]) -> list[Domain]:
    return [(t.topology_key, node.labels[t.topology_key]) for t in terms if t.topology_key in node.labels]


def _refusing(pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> Counter[Domain]:
    # Symmetry: a pod which does not want this one near must not get it by arriving first.
    refusing: Counter[Domain] = Counter()
    for node in snapshot.nodes.values():
        for other in node.with_anti_affinity:
            refusing.update(
                _domains(node, (t for t in other.anti_affinity if t.matches(pod, snapshot.namespaces)))
            )
    return refusing


def _near_enough(state: Filtering, pod: pods.PodInfo, node: nodes.NodeInfo) -> bool:
    if not pod.affinity:
        return True
    domains = _domains(node, pod.affinity)
    if len(domains) < len(pod.affinity):
        return False
    return state.first_of_its_kind or all(state.wanted.get(domain, 0) for domain in domains)


def _weigh(
    scores: Counter[Domain],
    node: nodes.NodeInfo,
    pod: pods.PodInfo,
    other: pods.PodInfo,
    snapshot: snapshots.Snapshot,
) -> None:
    rows = (
        (pod.preferred_affinity, other, 1, 0),
        (pod.preferred_anti_affinity, other, -1, 0),
        (other.affinity, pod, 0, _HARD_AFFINITY_WEIGHT),
        (other.preferred_affinity, pod, 1, 0),
        (other.preferred_anti_affinity, pod, -1, 0),
    )
    for terms, target, factor, fixed in rows:
        for term in terms:
            if term.topology_key in node.labels and term.matches(target, snapshot.namespaces):
                scores[term.topology_key, node.labels[term.topology_key]] += term.weight * factor + fixed
