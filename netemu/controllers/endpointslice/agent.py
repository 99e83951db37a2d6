"""The EndpointSlice loop: for a Service whose pods changed, writes what the plan says."""

from __future__ import annotations

from netemu.base import clock
from netemu.client import api, informers
from netemu.controllers import paces
from netemu.controllers.endpointslice import members, plan, slices, triggers
from netemu.reconcile import loops

_PACE, _PACE_PER_POD = 0.02, 0.002  # seconds between two writes for one Service while its pods change


class EndpointSlices:
    """Keeps the slices of Services which have a selector."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, who: members.Members
    ) -> None:
        self._loop = loops.Loop("endpointslice", self._reconcile, workers=2, clock=clock)
        self._pace = paces.Pace(self._loop, clock)
        self._triggers = triggers.Triggers()
        self._members = who
        self._slices = slices.Slices(client, known, plan.MANAGER)
        self._slices.subscribe(self._loop.enqueue)
        who.subscribe(lambda key: self._pace.touch(key, _PACE + _PACE_PER_POD * who.count(key)))

    async def run(self) -> None:
        await self._members.synced()
        await self._slices.synced.wait()
        await self._loop.run()

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
        triggered = self._triggers.take(key, service, pods)
        changes = plan.plan(service, pods, self._members.node_labels(), self._slices.of(key), triggered)
        await self._slices.apply(changes)
        return None
