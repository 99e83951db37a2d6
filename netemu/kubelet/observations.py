"""What the runtime has: sandboxes and containers by pod, kept up to date by its events.

A copy, never a guess: it changes by what the runtime said and by answers to the kubelet's own calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from netemu.base import backoff, clock, errors
from netemu.kubelet import runtimes
from netemu.wire import cri

UID = "io.kubernetes.pod.uid"
_COMPARE = 30.0  # seconds
_ORDER = {"CREATED": 0, "RUNNING": 1, "EXITED": 2}
_log = logging.getLogger("kubelet")


class Possessions(NamedTuple):
    """What the runtime has of one pod."""

    sandboxes: tuple[cri.Sandbox, ...]
    containers: tuple[cri.Container, ...]


class Observations:
    """`changed` is called with a pod's uid for each change that came from the runtime by itself."""

    def __init__(self, runtime: runtimes.Runtime, clock: clock.Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._sandboxes: dict[str, dict[str, cri.Sandbox]] = {}
        self._containers: dict[str, dict[str, cri.Container]] = {}
        self._uid_of: dict[str, str] = {}
        self._handlers: list[Callable[[str], None]] = []

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Hear of changes from now on."""
        self._handlers.append(changed)

    def uids(self) -> frozenset[str]:
        """The pods of which the runtime has something."""
        return frozenset(self._uid_of.values())

    def sandbox_ids(self) -> frozenset[str]:
        """All sandboxes there are, whatever their state."""
        return frozenset(sandbox_id for boxes in self._sandboxes.values() for sandbox_id in boxes)

    def of(self, uid: str) -> Possessions:
        """What there is of a pod."""
        return Possessions(
            tuple(self._sandboxes.get(uid, {}).values()), tuple(self._containers.get(uid, {}).values())
        )

    def container(self, container_id: str) -> cri.Container | None:
        """One container."""
        return self._containers.get(self._uid_of.get(container_id, ""), {}).get(container_id)

    def put_sandbox(self, sandbox: cri.Sandbox) -> None:
        """The runtime answered with this sandbox."""
        uid = sandbox.config.uid
        self._uid_of[sandbox.id] = uid
        self._sandboxes.setdefault(uid, {})[sandbox.id] = sandbox

    def put_container(self, container: cri.Container) -> bool:
        """The runtime said this of a container; False when that is no news (a run never goes back)."""
        uid = container.config.labels.get(UID, "")
        known = self._containers.get(uid, {}).get(container.id)
        if known is not None and _ORDER[known.state] >= _ORDER[container.state]:
            return False
        self._uid_of[container.id] = uid
        self._containers.setdefault(uid, {})[container.id] = container
        return True

    def drop(self, some_id: str) -> None:
        """A sandbox (with its containers) or a container was removed."""
        uid = self._uid_of.pop(some_id, "")
        sandboxes, containers = self._sandboxes.get(uid, {}), self._containers.get(uid, {})
        containers.pop(some_id, None)
        if sandboxes.pop(some_id, None) is not None:
            for container in [c for c in containers.values() if c.sandbox_id == some_id]:
                del containers[container.id]
                self._uid_of.pop(container.id, None)
        if not sandboxes and not containers:
            self._sandboxes.pop(uid, None)
            self._containers.pop(uid, None)

    def stopped(self, sandbox_id: str) -> bool:
        """A sandbox is not ready any more; False when that is no news."""
        uid = self._uid_of.get(sandbox_id, "")
        sandbox = self._sandboxes.get(uid, {}).get(sandbox_id)
        if sandbox is None or sandbox.state != "READY":
            return False
        self.put_sandbox(msgspec.structs.replace(sandbox, state="NOTREADY"))
        return True

    async def confirm(self, sandbox_id: str) -> bool:
        """Ask the runtime whether a sandbox still lives: the news of its death may be on the way."""
        alive = {s.id for s in await self._runtime.list_pod_sandboxes() if s.state == "READY"}
        if sandbox_id not in alive:
            self.stopped(sandbox_id)
        return sandbox_id in alive

    async def load(self) -> None:
        """Compare with everything the runtime has now; whoever changed is told of.

        What the kubelet made while the lists were on their way stays: they may not have it yet.
        """
        before = set(self._uid_of.items())
        sandboxes = await self._runtime.list_pod_sandboxes()
        containers = await self._runtime.list_containers()
        present = {s.id for s in sandboxes} | {c.id for c in containers}
        touched = set()
        for gone, uid in before:
            if gone not in present:
                self.drop(gone)
                touched.add(uid)
        for sandbox in sandboxes:
            if sandbox.id not in self._uid_of:
                self.put_sandbox(sandbox)
                touched.add(sandbox.config.uid)
            elif sandbox.state == "NOTREADY" and self.stopped(sandbox.id):
                touched.add(sandbox.config.uid)
        touched |= {c.config.labels.get(UID, "") for c in containers if self.put_container(c)}
        for uid in touched:
            self._tell(uid)

    async def run(self) -> None:
        """Follow the runtime for ever; what its events may have missed is found by a look now and then."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._compare())

    async def _compare(self) -> None:
        while True:
            await self._clock.sleep(_COMPARE)
            with contextlib.suppress(errors.NetemuError, OSError):
                await self.load()

    async def _listen(self) -> None:
        retry = backoff.Backoff(0.05, limit=5.0)
        while True:
            try:
                async for container in self._runtime.events():
                    retry.reset()
                    self._hear(container)
            except (errors.NetemuError, OSError) as problem:
                _log.warning("runtime events: %s", problem)
            await self._clock.sleep(retry.next())

    def _hear(self, container: cri.Container) -> None:
        uid = self._uid_of.get(container.id, "")
        if container.id in self._sandboxes.get(uid, {}):
            if container.state == "EXITED" and self.stopped(container.id):
                self._tell(uid)
        elif container.config.labels.get(UID) and self.put_container(container):
            self._tell(self._uid_of[container.id])

    def _tell(self, uid: str) -> None:
        for handler in self._handlers:
            handler(uid)
