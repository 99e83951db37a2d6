"""What lab is wanted. Knows the Lab document, its defaults and what cannot be; makes nothing.

A Lab document is YAML: name, nodes, control-planes, mtu, api-port, ranges (nodes, pods, services, outside).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from netemu.base import errors

CONTROL_PLANE, WORKER = "control-plane", "worker"
CLUSTER_DOMAIN = "cluster.local"
MAX_NODES = 250

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_ROUTER, _FIRST_NODE = 1, 2
_OUTSIDE_CLIENT = (10, 0x10)  # written alike: 203.0.113.10 and 2001:db8:113::10
_KUBERNETES_SERVICE, _DNS_SERVICE = 1, 10
_POD_PREFIX_4, _POD_PREFIX_6 = 24, 64


class Pair(NamedTuple):
    """One range in both families."""

    v4: IPv4Network
    v6: IPv6Network

    def interfaces(self, number: int) -> tuple[IPv4Interface, IPv6Interface]:
        """The `number`th address of each, with the range's prefix length."""
        four = IPv4Interface(f"{self.v4[number]}/{self.v4.prefixlen}")
        return four, IPv6Interface(f"{self.v6[number]}/{self.v6.prefixlen}")

    def addresses(self, number: int) -> tuple[IPv4Address, IPv6Address]:
        return self.v4[number], self.v6[number]


def _pair(four: str, six: str) -> Pair:
    return Pair(IPv4Network(four), IPv6Network(six))


@dataclass(frozen=True)
class Ranges:
    """Disjoint. `nodes` is the segment of the node links; `outside` that of the client beyond the cluster."""

    nodes: Pair = field(default_factory=lambda: _pair("172.18.0.0/16", "fd00:18::/64"))
    pods: Pair = field(default_factory=lambda: _pair("10.244.0.0/16", "fd00:244::/56"))
    services: Pair = field(default_factory=lambda: _pair("10.96.0.0/16", "fd00:96::/112"))
    outside: Pair = field(default_factory=lambda: _pair("203.0.113.0/24", "2001:db8:113::/64"))


class Node(NamedTuple):
    """A machine of the lab. `interfaces` are its addresses on the node segment, IPv4 first."""

    name: str
    role: str
    interfaces: tuple[IPv4Interface, IPv6Interface]

    @property
    def ips(self) -> tuple[str, str]:
        return str(self.interfaces[0].ip), str(self.interfaces[1].ip)


@dataclass(frozen=True)
class LabConfig:
    """A lab that can be made: whoever holds one need not check it again. `api_port` 0 means any free one."""

    name: str = "default"
    workers: int = 2
    control_planes: int = 1
    mtu: int = 1500
    api_port: int = 0
    ranges: Ranges = field(default_factory=Ranges)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Control-plane nodes first, then workers, addressed in that order."""
        names = [(f"{CONTROL_PLANE}-{i + 1}", CONTROL_PLANE) for i in range(self.control_planes)]
        names += [(f"{WORKER}-{i + 1}", WORKER) for i in range(self.workers)]
        return tuple(
            Node(name, role, self.ranges.nodes.interfaces(number))
            for number, (name, role) in enumerate(names, _FIRST_NODE)
        )

    @property
    def router(self) -> tuple[IPv4Interface, IPv6Interface]:
        """The fabric's addresses on the node segment."""
        return self.ranges.nodes.interfaces(_ROUTER)

    @property
    def outside_router(self) -> tuple[IPv4Interface, IPv6Interface]:
        return self.ranges.outside.interfaces(_ROUTER)

    @property
    def outside_client(self) -> tuple[IPv4Interface, IPv6Interface]:
        four, six = (self.ranges.outside.interfaces(number) for number in _OUTSIDE_CLIENT)
        return four[0], six[1]

    @property
    def kubernetes_service(self) -> tuple[str, str]:
        four, six = self.ranges.services.addresses(_KUBERNETES_SERVICE)
        return str(four), str(six)

    @property
    def dns_service(self) -> tuple[str, str]:
        four, six = self.ranges.services.addresses(_DNS_SERVICE)
        return str(four), str(six)

    def document(self) -> dict[str, Any]:
        """The Lab document which `parse` reads back to this."""
        ranges = {
            kind: [str(getattr(self.ranges, kind).v4), str(getattr(self.ranges, kind).v6)]
            for kind in ("nodes", "pods", "services", "outside")
        }
        return {
            "name": self.name,
            "nodes": self.workers + self.control_planes,
            "control-planes": self.control_planes,
            "mtu": self.mtu,
            "api-port": self.api_port,
            "ranges": ranges,
        }


