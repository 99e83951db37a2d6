"""Containers and pods as observed."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.claims import PodVolumeHealth
from netemu.api.core.containers import ResourceRequirements
from netemu.api.core.enums import PodPhase, PodQOSClass, Signal
from netemu.api.fields import F, Int32, Int64, Quantity, Record, Time


class ContainerStateWaiting(Record):
    reason: A[str, F(1)] = ""
    message: A[str, F(2)] = ""


class ContainerStateRunning(Record):
    startedAt: A[Time, F(1)] = ""


class ContainerStateTerminated(Record):
    exitCode: A[Int32, F(1, required=True)] = 0
    signal: A[Int32, F(2)] = 0
    reason: A[str, F(3)] = ""
    message: A[str, F(4)] = ""
    startedAt: A[Time, F(5)] = ""
    finishedAt: A[Time, F(6)] = ""
    containerID: A[str, F(7)] = ""


class ContainerState(Record):
    waiting: A[ContainerStateWaiting | None, F(1)] = None
    running: A[ContainerStateRunning | None, F(2)] = None
    terminated: A[ContainerStateTerminated | None, F(3)] = None


class LinuxContainerUser(Record):
    uid: A[Int64, F(1, required=True)] = 0
    gid: A[Int64, F(2, required=True)] = 0
    supplementalGroups: A[tuple[Int64, ...], F(3)] = ()


class ContainerUser(Record):
    linux: A[LinuxContainerUser | None, F(1)] = None


class ResourceHealth(Record):
    resourceID: A[str, F(1, required=True)] = ""
    health: A[str, F(2)] = ""
    message: A[str | None, F(6)] = None


class ResourceStatus(Record):
    name: A[str, F(1, required=True)] = ""
    resources: A[tuple[ResourceHealth, ...], F(2, keys=("resourceID",))] = ()


class ImageVolumeStatus(Record):
    imageRef: A[str, F(1, required=True, keep=False)] = ""


class VolumeStatus(Record):
    image: A[ImageVolumeStatus | None, F(1)] = None


class VolumeMountStatus(Record):
    name: A[str, F(1, required=True)] = ""
    mountPath: A[str, F(2, required=True)] = ""
    readOnly: A[bool, F(3)] = False
    recursiveReadOnly: A[str | None, F(4)] = None
    volumeStatus: A[VolumeStatus | None, F(5)] = None


class ContainerStatus(Record):
    name: A[str, F(1, required=True)] = ""
    state: A[ContainerState, F(2)] = ContainerState()
    lastState: A[ContainerState, F(3)] = ContainerState()
    ready: A[bool, F(4, required=True)] = False
    restartCount: A[Int32, F(5, required=True)] = 0
    image: A[str, F(6, required=True)] = ""
    imageID: A[str, F(7, required=True)] = ""
    containerID: A[str, F(8)] = ""
    started: A[bool | None, F(9)] = None
    allocatedResources: A[dict[str, Quantity], F(10)] = {}
    resources: A[ResourceRequirements | None, F(11)] = None
    volumeMounts: A[tuple[VolumeMountStatus, ...], F(12, merge="mountPath", keys=("mountPath",))] = ()
    user: A[ContainerUser | None, F(13)] = None
    allocatedResourcesStatus: A[tuple[ResourceStatus, ...], F(14, merge="name", keys=("name",))] = ()
    stopSignal: A[Signal | None, F(15)] = None


class PodCondition(Record):
    type: A[str, F(1, required=True)] = ""
    observedGeneration: A[Int64, F(7)] = 0
    status: A[str, F(2, required=True)] = ""
    lastProbeTime: A[Time, F(3)] = ""
    lastTransitionTime: A[Time, F(4)] = ""
    reason: A[str, F(5)] = ""
    message: A[str, F(6)] = ""


class PodResourceClaimStatus(Record):
    name: A[str, F(1, required=True)] = ""
    resourceClaimName: A[str | None, F(2)] = None


class ContainerExtendedResourceRequest(Record):
    containerName: A[str, F(1, required=True)] = ""
    resourceName: A[str, F(2, required=True)] = ""
    requestName: A[str, F(3, required=True)] = ""


class PodExtendedResourceClaimStatus(Record):
    requestMappings: A[tuple[ContainerExtendedResourceRequest, ...], F(1, required=True)] = ()
    resourceClaimName: A[str, F(2, required=True)] = ""


class PodIP(Record):
    ip: A[str, F(1, required=True)] = ""


class HostIP(Record):
    ip: A[str, F(1, required=True)] = ""


class EvictionResponder(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1, required=True)] = ""
    priority: A[Int32 | None, F(2, required=True)] = None


class NodeAllocatableMappedResources(Record):
    name: A[str, F(1, required=True)] = ""
    quantity: A[Quantity | None, F(2, required=True)] = None


class NodeAllocatableOverheadResources(Record):
    name: A[str, F(1, required=True)] = ""
    perPod: A[Quantity | None, F(2)] = None
    perContainer: A[Quantity | None, F(3)] = None


class NodeAllocatableResourceClaimStatus(Record):
    resourceClaimName: A[str, F(1, required=True)] = ""
    containers: A[tuple[str, ...], F(2, unique=True)] = ()
    mapping: A[tuple[NodeAllocatableMappedResources, ...], F(4, merge="name", keys=("name",))] = ()
    overhead: A[tuple[NodeAllocatableOverheadResources, ...], F(5, merge="name", keys=("name",))] = ()


class PodStatus(Record):
    observedGeneration: A[Int64, F(17)] = 0
    phase: A[PodPhase, F(1)] = ""
    conditions: A[tuple[PodCondition, ...], F(2, merge="type", keys=("type",))] = ()
    message: A[str, F(3)] = ""
    reason: A[str, F(4)] = ""
    nominatedNodeName: A[str, F(11)] = ""
    hostIP: A[str, F(5)] = ""
    hostIPs: A[tuple[HostIP, ...], F(16, merge="ip")] = ()
    podIP: A[str, F(6)] = ""
    podIPs: A[tuple[PodIP, ...], F(12, merge="ip", keys=("ip",))] = ()
    startTime: A[Time | None, F(7)] = None
    initContainerStatuses: A[tuple[ContainerStatus, ...], F(10)] = ()
    containerStatuses: A[tuple[ContainerStatus, ...], F(8)] = ()
    qosClass: A[PodQOSClass, F(9)] = ""
    ephemeralContainerStatuses: A[tuple[ContainerStatus, ...], F(13)] = ()
    resize: A[str, F(14)] = ""
    resourceClaimStatuses: A[
        tuple[PodResourceClaimStatus, ...],
        F(15, merge="name", strategy="merge,retainKeys", keys=("name",)),
    ] = ()
    extendedResourceClaimStatus: A[PodExtendedResourceClaimStatus | None, F(18)] = None
    allocatedResources: A[dict[str, Quantity], F(19)] = {}
    resources: A[ResourceRequirements | None, F(20)] = None
    nodeAllocatableResourceClaimStatuses: A[
        tuple[NodeAllocatableResourceClaimStatus, ...],
        F(21, merge="resourceClaimName", keys=("resourceClaimName",)),
    ] = ()
    volumeHealth: A[tuple[PodVolumeHealth, ...], F(22, keys=("name",))] = ()
