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
_STACKS = ("ipv4", "ipv6")


class Announcer(Protocol):
    """`announce` makes packets to each address go to one of those it is mapped to, and to no others."""

    async def announce(self, ways: Mapping[plan.Address, plan.Ways]) -> None: ...


class Fabric:
    """The router of the nodes' segments, and a client beyond it that reaches it at `routers` (by 4 and 6).

    Where several nodes announce an address the router chooses by flow (ECMP), ports included.
    """

    def __init__(
        self, fabric: network.Network, outside: network.Network, routers: Mapping[int, plan.Address]
    ) -> None:
        self._fabric, self._outside, self._routers = fabric, outside, routers

    async def announce(self, ways: Mapping[plan.Address, plan.Ways]) -> None:
        await asyncio.to_thread(self._announce, ways)

    def _announce(self, ways: Mapping[plan.Address, plan.Ways]) -> None:
        if any(len(hops) > 1 for hops in ways.values()):
            self._fabric.apply(
                [ops.SetSysctl(f"net.{family}.fib_multipath_hash_policy", "1") for family in _STACKS]
            )
        _make(self._fabric, ways)
        _make(self._outside, {address: (self._routers[address.version],) for address in ways})


def _make(net: network.Network, wanted: Mapping[plan.Address, plan.Ways]) -> None:
    present = {
        plan.Route(r.dst.network_address, tuple(sorted((r.via, *r.also), key=int)), r.metric or 0)
        for r in net.observe().routes
        if r.protocol == PROTOCOL and r.via is not None
    }
    for verb, route in plan.difference(wanted, present):
        dst, metric = ip_network(route.address), route.metric
        operation: ops.Operation
        if verb == "add":
            first, *more = route.via
            operation = ops.AddRoute(dst, first, metric=metric, protocol=PROTOCOL, also=tuple(more))
        else:
            operation = ops.DelRoute(dst, metric=metric or None, protocol=PROTOCOL)
        try:
            net.apply([operation])
        except linux.KernelError as refusal:
            raise errors.Transient(f"cannot {verb} route to {route.address}: {refusal}") from refusal
