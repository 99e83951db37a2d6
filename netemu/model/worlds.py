"""The cluster as objects say it is: who has which address, which Service leads where. Pure lookups.

Knows Pods, Nodes, Services and EndpointSlices; not what is really listening, nor what the kernel does.
"""

import functools
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from netemu.api import clusterpolicies, core, discovery, networking

T = TypeVar("T")

SERVICE_NAME = "kubernetes.io/service-name"
NAME_LABEL = "kubernetes.io/metadata.name"


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

    def speaks(self, family: int) -> bool:
        """Whether it has an address of the family."""
        return (family == 6) in [":" in address for address in self.addresses]

    def of_family(self, family: int) -> frozenset[str]:
        """The addresses of one family."""
        wanted = family == 6
        return frozenset([a for a in self.addresses if (":" in a) == wanted])


class Settings(NamedTuple):
    """What a cluster is told beside its objects; names as kube-proxy's flags have them.

    cluster_cidrs        where pods are; `detection` (detect-local-mode) ClusterCIDR takes these for local
    service_cidrs        where Services are: an address in them that no Service has is dropped
    masquerade_all       every connection to a cluster IP is masqueraded
    node_port_addresses  ranges whose addresses serve node ports (none: all but loopback)
    policed              whether policies are enforced at all
    tunnelled            pods of other nodes are reached through a tunnel, in which a node speaks with the
                         first address of its pods' range
    proxy_mode           nftables or iptables: the latter serves node ports at 127.0.0.1, too, and has no
                         rules for ports and addresses that no Service has
    """

    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16", "fd00:244::/56")
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16", "fd00:96::/112")
    masquerade_all: bool = False
    detection: str = "ClusterCIDR"
    node_port_addresses: tuple[str, ...] = ()
    policed: bool = True
    tunnelled: bool = False
    proxy_mode: str = "nftables"


class Objects(NamedTuple):
    """Everything the model judges by. `outside` is the client beyond the cluster."""

    pods: tuple[core.Pod, ...] = ()
    nodes: tuple[core.Node, ...] = ()
    services: tuple[core.Service, ...] = ()
    slices: tuple[discovery.EndpointSlice, ...] = ()
    outside: Party = Party("outside", "outside")
    domain: str = "cluster.local"
    namespaces: tuple[core.Namespace, ...] = ()
    policies: tuple[networking.NetworkPolicy, ...] = ()
    cluster_policies: tuple[clusterpolicies.ClusterNetworkPolicy, ...] = ()
    settings: Settings = Settings()


