"""Which addresses a lab has: one range of each of its families for nodes, pods, Services and others.

Knows what fits and what overlaps. The order of families is that of the lab: the primary one first.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from typing import Any, NoReturn

from netemu.lab import documents

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

KINDS = ("nodes", "pods", "services", "balancers", "outside")
DEFAULTS = {
    "nodes": ("172.18.0.0/16", "fd00:18::/64"),
    "pods": ("10.244.0.0/16", "fd00:244::/56"),
    "services": ("10.96.0.0/16", "fd00:96::/112"),
    "balancers": ("198.51.100.0/24", "2001:db8:51::/112"),
    "outside": ("203.0.113.0/24", "2001:db8:113::/64"),
}
_POD_PREFIX = {4: 24, 6: 64}
_SEGMENT_BITS = {4: 8, 6: 16}  # so that a segment's number is a group of its own in an address


@dataclass(frozen=True)
class Ranges:
    """Disjoint. `nodes` holds the segments of the node links; `outside` is that of the client beyond.

    `balancers` are for Services of type LoadBalancer.
    """

    nodes: tuple[Network, ...]
    pods: tuple[Network, ...]
    services: tuple[Network, ...]
    balancers: tuple[Network, ...]
    outside: tuple[Network, ...]


def default(families: tuple[int, ...]) -> Ranges:
    """The usual ranges of these families (4, 6)."""
    return Ranges(**{kind: tuple(_usual(kind, family) for family in families) for kind in KINDS})


def parse(document: Any, families: tuple[int, ...], where: documents.Where) -> Ranges:
    """What a Lab document says in `ranges`, each a range or a list of one range a family. Rejected."""
    if document is None:
        return default(families)
    reader = documents.Reader(document, where, ("ranges",))
    reader.known(*KINDS)
    chosen = {kind: {family: _usual(kind, family) for family in families} for kind in KINDS}
    for kind, value in document.items():
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            reader.refuse((kind,), f"ranges.{kind} must be a list of one IPv4 and one IPv6 range")
        seen = set()
        for number, text in enumerate(texts):
            at = (kind, number)
            network = _network(text, functools.partial(reader.refuse, at))
            if network.version in seen:
                reader.refuse(at, f"ranges.{kind} has two IPv{network.version} ranges")
            if network.version not in families:
                message = f"ranges.{kind} has an IPv{network.version} range, and network.families has not"
                reader.refuse(at, message)
            seen.add(network.version)
            chosen[kind][network.version] = network
    return Ranges(**{kind: tuple(found.values()) for kind, found in chosen.items()})


def interfaces(networks: tuple[Network, ...], number: int) -> tuple[Interface, ...]:
    """The `number`th address of each range, with the range's prefix length."""
    return tuple(ip_interface(f"{network[number]}/{network.prefixlen}") for network in networks)


def addresses(networks: tuple[Network, ...], number: int) -> tuple[Address, ...]:
    """The `number`th address of each range."""
    return tuple(network[number] for network in networks)


def everywhere(version: int) -> Network:
    """The destination of a default route."""
    return ip_network("0.0.0.0/0" if version == 4 else "::/0")


def segment(networks: tuple[Network, ...], number: int, total: int) -> tuple[Network, ...]:
    """The ranges of node segment `number` (from 0) of `total`: all if there is but one."""
    if total == 1:
        return networks
    return tuple(_part(network, number) for network in networks)


def _part(network: Network, number: int) -> Network:
    prefix = network.prefixlen + _SEGMENT_BITS[network.version]
    first = int(network.network_address) + (number << (network.max_prefixlen - prefix))
    family = IPv4Address if network.version == 4 else IPv6Address
    return ip_network(f"{family(first)}/{prefix}")


def problems(ranges: Ranges, nodes: int, segments: int) -> Iterator[tuple[str, str, str]]:
    """(kind, what is wrong, what to do): ranges that overlap, or do not hold what goes into them."""
    named = [(kind, network) for kind in KINDS for network in getattr(ranges, kind)]
    for (kind, one), (other_kind, other) in itertools.combinations(named, 2):
        if one.version == other.version and one.overlaps(other):
            yield (
                other_kind,
                f"ranges.{kind} {one} and ranges.{other_kind} {other} overlap",
                f"{', '.join(KINDS[:-1])} and {KINDS[-1]} need ranges of their own",
            )
    for kind, network, needed, what in _needs(ranges, nodes, segments):
        if needed > network.max_prefixlen - network.prefixlen:
            longest = network.max_prefixlen - needed
            text = f"ranges.{kind} {network} is too small for {what}"
            yield kind, text, f"a prefix of /{longest} or shorter does"
    for network in ranges.services:
        if network.max_prefixlen - network.prefixlen > 20:  # as kube-apiserver limits it
            text = f"ranges.services {network} is larger than a cluster may have"
            yield "services", text, f"a prefix of /{network.max_prefixlen - 20} or longer does"


def _needs(ranges: Ranges, nodes: int, segments: int) -> Iterator[tuple[str, Network, int, str]]:
    """(kind, range, bits needed for hosts, for what)."""
    subnets = (nodes - 1).bit_length()
    for network in ranges.pods:
        prefix = _POD_PREFIX[network.version]
        bits = subnets + network.max_prefixlen - prefix
        yield "pods", network, bits, f"a /{prefix} for each of {nodes} nodes"
    for network in ranges.nodes:
        hosts = (-(-nodes // segments) + 2).bit_length()
        if segments == 1:
            yield "nodes", network, hosts, f"{nodes} nodes and a router"
        else:
            bits = hosts + _SEGMENT_BITS[network.version]
            yield "nodes", network, bits, f"{segments} segments of {nodes} nodes"
    for network in ranges.services:
        yield "services", network, 4, "the cluster's own Services"
    for network in ranges.outside:
        yield "outside", network, 5, "a router and a client"


def _usual(kind: str, family: int) -> Network:
    return ip_network(DEFAULTS[kind][0 if family == 4 else 1])


def _network(text: str, refuse: Callable[[str], NoReturn]) -> Network:
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


def outside_client(networks: tuple[Network, ...]) -> tuple[Interface, ...]:
    """Its addresses, written alike: 203.0.113.10 and 2001:db8:113::10."""
    return tuple(interfaces((net,), 10 if net.version == 4 else 0x10)[0] for net in networks)
