"""A Service on one node: each way to dial it, and what each client would get there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from netemu.kubeproxy import services, walk


class Client(NamedTuple):
    """Who asks, as the node sees it: the link he comes by ("": the node itself), an address of each family.

    `beyond` the cluster nobody knows a way to cluster IPs.
    """

    title: str
    link: str
    addresses: tuple[str, ...]
    beyond: bool = False


class Line(NamedTuple):
    """`dialled` is an address and port; `way`: cluster IP, external IP, load balancer IP or node port."""

    way: str
    dialled: str
    port: services.Port
    client: Client
    fate: walk.Fate


def explain(
    service: services.Service,
    fate: Callable[[str, walk.Packet], walk.Fate],
    own: frozenset[str],
    clients: tuple[Client, ...],
) -> Iterator[Line]:
    """Every way to dial the Service, for every client that has an address of its family.

    `fate` says what the rules of a family (ip, ip6) do with a packet; `own` are the node's addresses.
    """
    for port in service.ports:
        for way, address, number in _ways(service, port, own):
            family = "ip6" if ":" in address else "ip"
            for client in clients:
                source = next((a for a in client.addresses if (":" in a) == (":" in address)), None)
                if source is None or (client.beyond and way == "cluster IP"):
                    continue
                packet = walk.Packet(port.protocol, source, address, number, client.link)
                yield Line(way, _socket(address, number), port, client, fate(family, packet))


def _ways(
    service: services.Service, port: services.Port, own: frozenset[str]
) -> Iterator[tuple[str, str, int]]:
    yield from (("cluster IP", address, port.port) for address in service.cluster_ips)
    yield from (("external IP", address, port.port) for address in service.external_ips)
    yield from (("load balancer IP", address, port.port) for address in service.balancer_ips)
    if port.node_port:
        for version in (False, True):
            address = next((a for a in sorted(own) if (":" in a) == version), None)
            served = any((":" in a) == version for a in service.cluster_ips)
            if address is not None and served:
                yield "node port", address, port.node_port


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
