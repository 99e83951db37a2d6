"""The LoadBalancer controller: gives Services of that type addresses and has them announced. Knows no kernel.

Looks at all of them together (addresses are theirs in common), whenever something changed that bears on one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from netemu.api import core, discovery
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.cloud import announcing, plan
from netemu.reconcile import loops, recorders

_ALL: Final = "load balancers"
_log = logging.getLogger("cloud")


async def run(
    client: api.Client,
    clock: clock.Clock,
    pools: Sequence[plan.Network],
    announcer: announcing.Announcer,
    *,
    shared: informers.Informers | None = None,
) -> None:
    """Serve LoadBalancer Services for ever, with addresses of `pools`."""
    known = shared or informers.Informers(client, clock)
    recorder = recorders.Recorder(client, "service-controller", clock)
    balancers = Balancers(client, known, clock, recorder, pools=pools, announcer=announcer)
    async with asyncio.TaskGroup() as tasks:
        if shared is None:
            tasks.create_task(known.run())
        tasks.create_task(recorder.run())
        tasks.create_task(balancers.run())


class Balancers:
    """All LoadBalancer Services of a cluster."""

    def __init__(
        self,
        client: api.Client,
        known: informers.Informers,
        clock: clock.Clock,
        recorder: recorders.Recorder,
        *,
        pools: Sequence[plan.Network],
        announcer: announcing.Announcer,
    ) -> None:
        self._client, self._recorder = client, recorder
        self._pools, self._announcer = tuple(pools), announcer
        self._loop = loops.Loop("loadbalancer", self._reconcile, clock=clock)
        self._services, self._nodes = known.of(core.Service), known.of(core.Node)
        self._slices = known.of(discovery.EndpointSlice)
        self._given: dict[plan.Key, tuple[plan.Address, ...]] = {}  # what the informer may not know yet
        self._members: dict[plan.Key, dict[str, discovery.EndpointSlice]] = {}
        self._services.subscribe(self._service_changed)
        self._nodes.subscribe(self._node_changed)
        self._slices.subscribe(self._slice_changed)

    async def run(self) -> None:
        for informer in (self._services, self._nodes, self._slices):
            await informer.synced.wait()
        self._loop.enqueue(_ALL)
        await self._loop.run()

    def _service_changed(self, change: informers.Change[core.Service]) -> None:
        if any(_concerns(one) for one in (change.previous, change.current) if one is not None):
            self._loop.enqueue(_ALL)

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        before, now = (plan.machine(one) if one else None for one in (change.previous, change.current))
        if before != now and self._given:
            self._loop.enqueue(_ALL)

    def _slice_changed(self, change: informers.Change[discovery.EndpointSlice]) -> None:
        for one in (change.previous, change.current):
            if one is None:
                continue
            key = plan.Key(one.metadata.namespace, one.metadata.labels.get(plan.SERVICE_LABEL, ""))
            members = self._members.setdefault(key, {})
            if one is change.current:
                members[one.metadata.name] = one
            else:
                members.pop(one.metadata.name, None)
            if not members:
                del self._members[key]
            if key in self._given:
                self._loop.enqueue(_ALL)

    async def _reconcile(self, _: str) -> float | None:
        services = {plan.key_of(one): one for one in self._services.objects.values() if _concerns(one)}
        demands = []
        for key, service in services.items():
            wanted = plan.demand(service)
            if wanted is not None:
                demands.append(wanted._replace(held=self._given.get(key, wanted.held)))
        given = plan.allocate(demands, self._pools)
        self._given = given.addresses
        await self._announcer.announce(self._announced(demands))
        for key, service in sorted(services.items()):
            await self._write(key, service, given)
        return None

    def _announced(self, demands: Sequence[plan.Demand]) -> dict[plan.Address, plan.Ways]:
        machines = [m for m in map(plan.machine, self._nodes.objects.values()) if m is not None]
        ways = {}
        for one in demands:
            only = plan.serving(self._members.get(one.key, {}).values()) if one.local else None
            for address in self._given[one.key]:
                ways[address] = plan.announce(address, machines, only)
        return {address: hops for address, hops in ways.items() if hops}

    async def _write(self, key: plan.Key, service: core.Service, given: plan.Given) -> None:
        """Its status, and the finalizer that keeps it until its addresses are withdrawn."""
        addresses = given.addresses.get(key)
        try:
            if addresses is None:
                await self._release(service)
                return
            if plan.FINALIZER not in service.metadata.finalizers:
                await self._finalizers(service, (*service.metadata.finalizers, plan.FINALIZER))
            if addresses != plan.ingress(service):
                await self._status(service, addresses)
                shown = ", ".join(map(str, addresses))
                if addresses:
                    self._recorder.record(
                        service, "Normal", "EnsuredLoadBalancer", f"Ensured load balancer: {shown}"
                    )
        except api_errors.NotFound:
            return
        if key in given.lacking:
            self._recorder.record(
                service,
                "Warning",
                "SyncLoadBalancerFailed",
                f"Error syncing load balancer: {given.lacking[key]}",
            )

    async def _release(self, service: core.Service) -> None:
        if service.status.loadBalancer.ingress and service.metadata.deletionTimestamp is None:
            await self._status(service, ())
        rest = tuple(f for f in service.metadata.finalizers if f != plan.FINALIZER)
        if len(rest) < len(service.metadata.finalizers):
            await self._finalizers(service, rest)

    async def _status(self, service: core.Service, addresses: tuple[plan.Address, ...]) -> None:
        ingress = [{"ip": str(address), "ipMode": "VIP"} for address in addresses]
        await self._patch(service, {"status": {"loadBalancer": {"ingress": ingress}}})

    async def _finalizers(self, service: core.Service, finalizers: tuple[str, ...]) -> None:
        version = service.metadata.resourceVersion  # a list is replaced whole: only the one that was seen
        about = {"finalizers": list(finalizers), "resourceVersion": version}
        await self._patch(service, {"metadata": about})

    async def _patch(self, service: core.Service, body: dict[str, Any]) -> None:
        """Finalizers, too, go by the status subresource: the role of this controller has no other."""
        about = service.metadata
        await self._client.patch(
            core.Service, about.name, about.namespace, body=body, how="merge", subresource="status"
        )


def _concerns(service: core.Service) -> bool:
    """It wants addresses, or it has had some of ours."""
    return plan.demand(service) is not None or plan.FINALIZER in service.metadata.finalizers
