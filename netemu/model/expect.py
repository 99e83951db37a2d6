"""What the Kubernetes network model says must happen to one flow, and why. Pure.

Knows the rules for pods, nodes, Services and names (https://kubernetes.io/docs/concepts/services-networking/);
not whether a container really listens: where only that decides, it says nothing.
"""

import ipaddress
from typing import NamedTuple

from netemu.api import core
from netemu.model import worlds


class Flow(NamedTuple):
    """One connection: who, to which address or name, port, protocol (TCP, UDP) and family (4, 6)."""

    source: worlds.Party
    host: str
    port: int
    protocol: str = "TCP"
    family: int = 4


class Answerer(NamedTuple):
    """One who may answer: its name, and the client addresses it may see (empty: the model does not say)."""

    name: str
    seen: frozenset[str] = frozenset()


class Verdict(NamedTuple):
    """What must happen: `outcome` is ok, refused, dropped, unreachable, no-such-name or "" (undecided)."""

    outcome: str
    because: tuple[str, ...]
    answerers: tuple[Answerer, ...] = ()

    def seen_by(self, name: str) -> frozenset[str]:
        """The client addresses the endpoint `name` may see."""
        return next((answerer.seen for answerer in self.answerers if answerer.name == name), frozenset())


def expect(world: worlds.World, flow: Flow) -> Verdict:
    """Judge a flow. Reasons are in the order in which a packet meets them."""
    if not _is_address(flow.host):
        addresses, because = resolve(world, flow)
        if not addresses:
            return Verdict("no-such-name", (because,))
        verdict = expect(world, flow._replace(host=addresses[0]))
        return verdict._replace(because=(because, *verdict.because))
    flow = flow._replace(host=str(ipaddress.ip_address(flow.host)))
    if ipaddress.ip_address(flow.host).is_loopback:
        return _localhost(world, flow)
    if (found := _cluster_ip(world, flow.host)) is not None:
        return _to_service(world, flow, found)
    owner = world.owner(flow.host)
    if owner is None:
        return Verdict("", (f"{flow.host} is nobody's in this lab",))
    if owner.kind == "node":
        return _to_node(world, flow, owner)
    if owner.kind == "pod":
        return _to_pod(world, flow, owner)
    seen = flow.source.of_family(flow.family)
    if flow.source.kind != "outside":
        seen = _node_addresses(world, flow.source.node, flow.family)
    because = (
        "beyond the cluster pods are seen as their node (masqueraded)" if flow.source.kind == "pod" else ""
    )
    return Verdict("ok", (because,) if because else (), (Answerer(owner.name, seen),))


def resolve(world: worlds.World, flow: Flow) -> tuple[tuple[str, ...], str]:
    """The addresses a name has for the sender, and the reason (DNS-Based Service Discovery, schema 1.1.0)."""
    if not _asks_cluster_dns(world, flow.source):
        return (), f"{flow.source} does not ask the cluster's DNS"
    base = f"svc.{world.domain}"
    search = (
        ()
        if flow.host.endswith(".")
        else (f".{flow.source.namespace}.{base}", f".{base}", f".{world.domain}")
    )
    for suffix in (*search, ""):
        full = flow.host.rstrip(".") + suffix
        labels = full.removesuffix(f".{base}").split(".")
        if not full.endswith(f".{base}") or len(labels) != 2:
            continue
        service = world.service(labels[0], labels[1])
        if service is not None and (addresses := _service_addresses(world, service, flow.family)):
            return addresses, f"{full} is {', '.join(addresses)}"
    return (), f"no Service has the name {flow.host} with an IPv{flow.family} address"


def _asks_cluster_dns(world: worlds.World, source: worlds.Party) -> bool:
    """As the kubelet writes resolv.conf for a dnsPolicy; nodes and the outside have their own servers."""
    pod = world.pod(source.name, source.namespace) if source.kind == "pod" else None
    if pod is None:
        return False
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.hostNetwork)


def _service_addresses(world: worlds.World, service: core.Service, family: int) -> tuple[str, ...]:
    ips = tuple(ip for ip in service.spec.clusterIPs if _is_address(ip))
    if ips:
        return tuple(ip for ip in worlds.canonical(ips) if ipaddress.ip_address(ip).version == family)
    found = {e.address for port in service.spec.ports for e in world.endpoints(service, port, family)}
    return tuple(sorted(found))


