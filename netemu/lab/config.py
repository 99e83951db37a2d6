"""What lab is wanted. Knows the Lab document, its defaults and what cannot be; makes nothing.

A Lab document is YAML; docs/lab.md describes every field of it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.lab import addressing, documents, networks, proxies

CONTROL_PLANE, WORKER = "control-plane", "worker"
CLUSTER_DOMAIN = "cluster.local"
MAX_NODES = 250

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_ROUTER, _FIRST_NODE = 1, 2
_KUBERNETES_SERVICE, _DNS_SERVICE = 1, 10


class Segment(NamedTuple):
    """A link which nodes share. `router`: the fabric's addresses there."""

    number: int
    router: tuple[addressing.Interface, ...]


class Node(NamedTuple):
    """A machine of the lab. `interfaces` are its addresses on its segment, the primary family first."""

    name: str
    role: str
    interfaces: tuple[addressing.Interface, ...]
    segment: int = 0

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(str(interface.ip) for interface in self.interfaces)


@dataclass(frozen=True)
class LabConfig:
    """A lab that can be made: whoever holds one need not check it again. `api_port` 0 means any free one."""

    name: str = "default"
    workers: int = 2
    control_planes: int = 1
    mtu: int = 1500
    api_port: int = 0
    ranges: addressing.Ranges = field(default_factory=lambda: addressing.default((4, 6)))
    network: networks.Network = field(default_factory=networks.Network)
    proxy: proxies.Proxy = field(default_factory=proxies.Proxy)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Control-plane nodes first, then workers, dealt out to the segments in that order."""
        names = [(f"{CONTROL_PLANE}-{i + 1}", CONTROL_PLANE) for i in range(self.control_planes)]
        names += [(f"{WORKER}-{i + 1}", WORKER) for i in range(self.workers)]
        total = self.network.segments
        return tuple(
            Node(name, role, self._addresses(i % total, _FIRST_NODE + i // total), i % total)
            for i, (name, role) in enumerate(names)
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The links of the nodes, each with the fabric's router on it."""
        return tuple(Segment(i, self._addresses(i, _ROUTER)) for i in range(self.network.segments))

    def _addresses(self, segment: int, number: int) -> tuple[addressing.Interface, ...]:
        networks_of = addressing.segment(self.ranges.nodes, segment, self.network.segments)
        return addressing.interfaces(networks_of, number)

    @property
    def outside_router(self) -> tuple[addressing.Interface, ...]:
        return addressing.interfaces(self.ranges.outside, _ROUTER)

    @property
    def outside_client(self) -> tuple[addressing.Interface, ...]:
        return addressing.outside_client(self.ranges.outside)

    @property
    def kubernetes_service(self) -> tuple[str, ...]:
        return tuple(map(str, addressing.addresses(self.ranges.services, _KUBERNETES_SERVICE)))

    @property
    def dns_service(self) -> tuple[str, ...]:
        return tuple(map(str, addressing.addresses(self.ranges.services, _DNS_SERVICE)))

    def document(self) -> dict[str, Any]:
        """The Lab document which `parse` reads back to this."""
        return {
            "name": self.name,
            "nodes": self.workers + self.control_planes,
            "control-planes": self.control_planes,
            "mtu": self.mtu,
            "api-port": self.api_port,
            "ranges": {kind: [str(net) for net in getattr(self.ranges, kind)] for kind in addressing.KINDS},
            "network": self.network.document(),
            "proxy": self.proxy.document(),
        }


def is_name(name: str) -> bool:
    """Whether a lab may be called so."""
    return bool(_NAME.fullmatch(name))


def default(name: str = "default", nodes: int = 3) -> LabConfig:
    """`nodes` counts the control plane too: 3 is one control-plane node and two workers."""
    return parse({"name": name, "nodes": nodes})


def load(path: str | Path, *, name: str | None = None, nodes: int | None = None) -> LabConfig:
    """Read a Lab document; `name` and `nodes` win over what it says. Rejected with `file:line`."""
    document, where = documents.load(path)
    if document is None:
        document = {}
    if isinstance(document, dict):
        given = {"name": name, "nodes": nodes}
        document = {**document, **{key: value for key, value in given.items() if value is not None}}
    return parse(document, where)


def parse(document: Any, where: documents.Where = documents.nowhere) -> LabConfig:
    """The lab a document describes. `where(path)` is what an error about that field starts with."""
    reader = documents.Reader(document, where)
    reader.known("kind", "name", "nodes", "control-planes", "mtu", "api-port", "ranges", "network", "proxy")
    if document.get("kind", "Lab") != "Lab":
        reader.refuse(("kind",), f"this is a {document['kind']!r}, not a Lab")
    nodes = reader.number("nodes", 3, 1, MAX_NODES)
    control_planes = reader.number("control-planes", 1, 1, 1)
    mtu = reader.number("mtu", 1500, 1280, 65535)  # RFC 8200, 5: no IPv6 link carries less
    network = networks.parse(document.get("network"), where, nodes=nodes, link_mtu=mtu)
    found = LabConfig(
        name=_name(document.get("name", "default"), reader),
        workers=nodes - control_planes,
        control_planes=control_planes,
        mtu=mtu,
        api_port=reader.number("api-port", 0, 0, 65535),
        ranges=addressing.parse(document.get("ranges"), network.families, where),
        network=network,
        proxy=proxies.parse(document.get("proxy"), where),
    )
    for kind, problem, remedy in addressing.problems(found.ranges, nodes, network.segments):
        raise errors.Rejected(where(("ranges", kind)) + problem, hint=remedy)
    return found


def _name(value: Any, reader: documents.Reader) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        reader.refuse(
            ("name",),
            f"lab name {value!r} must be 1 to 32 of a-z, 0-9 and -, not beginning or ending with -",
        )
    return value
