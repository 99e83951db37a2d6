"""A control plane in one process, with a memory store and a clock that stands still until it is told to move.

Nodes are played by a kubelet that runs whatever is bound to them; everything else is the real thing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator

import msgspec

from netemu.api import core, meta
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import agent as controllers
from netemu.reconcile import loops
from netemu.scheduler import agent as scheduler
from netemu.store import memory


class Kubelet:
    """Runs the pods bound to its nodes: an address at once, Ready a moment later, gone when asked to."""

    def __init__(self, client: api.Client, known: informers.Informers, clock_: clock.Clock) -> None:
        self._client = client
        self._clock = clock_
        self._loop = loops.Loop("kubelet", self._reconcile, workers=4, clock=clock_)
        self._pods = known.of(core.Pod)
        self._pods.subscribe(lambda change: self._loop.enqueue(change.key))
        self._numbers = itertools.count(2)
        self.stalled: set[str] = set()  # nodes which do nothing any more
        self.unready = False  # new pods start, but do not become Ready

    async def run(self) -> None:
        await self._loop.run()

    async def _reconcile(self, key: informers.Key) -> float | None:
        pod = self._pods.get(key)
        if pod is None or not pod.spec.nodeName or pod.spec.nodeName in self.stalled:
            return None
        about = pod.metadata
        if about.deletionTimestamp:
            await self._client.delete(core.Pod, about.name, about.namespace, grace=0, uid=about.uid)
            return None
        if pod.status.phase not in ("", "Pending"):
            return None
        number = next(self._numbers)
        ips = [f"10.244.{number // 250}.{number % 250}", f"fd00:244::{number:x}"]
        now = clock.rfc3339(self._clock.now())
        ready = {"type": "Ready", "status": "False" if self.unready else "True", "lastTransitionTime": now}
        status = {
            "phase": "Running",
            "podIP": ips[0],
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": [ready],
        }
        await self._client.patch(
            core.Pod,
            about.name,
            about.namespace,
            body={"status": status},
            how="strategic",
            subresource="status",
        )
        return None


class Cluster:
    """What a story talks to: `admin` is an administrator's client; `settle` lets time pass."""

    def __init__(self, config: controllers.Config) -> None:
        self.clock = clock.FakeClock()
        authority = pki.ca("test", self.clock.now())
        identity = server.Identity(authority.certificate, authority, None, pki.key())
        self.store = memory.MemoryStore()
        self.server = server.ApiServer(
            self.store, identity, contexts.Config(), self.clock, rng=random.Random(1)
        )
        self.admin = self.server.local_client("admin", ("system:masters",))
        self._client = self.server.local_client()
        self.known = informers.Informers(self._client, self.clock)
        self.kubelet = Kubelet(self.admin, self.known, self.clock)
        self.config = config

    @contextlib.asynccontextmanager
    async def running(self, *, nodes: int = 2) -> AsyncIterator[Cluster]:
        await self.server.prepare()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(one)
                for one in (
                    self.known.run(),
                    controllers.run(self._client, self.clock, self.config, shared=self.known),
                    scheduler.run(self._client, self.clock, shared=self.known, chance=random.Random(1)),
                    self.kubelet.run(),
                )
            ]
            for number in range(1, nodes + 1):
                await self.add_node(f"worker-{number}")
            await self.settle()
            try:
                yield self
            finally:
                for task in running:
                    task.cancel()

    async def settle(self, seconds: float = 2.0) -> None:
        """Let everybody finish what they do, and this much time pass."""
        await self.clock.run_for(seconds, turns=300)

    async def add_node(self, name: str, **labels: str) -> None:
        made = await self.admin.create(
            core.Node(metadata=meta.ObjectMeta(name=name, labels={"kubernetes.io/hostname": name, **labels}))
        )
        ready = core.NodeCondition(type="Ready", status="True", reason="KubeletReady")
        status = core.NodeStatus(
            allocatable={"cpu": "8", "memory": "16Gi", "pods": "110"}, conditions=(ready,)
        )
        await self.admin.update_status(msgspec.structs.replace(made, status=status))

    async def names(self, kind: type, namespace: str = "default") -> list[str]:
        return sorted(one.metadata.name for one in (await self.admin.list(kind, namespace)).items)

    async def gone(self, kind: type, name: str, namespace: str = "") -> bool:
        try:
            await self.admin.get(kind, name, namespace)
        except api_errors.NotFound:
            return True
        return False
