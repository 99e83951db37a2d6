"""The LoadBalancer controller: gives Services of that type addresses and has them announced. Knows no kernel.

Looks at all of them together (addresses are theirs in common), whenever something changed that bears on one.
An address is promised to the proxies, then announced for each node whose proxy serves it, then told to all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from netemu.api import core, discovery, meta, wellknown
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.cloud import announcing, asking, plan
from netemu.reconcile import loops, recorders

_ALL: Final = "load balancers"
_PAUSE = 0.02  # seconds between two questions to the same proxies
_PATIENCE = 5.0  # seconds, after which a node is sent to whatever its proxy says
Pair = tuple[plan.Address, plan.Address]  # whose packets, by which node
_log = logging.getLogger("cloud")


async def run(
    client: api.Client,
    clock: clock.Clock,
    pools: Sequence[plan.Network],
    announcer: announcing.Announcer,
    *,
    shared: informers.Informers | None = None,
    proxies: asking.Proxies | None = None,
) -> None:
    """Serve LoadBalancer Services for ever, with addresses of `pools`. `proxies` None: asked by HTTP."""
    known = shared or informers.Informers(client, clock)
    recorder = recorders.Recorder(client, "service-controller", clock)
    asked = proxies or asking.HealthPorts()
    balancers = Balancers(client, known, clock, recorder, pools=pools, announcer=announcer, proxies=asked)
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
        proxies: asking.Proxies,
    ) -> None:
        self._client, self._recorder, self._clock = client, recorder, clock
        self._pools, self._announcer, self._proxies = tuple(pools), announcer, proxies
        self._announced: frozenset[Pair] = frozenset()
        self._waiting: dict[Pair, tuple[plan.Revisions, float]] = {}  # for what, and until when at most
        self._loop = loops.Loop("loadbalancer", self._reconcile, clock=clock)
        self._services, self._nodes = known.of(core.Service), known.of(core.Node)
        self._slices = known.of(discovery.EndpointSlice)
        self._given: dict[meta.Key, tuple[plan.Address, ...]] = {}  # what the informer may not know yet
        self._members: dict[meta.Key, dict[str, discovery.EndpointSlice]] = {}
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
            key = meta.Key(one.metadata.namespace, one.metadata.labels.get(wellknown.SERVICE_NAME, ""))
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
        services = {meta.key(one): one for one in self._services.objects.values() if _concerns(one)}
        demands = []
        for key, service in services.items():
            wanted = plan.demand(service)
            if wanted is not None:
                demands.append(wanted._replace(held=self._given.get(key, wanted.held)))
        given = plan.allocate(demands, self._pools)
        self._given = given.addresses
        for key, service in sorted(services.items()):
            await self._promise(service, given.addresses.get(key))
        ways, blind = self._ways(demands), {key for key, one in services.items() if self._blind(key, one)}
        early = await self._early(frozenset((a, hop) for a, hops in ways.items() for hop in hops))
        now = {a: tuple(hop for hop in hops if (a, hop) not in early) for a, hops in ways.items()}
        await self._announcer.announce({address: hops for address, hops in now.items() if hops})
        self._announced = frozenset((a, hop) for a, hops in now.items() for hop in hops)
        untold = {address for address, _ in early}
        for key, service in sorted(services.items()):
            if untold.isdisjoint(given.addresses.get(key, ())) and key not in blind:
                await self._write(key, service, given)
        return _PAUSE if early else None

    async def _early(self, wanted: frozenset[Pair]) -> frozenset[Pair]:
        """Those of which the node's proxy knows nothing yet: what came there would be lost."""
        new = wanted - self._announced
        self._waiting = {pair: since for pair, since in self._waiting.items() if pair in new}
        unknown = set()
        for pair in new - self._waiting.keys():
            needed = self._needed(pair[0])
            if needed is None:
                unknown.add(pair)
            else:
                self._waiting[pair] = needed, self._clock.monotonic() + _PATIENCE
        nodes = sorted({node for _, node in self._waiting}, key=int)
        told = dict(zip(nodes, await asyncio.gather(*map(self._proxies.programmed, nodes)), strict=True))
        early = set()
        for pair, (needed, until) in self._waiting.items():
            programmed = told[pair[1]]
            if programmed is None or programmed.covers(needed):
                continue
            if self._clock.monotonic() < until:
                early.add(pair)
            else:
                _log.warning("announced although its proxy is behind: address=%s node=%s", *pair)
        return frozenset(early | unknown)

    def _blind(self, key: meta.Key, service: core.Service) -> bool:
        """Whether it depends on its endpoints who is to announce it, and none of its slices is there yet."""
        local = service.spec.externalTrafficPolicy == "Local"
        return local and bool(service.spec.selector) and key not in self._members

    def _needed(self, address: plan.Address) -> plan.Revisions | None:
        key = next(key for key, addresses in self._given.items() if address in addresses)
        service = self._services.get(key)
        if service is None:
            return None
        local = service.spec.externalTrafficPolicy == "Local"
        return plan.needed(service, address, self._members.get(key, {}).values() if local else ())

    async def _promise(self, service: core.Service, addresses: tuple[plan.Address, ...] | None) -> None:
        """Proxies learn its addresses before anybody else; and it stays until they are withdrawn."""
        if addresses is None:
            return
        text, about = ",".join(map(str, addresses)), service.metadata
        ours = plan.FINALIZER in about.finalizers
        if ours and about.annotations.get(wellknown.PROMISED, "") == text:
            return
        finalizers = about.finalizers if ours else (*about.finalizers, plan.FINALIZER)
        try:
            await self._about(service, finalizers, text or None)
        except api_errors.NotFound:
            return

    def _ways(self, demands: Sequence[plan.Demand]) -> dict[plan.Address, plan.Ways]:
        machines = [m for m in map(plan.machine, self._nodes.objects.values()) if m is not None]
        ways = {}
        for one in demands:
            only = plan.serving(self._members.get(one.key, {}).values()) if one.local else None
            for address in self._given[one.key]:
                ways[address] = plan.announce(address, machines, only)
        return {address: hops for address, hops in ways.items() if hops}

    async def _write(self, key: meta.Key, service: core.Service, given: plan.Given) -> None:
        """Its status, and the finalizer that keeps it until its addresses are withdrawn."""
        addresses = given.addresses.get(key)
        try:
            if addresses is None:
                await self._release(service)
                return
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
            await self._about(service, rest, None)

    async def _status(self, service: core.Service, addresses: tuple[plan.Address, ...]) -> None:
        ingress = [{"ip": str(address), "ipMode": "VIP"} for address in addresses]
        await self._patch(service, {"status": {"loadBalancer": {"ingress": ingress}}})

    async def _about(self, service: core.Service, finalizers: tuple[str, ...], promised: str | None) -> None:
        version = service.metadata.resourceVersion  # a list is replaced whole: only the one that was seen
        about = {"finalizers": list(finalizers), "resourceVersion": version}
        await self._patch(service, {"metadata": {**about, "annotations": {wellknown.PROMISED: promised}}})

    async def _patch(self, service: core.Service, body: dict[str, Any]) -> None:
        """Finalizers, too, go by the status subresource: the role of this controller has no other."""
        about = service.metadata
        await self._client.patch(
            core.Service, about.name, about.namespace, body=body, how="merge", subresource="status"
        )


def _concerns(service: core.Service) -> bool:
    """It wants addresses, or it has some of ours."""
    return plan.demand(service) is not None or plan.FINALIZER in service.metadata.finalizers
