"""The cluster as objects say it is: who has which address, which Service leads where. Pure lookups.

Knows Pods, Nodes, Services and EndpointSlices; not what is really listening, nor what the kernel does.
"""

import ipaddress
from collections.abc import Iterator
from typing import Literal, NamedTuple

from netemu.api import core, discovery

SERVICE_NAME = "kubernetes.io/service-name"


class Party(NamedTuple):
    """Somebody who can send: a pod, a node, or the world outside. `node` is where a pod runs."""

    kind: Literal["pod", "node", "outside"]
    name: str
    namespace: str = ""
    node: str = ""
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "pod":
            return self.name if self.namespace == "default" else f"{self.namespace}/{self.name}"
        return self.name

    def of_family(self, family: int) -> frozenset[str]:
        """The addresses of one family."""
        return frozenset(a for a in self.addresses if ipaddress.ip_address(a).version == family)


class Endpoint(NamedTuple):
    """One ready endpoint of a Service port: whom it is, where, and on which address and port."""

    name: str
    node: str
    address: str
    port: int


class World(NamedTuple):
    """Everything the model judges by. `outside` is the client beyond the cluster."""

    pods: tuple[core.Pod, ...] = ()
    nodes: tuple[core.Node, ...] = ()
    services: tuple[core.Service, ...] = ()
    slices: tuple[discovery.EndpointSlice, ...] = ()
    outside: Party = Party("outside", "outside")
    domain: str = "cluster.local"

    def pod(self, name: str, namespace: str) -> core.Pod | None:
        """The pod of that name."""
        for pod in self.pods:
            if (pod.metadata.name, pod.metadata.namespace) == (name, namespace):
                return pod
        return None

    def node(self, name: str) -> core.Node | None:
        """The node of that name."""
        return next((node for node in self.nodes if node.metadata.name == name), None)

    def service(self, name: str, namespace: str) -> core.Service | None:
        """The Service of that name."""
        for service in self.services:
            if (service.metadata.name, service.metadata.namespace) == (name, namespace):
                return service
        return None

    def parties(self) -> Iterator[Party]:
        """Everybody with an address, nodes before pods (a host-network pod's address is its node's)."""
        yield from (node_party(node) for node in self.nodes)
        yield from (pod_party(pod) for pod in self.pods if is_running(pod))
        yield self.outside

    def owner(self, address: str) -> Party | None:
        """Whose address it is, outside Services."""
        return next((party for party in self.parties() if address in party.addresses), None)

    def endpoints(self, service: core.Service, port: core.ServicePort, family: int) -> tuple[Endpoint, ...]:
        """The ready endpoints of a Service port in one family, as its EndpointSlices list them."""
        found = [
            Endpoint(
                endpoint.targetRef.name if endpoint.targetRef else address,
                endpoint.nodeName or "",
                address,
                number,
            )
            for piece in self.slices
            if piece.metadata.namespace == service.metadata.namespace
            and piece.metadata.labels.get(SERVICE_NAME) == service.metadata.name
            and piece.addressType == f"IPv{family}"
            for number in (p.port for p in piece.ports if (p.name or "") == port.name and p.port)
            for endpoint in piece.endpoints
            if endpoint.conditions is None or endpoint.conditions.ready is not False
            for address in endpoint.addresses[:1]
        ]
        return tuple(sorted(set(found)))


def pod_party(pod: core.Pod) -> Party:
    """A pod as a sender."""
    addresses = tuple(entry.ip for entry in pod.status.podIPs) if pod.status else ()
    return Party("pod", pod.metadata.name, pod.metadata.namespace, pod.spec.nodeName, canonical(addresses))


def node_party(node: core.Node) -> Party:
    """A node as a sender: its own addresses and its gateway (the first address) in each pod subnet."""
    own = tuple(a.address for a in (node.status.addresses if node.status else ()) if a.type == "InternalIP")
    ranges = node.spec.podCIDRs if node.spec else ()
    gateways = tuple(str(ipaddress.ip_network(subnet)[1]) for subnet in ranges)
    name = node.metadata.name
    return Party("node", name, "", name, canonical((*own, *gateways)))


def canonical(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses in the one spelling used for comparing."""
    return tuple(str(ipaddress.ip_address(address)) for address in addresses)


def is_running(pod: core.Pod) -> bool:
    """Whether the pod holds its addresses: scheduled, not finished."""
    return bool(pod.status) and pod.status.phase not in ("Succeeded", "Failed") and bool(pod.status.podIPs)


def is_ready(pod: core.Pod) -> bool:
    """The pod's Ready condition."""
    conditions = pod.status.conditions if pod.status else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


def declares(pod: core.Pod, port: int, protocol: str) -> str:
    """The container that declares the port, or "". Declaring is information only: others may listen too."""
    for container in pod.spec.containers:
        for declared in container.ports:
            if (declared.containerPort, declared.protocol or "TCP") == (port, protocol):
                return str(container.name)
    return ""
