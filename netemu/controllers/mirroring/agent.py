"""The mirroring loop: proxies and DNS read EndpointSlices only, so hand-made Endpoints are copied there."""

from __future__ import annotations

from netemu.api import core
from netemu.base import clock
from netemu.client import api, informers
from netemu.controllers.endpointslice import slices
from netemu.controllers.mirroring import plan
from netemu.reconcile import loops


class Mirroring:
    """Keeps the slices of Services without a selector which have Endpoints."""

    def __init__(self, client: api.Client, known: informers.Informers, clock: clock.Clock) -> None:
        self._loop = loops.Loop("endpointslicemirroring", self._reconcile, clock=clock)
        self._services = known.of(core.Service)
        self._endpoints = known.of(core.Endpoints)
        self._slices = slices.Slices(client, known, plan.MANAGER)
        self._slices.subscribe(self._loop.enqueue)
        self._services.subscribe(self._service_changed)
        self._endpoints.subscribe(self._endpoints_changed)

    async def run(self) -> None:
        for synced in (self._services.synced, self._endpoints.synced, self._slices.synced):
            await synced.wait()
        await self._loop.run()

    def _service_changed(self, change: informers.Change[core.Service]) -> None:
        # A Service with a selector has slices of its own: nothing to do, unless it had none before.
        if any(one is not None and not one.spec.selector for one in (change.previous, change.current)):
            self._loop.enqueue(change.key)

    def _endpoints_changed(self, change: informers.Change[core.Endpoints]) -> None:
        service = self._services.get(change.key)
        if service is None or not service.spec.selector:
            self._loop.enqueue(change.key)

    async def _reconcile(self, key: informers.Key) -> float | None:
        changes = plan.plan(self._services.get(key), self._endpoints.get(key), self._slices.of(key))
        await self._slices.apply(changes)
        return None
