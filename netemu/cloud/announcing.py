"""The world around the cluster learns where load-balancer addresses are: routes on the fabric and outside.

Only routes with our protocol number are ours. Knows addresses; no Service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Protocol

from netemu.base import errors
from netemu.cloud import plan
from netemu.kernel import linux, network
from netemu.kernel import operations as ops

PROTOCOL = 159  # in `ip route`: proto 159


class Announcer(Protocol):
    """`announce` makes it so that packets to each address go to the one it is mapped to, and no others."""

    async def announce(self, ways: Mapping[plan.Address, plan.Address]) -> None: ...


class Fabric:
    """The router of the nodes' segment, and a client beyond it that reaches it at `routers` (by 4 and 6)."""

    def __init__(
        self, fabric: network.Network, outside: network.Network, routers: Mapping[int, plan.Address]
    ) -> None:
        self._fabric, self._outside, self._routers = fabric, outside, routers

    async def announce(self, ways: Mapping[plan.Address, plan.Address]) -> None:
        await asyncio.to_thread(self._announce, ways)

    def _announce(self, ways: Mapping[plan.Address, plan.Address]) -> None:
        _make(self._fabric, {plan.Route(address, via) for address, via in ways.items()})
        _make(self._outside, {plan.Route(address, self._routers[address.version]) for address in ways})


def _make(net: network.Network, wanted: set[plan.Route]) -> None:
    present = {
        plan.Route(route.dst.network_address, route.via)
        for route in net.observe().routes
        if route.protocol == PROTOCOL and route.via is not None
    }
    for verb, route in plan.difference(wanted, present):
        operation = ops.AddRoute if verb == "add" else ops.DelRoute
        try:
            net.apply([operation(ip_network(route.address), route.via, protocol=PROTOCOL)])
        except linux.KernelError as refusal:
            raise errors.Transient(f"cannot {verb} route to {route.address}: {refusal}") from refusal
