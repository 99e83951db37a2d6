"""The mirroring loop: proxies and DNS read EndpointSlices only, so hand-made Endpoints are copied there."""

from __future__ import annotations

import contextlib

from netemu.api import core, discovery
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import views
from netemu.controllers.endpointslice import plan as slices
from netemu.controllers.mirroring import plan
from netemu.reconcile import loops


class Mirroring:
    """Keeps the slices of Services without a selector which have Endpoints."""

    def __init__(self, client: api.Client, known: informers.Informers, clock: clock.Clock) -> None:
        self._client = client
        self._loop = loops.Loop("endpointslicemirroring", self._reconcile, clock=clock)
        self._services = known.of(core.Service)
        self._endpoints = known.of(core.Endpoints)
        self._slices = views.View(known.of(discovery.EndpointSlice), _services)
        self._slices.subscribe(self._slice_changed)
        self._services.subscribe(self._service_changed)
        self._endpoints.subscribe(self._endpoints_changed)

    async def run(self) -> None:
        for synced in (self._services.synced, self._endpoints.synced, self._slices.synced):
            await synced.wait()
        await self._loop.run()

    def _slice_changed(self, change: informers.Change[discovery.EndpointSlice]) -> None:
        for one in (change.previous, change.current):
            for key in _services(one) if one is not None else ():
                self._loop.enqueue(key)

    def _service_changed(self, change: informers.Change[core.Service]) -> None:
        # A Service with a selector has slices of its own: nothing to do, unless it had none before.
        if any(one is not None and not one.spec.selector for one in (change.previous, change.current)):
            self._loop.enqueue(change.key)

    def _endpoints_changed(self, change: informers.Change[core.Endpoints]) -> None:
        service = self._services.get(change.key)
        if service is None or not service.spec.selector:
            self._loop.enqueue(change.key)

    async def _reconcile(self, key: informers.Key) -> float | None:
        changes = plan.plan(
            self._services.get(key),
            self._endpoints.get(key),
            [one for one in self._slices.group(key) if not self._slices.is_leaving(one)],
        )
        with contextlib.suppress(api_errors.Forbidden):  # the namespace is going away
            for new in changes.create:
                self._slices.wrote(await self._client.create(new))
        for changed in changes.update:
            self._slices.wrote(await self._client.update(changed))
        for old in changes.delete:
            with contextlib.suppress(api_errors.NotFound):
                await self._client.delete(
                    discovery.EndpointSlice, old.metadata.name, old.metadata.namespace, uid=old.metadata.uid
                )
            self._slices.deleted(old)
        return None


def _services(one: discovery.EndpointSlice) -> tuple[informers.Key, ...]:
    labels = one.metadata.labels
    if labels.get(slices.MANAGED_BY) != plan.MANAGER or slices.SERVICE_NAME not in labels:
        return ()
    return (informers.Key(one.metadata.namespace, labels[slices.SERVICE_NAME]),)
