"""Rules by which pods choose nodes: selectors, affinity, taints, tolerations, spreading."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import (
    NodeInclusionPolicy,
    NodeSelectorOperator,
    TaintEffect,
    TolerationOperator,
    UnsatisfiableConstraintAction,
)
from netemu.api.fields import F, Int32, Int64, Record, Time
from netemu.api.meta import LabelSelector


class NodeSelectorRequirement(Record):
    key: A[str, F(1, required=True)] = ""
    operator: A[NodeSelectorOperator, F(2, required=True)] = ""
    values: A[tuple[str, ...], F(3)] = ()


class NodeSelectorTerm(Record):
    atomic: ClassVar[bool] = True
    matchExpressions: A[tuple[NodeSelectorRequirement, ...], F(1)] = ()
    matchFields: A[tuple[NodeSelectorRequirement, ...], F(2)] = ()


class NodeSelector(Record):
    atomic: ClassVar[bool] = True
    nodeSelectorTerms: A[tuple[NodeSelectorTerm, ...], F(1, required=True)] = ()


class TopologySelectorLabelRequirement(Record):
    key: A[str, F(1, required=True)] = ""
    values: A[tuple[str, ...], F(2, required=True)] = ()


class TopologySelectorTerm(Record):
    atomic: ClassVar[bool] = True
    matchLabelExpressions: A[tuple[TopologySelectorLabelRequirement, ...], F(1)] = ()


class PreferredSchedulingTerm(Record):
    weight: A[Int32, F(1, required=True)] = 0
    preference: A[NodeSelectorTerm, F(2, required=True)] = NodeSelectorTerm()


class NodeAffinity(Record):
    requiredDuringSchedulingIgnoredDuringExecution: A[NodeSelector | None, F(1)] = None
    preferredDuringSchedulingIgnoredDuringExecution: A[tuple[PreferredSchedulingTerm, ...], F(2)] = ()


class PodAffinityTerm(Record):
    labelSelector: A[LabelSelector | None, F(1)] = None
    namespaces: A[tuple[str, ...], F(2)] = ()
    topologyKey: A[str, F(3, required=True)] = ""
    namespaceSelector: A[LabelSelector | None, F(4)] = None
    matchLabelKeys: A[tuple[str, ...], F(5)] = ()
    mismatchLabelKeys: A[tuple[str, ...], F(6)] = ()


class WeightedPodAffinityTerm(Record):
    weight: A[Int32, F(1, required=True)] = 0
    podAffinityTerm: A[PodAffinityTerm, F(2, required=True)] = PodAffinityTerm()


class PodAffinity(Record):
    requiredDuringSchedulingIgnoredDuringExecution: A[tuple[PodAffinityTerm, ...], F(1)] = ()
    preferredDuringSchedulingIgnoredDuringExecution: A[tuple[WeightedPodAffinityTerm, ...], F(2)] = ()


class PodAntiAffinity(Record):
    requiredDuringSchedulingIgnoredDuringExecution: A[tuple[PodAffinityTerm, ...], F(1)] = ()
    preferredDuringSchedulingIgnoredDuringExecution: A[tuple[WeightedPodAffinityTerm, ...], F(2)] = ()


class Affinity(Record):
    nodeAffinity: A[NodeAffinity | None, F(1)] = None
    podAffinity: A[PodAffinity | None, F(2)] = None
    podAntiAffinity: A[PodAntiAffinity | None, F(3)] = None


class Taint(Record):
    key: A[str, F(1, required=True)] = ""
    value: A[str, F(2)] = ""
    effect: A[TaintEffect, F(3, required=True)] = ""
    timeAdded: A[Time | None, F(4)] = None


class Toleration(Record):
    key: A[str, F(1)] = ""
    operator: A[TolerationOperator, F(2)] = ""
    value: A[str, F(3)] = ""
    effect: A[TaintEffect, F(4)] = ""
    tolerationSeconds: A[Int64 | None, F(5)] = None


class TopologySpreadConstraint(Record):
    maxSkew: A[Int32, F(1, required=True)] = 0
    topologyKey: A[str, F(2, required=True)] = ""
    whenUnsatisfiable: A[UnsatisfiableConstraintAction, F(3, required=True)] = ""
    labelSelector: A[LabelSelector | None, F(4)] = None
    minDomains: A[Int32 | None, F(5)] = None
    nodeAffinityPolicy: A[NodeInclusionPolicy | None, F(6)] = None
    nodeTaintsPolicy: A[NodeInclusionPolicy | None, F(7)] = None
    matchLabelKeys: A[tuple[str, ...], F(8)] = ()
