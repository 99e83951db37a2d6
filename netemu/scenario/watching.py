"""Follows the cluster until what was applied works. Knows informers and time; `ready` knows the rules."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from netemu.api import apps, clusterpolicies, core, discovery, networking
from netemu.base import clock
from netemu.client import api, informers
from netemu.scenario import ready

T = TypeVar("T")


class Watcher:
    """A snapshot that keeps up with the cluster."""

    def __init__(self, shared: informers.Informers) -> None:
        self._pods = shared.of(core.Pod)
        self._nodes = shared.of(core.Node)
        self._services = shared.of(core.Service)
        self._slices = shared.of(discovery.EndpointSlice)
        self._deployments = shared.of(apps.Deployment)
        self._namespaces = shared.of(core.Namespace)
        self._policies = shared.of(networking.NetworkPolicy)
        self._cluster_policies = shared.of(clusterpolicies.ClusterNetworkPolicy)
        self._changed = asyncio.Event()
        for informer in (self._pods, self._nodes, self._services, self._slices, self._deployments):
            informer.subscribe(lambda _change: self._changed.set())

    def snapshot(self) -> ready.Snapshot:
        """The cluster as far as it is known now; objects in the order of their names."""
        return ready.Snapshot(
            _sorted(self._pods.objects),
            _sorted(self._nodes.objects),
            _sorted(self._services.objects),
            _sorted(self._slices.objects),
            _sorted(self._deployments.objects),
            _sorted(self._namespaces.objects),
            _sorted(self._policies.objects),
            _sorted(self._cluster_policies.objects),
        )

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


def _sorted(objects: Mapping[informers.Key, T]) -> tuple[T, ...]:
    return tuple(objects[key] for key in sorted(objects))
