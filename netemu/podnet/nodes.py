"""What others need of a node: where it is, which pods it has, how a tunnel reaches it. Pure; no kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from netemu.api import core
from netemu.podnet import flannel

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Node(NamedTuple):
    """A machine of the cluster. `leases`: the ends of its tunnels."""

    name: str
    addresses: tuple[Address, ...]
    subnets: tuple[Network, ...]
    leases: tuple[flannel.Lease, ...] = ()

    def address(self, version: int) -> Address | None:
        """Its first address of the family 4 or 6."""
        return next((a for a in self.addresses if a.version == version), None)

    def subnet(self, version: int) -> Network | None:
        """Its pod subnet of a family."""
        return next((s for s in self.subnets if s.version == version), None)

    def lease(self, version: int) -> flannel.Lease | None:
        """The end of its tunnel of a family."""
        return next((lease for lease in self.leases if lease.version == version), None)


def parse(node: core.Node) -> Node:
    """A Node object; what in it is no address, no subnet or no lease is left out."""
    internal = (a.address for a in node.status.addresses if a.type == "InternalIP")
    subnets = node.spec.podCIDRs or ((node.spec.podCIDR,) if node.spec.podCIDR else ())
    return Node(
        node.metadata.name,
        tuple(_addresses(internal)),
        tuple(_networks(subnets)),
        flannel.leases(node.metadata.annotations),
    )


def _addresses(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield ip_address(text)


def _networks(texts: Iterable[str]) -> Iterator[Network]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield ip_network(text)
