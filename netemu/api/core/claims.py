"""Persistent volume claims and what they ask for."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import (
    ClaimResourceStatus,
    PersistentVolumeAccessMode,
    PersistentVolumeClaimModifyVolumeStatus,
    PersistentVolumeClaimPhase,
    PersistentVolumeMode,
    VolumeHealthStatusType,
)
from netemu.api.core.references import TypedLocalObjectReference, TypedObjectReference
from netemu.api.fields import F, Quantity, Record, Time
from netemu.api.meta import LabelSelector, Object, ObjectMeta


class VolumeResourceRequirements(Record):
    limits: A[dict[str, Quantity], F(1)] = {}
    requests: A[dict[str, Quantity], F(2)] = {}


class PersistentVolumeClaimSpec(Record):
    accessModes: A[tuple[PersistentVolumeAccessMode, ...], F(1)] = ()
    selector: A[LabelSelector | None, F(4)] = None
    resources: A[VolumeResourceRequirements, F(2)] = VolumeResourceRequirements()
    volumeName: A[str, F(3)] = ""
    storageClassName: A[str | None, F(5)] = None
    volumeMode: A[PersistentVolumeMode | None, F(6, default="Filesystem")] = None
    dataSource: A[TypedLocalObjectReference | None, F(7)] = None
    dataSourceRef: A[TypedObjectReference | None, F(8)] = None
    volumeAttributesClassName: A[str | None, F(9)] = None


class ModifyVolumeStatus(Record):
    targetVolumeAttributesClassName: A[str, F(1)] = ""
    status: A[PersistentVolumeClaimModifyVolumeStatus, F(2, required=True)] = ""


class PersistentVolumeClaimCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastProbeTime: A[Time, F(3)] = ""
    lastTransitionTime: A[Time, F(4)] = ""
    reason: A[str, F(5)] = ""
    message: A[str, F(6)] = ""


class VolumeHealthCondition(Record):
    status: A[VolumeHealthStatusType, F(1, required=True)] = ""
    reason: A[str, F(2, required=True)] = ""
    message: A[str, F(3)] = ""


class VolumeHealthStatus(Record):
    healthConditions: A[
        tuple[VolumeHealthCondition, ...],
        F(1, merge="status", keys=("status", "reason")),
    ] = ()
    lastTransitionTime: A[Time, F(2)] = ""


class PersistentVolumeClaimStatus(Record):
    phase: A[PersistentVolumeClaimPhase, F(1, default="Pending")] = ""
    accessModes: A[tuple[PersistentVolumeAccessMode, ...], F(2)] = ()
    capacity: A[dict[str, Quantity], F(3)] = {}
    conditions: A[tuple[PersistentVolumeClaimCondition, ...], F(4, merge="type", keys=("type",))] = ()
    allocatedResources: A[dict[str, Quantity], F(5)] = {}
    allocatedResourceStatuses: A[dict[str, ClaimResourceStatus], F(7)] = {}
    currentVolumeAttributesClassName: A[str | None, F(8)] = None
    modifyVolumeStatus: A[ModifyVolumeStatus | None, F(9)] = None
    healthStatus: A[VolumeHealthStatus | None, F(10)] = None


class PersistentVolumeClaim(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "PersistentVolumeClaim"
    spec: A[PersistentVolumeClaimSpec, F(2)] = PersistentVolumeClaimSpec()
    status: A[PersistentVolumeClaimStatus, F(3)] = PersistentVolumeClaimStatus()


class PodVolumeHealth(Record):
    name: A[str, F(1, required=True)] = ""
    healthConditions: A[
        tuple[VolumeHealthCondition, ...],
        F(2, merge="status", keys=("status", "reason")),
    ] = ()
    lastTransitionTime: A[Time, F(3)] = ""


class PersistentVolumeClaimTemplate(Record):
    metadata: A[ObjectMeta, F(1)] = ObjectMeta()
    spec: A[PersistentVolumeClaimSpec, F(2, required=True)] = PersistentVolumeClaimSpec()
