"""What a network namespace looks like, as values. Knows no system call."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from netemu.kernel import operations as ops


class Link(msgspec.Struct, frozen=True):
    """`kind`: "veth", "bridge" …, "" for loopback and hardware. `up`: the administrative state."""

    name: str
    index: int
    kind: str
    mac: str
    mtu: int
    up: bool
    master: str | None


class Address(NamedTuple):
    link: str
    ip: ops.IPInterface


class Route(NamedTuple):
    """`metric` is None where it is the kernel's default (0 for IPv4, 1024 for IPv6); `protocol` as in ops."""

    dst: ops.IPNetwork
    via: ops.IPAddress | None
    dev: str
    metric: int | None
    protocol: int


class Neighbour(NamedTuple):
    link: str
    ip: ops.IPAddress
    mac: str


class State(msgspec.Struct, frozen=True):
    """Links by name; addresses, unicast routes of the main table and permanent neighbours.

    Without what the kernel makes of itself for every link: link-local addresses, their routes, multicast.
    """

    links: Mapping[str, Link] = {}
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
