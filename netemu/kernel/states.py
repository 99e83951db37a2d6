"""What a network namespace looks like, as values. Knows no system call."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from netemu.kernel import operations as ops


class Vxlan(NamedTuple):
    """What a tunnel's end was made with; `link` carries it (None: as routes say)."""

    vni: int
    local: ops.IPAddress | None
    port: int
    link: str | None


class Link(msgspec.Struct, frozen=True):
    """`kind`: "veth", "bridge" …, "" for loopback and hardware. `up`: the administrative state."""

    name: str
    index: int
    kind: str
    mac: str
    mtu: int
    up: bool
    master: str | None
    vxlan: Vxlan | None = None


class Address(NamedTuple):
    """Of either family, with its prefix length."""

    link: str
    ip: ops.IPInterface


class Route(NamedTuple):
    """`metric` is None where it is the kernel's default (0 for IPv4, 1024 for IPv6); `protocol` as in ops.

    One that is not `reachable` answers ICMP unreachable; the kernel counts it to the link lo. `also`: further
    gateways, in any order.
    """

    dst: ops.IPNetwork
    via: ops.IPAddress | None
    dev: str
    metric: int | None
    protocol: int
    reachable: bool = True
    also: tuple[ops.IPAddress, ...] = ()


class Neighbour(NamedTuple):
    """A permanent entry of either family; `mac` in lower case."""

    link: str
    ip: ops.IPAddress
    mac: str


class Forwarding(NamedTuple):
    """A VXLAN end sends frames for `mac` to the machine `ip`."""

    link: str
    mac: str
    ip: ops.IPAddress


class State(msgspec.Struct, frozen=True):
    """Links by name; addresses, routes of the main table, permanent neighbours, forwarding of VXLAN ends.

    Without what the kernel makes of itself for every link: link-local addresses, their routes, multicast.
    """

    links: Mapping[str, Link] = {}
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    forwarding: frozenset[Forwarding] = frozenset()
