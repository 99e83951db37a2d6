"""Follows the cluster until what was applied works. Knows informers and time; `ready` knows the rules."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from netemu.api import apps, core, discovery
from netemu.base import clock
from netemu.client import api, informers
from netemu.scenario import ready

KINDS = (core.Pod, core.Node, core.Service, discovery.EndpointSlice, apps.Deployment)


class Watcher:
    """A snapshot that keeps up with the cluster."""

    def __init__(self, shared: informers.Informers) -> None:
        self._of = {kind: shared.of(kind) for kind in KINDS}
        self._changed = asyncio.Event()
        for informer in self._of.values():
            informer.subscribe(lambda _change: self._changed.set())

    def snapshot(self) -> ready.Snapshot:
        """The cluster as far as it is known now; objects in the order of their names."""
        pods, nodes, services, slices, deployments = (
            tuple(found for _, found in sorted(self._of[kind].objects.items())) for kind in KINDS
        )
        return ready.Snapshot(pods, nodes, services, slices, deployments)

    async def until_ready(
        self, wanted: Sequence[ready.Applied], *, timeout: float, progress: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Wait for everything in `wanted`; what is still not ready after `timeout` seconds, else nothing."""
        reasons: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._changed.clear()
                    reasons = ready.unready(wanted, self.snapshot())
                    if not reasons:
                        return ()
                    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                    progress(f"waiting for {reasons[0]}{more}")
                    await self._changed.wait()
        except TimeoutError:
            return reasons


@contextlib.asynccontextmanager
async def watching(client: api.Client, time: clock.Clock) -> AsyncIterator[Watcher]:
    """A watcher with its first lists in; it stops with the `async with`."""
    shared = informers.Informers(client, time)
    watcher = Watcher(shared)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(shared.run())
        await shared.synced()
        try:
            yield watcher
        finally:
            task.cancel()
