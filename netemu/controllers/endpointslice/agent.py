"""The EndpointSlice loop: for a Service whose pods changed, writes what the plan says."""

from __future__ import annotations

import contextlib

from netemu.api import discovery
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import paces, views
from netemu.controllers.endpointslice import members, plan, triggers
from netemu.reconcile import loops

_PACE, _PACE_PER_POD = 0.02, 0.002  # seconds between two writes for one Service while its pods change


class EndpointSlices:
    """Keeps the slices of Services which have a selector."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, who: members.Members
    ) -> None:
        self._client = client
        self._loop = loops.Loop("endpointslice", self._reconcile, workers=2, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._triggers = triggers.Triggers()
        self._members = who
        self._slices = views.View(known.of(discovery.EndpointSlice), _services)
        self._slices.subscribe(self._slice_changed)
        who.subscribe(lambda key: self._pace.touch(key, _PACE + _PACE_PER_POD * who.count(key)))

    async def run(self) -> None:
        await self._members.synced()
        await self._slices.synced.wait()
        await self._loop.run()

    def _slice_changed(self, change: informers.Change[discovery.EndpointSlice]) -> None:
        # Somebody else wrote one of ours: put it right.
        for one in (change.previous, change.current):
            for service in _services(one) if one is not None else ():
                self._loop.enqueue(service)

    async def _reconcile(self, key: informers.Key) -> float | None:
        self._pace.began(key)
        service = self._members.service(key)
        if service is None:
            self._pace.forget(key)
            self._triggers.forget(key)
            return None
        if not service.spec.selector or service.metadata.deletionTimestamp:
            return None
        pods = self._members.pods(key)
        slices = [one for one in self._slices.group(key) if not self._slices.is_leaving(one)]
        changes = plan.plan(
            service, pods, self._members.node_labels(), slices, self._triggers.take(key, service, pods)
        )
        try:
            for new in changes.create:
                self._slices.wrote(await self._client.create(new))
        except api_errors.Forbidden:
            return None  # the namespace is going away
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
    if labels.get(plan.MANAGED_BY) != plan.MANAGER or plan.SERVICE_NAME not in labels:
        return ()
    return (informers.Key(one.metadata.namespace, labels[plan.SERVICE_NAME]),)
