"""Scale, and the first form of HorizontalPodAutoscalers."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import F, Int32, Int64, Record, Time
from netemu.api.meta import Object


class CrossVersionObjectReference(Record):
    atomic: ClassVar[bool] = True
    kind: A[str, F(1, required=True)] = ""
    name: A[str, F(2, required=True)] = ""
    apiVersion: A[str, F(3)] = ""


class HorizontalPodAutoscalerSpec(Record):
    scaleTargetRef: A[
        CrossVersionObjectReference,
        F(1, required=True, atomic=True),
    ] = CrossVersionObjectReference()
    minReplicas: A[Int32 | None, F(2, default=1)] = None
    maxReplicas: A[Int32, F(3, required=True)] = 0
    targetCPUUtilizationPercentage: A[Int32 | None, F(4)] = None


class HorizontalPodAutoscalerStatus(Record):
    observedGeneration: A[Int64 | None, F(1)] = None
    lastScaleTime: A[Time | None, F(2)] = None
    currentReplicas: A[Int32, F(3, required=True)] = 0
    desiredReplicas: A[Int32, F(4, required=True)] = 0
    currentCPUUtilizationPercentage: A[Int32 | None, F(5)] = None


class HorizontalPodAutoscaler(Object):
    apiVersion: ClassVar[str] = "autoscaling/v1"
    kind: ClassVar[str] = "HorizontalPodAutoscaler"
    spec: A[HorizontalPodAutoscalerSpec, F(2, required=True)] = HorizontalPodAutoscalerSpec()
    status: A[HorizontalPodAutoscalerStatus, F(3)] = HorizontalPodAutoscalerStatus()


class ScaleSpec(Record):
    replicas: A[Int32, F(1)] = 0


class ScaleStatus(Record):
    replicas: A[Int32, F(1, required=True)] = 0
    selector: A[str, F(2)] = ""


class Scale(Object):
    apiVersion: ClassVar[str] = "autoscaling/v1"
    kind: ClassVar[str] = "Scale"
    spec: A[ScaleSpec, F(2)] = ScaleSpec()
    status: A[ScaleStatus, F(3)] = ScaleStatus()
