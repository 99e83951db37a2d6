"""Pods and pod templates."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.containers import Container, EphemeralContainer, ResourceRequirements
from netemu.api.core.enums import DNSPolicy, PreemptionPolicy, RestartPolicy
from netemu.api.core.references import LocalObjectReference, ObjectReference
from netemu.api.core.security import PodSecurityContext
from netemu.api.core.selection import Affinity, Toleration, TopologySpreadConstraint
from netemu.api.core.statuses import EvictionResponder, PodStatus
from netemu.api.core.volumes import Volume
from netemu.api.fields import F, Int32, Int64, Quantity, Record
from netemu.api.meta import Object, ObjectMeta


class PodReadinessGate(Record):
    conditionType: A[str, F(1, required=True)] = ""


class HostAlias(Record):
    ip: A[str, F(1, required=True)] = ""
    hostnames: A[tuple[str, ...], F(2)] = ()


class PodDNSConfigOption(Record):
    name: A[str, F(1)] = ""
    value: A[str | None, F(2)] = None


class PodDNSConfig(Record):
    nameservers: A[tuple[str, ...], F(1)] = ()
    searches: A[tuple[str, ...], F(2)] = ()
    options: A[tuple[PodDNSConfigOption, ...], F(3)] = ()


class PodOS(Record):
    name: A[str, F(1, required=True)] = ""


class PodResourceClaim(Record):
    name: A[str, F(1, required=True)] = ""
    resourceClaimName: A[str | None, F(3)] = None
    resourceClaimTemplateName: A[str | None, F(4)] = None


class PodSchedulingGate(Record):
    name: A[str, F(1, required=True)] = ""


class PodSchedulingGroup(Record):
    podGroupName: A[str | None, F(1)] = None


class PodSpec(Record):
    volumes: A[tuple[Volume, ...], F(1, merge="name", strategy="merge,retainKeys", keys=("name",))] = ()
    initContainers: A[tuple[Container, ...], F(20, merge="name", keys=("name",))] = ()
    containers: A[tuple[Container, ...], F(2, required=True, merge="name", keys=("name",))] = ()
    ephemeralContainers: A[tuple[EphemeralContainer, ...], F(34, merge="name", keys=("name",))] = ()
    restartPolicy: A[RestartPolicy, F(3, default="Always")] = ""
    terminationGracePeriodSeconds: A[Int64 | None, F(4, default=30)] = None
    activeDeadlineSeconds: A[Int64 | None, F(5)] = None
    dnsPolicy: A[DNSPolicy, F(6, default="ClusterFirst")] = ""
    nodeSelector: A[dict[str, str], F(7, atomic=True)] = {}
    serviceAccountName: A[str, F(8)] = ""
    serviceAccount: A[str, F(9)] = ""
    automountServiceAccountToken: A[bool | None, F(21)] = None
    nodeName: A[str, F(10)] = ""
    hostNetwork: A[bool, F(11)] = False
    hostPID: A[bool, F(12)] = False
    hostIPC: A[bool, F(13)] = False
    shareProcessNamespace: A[bool | None, F(27)] = None
    securityContext: A[PodSecurityContext | None, F(14)] = None
    imagePullSecrets: A[tuple[LocalObjectReference, ...], F(15, merge="name", keys=("name",))] = ()
    hostname: A[str, F(16)] = ""
    subdomain: A[str, F(17)] = ""
    affinity: A[Affinity | None, F(18)] = None
    schedulerName: A[str, F(19, default="default-scheduler")] = ""
    tolerations: A[tuple[Toleration, ...], F(22)] = ()
    hostAliases: A[tuple[HostAlias, ...], F(23, merge="ip", keys=("ip",))] = ()
    priorityClassName: A[str, F(24)] = ""
    priority: A[Int32 | None, F(25)] = None
    dnsConfig: A[PodDNSConfig | None, F(26)] = None
    readinessGates: A[tuple[PodReadinessGate, ...], F(28)] = ()
    runtimeClassName: A[str | None, F(29)] = None
    enableServiceLinks: A[bool | None, F(30)] = None
    preemptionPolicy: A[PreemptionPolicy | None, F(31)] = None
    overhead: A[dict[str, Quantity], F(32)] = {}
    topologySpreadConstraints: A[
        tuple[TopologySpreadConstraint, ...],
        F(33, merge="topologyKey", keys=("topologyKey", "whenUnsatisfiable")),
    ] = ()
    setHostnameAsFQDN: A[bool | None, F(35)] = None
    os: A[PodOS | None, F(36)] = None
    hostUsers: A[bool | None, F(37)] = None
    schedulingGates: A[tuple[PodSchedulingGate, ...], F(38, merge="name", keys=("name",))] = ()
    resourceClaims: A[
        tuple[PodResourceClaim, ...],
        F(39, merge="name", strategy="merge,retainKeys", keys=("name",)),
    ] = ()
    resources: A[ResourceRequirements | None, F(40)] = None
    hostnameOverride: A[str | None, F(41)] = None
    schedulingGroup: A[PodSchedulingGroup | None, F(43)] = None
    evictionResponders: A[tuple[EvictionResponder, ...], F(44, merge="name", keys=("name",))] = ()


class Pod(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Pod"
    spec: A[PodSpec, F(2)] = PodSpec()
    status: A[PodStatus, F(3)] = PodStatus()


class PodTemplateSpec(Record):
    metadata: A[ObjectMeta, F(1)] = ObjectMeta()
    spec: A[PodSpec, F(2)] = PodSpec()


class PodTemplate(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "PodTemplate"
    template: A[PodTemplateSpec, F(2)] = PodTemplateSpec()


class Binding(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Binding"
    target: A[ObjectReference, F(2, required=True)] = ObjectReference()
