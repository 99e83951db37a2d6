"""Volumes of a pod, and persistent volumes."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import (
    PersistentVolumeAccessMode,
    PersistentVolumeMode,
    PersistentVolumePhase,
    PersistentVolumeReclaimPolicy,
)
from netemu.api.core.references import ObjectReference
from netemu.api.core.selection import NodeSelector
from netemu.api.core.sources import PersistentVolumeSource, VolumeSource
from netemu.api.fields import F, Quantity, Record, Time
from netemu.api.meta import Object


class Volume(VolumeSource):
    embedded: ClassVar[int] = 2
    name: A[str, F(1, required=True)] = ""


class VolumeNodeAffinity(Record):
    required: A[NodeSelector | None, F(1)] = None


class PersistentVolumeSpec(PersistentVolumeSource):
    embedded: ClassVar[int] = 2
    capacity: A[dict[str, Quantity], F(1)] = {}
    accessModes: A[tuple[PersistentVolumeAccessMode, ...], F(3)] = ()
    claimRef: A[ObjectReference | None, F(4)] = None
    persistentVolumeReclaimPolicy: A[PersistentVolumeReclaimPolicy, F(5, default="Retain")] = ""
    storageClassName: A[str, F(6)] = ""
    mountOptions: A[tuple[str, ...], F(7)] = ()
    volumeMode: A[PersistentVolumeMode | None, F(8, default="Filesystem")] = None
    nodeAffinity: A[VolumeNodeAffinity | None, F(9)] = None
    volumeAttributesClassName: A[str | None, F(10)] = None


class PersistentVolumeStatus(Record):
    phase: A[PersistentVolumePhase, F(1, default="Pending")] = ""
    message: A[str, F(2)] = ""
    reason: A[str, F(3)] = ""
    lastPhaseTransitionTime: A[Time | None, F(4)] = None


class PersistentVolume(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "PersistentVolume"
    spec: A[PersistentVolumeSpec, F(2)] = PersistentVolumeSpec()
    status: A[PersistentVolumeStatus, F(3)] = PersistentVolumeStatus()
