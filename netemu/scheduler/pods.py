"""A pod as the scheduler looks at it: requests, host ports and affinity terms, parsed once. Knows no node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from netemu.api import core, demands, meta, selectors

WILDCARD: Final = "0.0.0.0"


class HostPort(NamedTuple):
    """A port a pod takes on its node. `address` 0.0.0.0 means all of them, of either family."""

    address: str
    protocol: str
    port: int

    def clashes(self, other: "HostPort") -> bool:
        return (
            self.port == other.port
            and self.protocol == other.protocol
            and (self.address == other.address or WILDCARD in (self.address, other.address))
        )


@dataclass(frozen=True, slots=True)
class Term:
    """One pod (anti-)affinity term, with its pod's namespace and match label keys worked in."""

    topology_key: str
    selector: selectors.Selector
    namespaces: frozenset[str]
    namespace_selector: selectors.Selector | None
    weight: int = 0

    def matches(self, pod: "PodInfo", namespace_labels: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether `pod` is one the term talks about. `namespace_labels`: by namespace name."""
        if pod.namespace not in self.namespaces:
            if self.namespace_selector is None:
                return False
            if not self.namespace_selector.matches(dict(namespace_labels.get(pod.namespace, {}))):
                return False
        return self.selector.matches(pod.labels)


@dataclass(frozen=True, slots=True, eq=False)
class PodInfo:
    """Everything the plugins need of one version of a pod. Compared by identity."""

    pod: core.Pod
    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    terminating: bool
    requests: dict[str, int]
    scored_cpu: int
    scored_memory: int
    host_ports: tuple[HostPort, ...]
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    preferred_affinity: tuple[Term, ...]
    preferred_anti_affinity: tuple[Term, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    @property
    def has_affinity(self) -> bool:
        """Any inter-pod term at all: such a pod may have a say about pods that come later."""
        return bool(
            self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity
        )


def of(pod: core.Pod) -> PodInfo:
    """Parse one pod. Raises ValueError for quantities or selectors the API server should have refused."""
    spec = pod.spec
    namespace = pod.metadata.namespace
    scored = demands.requests(spec, demands.SCORED_WITHOUT_REQUEST)
    required, preferred = _terms(pod, "podAffinity")
    anti_required, anti_preferred = _terms(pod, "podAntiAffinity")
    return PodInfo(
        pod=pod,
        namespace=namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        labels=dict(pod.metadata.labels),
        terminating=bool(pod.metadata.deletionTimestamp),
        requests=demands.requests(spec),
        scored_cpu=scored.get(demands.CPU, 0),
        scored_memory=scored.get(demands.MEMORY, 0),
        host_ports=_host_ports(spec),
        affinity=required,
        anti_affinity=anti_required,
        preferred_affinity=preferred,
        preferred_anti_affinity=anti_preferred,
    )


def _host_ports(spec: core.PodSpec) -> tuple[HostPort, ...]:
    sidecars = (c for c in spec.initContainers if c.restartPolicy == "Always")
    return tuple(
        HostPort(port.hostIP or WILDCARD, port.protocol or "TCP", port.hostPort)
        for container in (*spec.containers, *sidecars)
        for port in container.ports
        if port.hostPort
    )


def _terms(pod: core.Pod, which: str) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    affinity = getattr(pod.spec.affinity, which, None)
    if affinity is None:
        return (), ()
    return (
        tuple(_term(pod, term, 0) for term in affinity.requiredDuringSchedulingIgnoredDuringExecution),
        tuple(
            _term(pod, weighted.podAffinityTerm, weighted.weight)
            for weighted in affinity.preferredDuringSchedulingIgnoredDuringExecution
        ),
    )


def _term(pod: core.Pod, term: core.PodAffinityTerm, weight: int) -> Term:
    # https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#namespace-selector:
    # neither namespaces nor a selector of them means the pod's own; an empty selector means all.
    namespaces = frozenset(term.namespaces)
    if not namespaces and term.namespaceSelector is None:
        namespaces = frozenset((pod.metadata.namespace,))
    return Term(
        topology_key=term.topologyKey,
        selector=selectors.of(
            with_match_label_keys(
                term.labelSelector, pod.metadata.labels, term.matchLabelKeys, term.mismatchLabelKeys
            )
        ),
        namespaces=namespaces,
        namespace_selector=None if term.namespaceSelector is None else selectors.of(term.namespaceSelector),
        weight=weight,
    )


def with_match_label_keys(
    selector: meta.LabelSelector | None,
    labels: Mapping[str, str],
    matching: tuple[str, ...],
    mismatching: tuple[str, ...] = (),
) -> meta.LabelSelector | None:
    """KEP-3633, KEP-3243: `key in (own value)` and `key notin (own value)` are added; keys the pod lacks are
    not.
    """
    if selector is None:
        return None
    added = tuple(
        meta.LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
        for keys, operator in ((matching, "In"), (mismatching, "NotIn"))
        for key in keys
        if key in labels
    )
    if not added:
        return selector
    return meta.LabelSelector(
        matchLabels=selector.matchLabels, matchExpressions=(*selector.matchExpressions, *added)
    )
