"""A Service as the proxy sees it: what can be addressed, and by which rules. Knows API objects; not nft.

Compact, because ten thousand of them are held: tuples of canonical address texts, no maps.
Rules: kubernetes.io/docs/reference/networking/virtual-ips, KEP-1880, KEP-2086, KEP-1860.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from netemu.api import core, meta, wellknown

DEFAULT_AFFINITY_SECONDS = 10800


class Port(NamedTuple):
    """One port of a Service; `protocol` is lower case (tcp, udp, sctp), `node_port` 0 when there is none."""

    name: str
    protocol: str
    port: int
    node_port: int = 0


class Service(NamedTuple):
    """What one Service asks of every node. Addresses are canonical texts; ':' tells the family."""

    key: meta.Key
    ports: tuple[Port, ...]
    cluster_ips: tuple[str, ...]
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    internal_local: bool = False
    external_local: bool = False
    affinity_seconds: int = 0
    source_ranges: tuple[str, ...] = ()
    health_check_node_port: int = 0

    @property
    def externals(self) -> tuple[str, ...]:
        """Addresses from beyond the cluster, each once."""
        return tuple(dict.fromkeys(self.external_ips + self.balancer_ips))


def parse(service: core.Service, proxy_name: str = "") -> Service | None:
    """None when it is none of the proxy's: headless, ExternalName, without an address, somebody else's.

    With a `proxy_name` only Services labelled with it are ours, else only those without such a label.
    """
    spec = service.spec
    addresses = spec.clusterIPs or ((spec.clusterIP,) if spec.clusterIP else ())
    if spec.type == "ExternalName" or not addresses or addresses[0] in {"", "None"}:
        return None
    if service.metadata.labels.get(wellknown.PROXY_NAME) != (proxy_name or None):
        return None
    return Service(
        key=meta.Key(service.metadata.namespace, service.metadata.name),
        ports=_ports(spec.ports),
        cluster_ips=_canonical(addresses),
        external_ips=_canonical(spec.externalIPs),
        balancer_ips=_balancer_addresses(service),
        internal_local=spec.internalTrafficPolicy == "Local",
        external_local=spec.externalTrafficPolicy == "Local",
        affinity_seconds=_affinity(spec),
        source_ranges=_ranges(spec.loadBalancerSourceRanges),
        health_check_node_port=spec.healthCheckNodePort,
    )


def _ports(ports: tuple[core.ServicePort, ...]) -> tuple[Port, ...]:
    """Each protocol and number once (the API sees to it; a table could not hold two)."""
    found: dict[tuple[str, int], Port] = {}
    taken: set[tuple[str, int]] = set()
    for p in ports:
        protocol = p.protocol.lower() or "tcp"
        node_port = p.nodePort if (protocol, p.nodePort) not in taken else 0
        taken.add((protocol, node_port))
        found.setdefault((protocol, p.port), Port(p.name, protocol, p.port, node_port))
    return tuple(found.values())


def _balancer_addresses(service: core.Service) -> tuple[str, ...]:
    """Those to be captured here: ipMode Proxy means that the balancer delivers to node ports.

    Promised ones, too: what is announced, and told in the status, is served by then.
    """
    if service.spec.type != "LoadBalancer":
        return ()
    told = {i.ip: i.ipMode or "VIP" for i in service.status.loadBalancer.ingress}
    promised = service.metadata.annotations.get(wellknown.PROMISED, "").split(",")
    return _canonical(tuple(ip for ip in dict.fromkeys((*told, *promised)) if told.get(ip, "VIP") == "VIP"))


def _affinity(spec: core.ServiceSpec) -> int:
    if spec.sessionAffinity != "ClientIP":
        return 0
    config = spec.sessionAffinityConfig
    if config is None or config.clientIP is None:
        return DEFAULT_AFFINITY_SECONDS
    return config.clientIP.timeoutSeconds or DEFAULT_AFFINITY_SECONDS


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


def canonical(text: str) -> str:
    """The one spelling of an address (nft and look-ups compare texts). ValueError for what is none."""
    if _IPV4.fullmatch(text):
        return text  # without leading zeros there is no other; and this is ten times as fast
    return str(ip_address(text))


def _canonical(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """What is no address is left out."""
    found = []
    for text in addresses:
        try:
            found.append(canonical(text))
        except ValueError:
            continue
    return tuple(found)


def _ranges(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            found.append(str(ip_network(text.strip(), strict=False)))
        except ValueError:
            continue
    return tuple(found)
