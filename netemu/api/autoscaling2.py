"""HorizontalPodAutoscalers in their second form: any number of metrics, and how fast to follow them."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.autoscaling import CrossVersionObjectReference
from netemu.api.fields import Enum, F, Int32, Int64, Quantity, Record, Time
from netemu.api.meta import LabelSelector, Object

MetricSourceType = A[str, Enum("Object", "Pods", "Resource", "ContainerResource", "External")]
MetricTargetType = A[str, Enum("Utilization", "Value", "AverageValue")]
ScalingPolicySelect = A[str, Enum("Max", "Min", "Disabled")]
HPAScalingPolicyType = A[str, Enum("Pods", "Percent")]


class MetricIdentifier(Record):
    name: A[str, F(1, required=True)] = ""
    selector: A[LabelSelector | None, F(2)] = None


class MetricTarget(Record):
    type: A[MetricTargetType, F(1, required=True)] = ""
    value: A[Quantity | None, F(2)] = None
    averageValue: A[Quantity | None, F(3)] = None
    averageUtilization: A[Int32 | None, F(4)] = None


class MetricValueStatus(Record):
    value: A[Quantity | None, F(1)] = None
    averageValue: A[Quantity | None, F(2)] = None
    averageUtilization: A[Int32 | None, F(3)] = None


class ObjectMetricSource(Record):
    describedObject: A[CrossVersionObjectReference, F(1, required=True)] = CrossVersionObjectReference()
    target: A[MetricTarget, F(2, required=True)] = MetricTarget()
    metric: A[MetricIdentifier, F(3, required=True)] = MetricIdentifier()


class PodsMetricSource(Record):
    metric: A[MetricIdentifier, F(1, required=True)] = MetricIdentifier()
    target: A[MetricTarget, F(2, required=True)] = MetricTarget()


class ResourceMetricSource(Record):
    name: A[str, F(1, required=True)] = ""
    target: A[MetricTarget, F(2, required=True)] = MetricTarget()


class ContainerResourceMetricSource(Record):
    name: A[str, F(1, required=True)] = ""
    target: A[MetricTarget, F(2, required=True)] = MetricTarget()
    container: A[str, F(3, required=True)] = ""


class ExternalMetricSource(Record):
    metric: A[MetricIdentifier, F(1, required=True)] = MetricIdentifier()
    target: A[MetricTarget, F(2, required=True)] = MetricTarget()


class MetricSpec(Record):
    type: A[MetricSourceType, F(1, required=True)] = ""
    object: A[ObjectMetricSource | None, F(2)] = None
    pods: A[PodsMetricSource | None, F(3)] = None
    resource: A[ResourceMetricSource | None, F(4)] = None
    containerResource: A[ContainerResourceMetricSource | None, F(7)] = None
    external: A[ExternalMetricSource | None, F(5)] = None


class HPAScalingPolicy(Record):
    type: A[HPAScalingPolicyType, F(1, required=True)] = ""
    value: A[Int32, F(2, required=True)] = 0
    periodSeconds: A[Int32, F(3, required=True)] = 0


class HPAScalingRules(Record):
    stabilizationWindowSeconds: A[Int32 | None, F(3)] = None
    selectPolicy: A[ScalingPolicySelect | None, F(1, default="Max")] = None
    policies: A[tuple[HPAScalingPolicy, ...], F(2)] = ()
    tolerance: A[Quantity | None, F(4)] = None


class HorizontalPodAutoscalerBehavior(Record):
    scaleUp: A[HPAScalingRules | None, F(1)] = None
    scaleDown: A[HPAScalingRules | None, F(2)] = None


class HorizontalPodAutoscalerSpec(Record):
    scaleTargetRef: A[CrossVersionObjectReference, F(1, required=True)] = CrossVersionObjectReference()
    minReplicas: A[Int32 | None, F(2, default=1)] = None
    maxReplicas: A[Int32, F(3, required=True)] = 0
    metrics: A[tuple[MetricSpec, ...], F(4)] = ()
    behavior: A[HorizontalPodAutoscalerBehavior | None, F(5)] = None


class ObjectMetricStatus(Record):
    metric: A[MetricIdentifier, F(1, required=True)] = MetricIdentifier()
    current: A[MetricValueStatus, F(2, required=True)] = MetricValueStatus()
    describedObject: A[CrossVersionObjectReference, F(3, required=True)] = CrossVersionObjectReference()


class PodsMetricStatus(Record):
    metric: A[MetricIdentifier, F(1, required=True)] = MetricIdentifier()
    current: A[MetricValueStatus, F(2, required=True)] = MetricValueStatus()


class ResourceMetricStatus(Record):
    name: A[str, F(1, required=True)] = ""
    current: A[MetricValueStatus, F(2, required=True)] = MetricValueStatus()


class ContainerResourceMetricStatus(Record):
    name: A[str, F(1, required=True)] = ""
    current: A[MetricValueStatus, F(2, required=True)] = MetricValueStatus()
    container: A[str, F(3, required=True)] = ""


class ExternalMetricStatus(Record):
    metric: A[MetricIdentifier, F(1, required=True)] = MetricIdentifier()
    current: A[MetricValueStatus, F(2, required=True)] = MetricValueStatus()


class MetricStatus(Record):
    type: A[MetricSourceType, F(1, required=True)] = ""
    object: A[ObjectMetricStatus | None, F(2)] = None
    pods: A[PodsMetricStatus | None, F(3)] = None
    resource: A[ResourceMetricStatus | None, F(4)] = None
    containerResource: A[ContainerResourceMetricStatus | None, F(7)] = None
    external: A[ExternalMetricStatus | None, F(5)] = None


class HorizontalPodAutoscalerCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""
    observedGeneration: A[Int64 | None, F(6)] = None


class HorizontalPodAutoscalerStatus(Record):
    observedGeneration: A[Int64 | None, F(1)] = None
    lastScaleTime: A[Time | None, F(2)] = None
    currentReplicas: A[Int32, F(3)] = 0
    desiredReplicas: A[Int32, F(4, required=True)] = 0
    currentMetrics: A[tuple[MetricStatus, ...], F(5, keep=True)] = ()
    conditions: A[tuple[HorizontalPodAutoscalerCondition, ...], F(6, merge="type", keys=("type",))] = ()


class HorizontalPodAutoscaler(Object):
    apiVersion: ClassVar[str] = "autoscaling/v2"
    kind: ClassVar[str] = "HorizontalPodAutoscaler"
    spec: A[HorizontalPodAutoscalerSpec, F(2)] = HorizontalPodAutoscalerSpec()
    status: A[HorizontalPodAutoscalerStatus, F(3)] = HorizontalPodAutoscalerStatus()
