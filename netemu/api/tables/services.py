"""Services and their endpoints in a table."""

from __future__ import annotations

from netemu.api import core, discovery, networking
from netemu.api.tables.layout import (
    AGE,
    NAME,
    NONE,
    UNSET,
    Cell,
    Table,
    age,
    first_few,
    host_port,
    labels,
    text,
    wide,
)


def _service(service: core.Service, now: float) -> tuple[Cell, ...]:
    spec = service.spec
    return (
        service.metadata.name,
        spec.type,
        next(iter(spec.clusterIPs), spec.clusterIP) or NONE,
        _external(service),
        ",".join(map(_port, spec.ports)) or NONE,
        age(service.metadata, now),
        labels(spec.selector),
    )


def _external(service: core.Service) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.externalName
    if spec.type != "LoadBalancer":
        return ",".join(spec.externalIPs) or NONE
    given = (ingress.ip or ingress.hostname for ingress in service.status.loadBalancer.ingress)
    found = [*spec.externalIPs, *dict.fromkeys(filter(None, given))]
    return ",".join(found) or "<pending>"


def _port(port: core.ServicePort) -> str:
    node = f":{port.nodePort}" if port.nodePort else ""
    return f"{port.port}{node}/{port.protocol}"


def _endpoints(endpoints: core.Endpoints, now: float) -> tuple[Cell, ...]:
    found = [
        host_port(address.ip, port.port) if port else address.ip
        for subset in endpoints.subsets
        for port in (subset.ports or (None,))
        for address in subset.addresses
    ]
    return endpoints.metadata.name, first_few(found, NONE), age(endpoints.metadata, now)


def _slice(found: discovery.EndpointSlice, now: float) -> tuple[Cell, ...]:
    ports = (str(port.port) if port.port is not None else (port.name or "*") for port in found.ports)
    return (
        found.metadata.name,
        found.addressType,
        first_few(ports, UNSET),
        first_few((text for endpoint in found.endpoints for text in endpoint.addresses), UNSET),
        age(found.metadata, now),
    )


def _cidr(found: networking.ServiceCIDR, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, ",".join(found.spec.cidrs), age(found.metadata, now)


def _ip(found: networking.IPAddress, now: float) -> tuple[Cell, ...]:
    owner = found.spec.parentRef
    if owner is None:
        return found.metadata.name, NONE
    resource = f"{owner.resource}.{owner.group}" if owner.group else owner.resource
    return found.metadata.name, "/".join(filter(None, (resource, owner.namespace, owner.name)))


SERVICE = Table(
    (
        NAME,
        text("Type"),
        text("Cluster-IP"),
        text("External-IP"),
        text("Port(s)"),
        AGE,
        wide("Selector"),
    ),
    _service,
)
ENDPOINTS = Table((NAME, text("Endpoints"), AGE), _endpoints)
SLICE = Table((NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE), _slice)
CIDR = Table((NAME, text("CIDRs"), AGE), _cidr)
IP = Table((NAME, text("ParentRef")), _ip)
