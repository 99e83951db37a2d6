"""Tells of each policy when it is in force: an event; a condition where the kind has a status; an annotation
where the policy asks for one.

Follows policies and the reports of nodes. Runs once in a cluster; what it says is news: nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from netemu.api import clusterpolicies, core, networking
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.client import errors as refusals
from netemu.netpol import reports
from netemu.reconcile import recorders

_TOGETHER = 0.05  # seconds in which news are collected: policies come in crowds
_LATER = 1.0  # seconds between looks for the kind ClusterNetworkPolicy
_log = logging.getLogger("netpol")
Policy = networking.NetworkPolicy | clusterpolicies.ClusterNetworkPolicy


async def run(client: api.Client, clock: clock.Clock, shared: informers.Informers) -> None:
    """For ever. `shared` informers are run by whoever made them."""
    one = Announcer(client, clock, shared)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.recorder.run())
        tasks.create_task(one.follow_cluster())
        await one.announce()


class Announcer:
    def __init__(self, client: api.Client, time: clock.Clock, shared: informers.Informers) -> None:
        self.recorder = recorders.Recorder(client, "netpol", time)
        self._client, self._clock = client, time
        self._nodes = shared.of(core.Node)
        self._pending: dict[str, tuple[Policy, int]] = {}  # by uid: the policy, and its generation's revision
        self._told: dict[str, int] = {}  # the generation that was announced, by uid
        self._wake = asyncio.Event()
        self._nodes.subscribe(self._reported)
        shared.of(networking.NetworkPolicy).subscribe(self._changed)

    def _reported(self, change: informers.Change[core.Node]) -> None:
        before, after = (
            node.metadata.annotations.get(reports.NODE) if node is not None else None
            for node in (change.previous, change.current)
        )
        if before != after or change.current is None:
            self._wake.set()

    def _changed(self, change: informers.Change[Any]) -> None:
        policy: Policy | None = change.current
        if policy is None:
            assert change.previous is not None
            self._pending.pop(change.previous.metadata.uid, None)
            self._told.pop(change.previous.metadata.uid, None)
            return
        about = policy.metadata
        known = self._pending.get(about.uid)
        if self._told.get(about.uid) == about.generation:
            return
        revision = int(about.resourceVersion)
        if known is not None and known[0].metadata.generation == about.generation:
            revision = known[1]
        self._pending[about.uid] = (policy, revision)
        self._wake.set()

    async def follow_cluster(self) -> None:
        """ClusterNetworkPolicies, once the API server knows the kind."""
        while True:
            try:
                await self._client.list(clusterpolicies.ClusterNetworkPolicy)
                break
            except refusals.ApiError:
                await self._clock.sleep(_LATER)
        informer = informers.Informer(self._client, clusterpolicies.ClusterNetworkPolicy, clock=self._clock)
        informer.subscribe(self._changed)
        await informer.run()

    async def announce(self) -> None:
        """For ever: those that came into force."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(_TOGETHER)
            self._wake.clear()
            for uid, (policy, revision) in tuple(self._pending.items()):
                cluster = isinstance(policy, clusterpolicies.ClusterNetworkPolicy)
                needed = (0, revision) if cluster else (revision, 0)
                found = reports.coverage(self._nodes.objects.values(), *needed)
                if found.whole:
                    del self._pending[uid]
                    self._told[uid] = policy.metadata.generation
                    await self._tell(policy, found)

    async def _tell(self, policy: Policy, found: reports.Coverage) -> None:
        about = policy.metadata
        text = f"in force on {found} at generation {about.generation}"
        self.recorder.record(policy, "Normal", "InForce", text)
        try:
            if isinstance(policy, clusterpolicies.ClusterNetworkPolicy):
                await self._client.patch(
                    type(policy),
                    about.name,
                    body=self._status(policy, text),
                    how="merge",
                    subresource="status",
                )
            elif reports.POLICY in about.annotations:
                body = {"metadata": {"annotations": {reports.POLICY: str(about.generation)}}}
                await self._client.patch(type(policy), about.name, about.namespace, body=body)
        except errors.NetemuError as error:
            _log.debug("not told: %s", error)

    def _status(self, policy: clusterpolicies.ClusterNetworkPolicy, text: str) -> dict[str, Any]:
        others = [
            {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message,
             "lastTransitionTime": c.lastTransitionTime, "observedGeneration": c.observedGeneration}
            for c in policy.status.conditions
            if c.type != "InForce"
        ]  # fmt: skip
        mine = {
            "type": "InForce",
            "status": "True",
            "reason": "Programmed",
            "message": text,
            "lastTransitionTime": clock.rfc3339(self._clock.now()),
            "observedGeneration": policy.metadata.generation,
        }
        return {"status": {"conditions": [*others, mine]}}