def is_name(name: str) -> bool:
    """Whether a lab may be called so."""
    return bool(_NAME.fullmatch(name))


def default(name: str = "default", nodes: int = 3) -> LabConfig:
    """`nodes` counts the control plane too: 3 is one control-plane node and two workers."""
    return parse({"name": name, "nodes": nodes}, lambda path: "")


def load(path: str | Path, *, name: str | None = None, nodes: int | None = None) -> LabConfig:
    """Read a Lab document; `name` and `nodes` win over what it says. Rejected with `file:line`."""
    import yaml

    try:
        text = Path(path).read_bytes()
    except OSError as failure:
        raise errors.Rejected(f"{path}: {failure.strerror}") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        line = mark.line + 1 if mark else 1
        raise errors.Rejected(f"{path}:{line}: not YAML: {failure.problem or failure.context}") from None
    except (yaml.YAMLError, UnicodeError, ValueError) as failure:
        raise errors.Rejected(f"{path}: not YAML: {str(failure).splitlines()[0]}") from None
    lines = dict(_lines(root)) if root is not None else {}

    def where(field_path: tuple[str | int, ...]) -> str:
        while field_path and field_path not in lines:
            field_path = field_path[:-1]
        return f"{path}:{lines.get(field_path, 1)}: "

    if document is None:
        document = {}
    if isinstance(document, dict):
        given = {"name": name, "nodes": nodes}
        document = {**document, **{key: value for key, value in given.items() if value is not None}}
    return parse(document, where)


def parse(document: Any, where: Any = lambda path: "") -> LabConfig:
    """The lab a document describes. `where(path)` is what an error about that field starts with."""
    reader = _Reader(document, where)
    reader.known("kind", "name", "nodes", "control-planes", "mtu", "api-port", "ranges")
    if document.get("kind", "Lab") != "Lab":
        reader.refuse(("kind",), f"this is a {document['kind']!r}, not a Lab")
    nodes = reader.number("nodes", 3, 1, MAX_NODES)
    control_planes = reader.number("control-planes", 1, 1, 1)
    ranges = _ranges(document.get("ranges"), where)
    found = LabConfig(
        name=_name(document.get("name", "default"), reader),
        workers=nodes - control_planes,
        control_planes=control_planes,
        mtu=reader.number("mtu", 1500, 1280, 65535),  # RFC 8200, 5: no IPv6 link carries less
        api_port=reader.number("api-port", 0, 0, 65535),
        ranges=ranges,
    )
    _check_room(found, where)
    return found


def _name(value: Any, reader: "_Reader") -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        reader.refuse(
            ("name",),
            f"lab name {value!r} must be 1 to 32 of a-z, 0-9 and -, not beginning or ending with -",
        )
    return value


class _Reader:
    """One mapping of the document."""

    def __init__(self, document: Any, where: Any, path: tuple[str, ...] = ()) -> None:
        self._document, self._where, self._path = document, where, path
        if not isinstance(document, dict):
            self.refuse((), f"{'.'.join(path) or 'a Lab'} must be a mapping of fields to values")

    def refuse(self, path: tuple[str | int, ...], message: str, hint: str = "") -> NoReturn:
        raise errors.Rejected(self._where((*self._path, *path)) + message, hint=hint)

    def known(self, *names: str) -> None:
        for key in self._document:
            if key not in names:
                self.refuse((key,), f"unknown field {key!r}", hint="known are: " + ", ".join(names))

    def number(self, key: str, default: int, low: int, high: int) -> int:
        value = self._document.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse((key,), f"{key} must be a whole number, not {value!r}")
        if not low <= value <= high:
            limits = f"{low}" if low == high else f"{low} to {high}"
            self.refuse((key,), f"{key} is {value}; possible is {limits}")
        return value


