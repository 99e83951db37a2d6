"""NetworkPolicies, Ingresses, ServiceCIDRs, IPAddresses."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.enums import Protocol
from netemu.api.core.references import TypedLocalObjectReference
from netemu.api.fields import Enum, F, Int32, IntOrString, Record
from netemu.api.meta import Condition, LabelSelector, Object

PathType = A[str, Enum("Exact", "Prefix", "ImplementationSpecific")]
PolicyType = A[str, Enum("Ingress", "Egress")]


class IPBlock(Record, rename={"except_": "except"}):
    cidr: A[str, F(1, required=True)] = ""
    except_: A[tuple[str, ...], F(2)] = ()


class NetworkPolicyPeer(Record):
    podSelector: A[LabelSelector | None, F(1)] = None
    namespaceSelector: A[LabelSelector | None, F(2)] = None
    ipBlock: A[IPBlock | None, F(3)] = None


class NetworkPolicyPort(Record):
    protocol: A[Protocol | None, F(1, default="TCP")] = None
    port: A[IntOrString | None, F(2)] = None
    endPort: A[Int32 | None, F(3)] = None


class NetworkPolicyEgressRule(Record):
    ports: A[tuple[NetworkPolicyPort, ...], F(1)] = ()
    to: A[tuple[NetworkPolicyPeer, ...], F(2)] = ()


class NetworkPolicyIngressRule(Record, rename={"from_": "from"}):
    ports: A[tuple[NetworkPolicyPort, ...], F(1)] = ()
    from_: A[tuple[NetworkPolicyPeer, ...], F(2)] = ()


class NetworkPolicySpec(Record):
    podSelector: A[LabelSelector, F(1, keep=True)] = LabelSelector()
    ingress: A[tuple[NetworkPolicyIngressRule, ...], F(2)] = ()
    egress: A[tuple[NetworkPolicyEgressRule, ...], F(3)] = ()
    policyTypes: A[tuple[PolicyType, ...], F(4)] = ()


class NetworkPolicy(Object):
    apiVersion: ClassVar[str] = "networking.k8s.io/v1"
    kind: ClassVar[str] = "NetworkPolicy"
    spec: A[NetworkPolicySpec, F(2)] = NetworkPolicySpec()


class ServiceBackendPort(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1)] = ""
    number: A[Int32, F(2)] = 0


class IngressServiceBackend(Record):
    name: A[str, F(1, required=True)] = ""
    port: A[ServiceBackendPort, F(2)] = ServiceBackendPort()


class IngressBackend(Record):
    service: A[IngressServiceBackend | None, F(4)] = None
    resource: A[TypedLocalObjectReference | None, F(3)] = None


class HTTPIngressPath(Record):
    path: A[str, F(1)] = ""
    pathType: A[PathType | None, F(3, required=True)] = None
    backend: A[IngressBackend, F(2, required=True)] = IngressBackend()


class HTTPIngressRuleValue(Record):
    paths: A[tuple[HTTPIngressPath, ...], F(1, required=True)] = ()


class IngressRuleValue(Record):
    http: A[HTTPIngressRuleValue | None, F(1)] = None


class IngressRule(IngressRuleValue):
    embedded: ClassVar[int] = 2
    host: A[str, F(1)] = ""


class IngressTLS(Record):
    hosts: A[tuple[str, ...], F(1)] = ()
    secretName: A[str, F(2)] = ""


class IngressSpec(Record):
    ingressClassName: A[str | None, F(4)] = None
    defaultBackend: A[IngressBackend | None, F(1)] = None
    tls: A[tuple[IngressTLS, ...], F(2)] = ()
    rules: A[tuple[IngressRule, ...], F(3)] = ()


class IngressPortStatus(Record):
    port: A[Int32, F(1, required=True)] = 0
    protocol: A[Protocol, F(2, required=True)] = ""
    error: A[str | None, F(3)] = None


class IngressLoadBalancerIngress(Record):
    ip: A[str, F(1)] = ""
    hostname: A[str, F(2)] = ""
    ports: A[tuple[IngressPortStatus, ...], F(4)] = ()


class IngressLoadBalancerStatus(Record):
    ingress: A[tuple[IngressLoadBalancerIngress, ...], F(1)] = ()


class IngressStatus(Record):
    loadBalancer: A[IngressLoadBalancerStatus, F(1)] = IngressLoadBalancerStatus()


class Ingress(Object):
    apiVersion: ClassVar[str] = "networking.k8s.io/v1"
    kind: ClassVar[str] = "Ingress"
    spec: A[IngressSpec, F(2)] = IngressSpec()
    status: A[IngressStatus, F(3)] = IngressStatus()


class IngressClassParametersReference(Record):
    apiGroup: A[str | None, F(1)] = None
    kind: A[str, F(2, required=True)] = ""
    name: A[str, F(3, required=True)] = ""
    scope: A[str | None, F(4)] = None
    namespace: A[str | None, F(5)] = None


class IngressClassSpec(Record):
    controller: A[str, F(1)] = ""
    parameters: A[IngressClassParametersReference | None, F(2)] = None


class IngressClass(Object):
    apiVersion: ClassVar[str] = "networking.k8s.io/v1"
    kind: ClassVar[str] = "IngressClass"
    spec: A[IngressClassSpec, F(2)] = IngressClassSpec()


class ParentReference(Record):
    group: A[str, F(1)] = ""
    resource: A[str, F(2, required=True, keep=False)] = ""
    namespace: A[str, F(3)] = ""
    name: A[str, F(4, required=True, keep=False)] = ""


class IPAddressSpec(Record):
    parentRef: A[ParentReference | None, F(1, required=True)] = None


class IPAddress(Object):
    apiVersion: ClassVar[str] = "networking.k8s.io/v1"
    kind: ClassVar[str] = "IPAddress"
    spec: A[IPAddressSpec, F(2, required=True)] = IPAddressSpec()


class ServiceCIDRSpec(Record):
    cidrs: A[tuple[str, ...], F(1)] = ()


class ServiceCIDRStatus(Record):
    conditions: A[tuple[Condition, ...], F(1, merge="type", keys=("type",))] = ()


class ServiceCIDR(Object):
    apiVersion: ClassVar[str] = "networking.k8s.io/v1"
    kind: ClassVar[str] = "ServiceCIDR"
    spec: A[ServiceCIDRSpec, F(2)] = ServiceCIDRSpec()
    status: A[ServiceCIDRStatus, F(3)] = ServiceCIDRStatus()
