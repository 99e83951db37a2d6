"""Every flow of a cluster that is worth asking: who there is, times everything that can be dialled. Pure.

Knows objects; not what ought to happen to a flow, nor how it is measured.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from netemu.api import core
from netemu.model import claims, flows, worlds

Kind = Literal["pod", "service", "node-port", "balancer", "name", "echo", "outside"]
KINDS: tuple[Kind, ...] = ("pod", "service", "node-port", "balancer", "name", "echo", "outside")
MISSING_PORT = 9  # of a Service that does not have it ("discard")
FAMILIES = (4, 6)


class Case(NamedTuple):
    """One flow, the kind of its target, and how the target is shown (the same for both families).

    `owner` is whose address it is, if it is a pod's or a node's.
    """

    flow: flows.Flow
    kind: Kind
    target: str
    owner: worlds.Party | None = None

    def __str__(self) -> str:
        flow = self.flow
        host = f"[{flow.host}]" if ":" in flow.host else flow.host
        port = f":{flow.port}" if flow.port else ""
        return f"{flow.source} to {self.target}, {host}{port} {flow.protocol} IPv{flow.family}"


class Target(NamedTuple):
    """Something to dial: `host` is an address or a name."""

    kind: Kind
    shown: str
    host: str
    port: int
    protocol: str
    family: int


def every(
    world: worlds.World, *, outside_port: int = 0, wanted: Callable[[Case], bool] = lambda case: True
) -> tuple[Case, ...]:
    """All flows of a cluster, in a fixed order. `outside_port`: where somebody listens outside, if not 0."""
    targets = (*_pods(world), *_services(world), *_echoes(world), *_outside(world, outside_port))
    found = (case for sender in senders(world) for case in _of(world, sender, targets))
    return tuple(case for case in found if wanted(case))


def senders(world: worlds.World) -> tuple[worlds.Party, ...]:
    """Running pods with a network of their own, nodes, and the world outside."""
    nodes = (worlds.node_party(node) for node in world.nodes)
    return (*(worlds.pod_party(pod) for pod in own_network(world)), *nodes, world.outside)


def own_network(world: worlds.World) -> tuple[core.Pod, ...]:
    """Running pods that do not share their node's network, by Namespace and name."""
    found = (pod for pod in world.pods if worlds.is_running(pod) and not pod.spec.hostNetwork)
    return tuple(sorted(found, key=lambda pod: (pod.metadata.namespace, pod.metadata.name)))


def declared(pod: core.Pod) -> tuple[tuple[int, str], ...]:
    """The ports (number, protocol) that the pod's running containers declare."""
    return tuple(
        dict.fromkeys(
            (port.containerPort, port.protocol or "TCP")
            for container in worlds.running_containers(pod)
            for port in container.ports
        )
    )


def _of(world: worlds.World, sender: worlds.Party, targets: tuple[Target, ...]) -> Iterator[Case]:
    own = {family for family in FAMILIES if sender.of_family(family)}
    for target in (*targets, *(_names(world, sender) if sender.kind == "pod" else ())):
        if target.family in own:
            flow = flows.Flow(sender, target.host, target.port, target.protocol, target.family)
            yield Case(flow, target.kind, target.shown, world.owner(target.host))


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _pods(world: worlds.World) -> Iterator[Target]:
    for pod in own_network(world):
        party = worlds.pod_party(pod)
        for number, protocol in declared(pod):
            for address in party.addresses:
                yield Target("pod", str(party), address, number, protocol, _family(address))


def _echoes(world: worlds.World) -> Iterator[Target]:
    """An echo request to each pod and each node."""
    nodes = (node.metadata.name for node in world.nodes)
    yield from (
        Target("echo", node, ip, 0, "ICMP", _family(ip)) for node in nodes for ip in _ips(world, node)
    )
    for pod in own_network(world):
        party = worlds.pod_party(pod)
        yield from (Target("echo", str(party), ip, 0, "ICMP", _family(ip)) for ip in party.addresses)


def _services(world: worlds.World) -> Iterator[Target]:
    for service in world.services:
        label = short(service)
        for address in worlds.canonical(tuple(ip for ip in service.spec.clusterIPs if worlds.is_address(ip))):
            family = _family(address)
            for port in service.spec.ports:
                yield Target("service", f"service {label}", address, port.port, _protocol(port), family)
            if all(port.port != MISSING_PORT for port in service.spec.ports):
                shown = f"service {label}, no such port"
                yield Target("service", shown, address, MISSING_PORT, "TCP", family)
        for shown, addresses in (
            (f"balancer {label}", claims.balancer_addresses(service)),
            (f"external IP of {label}", service.spec.externalIPs),
        ):
            for address in worlds.canonical(addresses):
                for port in service.spec.ports:
                    yield Target("balancer", shown, address, port.port, _protocol(port), _family(address))
        yield from _node_ports(world, service, label)


def _node_ports(world: worlds.World, service: core.Service, label: str) -> Iterator[Target]:
    for port in service.spec.ports:
        for node in (node.metadata.name for node in world.nodes if port.nodePort):
            shown = f"node port {label} at {node}"
            for address in _ips(world, node):
                yield Target("node-port", shown, address, port.nodePort, _protocol(port), _family(address))


def _names(world: worlds.World, sender: worlds.Party) -> Iterator[Target]:
    """As people type them: without the Namespace at home; and one in full, by its first port."""
    for service in world.services:
        if not service.spec.ports:
            continue
        at_home = service.metadata.namespace == sender.namespace
        host = service.metadata.name if at_home else f"{service.metadata.name}.{service.metadata.namespace}"
        port = service.spec.ports[0]
        for family in FAMILIES:
            yield Target("name", f"name {short(service)}", host, port.port, _protocol(port), family)


def _outside(world: worlds.World, port: int) -> Iterator[Target]:
    for address in world.outside.addresses if port else ():
        for protocol in ("TCP", "UDP"):
            yield Target("outside", "outside", address, port, protocol, _family(address))


def _ips(world: worlds.World, name: str) -> tuple[str, ...]:
    """The addresses a node is known by; not its gateways to pods."""
    node = world.node(name)
    found = node.status.addresses if node is not None and node.status else ()
    return worlds.canonical(tuple(entry.address for entry in found if entry.type == "InternalIP"))


def _protocol(port: core.ServicePort) -> str:
    return port.protocol or "TCP"


def short(service: core.Service) -> str:
    """The Service's name, with its Namespace unless that is `default`."""
    meta = service.metadata
    return str(meta.name) if meta.namespace == "default" else f"{meta.namespace}/{meta.name}"
