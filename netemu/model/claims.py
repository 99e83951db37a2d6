"""Which Service an address and port are: cluster IPs, external and balancer addresses, node ports. Pure.

Knows whose rules win a conflict, and which nodes serve or announce an address; not what is behind a Service.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from netemu.api import core
from netemu.model import memos, worlds
from netemu.model.verdicts import Reason

PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
PRIMARY = "primary"

Way = Literal["cluster IP", "external IP", "load balancer IP", "node port"]


class Dialled(NamedTuple):
    """What a packet is to, the node `at` which Services are looked up, and whether its sender is there."""

    host: str
    port: int
    protocol: str
    at: str
    inside: bool

    @property
    def family(self) -> int:
        return 6 if ":" in self.host else 4


@dataclass(frozen=True, eq=False, slots=True)
class Claim:
    """What was dialled, as a Service's; one object for each, so that it may be the key of what follows.

    `port` is None for a port of a cluster IP that it does not have.
    """

    service: core.Service
    port: core.ServicePort | None
    way: Way
    dialled: Dialled

    @property
    def external(self) -> bool:
        """Whether externalTrafficPolicy is for it (else internalTrafficPolicy)."""
        return self.way != "cluster IP"

    @property
    def routed(self) -> bool:
        """Whether the address is beyond the cluster, and comes to it by routes."""
        return self.way in ("external IP", "load balancer IP")

    def says(self, text: str) -> Reason:
        """A reason that is this Service's."""
        return Reason("service", text, name(self.service))

    @property
    def because(self) -> Reason:
        """Which of the Service's addresses and ports it is."""
        service, port, label = self.service, self.port, name(self.service)
        host, number, protocol, _, _ = self.dialled
        if port is None and protocol == "ICMP":
            return self.says(f"Service {label} has ports alone, and answers no echo request")
        if port is None:
            return self.says(f"Service {label} has no port {number}/{protocol}")
        if self.way == "node port":
            text = f"Service {label} has node port {port.nodePort}"
        elif self.way == "cluster IP":
            text = f"Service {label} has port {number}/{protocol}"
        else:
            text = f"{host} is {self.way} of Service {label}, port {number}/{protocol}"
        return self.says(text)._replace(rule=service.spec.ports.index(port), field="ports")


class Claims:
    """Whose what is dialled is, in one world: `found` by Dialled (None: nobody's)."""

    def __init__(self, world: worlds.World) -> None:
        self._world = world
        self._virtual: dict[str, list[tuple[core.Service, Way]]] = {}
        self._node_ports: dict[tuple[int, str], list[core.Service]] = {}
        self.found = memos.Memo(self._find)
        for service in _ours(world):
            for address, way in _addresses(service):
                self._virtual.setdefault(address, []).append((service, way))
            for port in service.spec.ports:
                if port.nodePort:
                    self._node_ports.setdefault(_node_port(port), []).append(service)

    def _find(self, key: tuple[str, int, str, str, bool]) -> Claim | None:
        dialled, missing = Dialled(*key), None
        wanted = (dialled.port, dialled.protocol)
        for service, way in self._virtual.get(dialled.host, ()):
            for port in service.spec.ports:
                if (port.port, port.protocol or "TCP") == wanted:
                    return Claim(service, port, way, dialled)
            if way == "cluster IP":
                missing = Claim(service, None, way, dialled)
        if missing is not None or not self._takes_node_ports(dialled):
            return missing
        for service in self._node_ports.get(wanted, ()):
            if _served(service, dialled.family):
                port = next(port for port in service.spec.ports if _node_port(port) == wanted)
                return Claim(service, port, "node port", dialled)
        return None

    def _takes_node_ports(self, dialled: Dialled) -> bool:
        settings, family = self._world.settings, dialled.family
        host, at = dialled.host, dialled.at
        if ipaddress.ip_address(host).is_loopback:
            if settings.proxy_mode != "iptables" or family != 4 or not dialled.inside:
                return False  # route_localnet is IPv4's alone, as is kube-proxy's use of it in iptables mode
        elif host not in self._world.node_addresses(at, family):
            return False
        chosen = settings.node_port_addresses
        if chosen == (PRIMARY,):
            return host == worlds.primary(self._world.node(at), family)
        return not chosen or worlds.within(host, chosen)


def _ours(world: worlds.World) -> Iterator[core.Service]:
    """Services that have rules, in the order in which they win a conflict."""
    for service in sorted(world.services, key=name):
        proxied = PROXY_LABEL not in service.metadata.labels
        if proxied and service.spec.type != "ExternalName" and _cluster_ips(service):
            yield service


def _addresses(service: core.Service) -> Iterator[tuple[str, Way]]:
    """Each address that is the Service's; one of a family in which it has no cluster IP is not."""
    ways: tuple[tuple[Way, tuple[str, ...]], ...] = (
        ("cluster IP", _cluster_ips(service)),
        ("external IP", service.spec.externalIPs),
        ("load balancer IP", balancer_addresses(service)),
    )
    for way, given in ways:
        for address in filter(None, map(worlds.literal, given)):
            if _served(service, 6 if ":" in address else 4):
                yield address, way


def _node_port(port: core.ServicePort) -> tuple[int, str]:
    return port.nodePort, port.protocol or "TCP"


def _cluster_ips(service: core.Service) -> tuple[str, ...]:
    given = service.spec.clusterIPs or ((service.spec.clusterIP,) if service.spec.clusterIP else ())
    return tuple(address for address in given if worlds.is_address(address))


def _served(service: core.Service, family: int) -> bool:
    return any((":" in address) == (family == 6) for address in _cluster_ips(service))


def balancer_addresses(service: core.Service) -> tuple[str, ...]:
    """Those that nodes take for themselves: with ipMode Proxy the balancer delivers to node ports instead."""
    if service.spec.type != "LoadBalancer":
        return ()
    return tuple(one.ip for one in service.status.loadBalancer.ingress if one.ip and one.ipMode != "Proxy")


def announcing(world: worlds.World, service: core.Service) -> tuple[str, ...]:
    """Nodes to which a load balancer IP may lead: the ready ones; with Local, of them those with a ready
    endpoint, if there are any."""
    ready = tuple(
        node.metadata.name
        for node in world.nodes
        if not any(c.type == "Ready" and c.status != "True" for c in node.status.conditions)
        and EXCLUDED not in node.metadata.labels
    )
    if service.spec.externalTrafficPolicy != "Local":
        return ready
    serving = {
        endpoint.nodeName
        for piece in world.slices_of(service)
        for endpoint in piece.endpoints
        if endpoint.conditions.ready is not False
    }
    return tuple(node for node in ready if node in serving)


def name(service: core.Service) -> str:
    """namespace/name."""
    return f"{service.metadata.namespace}/{service.metadata.name}"