def _ranges(document: Any, where: Any) -> Ranges:
    ranges = Ranges()
    if document is None:
        return ranges
    reader = _Reader(document, where, ("ranges",))
    reader.known("nodes", "pods", "services", "outside")
    chosen: dict[str, Pair] = {}
    for kind, value in document.items():
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            reader.refuse((kind,), f"ranges.{kind} must be a list of one IPv4 and one IPv6 range")
        families: dict[int, IPv4Network | IPv6Network] = {}
        for number, text in enumerate(texts):
            network = _network(text, lambda message, at=(kind, number): reader.refuse(at, message))
            if network.version in families:
                reader.refuse((kind, number), f"ranges.{kind} has two IPv{network.version} ranges")
            families[network.version] = network
        before: Pair = getattr(ranges, kind)
        four, six = families.get(4, before.v4), families.get(6, before.v6)
        assert isinstance(four, IPv4Network)
        assert isinstance(six, IPv6Network)
        chosen[kind] = Pair(four, six)
    return Ranges(**{kind: chosen.get(kind, getattr(ranges, kind)) for kind in _KINDS})


_KINDS = ("nodes", "pods", "services", "outside")


def _network(text: str, refuse: Any) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError:
        try:
            meant = ip_interface(text).network
        except ValueError:
            refuse(f"{text!r} is not an address range like 10.0.0.0/16 or fd00::/64")
        refuse(f"{text!r} has host bits set; the range is {meant}")
    if network.is_loopback or network.is_multicast or network.is_link_local or network.is_unspecified:
        refuse(f"{network} is reserved and cannot be routed")
    return network


def _check_room(lab: LabConfig, where: Any) -> None:
    """Ranges must not overlap, and each must hold what goes into it."""
    named = [(kind, network) for kind in _KINDS for network in getattr(lab.ranges, kind)]
    for (kind, one), (other_kind, other) in itertools.combinations(named, 2):
        if one.version == other.version and one.overlaps(other):
            raise errors.Rejected(
                f"{where(('ranges', other_kind))}ranges.{kind} {one} and ranges.{other_kind} {other} overlap",
                hint="nodes, pods, services and outside need ranges of their own",
            )
    total = lab.workers + lab.control_planes
    for kind, network, needed, what in _needs(lab.ranges, total):
        if needed > network.max_prefixlen - network.prefixlen:
            longest = network.max_prefixlen - needed
            raise errors.Rejected(
                f"{where(('ranges', kind))}ranges.{kind} {network} is too small for {what}",
                hint=f"a prefix of /{longest} or shorter does",
            )
    for network in lab.ranges.services:
        if network.max_prefixlen - network.prefixlen > 20:  # as kube-apiserver limits it
            raise errors.Rejected(
                f"{where(('ranges', 'services'))}ranges.services {network} is larger than a cluster may have",
                hint=f"a prefix of /{network.max_prefixlen - 20} or longer does",
            )


def _needs(ranges: Ranges, nodes: int) -> Iterator[tuple[str, IPv4Network | IPv6Network, int, str]]:
    """(kind, range, bits needed for hosts, for what)."""
    subnets = (nodes - 1).bit_length()
    yield (
        "pods",
        ranges.pods.v4,
        subnets + 32 - _POD_PREFIX_4,
        f"a /{_POD_PREFIX_4} for each of {nodes} nodes",
    )
    yield (
        "pods",
        ranges.pods.v6,
        subnets + 128 - _POD_PREFIX_6,
        f"a /{_POD_PREFIX_6} for each of {nodes} nodes",
    )
    for network in ranges.nodes:
        yield "nodes", network, (nodes + 2).bit_length(), f"{nodes} nodes and a router"
    for network in ranges.services:
        yield "services", network, 4, "the cluster's own Services"
    for network in ranges.outside:
        yield "outside", network, 5, "a router and a client"


def _lines(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The line of every field of a composed YAML document."""
    if isinstance(node.value, list):
        for number, item in enumerate(node.value):
            key, value = item if isinstance(item, tuple) else (None, item)
            here = (*path, str(key.value) if key is not None else number)
            yield here, (key or value).start_mark.line + 1
            yield from _lines(value, here)
