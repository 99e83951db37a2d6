"""Which pod subnets a node gets out of the cluster's ranges: one of each family, the lowest free. Pure.

A node that has its subnets keeps them for good; addresses are IPv4 /24 and IPv6 /64 unless configured
otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice
from typing import Final

from netemu.api import core

Network = IPv4Network | IPv6Network
DEFAULT_MASKS: Final = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Plan:
    """Subnets to write, by node; and nodes there is no subnet left for."""

    assign: Mapping[str, tuple[Network, ...]]
    exhausted: tuple[str, ...] = ()


def plan(
    nodes: Iterable[core.Node],
    cluster: Sequence[Network],
    reserved: Mapping[str, tuple[Network, ...]],
    masks: Mapping[int, int] = DEFAULT_MASKS,
) -> Plan:
    """`cluster`: at most one range a family; `reserved`: what was assigned before and may not be seen yet, by
    node.
    """
    every = sorted(nodes, key=lambda node: (node.metadata.creationTimestamp or "", node.metadata.name))
    taken = {network for node in every for network in subnets(node)}
    taken.update(network for networks in reserved.values() for network in networks)
    assign: dict[str, tuple[Network, ...]] = {}
    exhausted = []
    for node in every:
        name = node.metadata.name
        if subnets(node) or node.metadata.deletionTimestamp:
            continue
        if name in reserved:
            assign[name] = reserved[name]
            continue
        found = [_free(whole, masks[whole.version], taken) for whole in cluster]
        if any(network is None for network in found):
            exhausted.append(name)
            continue
        networks = tuple(network for network in found if network is not None)
        taken.update(networks)
        assign[name] = networks
    return Plan(assign, tuple(exhausted))


def subnets(node: core.Node) -> tuple[Network, ...]:
    """What a node has already."""
    texts = node.spec.podCIDRs or ((node.spec.podCIDR,) if node.spec.podCIDR else ())
    return tuple(ip_network(text) for text in texts)


def _free(whole: Network, mask: int, taken: set[Network]) -> Network | None:
    family = [network for network in taken if network.version == whole.version]
    # At most len(family) candidates can be in the way when masks are equal; foreign masks may block more.
    candidates: Iterable[Network] = whole.subnets(new_prefix=max(mask, whole.prefixlen))
    if all(network.prefixlen == mask for network in family):
        candidates = islice(candidates, len(family) + 1)
        return next((network for network in candidates if network not in taken), None)
    return next((one for one in candidates if not any(_overlap(one, other) for other in family)), None)


def _overlap(one: Network, other: Network) -> bool:
    return int(one[0]) <= int(other[-1]) and int(other[0]) <= int(one[-1])
