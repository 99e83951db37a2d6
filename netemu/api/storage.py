"""Storage classes, CSI drivers and attachments."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import (
    PersistentVolumeAccessMode,
    PersistentVolumeMode,
    PersistentVolumeReclaimPolicy,
)
from netemu.api.core.selection import TopologySelectorTerm
from netemu.api.core.volumes import PersistentVolumeSpec
from netemu.api.fields import Enum, F, Int32, Int64, Quantity, Record, Time
from netemu.api.meta import LabelSelector, Object

StorageHealthStatusType = A[str, Enum("StorageUnreachable", "StorageDegraded")]
VolumeBindingMode = A[str, Enum("Immediate", "WaitForFirstConsumer")]


class StorageClass(Object):
    apiVersion: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "StorageClass"
    provisioner: A[str, F(2, required=True)] = ""
    parameters: A[dict[str, str], F(3)] = {}
    reclaimPolicy: A[PersistentVolumeReclaimPolicy | None, F(4)] = None
    mountOptions: A[tuple[str, ...], F(5)] = ()
    allowVolumeExpansion: A[bool | None, F(6)] = None
    volumeBindingMode: A[VolumeBindingMode | None, F(7, default="Immediate")] = None
    allowedTopologies: A[tuple[TopologySelectorTerm, ...], F(8)] = ()


class VolumeAttachmentSource(Record):
    persistentVolumeName: A[str | None, F(1)] = None
    inlineVolumeSpec: A[PersistentVolumeSpec | None, F(2)] = None


class VolumeAttachmentSpec(Record):
    attacher: A[str, F(1, required=True)] = ""
    source: A[VolumeAttachmentSource, F(2, required=True)] = VolumeAttachmentSource()
    nodeName: A[str, F(3, required=True)] = ""


class VolumeError(Record):
    time: A[Time, F(1)] = ""
    message: A[str, F(2)] = ""
    errorCode: A[Int32 | None, F(3)] = None


class VolumeAttachmentStatus(Record):
    attached: A[bool, F(1, required=True)] = False
    attachmentMetadata: A[dict[str, str], F(2)] = {}
    attachError: A[VolumeError | None, F(3)] = None
    detachError: A[VolumeError | None, F(4)] = None


class VolumeAttachment(Object):
    apiVersion: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "VolumeAttachment"
    spec: A[VolumeAttachmentSpec, F(2, required=True)] = VolumeAttachmentSpec()
    status: A[VolumeAttachmentStatus, F(3)] = VolumeAttachmentStatus()


class TokenRequest(Record):
    audience: A[str, F(1, required=True)] = ""
    expirationSeconds: A[Int64 | None, F(2)] = None


class CSIDriverSpec(Record):
    attachRequired: A[bool | None, F(1, default=True)] = None
    podInfoOnMount: A[bool | None, F(2, default=False)] = None
    volumeLifecycleModes: A[tuple[str, ...], F(3, unique=True)] = ()
    storageCapacity: A[bool | None, F(4, default=False)] = None
    fsGroupPolicy: A[str | None, F(5, default="ReadWriteOnceWithFSType")] = None
    tokenRequests: A[tuple[TokenRequest, ...], F(6)] = ()
    requiresRepublish: A[bool | None, F(7, default=False)] = None
    seLinuxMount: A[bool | None, F(8, default=False)] = None
    nodeAllocatableUpdatePeriodSeconds: A[Int64 | None, F(9)] = None
    serviceAccountTokenInSecrets: A[bool | None, F(10)] = None
    preventPodSchedulingIfMissing: A[bool | None, F(11)] = None


class CSIDriver(Object):
    apiVersion: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "CSIDriver"
    spec: A[CSIDriverSpec, F(2, required=True)] = CSIDriverSpec()


class VolumeNodeResources(Record):
    count: A[Int32 | None, F(1)] = None


class CSINodeDriver(Record):
    name: A[str, F(1, required=True)] = ""
    nodeID: A[str, F(2, required=True)] = ""
    topologyKeys: A[tuple[str, ...], F(3, keep=True)] = ()
    allocatable: A[VolumeNodeResources | None, F(4)] = None


class CSINodeSpec(Record):
    drivers: A[tuple[CSINodeDriver, ...], F(1, required=True, merge="name", keys=("name",))] = ()


class StorageHealthCondition(Record):
    status: A[StorageHealthStatusType, F(1, required=True)] = ""
    reason: A[str, F(2, required=True)] = ""
    message: A[str, F(3)] = ""
    accessMode: A[PersistentVolumeAccessMode | None, F(4)] = None
    volumeMode: A[PersistentVolumeMode | None, F(5)] = None
    lastTransitionTime: A[Time, F(6)] = ""


class StorageHealth(Record):
    name: A[str, F(1, required=True)] = ""
    healthConditions: A[tuple[StorageHealthCondition, ...], F(2)] = ()


class CSINodeStatus(Record):
    storageHealth: A[tuple[StorageHealth, ...], F(1, merge="name", keys=("name",))] = ()


class CSINode(Object):
    apiVersion: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "CSINode"
    spec: A[CSINodeSpec, F(2, required=True)] = CSINodeSpec()
    status: A[CSINodeStatus, F(3)] = CSINodeStatus()


class CSIStorageCapacity(Object):
    apiVersion: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "CSIStorageCapacity"
    nodeTopology: A[LabelSelector | None, F(2)] = None
    storageClassName: A[str, F(3, required=True)] = ""
    capacity: A[Quantity | None, F(4)] = None
    maximumVolumeSize: A[Quantity | None, F(5)] = None


class VolumeAttributesClass(Object):
    apiVersion: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "VolumeAttributesClass"
    driverName: A[str, F(2, required=True)] = ""
    parameters: A[dict[str, str], F(3)] = {}