class World(Objects):
    """The objects with their indexes, made when first asked for: a world never changes, so they stay true."""

    def derive(self, make: Callable[["World"], T]) -> T:
        """What `make` derives from this world; made once."""
        if make not in self._derived:
            self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    @functools.cached_property
    def _derived(self) -> dict[Callable[["World"], Any], Any]:
        return {}

    @functools.cached_property
    def _pods(self) -> Mapping[tuple[str, str], core.Pod]:
        return {(pod.metadata.name, pod.metadata.namespace): pod for pod in self.pods}

    @functools.cached_property
    def _services(self) -> Mapping[tuple[str, str], core.Service]:
        return {(service.metadata.name, service.metadata.namespace): service for service in self.services}

    @functools.cached_property
    def _nodes(self) -> Mapping[str, core.Node]:
        return {node.metadata.name: node for node in self.nodes}

    @functools.cached_property
    def owners(self) -> Mapping[str, Party]:
        """Whose each address is, outside Services."""
        found: dict[str, Party] = {}
        for party in self.parties():
            for address in party.addresses:
                found.setdefault(address, party)
        return found

    @functools.cached_property
    def host_pods(self) -> Mapping[str, tuple[core.Pod, ...]]:
        """The running pods in the network of each node."""
        found: dict[str, tuple[core.Pod, ...]] = {}
        for pod in self.pods:
            if pod.spec.hostNetwork and is_running(pod):
                found[pod.spec.nodeName] = (*found.get(pod.spec.nodeName, ()), pod)
        return found

    @functools.cached_property
    def namespace_labels(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of each Namespace; its name is always one (the API server sets it, immutable)."""
        named = {pod.metadata.namespace: {NAME_LABEL: pod.metadata.namespace} for pod in self.pods}
        return named | {
            space.metadata.name: {**space.metadata.labels, NAME_LABEL: space.metadata.name}
            for space in self.namespaces
        }

    @functools.cached_property
    def _slices(self) -> Mapping[tuple[str, str], tuple[discovery.EndpointSlice, ...]]:
        found: dict[tuple[str, str], tuple[discovery.EndpointSlice, ...]] = {}
        for piece in self.slices:
            key = (piece.metadata.labels.get(SERVICE_NAME, ""), piece.metadata.namespace)
            found[key] = (*found.get(key, ()), piece)
        return found

    def pod(self, name: str, namespace: str) -> core.Pod | None:
        """The pod of that name."""
        return self._pods.get((name, namespace))

    def node(self, name: str) -> core.Node | None:
        """The node of that name."""
        return self._nodes.get(name)

    def service(self, name: str, namespace: str) -> core.Service | None:
        """The Service of that name."""
        return self._services.get((name, namespace))

    def slices_of(self, service: core.Service) -> tuple[discovery.EndpointSlice, ...]:
        """The EndpointSlices of a Service."""
        return self._slices.get((service.metadata.name, service.metadata.namespace), ())

    def parties(self) -> Iterator[Party]:
        """Everybody with an address, nodes before pods (a host-network pod's address is its node's)."""
        yield from (node_party(node) for node in self.nodes)
        yield from (pod_party(pod) for pod in self.pods if is_running(pod))
        yield self.outside

    def owner(self, address: str) -> Party | None:
        """Whose address it is, outside Services."""
        return self.owners.get(address)

    def node_addresses(self, name: str, family: int) -> frozenset[str]:
        """The addresses of a node that a receiver may see, its gateways to its pods among them."""
        party = self._node_parties.get(name)
        return party.of_family(family) if party is not None else frozenset()

    def uplinks(self, name: str, family: int) -> frozenset[str]:
        """The addresses from which a node's own packets reach pods on other nodes."""
        node = self.node(name)
        if node is None:
            return frozenset()
        if self.settings.tunnelled:
            own = [
                str(ipaddress.ip_network(subnet)[0]) for subnet in (node.spec.podCIDRs if node.spec else ())
            ]
        else:
            own = [a.address for a in node.status.addresses if a.type == "InternalIP"]
        return frozenset(a for a in canonical(tuple(own)) if (":" in a) == (family == 6))

    @functools.cached_property
    def _node_parties(self) -> Mapping[str, Party]:
        return {node.metadata.name: node_party(node) for node in self.nodes}


def pod_party(pod: core.Pod) -> Party:
    """A pod as a sender."""
    addresses = tuple(entry.ip for entry in pod.status.podIPs) if pod.status else ()
    return Party("pod", pod.metadata.name, pod.metadata.namespace, pod.spec.nodeName, canonical(addresses))


def node_party(node: core.Node) -> Party:
    """A node as a sender: its own addresses and its gateway (the first address) in each pod subnet."""
    own = tuple(a.address for a in (node.status.addresses if node.status else ()) if a.type == "InternalIP")
    ranges = node.spec.podCIDRs if node.spec else ()
    # Its pods' gateway; and the first address of all, with which it speaks over a tunnel (flannel's scheme).
    gateways = tuple(str(ipaddress.ip_network(subnet)[number]) for subnet in ranges for number in (1, 0))
    name = node.metadata.name
    return Party("node", name, "", name, canonical((*own, *gateways)))


def primary(node: core.Node | None, family: int) -> str:
    """The first address of a node in a family; "" if it has none."""
    given = node.status.addresses if node is not None and node.status else ()
    own = canonical(tuple(entry.address for entry in given if entry.type == "InternalIP"))
    return next((address for address in own if (":" in address) == (family == 6)), "")


def canonical(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses in the one spelling used for comparing."""
    return tuple(map(_spelt, addresses))


def _spelt(address: str) -> str:
    return literal(address) or str(ipaddress.ip_address(address))  # which says what is wrong with it


def is_running(pod: core.Pod) -> bool:
    """Whether the pod holds its addresses: scheduled, not finished."""
    return bool(pod.status) and pod.status.phase not in ("Succeeded", "Failed") and bool(pod.status.podIPs)


def is_ready(pod: core.Pod) -> bool:
    """The pod's Ready condition."""
    conditions = pod.status.conditions if pod.status else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


def running_containers(pod: core.Pod) -> Iterator[core.Container]:
    """The containers that run as long as the pod does: its own and its sidecars."""
    yield from pod.spec.containers
    yield from (container for container in pod.spec.initContainers if container.restartPolicy == "Always")


def declared(pod: core.Pod) -> tuple[tuple[int, str], ...]:
    """The ports (number, protocol) that a pod's containers declare, each once."""
    entries = (entry for container in running_containers(pod) for entry in container.ports)
    return tuple(dict.fromkeys((entry.containerPort, entry.protocol or "TCP") for entry in entries))


def declares(pod: core.Pod, port: int, protocol: str) -> str:
    """The container that declares the port, or "". Declaring is information only: others may listen too."""
    for container in running_containers(pod):
        for declared in container.ports:
            if (declared.containerPort, declared.protocol or "TCP") == (port, protocol):
                return str(container.name)
    return ""


@functools.lru_cache(maxsize=1 << 16)
def literal(text: str) -> str:
    """An IP address in the one spelling used for comparing; "" if the text is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def is_address(text: str) -> bool:
    """Whether the text is an IP address."""
    return bool(literal(text))


def within(address: str, ranges: Iterable[str]) -> bool:
    """Whether an address is in one of some ranges (CIDR; host bits do not matter)."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in _network(text) for text in ranges)


@functools.lru_cache(maxsize=1 << 12)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text.strip(), strict=False)
