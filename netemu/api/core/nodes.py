"""Nodes."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import NodePhase
from netemu.api.core.selection import Taint
from netemu.api.fields import F, Int32, Int64, Quantity, Record, Time
from netemu.api.meta import Object, OwnerReference


class ConfigMapNodeConfigSource(Record):
    namespace: A[str, F(1, required=True)] = ""
    name: A[str, F(2, required=True)] = ""
    uid: A[str, F(3)] = ""
    resourceVersion: A[str, F(4)] = ""
    kubeletConfigKey: A[str, F(5, required=True)] = ""


class NodeConfigSource(Record):
    configMap: A[ConfigMapNodeConfigSource | None, F(2)] = None


class NodePodPreemptionPolicy(Record):
    disableResizePreemption: A[tuple[str, ...], F(1, unique=True)] = ()


class NodeSpec(Record):
    podCIDR: A[str, F(1)] = ""
    podCIDRs: A[tuple[str, ...], F(7, strategy="merge", unique=True)] = ()
    providerID: A[str, F(3)] = ""
    unschedulable: A[bool, F(4)] = False
    taints: A[tuple[Taint, ...], F(5)] = ()
    configSource: A[NodeConfigSource | None, F(6)] = None
    externalID: A[str, F(2)] = ""
    podPreemptionPolicy: A[NodePodPreemptionPolicy | None, F(8)] = None


class DaemonEndpoint(Record):
    Port: A[Int32, F(1, required=True)] = 0


class NodeDaemonEndpoints(Record):
    kubeletEndpoint: A[DaemonEndpoint, F(1)] = DaemonEndpoint()


class NodeRuntimeHandlerFeatures(Record):
    recursiveReadOnlyMounts: A[bool | None, F(1)] = None
    userNamespaces: A[bool | None, F(2)] = None


class NodeRuntimeHandler(Record):
    name: A[str, F(1, keep=True)] = ""
    features: A[NodeRuntimeHandlerFeatures | None, F(2)] = None


class NodeFeatures(Record):
    supplementalGroupsPolicy: A[bool | None, F(1)] = None


class NodeSwapStatus(Record):
    capacity: A[Int64 | None, F(1)] = None


class NodeSystemInfo(Record):
    machineID: A[str, F(1, required=True)] = ""
    systemUUID: A[str, F(2, required=True)] = ""
    bootID: A[str, F(3, required=True)] = ""
    kernelVersion: A[str, F(4, required=True)] = ""
    osImage: A[str, F(5, required=True)] = ""
    containerRuntimeVersion: A[str, F(6, required=True)] = ""
    kubeletVersion: A[str, F(7, required=True)] = ""
    kubeProxyVersion: A[str, F(8, required=True)] = ""
    operatingSystem: A[str, F(9, required=True)] = ""
    architecture: A[str, F(10, required=True)] = ""
    swap: A[NodeSwapStatus | None, F(11)] = None


class NodeConfigStatus(Record):
    assigned: A[NodeConfigSource | None, F(1)] = None
    active: A[NodeConfigSource | None, F(2)] = None
    lastKnownGood: A[NodeConfigSource | None, F(3)] = None
    error: A[str, F(4)] = ""


class AttachedVolume(Record):
    name: A[str, F(1, required=True)] = ""
    devicePath: A[str, F(2, required=True)] = ""


class ContainerImage(Record):
    names: A[tuple[str, ...], F(1, keep=True)] = ()
    sizeBytes: A[Int64, F(2)] = 0


class NodeAddress(Record):
    type: A[str, F(1, required=True)] = ""
    address: A[str, F(2, required=True)] = ""


class NodeCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastHeartbeatTime: A[Time, F(3)] = ""
    lastTransitionTime: A[Time, F(4)] = ""
    reason: A[str, F(5)] = ""
    message: A[str, F(6)] = ""


class NodeStatus(Record):
    capacity: A[dict[str, Quantity], F(1)] = {}
    allocatable: A[dict[str, Quantity], F(2)] = {}
    phase: A[NodePhase, F(3)] = ""
    conditions: A[tuple[NodeCondition, ...], F(4, merge="type", keys=("type",))] = ()
    addresses: A[tuple[NodeAddress, ...], F(5, merge="type", keys=("type",))] = ()
    daemonEndpoints: A[NodeDaemonEndpoints, F(6)] = NodeDaemonEndpoints()
    nodeInfo: A[NodeSystemInfo, F(7)] = NodeSystemInfo()
    images: A[tuple[ContainerImage, ...], F(8)] = ()
    volumesInUse: A[tuple[str, ...], F(9)] = ()
    volumesAttached: A[tuple[AttachedVolume, ...], F(10)] = ()
    config: A[NodeConfigStatus | None, F(11)] = None
    runtimeHandlers: A[tuple[NodeRuntimeHandler, ...], F(12)] = ()
    features: A[NodeFeatures | None, F(13)] = None
    declaredFeatures: A[tuple[str, ...], F(14)] = ()


class PodSignature(Record):
    podController: A[OwnerReference | None, F(1)] = None


class PreferAvoidPodsEntry(Record):
    podSignature: A[PodSignature, F(1, required=True)] = PodSignature()
    evictionTime: A[Time, F(2)] = ""
    reason: A[str, F(3)] = ""
    message: A[str, F(4)] = ""


class AvoidPods(Record):
    preferAvoidPods: A[tuple[PreferAvoidPodsEntry, ...], F(1)] = ()


class Node(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Node"
    spec: A[NodeSpec, F(2)] = NodeSpec()
    status: A[NodeStatus, F(3)] = NodeStatus()
