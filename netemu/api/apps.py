"""Workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.claims import PersistentVolumeClaim
from netemu.api.core.pods import PodTemplateSpec
from netemu.api.fields import Enum, F, Int32, Int64, IntOrString, Raw, Record, Time
from netemu.api.meta import LabelSelector, Object

DaemonSetUpdateStrategyType = A[str, Enum("RollingUpdate", "OnDelete")]
DeploymentStrategyType = A[str, Enum("Recreate", "RollingUpdate")]
PodManagementPolicyType = A[str, Enum("OrderedReady", "Parallel")]
StatefulSetUpdateStrategyType = A[str, Enum("RollingUpdate", "OnDelete", "Recreate")]


class StatefulSetOrdinals(Record):
    start: A[Int32, F(1, keep=True)] = 0


class StatefulSetPersistentVolumeClaimRetentionPolicy(Record):
    whenDeleted: A[str, F(1)] = ""
    whenScaled: A[str, F(2)] = ""


class RollingUpdateStatefulSetStrategy(Record):
    partition: A[Int32 | None, F(1)] = None
    maxUnavailable: A[IntOrString | None, F(2)] = None


class StatefulSetUpdateStrategy(Record):
    type: A[StatefulSetUpdateStrategyType, F(1, default="RollingUpdate")] = ""
    rollingUpdate: A[RollingUpdateStatefulSetStrategy | None, F(2)] = None


class StatefulSetSpec(Record):
    replicas: A[Int32 | None, F(1, default=1)] = None
    selector: A[LabelSelector | None, F(2, required=True)] = None
    template: A[PodTemplateSpec, F(3, required=True)] = PodTemplateSpec()
    volumeClaimTemplates: A[tuple[PersistentVolumeClaim, ...], F(4)] = ()
    serviceName: A[str, F(5, keep=True)] = ""
    podManagementPolicy: A[PodManagementPolicyType, F(6, default="OrderedReady")] = ""
    updateStrategy: A[StatefulSetUpdateStrategy, F(7)] = StatefulSetUpdateStrategy()
    revisionHistoryLimit: A[Int32 | None, F(8, default=10)] = None
    minReadySeconds: A[Int32, F(9)] = 0
    persistentVolumeClaimRetentionPolicy: A[
        StatefulSetPersistentVolumeClaimRetentionPolicy | None,
        F(10),
    ] = None
    ordinals: A[StatefulSetOrdinals | None, F(11)] = None


class StatefulSetCondition(Record):
    type: A[str, F(1, keep=True)] = ""
    status: A[str, F(2, keep=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""


class StatefulSetStatus(Record):
    observedGeneration: A[Int64, F(1)] = 0
    replicas: A[Int32, F(2, required=True)] = 0
    readyReplicas: A[Int32, F(3)] = 0
    currentReplicas: A[Int32, F(4)] = 0
    updatedReplicas: A[Int32, F(5)] = 0
    currentRevision: A[str, F(6)] = ""
    updateRevision: A[str, F(7)] = ""
    collisionCount: A[Int32 | None, F(9)] = None
    conditions: A[tuple[StatefulSetCondition, ...], F(10, merge="type", keys=("type",))] = ()
    availableReplicas: A[Int32, F(11, keep=True)] = 0


class StatefulSet(Object):
    apiVersion: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "StatefulSet"
    spec: A[StatefulSetSpec, F(2, required=True)] = StatefulSetSpec()
    status: A[StatefulSetStatus, F(3)] = StatefulSetStatus()


class RollingUpdateDeployment(Record):
    maxUnavailable: A[IntOrString | None, F(1)] = None
    maxSurge: A[IntOrString | None, F(2)] = None


class DeploymentStrategy(Record):
    type: A[DeploymentStrategyType, F(1, default="RollingUpdate")] = ""
    rollingUpdate: A[RollingUpdateDeployment | None, F(2)] = None


class DeploymentSpec(Record):
    replicas: A[Int32 | None, F(1, default=1)] = None
    selector: A[LabelSelector | None, F(2, required=True)] = None
    template: A[PodTemplateSpec, F(3, required=True)] = PodTemplateSpec()
    strategy: A[DeploymentStrategy, F(4, strategy="retainKeys")] = DeploymentStrategy()
    minReadySeconds: A[Int32, F(5)] = 0
    revisionHistoryLimit: A[Int32 | None, F(6, default=10)] = None
    paused: A[bool, F(7)] = False
    progressDeadlineSeconds: A[Int32 | None, F(9, default=600)] = None


class DeploymentCondition(Record):
    type: A[str, F(1, keep=True)] = ""
    status: A[str, F(2, keep=True)] = ""
    lastUpdateTime: A[Time, F(6)] = ""
    lastTransitionTime: A[Time, F(7)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""


class DeploymentStatus(Record):
    observedGeneration: A[Int64, F(1)] = 0
    replicas: A[Int32, F(2)] = 0
    updatedReplicas: A[Int32, F(3)] = 0
    readyReplicas: A[Int32, F(7)] = 0
    availableReplicas: A[Int32, F(4)] = 0
    unavailableReplicas: A[Int32, F(5)] = 0
    terminatingReplicas: A[Int32 | None, F(9)] = None
    conditions: A[tuple[DeploymentCondition, ...], F(6, merge="type", keys=("type",))] = ()
    collisionCount: A[Int32 | None, F(8)] = None


class Deployment(Object):
    apiVersion: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "Deployment"
    spec: A[DeploymentSpec, F(2, required=True)] = DeploymentSpec()
    status: A[DeploymentStatus, F(3)] = DeploymentStatus()


class RollingUpdateDaemonSet(Record):
    maxUnavailable: A[IntOrString | None, F(1)] = None
    maxSurge: A[IntOrString | None, F(2)] = None


class DaemonSetUpdateStrategy(Record):
    type: A[DaemonSetUpdateStrategyType, F(1, default="RollingUpdate")] = ""
    rollingUpdate: A[RollingUpdateDaemonSet | None, F(2)] = None


class DaemonSetSpec(Record):
    selector: A[LabelSelector | None, F(1, required=True)] = None
    template: A[PodTemplateSpec, F(2, required=True)] = PodTemplateSpec()
    updateStrategy: A[DaemonSetUpdateStrategy, F(3)] = DaemonSetUpdateStrategy()
    minReadySeconds: A[Int32, F(4)] = 0
    revisionHistoryLimit: A[Int32 | None, F(6, default=10)] = None


class DaemonSetCondition(Record):
    type: A[str, F(1, keep=True)] = ""
    status: A[str, F(2, keep=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""


class DaemonSetStatus(Record):
    currentNumberScheduled: A[Int32, F(1, required=True)] = 0
    numberMisscheduled: A[Int32, F(2, required=True)] = 0
    desiredNumberScheduled: A[Int32, F(3, required=True)] = 0
    numberReady: A[Int32, F(4, required=True)] = 0
    observedGeneration: A[Int64, F(5)] = 0
    updatedNumberScheduled: A[Int32, F(6)] = 0
    numberAvailable: A[Int32, F(7)] = 0
    numberUnavailable: A[Int32, F(8)] = 0
    collisionCount: A[Int32 | None, F(9)] = None
    conditions: A[tuple[DaemonSetCondition, ...], F(10, merge="type", keys=("type",))] = ()


class DaemonSet(Object):
    apiVersion: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "DaemonSet"
    spec: A[DaemonSetSpec, F(2, required=True)] = DaemonSetSpec()
    status: A[DaemonSetStatus, F(3)] = DaemonSetStatus()


class ReplicaSetSpec(Record):
    replicas: A[Int32 | None, F(1, default=1)] = None
    minReadySeconds: A[Int32, F(4)] = 0
    selector: A[LabelSelector | None, F(2, required=True)] = None
    template: A[PodTemplateSpec, F(3)] = PodTemplateSpec()


class ReplicaSetCondition(Record):
    type: A[str, F(1, keep=True)] = ""
    status: A[str, F(2, keep=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""


class ReplicaSetStatus(Record):
    replicas: A[Int32, F(1, required=True)] = 0
    fullyLabeledReplicas: A[Int32, F(2)] = 0
    readyReplicas: A[Int32, F(4)] = 0
    availableReplicas: A[Int32, F(5)] = 0
    terminatingReplicas: A[Int32 | None, F(7)] = None
    observedGeneration: A[Int64, F(3)] = 0
    conditions: A[tuple[ReplicaSetCondition, ...], F(6, merge="type", keys=("type",))] = ()


class ReplicaSet(Object):
    apiVersion: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "ReplicaSet"
    spec: A[ReplicaSetSpec, F(2, required=True)] = ReplicaSetSpec()
    status: A[ReplicaSetStatus, F(3)] = ReplicaSetStatus()


class ControllerRevision(Object):
    apiVersion: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "ControllerRevision"
    data: A[Raw, F(2, required=True)] = None
    revision: A[Int64, F(3, keep=True)] = 0
