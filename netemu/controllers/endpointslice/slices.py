"""The EndpointSlices that one manager keeps, by Service; what it wrote itself counts at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from netemu.api import discovery, wellknown
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import views
from netemu.controllers.endpointslice import plan


class Slices:
    """`manager`: the value of the label that says whose slices they are."""

    def __init__(self, client: api.Client, known: informers.Informers, manager: str) -> None:
        self._client = client
        self._manager = manager
        self._view = views.View(known.of(discovery.EndpointSlice), self._services)
        self.synced: asyncio.Event = self._view.synced

    def subscribe(self, wake: Callable[[informers.Key], None]) -> None:
        """Call `wake` with the Service of each slice that is there or that somebody else has written."""

        def changed(change: informers.Change[discovery.EndpointSlice]) -> None:
            for one in (change.previous, change.current):
                for service in self._services(one) if one is not None else ():
                    wake(service)

        self._view.subscribe(changed)

    def of(self, service: informers.Key) -> list[discovery.EndpointSlice]:
        """Those of one Service, without those whose deletion was asked for."""
        return [one for one in self._view.group(service) if not self._view.is_leaving(one)]

    async def apply(self, changes: plan.Changes) -> None:
        """Write them in order; nothing more where the namespace is going away."""
        try:
            for new in changes.create:
                self._view.wrote(await self._client.create(new))
        except api_errors.Forbidden:
            return
        for changed in changes.update:
            self._view.wrote(await self._client.update(changed))
        for old in changes.delete:
            about = old.metadata
            with contextlib.suppress(api_errors.NotFound):
                await self._client.delete(discovery.EndpointSlice, about.name, about.namespace, uid=about.uid)
            self._view.deleted(old)

    def _services(self, one: discovery.EndpointSlice) -> tuple[informers.Key, ...]:
        labels = one.metadata.labels
        if labels.get(plan.MANAGED_BY) != self._manager or wellknown.SERVICE_NAME not in labels:
            return ()
        return (informers.Key(one.metadata.namespace, labels[wellknown.SERVICE_NAME]),)
