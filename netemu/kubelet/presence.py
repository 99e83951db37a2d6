"""The node's presence in the cluster: registration, heartbeats by Lease, status when it changes.

Knows when; what is said is nodes'. Ready follows the pod network's readiness.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from netemu.api import codec, coordination, core
from netemu.base import backoff, clock, errors
from netemu.client import api
from netemu.client import errors as api_errors
from netemu.kubelet import launch, machine, nodes, runtimes

_log = logging.getLogger("kubelet")
# Seconds between looks at the network: without a configuration; ready, or refused by a plugin.
_STARTING, _SETTLED = 0.05, 1.0


class Presence:
    """`run` for ever. `registered` is set once the API has the Node."""

    def __init__(
        self,
        client: api.Client,
        config: launch.NodeConfig,
        host: machine.Machine,
        network: runtimes.Network | None,
        clock: clock.Clock,
    ) -> None:
        self._client = client
        self._config = config
        self._host = host
        self._network = network
        self._clock = clock
        self._node: core.Node | None = None
        self._pause = _STARTING
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Register, then report and renew."""
        await self._register()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew())
            tasks.create_task(self._report())

    async def _unready(self) -> str:
        """Why pods cannot be connected, or "" when they can."""
        if self._network is None:
            return ""
        try:
            await self._network.status()
        except errors.NetemuError as reason:
            self._pause = _STARTING if isinstance(reason, errors.Transient) else _SETTLED
            return str(reason)
        return ""

    async def _register(self) -> None:
        retry = backoff.Backoff(0.05, limit=7.0)
        while True:
            try:
                unready = await self._unready()
                wanted = nodes.node(self._config, self._host, unready, self._clock.now())
                try:
                    self._node = await self._client.create(wanted)
                except api_errors.AlreadyExists:
                    self._node = await self._take_over(wanted)
                if not any(c.type == "Ready" for c in self._node.status.conditions):
                    self._node = await self._tell(unready)  # a server may leave out the status on creation
                break
            except errors.NetemuError as problem:
                wait = retry.next()
                _log.warning("cannot register the node: %s retry=%.3gs", problem, wait)
                await self._clock.sleep(wait)
        _log.info("node registered name=%s", self._config.name)
        self.registered.set()

    async def _take_over(self, wanted: core.Node) -> core.Node:
        """A Node of ours from before: labels and status are brought up to date, the rest is others'."""
        body = {"metadata": {"labels": wanted.metadata.labels, "annotations": wanted.metadata.annotations}}
        self._node = await self._client.patch(core.Node, self._config.name, body=body)
        return await self._tell(await self._unready())

    async def _tell(self, unready: str) -> core.Node:
        assert self._node is not None
        old = self._node.status.conditions
        new = nodes.status(self._config, self._host, unready, self._clock.now(), old)
        body = {"status": codec.document(new)}
        known = self._node.status.addresses
        if known:
            # Addresses are merged by type, and there are two of one type: they go by another road.
            addresses = {"status": {"addresses": body["status"].pop("addresses")}}
            if known != new.addresses:
                await self._patch(addresses, "merge")
        return await self._patch(body, "strategic")

    async def _patch(self, body: codec.Document, how: str) -> core.Node:
        return await self._client.patch(
            core.Node, self._config.name, body=body, how=how, subresource="status"
        )

    async def _report(self) -> None:
        """At once when readiness changes, and every five minutes (KEP-589)."""
        assert self._node is not None
        told = nodes.unready(self._node)
        told_at = self._clock.monotonic()
        retry = backoff.Backoff(0.1, limit=10.0)
        while True:
            unready = await self._unready()
            due = self._clock.monotonic() - told_at >= nodes.REPORT_SECONDS
            if unready != told or due:
                try:
                    self._node = await self._tell(unready)
                except api_errors.NotFound:
                    await self._register()
                except errors.NetemuError as problem:
                    wait = retry.next()
                    _log.warning("cannot report the node's status: %s retry=%.3gs", problem, wait)
                    await self._clock.sleep(wait)
                    continue
                retry.reset()
                if unready != told:
                    _log.info("node ready=%s %s", not unready, unready)
                told, told_at = unready, self._clock.monotonic()
            await self._clock.sleep(self._pause if unready else _SETTLED)

    async def _renew(self) -> None:
        lease: coordination.Lease | None = None
        retry = backoff.Backoff(0.2, limit=7.0)
        while True:
            try:
                lease = await self._beat(lease)
                retry.reset()
                wait = nodes.RENEW_SECONDS
            except errors.NetemuError as problem:
                lease = None
                wait = retry.next()
                _log.warning("cannot renew the node's lease: %s retry=%.3gs", problem, wait)
            await self._clock.sleep(wait)

    async def _beat(self, lease: coordination.Lease | None) -> coordination.Lease:
        assert self._node is not None
        name, now = self._config.name, self._clock.now()
        if lease is None:
            with contextlib.suppress(api_errors.AlreadyExists):
                return await self._client.create(nodes.lease(name, self._node.metadata.uid, now))
            lease = await self._client.get(coordination.Lease, name, nodes.LEASE_NAMESPACE)
        spec = msgspec.structs.replace(
            nodes.lease_spec(name, now), leaseTransitions=lease.spec.leaseTransitions
        )
        return await self._client.update(msgspec.structs.replace(lease, spec=spec))
