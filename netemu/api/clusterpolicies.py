"""ClusterNetworkPolicy, policy.networking.k8s.io/v1alpha2 (network-policy-api v0.2): a custom kind's records.

Knows the fields; which of them may stand together the custom resource's schema says.
"""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import Enum, F, Int32, Record
from netemu.api.meta import Condition, LabelSelector, Object

Tier = A[str, Enum("Admin", "Baseline")]
Action = A[str, Enum("Accept", "Deny", "Pass")]


class NamespacedPod(Record):
    """Pods by labels, in Namespaces by labels; an empty selector selects all."""

    namespaceSelector: A[LabelSelector, F(0, keep=True)] = LabelSelector()
    podSelector: A[LabelSelector, F(0, keep=True)] = LabelSelector()


class ClusterNetworkPolicySubject(Record):
    """Exactly one is set. Pods in the host's network are never meant."""

    namespaces: A[LabelSelector | None, F(0)] = None
    pods: A[NamespacedPod | None, F(0)] = None


class PortRange(Record):
    """Both ends count."""

    start: A[Int32, F(0, required=True)] = 0
    end: A[Int32, F(0, required=True)] = 0


class Port(Record):
    """One of them is set."""

    number: A[Int32, F(0)] = 0
    range: A[PortRange | None, F(0)] = None


class ProtocolPort(Record):
    """What is asked of a TCP, UDP or SCTP flow; nothing means every port."""

    destinationPort: A[Port | None, F(0)] = None


class ClusterNetworkPolicyProtocol(Record):
    """One of them is set."""

    tcp: A[ProtocolPort | None, F(0)] = None
    udp: A[ProtocolPort | None, F(0)] = None
    sctp: A[ProtocolPort | None, F(0)] = None
    destinationNamedPort: A[str, F(0)] = ""


class ClusterNetworkPolicyIngressPeer(Record):
    """One of them is set; none means a field this version does not know: fail closed."""

    namespaces: A[LabelSelector | None, F(0)] = None
    pods: A[NamespacedPod | None, F(0)] = None


class ClusterNetworkPolicyEgressPeer(Record):
    """One of them is set; none means a field this version does not know: fail closed."""

    namespaces: A[LabelSelector | None, F(0)] = None
    pods: A[NamespacedPod | None, F(0)] = None
    nodes: A[LabelSelector | None, F(0)] = None
    networks: A[tuple[str, ...], F(0, unique=True)] = ()
    domainNames: A[tuple[str, ...], F(0, unique=True)] = ()


class ClusterNetworkPolicyIngressRule(Record, rename={"from_": "from"}):
    name: A[str, F(0)] = ""
    action: A[Action, F(0, required=True)] = ""
    from_: A[tuple[ClusterNetworkPolicyIngressPeer, ...], F(0, required=True)] = ()
    protocols: A[tuple[ClusterNetworkPolicyProtocol, ...], F(0)] = ()


class ClusterNetworkPolicyEgressRule(Record):
    name: A[str, F(0)] = ""
    action: A[Action, F(0, required=True)] = ""
    to: A[tuple[ClusterNetworkPolicyEgressPeer, ...], F(0, required=True)] = ()
    protocols: A[tuple[ClusterNetworkPolicyProtocol, ...], F(0)] = ()


class ClusterNetworkPolicySpec(Record):
    """`priority` 0 to 1000: the lower comes first within its tier."""

    tier: A[Tier, F(0, required=True)] = ""
    priority: A[Int32, F(0, required=True)] = 0
    subject: A[ClusterNetworkPolicySubject, F(0, keep=True)] = ClusterNetworkPolicySubject()
    ingress: A[tuple[ClusterNetworkPolicyIngressRule, ...], F(0)] = ()
    egress: A[tuple[ClusterNetworkPolicyEgressRule, ...], F(0)] = ()


class ClusterNetworkPolicyStatus(Record):
    conditions: A[tuple[Condition, ...], F(0, merge="type", keys=("type",))] = ()


class ClusterNetworkPolicy(Object):
    apiVersion: ClassVar[str] = "policy.networking.k8s.io/v1alpha2"
    kind: ClassVar[str] = "ClusterNetworkPolicy"
    spec: A[ClusterNetworkPolicySpec, F(0, required=True)] = ClusterNetworkPolicySpec()
    status: A[ClusterNetworkPolicyStatus, F(0)] = ClusterNetworkPolicyStatus()
