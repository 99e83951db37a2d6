"""The Endpoints loop: one object for each Service with a selector, under the same name."""

from __future__ import annotations

import contextlib
from typing import Final

from netemu.api import core
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import paces, views
from netemu.controllers.endpoints import plan
from netemu.controllers.endpointslice import members, triggers
from netemu.reconcile import loops

# Nobody waits for these (proxies and DNS read EndpointSlices): fewer writes matter more than the last tenth
# of a second.
_PACE: Final = 0.25


class EndpointsObjects:
    """Keeps the Endpoints of Services which have a selector."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, who: members.Members
    ) -> None:
        self._client = client
        self._loop = loops.Loop("endpoints", self._reconcile, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._triggers = triggers.Triggers()
        self._members = who
        self._endpoints = views.View(known.of(core.Endpoints))
        self._endpoints.subscribe(lambda change: self._loop.enqueue(change.key))
        who.subscribe(lambda key: self._pace.touch(key, _PACE))

    async def run(self) -> None:
        await self._members.synced()
        await self._endpoints.synced.wait()
        await self._loop.run()

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        service = self._members.service(key)
        current = self._endpoints.get(key)
        if service is None:
            self._pace.forget(key)
            self._triggers.forget(key)
            if current is not None and current.metadata.labels.get(plan.MANAGED_BY) == plan.MANAGER:
                await self._delete(key, current)
            return None
        if (
            not service.spec.selector
            or service.spec.type == "ExternalName"
            or service.metadata.deletionTimestamp
        ):
            return None
        pods = self._members.pods(key)
        wanted = plan.plan(service, pods, current, self._triggers.take(key, service, pods))
        if wanted is None:
            return None
        try:
            write = self._client.create if current is None else self._client.update
            self._endpoints.wrote(await write(wanted))
        except api_errors.Forbidden:
            pass  # the namespace is going away
        return None

    async def _delete(self, key: informers.Key, current: core.Endpoints) -> None:
        with contextlib.suppress(api_errors.NotFound):
            await self._client.delete(core.Endpoints, key.name, key.namespace, uid=current.metadata.uid)
