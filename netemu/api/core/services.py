"""Services and the older Endpoints."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import (
    IPFamily,
    IPFamilyPolicy,
    Protocol,
    ServiceAffinity,
    ServiceExternalTrafficPolicy,
    ServiceInternalTrafficPolicy,
    ServiceType,
)
from netemu.api.core.references import ObjectReference
from netemu.api.fields import F, Int32, IntOrString, Record
from netemu.api.meta import Condition, Object


class ClientIPConfig(Record):
    timeoutSeconds: A[Int32 | None, F(1)] = None


class SessionAffinityConfig(Record):
    clientIP: A[ClientIPConfig | None, F(1)] = None


class PortStatus(Record):
    port: A[Int32, F(1, required=True)] = 0
    protocol: A[Protocol, F(2, required=True)] = ""
    error: A[str | None, F(3)] = None


class LoadBalancerIngress(Record):
    ip: A[str, F(1)] = ""
    hostname: A[str, F(2)] = ""
    ipMode: A[str | None, F(3)] = None
    ports: A[tuple[PortStatus, ...], F(4)] = ()


class LoadBalancerStatus(Record):
    ingress: A[tuple[LoadBalancerIngress, ...], F(1)] = ()


class ServiceStatus(Record):
    loadBalancer: A[LoadBalancerStatus, F(1)] = LoadBalancerStatus()
    conditions: A[tuple[Condition, ...], F(2, merge="type", keys=("type",))] = ()


class ServicePort(Record):
    name: A[str, F(1)] = ""
    protocol: A[Protocol, F(2, default="TCP")] = ""
    appProtocol: A[str | None, F(6)] = None
    port: A[Int32, F(3, required=True)] = 0
    targetPort: A[IntOrString, F(4, keep=True)] = 0
    nodePort: A[Int32, F(5)] = 0


class ServiceSpec(Record):
    ports: A[tuple[ServicePort, ...], F(1, merge="port", keys=("port", "protocol"))] = ()
    selector: A[dict[str, str], F(2, atomic=True)] = {}
    clusterIP: A[str, F(3)] = ""
    clusterIPs: A[tuple[str, ...], F(18)] = ()
    type: A[ServiceType, F(4, default="ClusterIP")] = ""
    externalIPs: A[tuple[str, ...], F(5)] = ()
    sessionAffinity: A[ServiceAffinity, F(7, default="None")] = ""
    loadBalancerIP: A[str, F(8)] = ""
    loadBalancerSourceRanges: A[tuple[str, ...], F(9)] = ()
    externalName: A[str, F(10)] = ""
    externalTrafficPolicy: A[ServiceExternalTrafficPolicy, F(11)] = ""
    healthCheckNodePort: A[Int32, F(12)] = 0
    publishNotReadyAddresses: A[bool, F(13)] = False
    sessionAffinityConfig: A[SessionAffinityConfig | None, F(14)] = None
    ipFamilies: A[tuple[IPFamily, ...], F(19)] = ()
    ipFamilyPolicy: A[IPFamilyPolicy | None, F(17)] = None
    allocateLoadBalancerNodePorts: A[bool | None, F(20)] = None
    loadBalancerClass: A[str | None, F(21)] = None
    internalTrafficPolicy: A[ServiceInternalTrafficPolicy | None, F(22)] = None
    trafficDistribution: A[str | None, F(23)] = None


class Service(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"
    spec: A[ServiceSpec, F(2)] = ServiceSpec()
    status: A[ServiceStatus, F(3)] = ServiceStatus()


class EndpointAddress(Record):
    atomic: ClassVar[bool] = True
    ip: A[str, F(1, required=True)] = ""
    hostname: A[str, F(3)] = ""
    nodeName: A[str | None, F(4)] = None
    targetRef: A[ObjectReference | None, F(2)] = None


class EndpointPort(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1)] = ""
    port: A[Int32, F(2, required=True)] = 0
    protocol: A[Protocol, F(3, default="TCP")] = ""
    appProtocol: A[str | None, F(4)] = None


class EndpointSubset(Record):
    addresses: A[tuple[EndpointAddress, ...], F(1)] = ()
    notReadyAddresses: A[tuple[EndpointAddress, ...], F(2)] = ()
    ports: A[tuple[EndpointPort, ...], F(3)] = ()


class Endpoints(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Endpoints"
    subsets: A[tuple[EndpointSubset, ...], F(2)] = ()
