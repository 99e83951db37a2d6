"""What the cluster's names stand for: Services, endpoints and namespaces, indexed by name and by address.

Pure bookkeeping of API objects, one change at a time; `revision` counts changes. Knows no DNS message.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

from netemu.api import core, discovery, meta, wellknown


class Port(NamedTuple):
    """`protocol` in lower case; `name` is empty when the port has none."""

    name: str
    protocol: str
    number: int


class Service(NamedTuple):
    """`addresses` are cluster IPs (none: headless); `external` is where an ExternalName Service leads."""

    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    external: str = ""


class Endpoint(NamedTuple):
    """One ready address; `hostname` is the label that names it below its Service."""

    address: str
    hostname: str


class Slice(NamedTuple):
    """The ready addresses of one EndpointSlice, of one family, and the ports they all have."""

    service: meta.Key
    ports: tuple[Port, ...]
    endpoints: tuple[Endpoint, ...]


class Cluster:
    """The objects that names are made of. `zone` without a final dot, in lower case."""

    def __init__(self, zone: str = "cluster.local") -> None:
        self.zone = zone.lower().rstrip(".")
        self.namespaces: set[str] = set()
        self.services: dict[meta.Key, Service] = {}
        self.revision = 0
        self._slices: dict[meta.Key, dict[str, Slice]] = {}
        self._service_names: dict[str, set[str]] = {}
        self._endpoint_names: dict[str, dict[str, int]] = {}

    def namespace(self, name: str, *, exists: bool) -> None:
        """It is there, or it is gone."""
        if exists != (name in self.namespaces):
            (self.namespaces.add if exists else self.namespaces.discard)(name)
            self.revision += 1

    def service(self, key: meta.Key, current: Service | None) -> None:
        """The Service is like this now; None: gone, or without a name of its own."""
        previous = self.services.get(key)
        if previous == current:
            return
        name = f"{key.name}.{key.namespace}.svc.{self.zone}"
        for address in previous.addresses if previous else ():
            self._service_names[address].discard(name)
            if not self._service_names[address]:
                del self._service_names[address]
        self.services.pop(key, None)
        if current is not None:
            self.services[key] = current
            for address in current.addresses:
                self._service_names.setdefault(address, set()).add(name)
        self.revision += 1

    def slice(self, key: meta.Key, previous: Slice | None, current: Slice | None) -> None:
        """The EndpointSlice `key` was that and is this."""
        if previous == current:
            return
        if previous is not None:
            siblings = self._slices.get(previous.service, {})
            if siblings.pop(key.name, None) is not None:
                self._count(previous, -1)
            if not siblings:
                self._slices.pop(previous.service, None)
        if current is not None:
            self._slices.setdefault(current.service, {})[key.name] = current
            self._count(current, +1)
        self.revision += 1

    def slices(self, key: meta.Key) -> tuple[Slice, ...]:
        """The slices of a Service, by name."""
        found = self._slices.get(key, {})
        return tuple(found[name] for name in sorted(found))

    def names_of(self, address: str) -> tuple[str, ...]:
        """Names of an address: those of Services, failing that those of endpoints."""
        services: set[str] = self._service_names.get(address, set())
        return tuple(sorted(services or self._endpoint_names.get(address, {})))

    def _count(self, slice_: Slice, step: int) -> None:
        """Several slices may hold one endpoint: its name goes with the last."""
        for endpoint in slice_.endpoints:
            name = f"{endpoint.hostname}.{slice_.service.name}.{slice_.service.namespace}.svc.{self.zone}"
            counts = self._endpoint_names.setdefault(endpoint.address, {})
            counts[name] = counts.get(name, 0) + step
            if not counts[name]:
                del counts[name]
            if not counts:
                del self._endpoint_names[endpoint.address]


def parse_service(service: core.Service) -> Service | None:
    """None for an ExternalName that is an address, which no name may stand for."""
    spec = service.spec
    if spec.type == "ExternalName":
        target = spec.externalName.rstrip(".").lower()
        return Service(external=target) if target and not _is_address(target) else None
    addresses = spec.clusterIPs or ((spec.clusterIP,) if spec.clusterIP else ())
    ports = tuple(Port(p.name.lower(), (p.protocol or "TCP").lower(), p.port) for p in spec.ports)
    return Service(tuple(str(ip_address(a)) for a in addresses if _is_address(a)), ports)


def parse_slice(slice_: discovery.EndpointSlice) -> Slice | None:
    """The ready endpoints (not said means ready). None when it belongs to no Service."""
    name = slice_.metadata.labels.get(wellknown.SERVICE_NAME, "")
    if not name or slice_.addressType not in {"IPv4", "IPv6"}:
        return None
    ports = tuple(
        Port((p.name or "").lower(), (p.protocol or "TCP").lower(), p.port or 0) for p in slice_.ports
    )
    endpoints = tuple(
        Endpoint(str(ip_address(address)), (e.hostname or dashed(str(ip_address(address)))).lower())
        for e in slice_.endpoints
        if e.conditions.ready is not False
        for address in e.addresses
    )
    return Slice(meta.Key(slice_.metadata.namespace, name), ports, endpoints)


def dashed(address: str) -> str:
    """The label that stands for an address: dots and colons become dashes."""
    return address.replace(".", "-").replace(":", "-")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
