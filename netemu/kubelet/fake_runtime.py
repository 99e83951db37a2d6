"""A container runtime in memory, as strict as a real one about ids, states and images.

Programs are scripts: `Ends(code, after)` by container name; without one a container runs until it is stopped.
Time is the clock's. `kill_sandbox` is what an administrator with SIGKILL does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from netemu.base import clock, errors
from netemu.wire import cri


class Ends(NamedTuple):
    """How a container's program ends: with `code`, `after` seconds."""

    code: int
    after: float = 0.0


class Refused(errors.NetemuError):
    """What the real runtime would refuse."""


class FakeRuntime:
    """Implements runtimes.Runtime. `calls` is what was asked of it, in order, as (verb, name)."""

    def __init__(self, clock: clock.Clock, *, images: Sequence[str] = ("busybox", "nginx")) -> None:
        self._clock = clock
        self.images = set(images)
        self.programs: dict[str, Ends] = {}
        self.sandboxes: dict[str, cri.Sandbox] = {}
        self.containers: dict[str, cri.Container] = {}
        self.calls: list[tuple[str, str]] = []
        self.broken_network = ""
        self.execs: dict[tuple[str, ...], cri.ExecResult] = {}
        self._listeners: list[asyncio.Queue[cri.Container]] = []
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._count = 0

    async def run_pod_sandbox(self, config: cri.SandboxConfig) -> cri.Sandbox:
        self.calls.append(("run sandbox", config.name))
        alive = [s for s in self.sandboxes.values() if s.state == "READY" and s.config.uid == config.uid]
        if any(s.config.attempt == config.attempt for s in alive):
            raise Refused(f"name {config.name}_{config.attempt} is reserved")
        if self.broken_network and not config.host_network:
            raise Refused(self.broken_network)
        self._count += 1
        ips = () if config.host_network else (f"10.244.1.{self._count}", f"fd00:244:0:1::{self._count:x}")
        made = cri.Sandbox(
            id=f"s{self._count:063x}",
            config=config,
            state="READY",
            pid=1000 + self._count,
            netns=f"/run/netns/s{self._count}",
            ips=ips,
            created_at=self._clock.now(),
        )
        self.sandboxes[made.id] = made
        return made

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self.calls.append(("stop sandbox", sandbox_id))
        self.kill_sandbox(sandbox_id)

    def kill_sandbox(self, sandbox_id: str) -> None:
        """Its pause process dies, and with it all its containers."""
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.state != "READY":
            return
        for container in list(self.containers.values()):
            if container.sandbox_id == sandbox_id and container.state == "RUNNING":
                self._end(container.id, 137)
        self.sandboxes[sandbox_id] = msgspec.structs.replace(sandbox, state="NOTREADY", ips=())
        gone = cri.Container(sandbox_id, sandbox_id, cri.ContainerConfig("", ""), "EXITED")
        self._tell(gone)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        self.calls.append(("remove sandbox", sandbox_id))
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is not None and sandbox.state == "READY":
            raise Refused(f"sandbox {sandbox_id} is still running")
        self.sandboxes.pop(sandbox_id, None)
        self.containers = {i: c for i, c in self.containers.items() if c.sandbox_id != sandbox_id}

    async def list_pod_sandboxes(self) -> tuple[cri.Sandbox, ...]:
        return tuple(self.sandboxes.values())

    async def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> str:
        self.calls.append(("create", config.name))
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.state != "READY":
            raise Refused(f"sandbox {sandbox_id} is not running")
        if config.image not in self.images:
            raise Refused(f"image {config.image} was not pulled")
        same = [
            c for c in self.containers.values() if c.sandbox_id == sandbox_id and c.config.name == config.name
        ]
        if any(c.config.attempt == config.attempt or c.state != "EXITED" for c in same):
            raise Refused(f"container {config.name} is there already")
        self._count += 1
        made = cri.Container(
            id=f"c{self._count:063x}",
            sandbox_id=sandbox_id,
            config=config,
            created_at=self._clock.now(),
            image_id=f"sha256:{config.image}",
        )
        self.containers[made.id] = made
        self._tell(made)
        return made.id

    async def start_container(self, container_id: str) -> None:
        container = self._known(container_id)
        self.calls.append(("start", container.config.name))
        if container.state != "CREATED":
            raise Refused(f"container {container_id} is {container.state}")
        started = msgspec.structs.replace(
            container, state="RUNNING", pid=5000 + self._count, started_at=self._clock.now()
        )
        self.containers[container_id] = started
        self._tell(started)
        ends = self.programs.get(container.config.name)
        if ends is not None:
            self._timers[container_id] = asyncio.ensure_future(self._later(container_id, ends))

    async def _later(self, container_id: str, ends: Ends) -> None:
        await self._clock.sleep(ends.after)
        self._end(container_id, ends.code)

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        container = self._known(container_id)
        self.calls.append(("stop", container.config.name))
        if container.state == "RUNNING":
            self._end(container_id, 143 if timeout_s else 137)

    async def remove_container(self, container_id: str) -> None:
        container = self.containers.get(container_id)
        self.calls.append(("remove", container.config.name if container else container_id))
        if container is not None and container.state == "RUNNING":
            raise Refused(f"container {container_id} is running")
        self.containers.pop(container_id, None)

    async def list_containers(self) -> tuple[cri.Container, ...]:
        return tuple(self.containers.values())

    async def container_status(self, container_id: str) -> cri.Container:
        return self._known(container_id)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> cri.ExecResult:
        if self._known(container_id).state != "RUNNING":
            raise Refused(f"container {container_id} is not running")
        return self.execs.get(tuple(command), cri.ExecResult(b"", b"no such program", 127))

    async def exec(
        self, container_id: str, command: Sequence[str], fds: Sequence[int], *, tty: bool = False
    ) -> int:
        """The script's output goes to the descriptors."""
        found = await self.exec_sync(container_id, command, 0.0)
        os.write(fds[1], found.stdout)
        os.write(fds[2], found.stderr)
        return found.code

    async def attach(
        self, container_id: str, *, stdin: bool, stdout: int | None, stderr: int | None
    ) -> int | None:
        """Nothing is ever written: a script is silent."""
        if self._known(container_id).state != "RUNNING":
            raise Refused(f"container {container_id} is not running")
        return None

    async def pull_image(self, image: str) -> str:
        self.calls.append(("pull", image))
        if image not in self.images:
            raise Refused(f'no image "{image}"; there are: {", ".join(sorted(self.images))}')
        return f"sha256:{image}"

    async def events(self) -> AsyncIterator[cri.Container]:
        queue: asyncio.Queue[cri.Container] = asyncio.Queue()
        for container in self.containers.values():
            queue.put_nowait(container)
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    def running(self) -> list[str]:
        """The names of the containers that run."""
        return sorted(c.config.name for c in self.containers.values() if c.state == "RUNNING")

    def end(self, name: str, code: int) -> None:
        """The program of a running container ends now."""
        for container in list(self.containers.values()):
            if container.config.name == name and container.state == "RUNNING":
                self._end(container.id, code)

    def _end(self, container_id: str, code: int) -> None:
        container = self.containers.get(container_id)
        if container is None or container.state != "RUNNING":
            return
        ended = msgspec.structs.replace(
            container,
            state="EXITED",
            pid=0,
            exit_code=code,
            reason="Completed" if code == 0 else "Error",
            finished_at=self._clock.now(),
        )
        self.containers[container_id] = ended
        self._tell(ended)

    def _known(self, container_id: str) -> cri.Container:
        try:
            return self.containers[container_id]
        except KeyError:
            raise Refused(f"no container {container_id}") from None

    def _tell(self, container: cri.Container) -> None:
        for queue in self._listeners:
            queue.put_nowait(container)
