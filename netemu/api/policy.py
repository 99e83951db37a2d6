"""Evictions and PodDisruptionBudgets."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import Enum, F, Int32, Int64, IntOrString, Record, Time
from netemu.api.meta import Condition, DeleteOptions, LabelSelector, Object

UnhealthyPodEvictionPolicyType = A[str, Enum("IfHealthyBudget", "AlwaysAllow")]


class PodDisruptionBudgetSpec(Record):
    minAvailable: A[IntOrString | None, F(1)] = None
    selector: A[LabelSelector | None, F(2, strategy="replace")] = None
    maxUnavailable: A[IntOrString | None, F(3)] = None
    unhealthyPodEvictionPolicy: A[UnhealthyPodEvictionPolicyType | None, F(4)] = None


class PodDisruptionBudgetStatus(Record):
    observedGeneration: A[Int64, F(1)] = 0
    disruptedPods: A[dict[str, Time], F(2)] = {}
    disruptionsAllowed: A[Int32, F(3, keep=True)] = 0
    currentHealthy: A[Int32, F(4, keep=True)] = 0
    desiredHealthy: A[Int32, F(5, keep=True)] = 0
    expectedPods: A[Int32, F(6, keep=True)] = 0
    conditions: A[tuple[Condition, ...], F(7, merge="type", keys=("type",))] = ()


class PodDisruptionBudget(Object):
    apiVersion: ClassVar[str] = "policy/v1"
    kind: ClassVar[str] = "PodDisruptionBudget"
    spec: A[PodDisruptionBudgetSpec, F(2)] = PodDisruptionBudgetSpec()
    status: A[PodDisruptionBudgetStatus, F(3)] = PodDisruptionBudgetStatus()


class Eviction(Object):
    apiVersion: ClassVar[str] = "policy/v1"
    kind: ClassVar[str] = "Eviction"
    deleteOptions: A[DeleteOptions | None, F(2)] = None