def _localhost(world: worlds.World, flow: Flow) -> Verdict:
    pod = world.pod(flow.source.name, flow.source.namespace) if flow.source.kind == "pod" else None
    container = worlds.declares(pod, flow.port, flow.protocol) if pod else ""
    if pod is None or not container:
        return Verdict("", (f"nothing is declared on {flow.source}'s own port {flow.port}",))
    because = f"containers of a pod share one loopback; container {container} has the port"
    return Verdict("ok", (because,), (Answerer(pod.metadata.name, frozenset({flow.host})),))


def _to_pod(world: worlds.World, flow: Flow, owner: worlds.Party) -> Verdict:
    if flow.source.kind == "outside":
        return Verdict("unreachable", ("pod addresses are known inside the cluster only",))
    pod = world.pod(owner.name, owner.namespace)
    reasons = ["pods are reached by their own address"]
    if flow.source.node:
        reasons.append(
            "same node" if flow.source.node == owner.node else f"{flow.source.node} to {owner.node}"
        )
    if pod is None or not worlds.declares(pod, flow.port, flow.protocol):
        return Verdict("", (*reasons, f"no container declares port {flow.port}/{flow.protocol}"))
    return Verdict("ok", tuple(reasons), (Answerer(owner.name, _own(world, flow)),))


def _to_service(world: worlds.World, flow: Flow, found: core.Service) -> Verdict:
    label = f"Service {found.metadata.namespace}/{found.metadata.name}"
    if flow.source.kind == "outside":
        return Verdict("unreachable", ("cluster IPs are known inside the cluster only",))
    for port in found.spec.ports:
        if (port.port, port.protocol or "TCP") == (flow.port, flow.protocol):
            return _through(world, flow, found, port, by=f"{label} has port {flow.port}/{flow.protocol}")
    return Verdict("refused", (f"{label} has no port {flow.port}/{flow.protocol}",))


def _to_node(world: worlds.World, flow: Flow, owner: worlds.Party) -> Verdict:
    for service in world.services:
        for port in service.spec.ports:
            if port.nodePort and (port.nodePort, port.protocol or "TCP") == (flow.port, flow.protocol):
                label = f"Service {service.metadata.namespace}/{service.metadata.name}"
                by = f"{label} has node port {port.nodePort}"
                return _through(world, flow, service, port, by=by, node=owner.node)
    return Verdict("", (f"a process of {owner.name} itself, or nobody, has port {flow.port}",))


def _through(
    world: worlds.World, flow: Flow, service: core.Service, port: core.ServicePort, *, by: str, node: str = ""
) -> Verdict:
    """A Service port's choice of endpoints; `node` is the node addressed when it came in by a node port."""
    endpoints = world.endpoints(service, port, flow.family)
    local = node and service.spec.externalTrafficPolicy == "Local"
    if local:
        if flow.source.kind != "outside":
            return Verdict("", (by, "externalTrafficPolicy: Local, asked from inside the cluster"))
        if endpoints and not any(endpoint.node == node for endpoint in endpoints):
            return Verdict("dropped", (by, f"externalTrafficPolicy: Local and no endpoint on {node}"))
        endpoints = tuple(endpoint for endpoint in endpoints if endpoint.node == node)
    if not endpoints:
        return Verdict("refused", (by, "it has no ready endpoint"))
    answerers = []
    for endpoint in endpoints:
        if node and not local:
            seen = _node_addresses(world, node, flow.family)
        elif endpoint.address in flow.source.addresses:  # hairpin: a pod reaches itself through its Service
            seen = _node_addresses(world, flow.source.node, flow.family)
        else:
            seen = _own(world, flow)
        answerers.append(Answerer(endpoint.name, seen))
    count = f"{len(endpoints)} ready endpoint{'s' if len(endpoints) > 1 else ''}"
    masqueraded = (f"{node} puts its own address on it (masquerade)",) if node and not local else ()
    return Verdict("ok", (by, count, *masqueraded), tuple(answerers))


def _own(world: worlds.World, flow: Flow) -> frozenset[str]:
    """The addresses a sender is seen by when nothing translates them."""
    if flow.source.kind == "node":
        return _node_addresses(world, flow.source.name, flow.family)
    return flow.source.of_family(flow.family)


def _node_addresses(world: worlds.World, name: str, family: int) -> frozenset[str]:
    node = world.node(name)
    return worlds.node_party(node).of_family(family) if node else frozenset()


def _cluster_ip(world: worlds.World, address: str) -> core.Service | None:
    for service in world.services:
        if address in worlds.canonical(tuple(ip for ip in service.spec.clusterIPs if _is_address(ip))):
            return service
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
