"""The runtime as a kubelet sees it: CRI's verbs, awaited, spoken to the shim of this node.

Knows the order of things (network after namespaces, undone if it fails) and that a shim may just be starting
again. Does not know what a network is: whoever makes a LocalRuntime brings one.
"""

import array
import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeVar

from netemu.base import backoff, errors
from netemu.runtime.images import catalogue, references
from netemu.wire import cri

T = TypeVar("T")
PATIENCE = 10.0  # seconds a shim may take to come back


class Network(Protocol):
    """What gives a sandbox its addresses; a CNI runtime, usually. Both raise when they cannot.

    Nothing remains of an `attach` that raised.
    """

    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]: ...

    async def detach(self, sandbox: cri.Sandbox) -> None: ...

    def needs_namespace(self, sandbox: cri.Sandbox) -> bool:
        """Whether `detach` has to find the sandbox's namespace there."""
        ...


class Unavailable(errors.Transient):
    """The shim does not answer, or went away in the middle of a request."""


class RuntimeFailed(errors.NetemuError):
    """The shim's answer was a failure. `kind` as in cri.Failure."""

    def __init__(self, kind: cri.FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NotFound(RuntimeFailed):
    """No such sandbox or container."""


class StartFailed(RuntimeFailed):
    """The container's program could not be started."""


class TimedOut(RuntimeFailed):
    """An exec ran longer than it was given."""


_KINDS: dict[cri.FailureKind, type[RuntimeFailed]] = {
    "not found": NotFound,
    "start failed": StartFailed,
    "timeout": TimedOut,
}


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _successful(reply: cri.Answer | cri.Failure) -> cri.Answer:
    if isinstance(reply, cri.Answer):
        return reply
    if reply.kind == "image not found":
        raise catalogue.ImageNotFound(reply.message)
    raise _KINDS.get(reply.kind, RuntimeFailed)(reply.kind, reply.message)


class LocalRuntime:
    """Every verb raises RuntimeFailed (or one of its kinds), Unavailable, or what `network` raises."""

    def __init__(self, socket_path: str, network: Network) -> None:
        self._path, self._network = socket_path, network
        self._idle: list[socket.socket] = []

    async def run_pod_sandbox(self, config: cri.SandboxConfig) -> cri.Sandbox:
        """Namespaces, pause, network; READY when it returns. When a step fails nothing is left."""
        made = await self._ask(cri.RunPodSandbox(1, config), cri.Sandbox)
        attached = False
        try:
            ips = () if config.host_network else await self._network.attach(made)
            attached = not config.host_network
            return await self._ask(cri.AttachedNetwork(1, made.id, ips), cri.Sandbox)
        except BaseException:
            if attached:
                with contextlib.suppress(Exception):
                    await self._network.detach(made)
            with contextlib.suppress(Exception):
                await self._ask(cri.RemovePodSandbox(1, made.id), object)
            raise

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """Idempotent. The network is detached while its namespace is there, if that matters to it.

        Otherwise everything is killed first: the kernel removes the links of many dropped namespaces at once,
        but waits 20 ms for each one that is deleted by itself.
        """
        found = {sandbox.id: sandbox for sandbox in await self.list_pod_sandboxes()}.get(sandbox_id)
        if found is None:
            return
        if found.config.host_network:
            await self._ask(cri.StopPodSandbox(1, sandbox_id), object)
        elif self._network.needs_namespace(found):
            await self._network.detach(found)
            await self._ask(cri.StopPodSandbox(1, sandbox_id), object)
        else:
            await self._ask(cri.StopPodSandbox(1, sandbox_id), object)
            await self._network.detach(found)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Idempotent; its containers are removed too. One that was not stopped is stopped first."""
        found = {sandbox.id: sandbox for sandbox in await self.list_pod_sandboxes()}.get(sandbox_id)
        if found is not None and found.pid:
            await self.stop_pod_sandbox(sandbox_id)
        await self._ask(cri.RemovePodSandbox(1, sandbox_id), object)

    async def list_pod_sandboxes(self) -> tuple[cri.Sandbox, ...]:
        return await self._ask(cri.ListPodSandboxes(1), tuple[cri.Sandbox, ...])

    async def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> str:
        return (await self._ask(cri.CreateContainer(1, sandbox_id, config), cri.Container)).id

    async def start_container(self, container_id: str) -> None:
        """StartFailed with the reason when its program cannot be executed."""
        await self._ask(cri.StartContainer(1, container_id), object)

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        """Its stop signal, after `timeout_s` seconds SIGKILL. Idempotent; returns when it has ended."""
        await self._ask(cri.StopContainer(1, container_id, timeout_s), object)

    async def remove_container(self, container_id: str) -> None:
        await self._ask(cri.RemoveContainer(1, container_id), object)

    async def list_containers(self) -> tuple[cri.Container, ...]:
        return await self._ask(cri.ListContainers(1), tuple[cri.Container, ...])

    async def container_status(self, container_id: str) -> cri.Container:
        return await self._ask(cri.ContainerStatus(1, container_id), cri.Container)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._ask(cri.ReopenContainerLog(1, container_id), object)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float = 0.0
    ) -> cri.ExecResult:
        """TimedOut after `timeout_s` seconds (0: none), StartFailed when there is no such program."""
        return await self._ask(cri.ExecSync(1, container_id, tuple(command), timeout_s), cri.ExecResult)

    async def exec(
        self, container_id: str, command: Sequence[str], fds: Sequence[int], *, tty: bool = False
    ) -> int:
        """Run a command on three descriptors (with `tty` all a terminal's); its exit code, or StartFailed.

        Whoever is cancelled here has killed the command.
        """
        async with self._beside(cri.Exec(1, container_id, tuple(command), tty), fds) as stream:
            async for body in self._bodies(stream):
                return cri.result_of(_successful(cri.reply_of(body)), int)
        raise Unavailable("the runtime went away")

    async def attach(
        self, container_id: str, *, stdin: bool, stdout: int | None, stderr: int | None
    ) -> int | None:
        """Have a running container's output, from now on to its end, written to those pipes.

        The answer, the caller's to close: its terminal if it has one, or its stdin if that is asked for.
        """
        request = cri.Attach(1, container_id, stdin, stdout is not None, stderr is not None)
        fds = [fd for fd in (stdout, stderr) if fd is not None]
        async with self._beside(request, fds) as stream:
            received: array.array[int] = array.array("i")
            try:
                reply = await self._reply_with(stream, received)
                there = cri.result_of(_successful(reply), bool)
            except BaseException:
                for fd in received:
                    os.close(fd)
                raise
            return received[0] if there and received else None

    @contextlib.asynccontextmanager
    async def _beside(self, request: cri.AnyRequest, fds: Sequence[int]) -> AsyncIterator[socket.socket]:
        """A connection for one request alone, sent with descriptors."""
        stream = await self._connect()
        with stream:
            frame = cri.frame(request)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = stream.sendmsg([frame], rights)
                await asyncio.get_running_loop().sock_sendall(stream, frame[sent:])
            except OSError as problem:
                raise Unavailable(f"the runtime went away: {problem.strerror}") from None
            yield stream

    async def _reply_with(
        self, stream: socket.socket, received: "array.array[int]"
    ) -> cri.Answer | cri.Failure:
        """The answer; a descriptor that comes with it is added to `received`."""
        loop, frames = asyncio.get_running_loop(), cri.Frames()
        while True:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(stream, _resolve, readable)
            try:
                await readable
            finally:
                loop.remove_reader(stream)
            data, fds, _, _ = socket.recv_fds(stream, 1 << 16, 1)
            received.extend(fds)
            for body in frames.feed(data):
                return cri.reply_of(body)
            if not data:
                raise Unavailable("the runtime went away before it answered")

    async def pull_image(self, image: str) -> str:
        """Its id. ImageNotFound says what there is; Rejected: it is no reference (InvalidImageName)."""
        try:
            references.parse(image)
        except ValueError as problem:
            raise errors.Rejected(str(problem)) from None
        return catalogue.find(image).id

    async def events(self) -> AsyncIterator[cri.Container]:
        """Every change of a container's state; first what there is, and again whenever the shim restarts.

        The death of a sandbox comes as an EXITED Container whose id is the sandbox's.
        """
        while True:
            with contextlib.suppress(Unavailable, OSError):
                stream = await self._connect()
                try:
                    await asyncio.get_running_loop().sock_sendall(
                        stream, cri.frame(cri.GetContainerEvents(1))
                    )
                    async for body in self._bodies(stream):
                        reply = cri.reply_of(body)
                        if isinstance(reply, cri.Answer):
                            yield cri.result_of(reply, cri.Container)
                finally:
                    stream.close()
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _ask(self, request: cri.AnyRequest, kind: type[T]) -> T:
        """One request, one answer, on a connection nobody else uses meanwhile."""
        stream, used = (self._idle.pop(), True) if self._idle else (await self._connect(), False)
        try:
            try:
                reply = await self._exchange(stream, request)
            except Unavailable:
                if not used:
                    raise
                stream.close()  # it was kept from before a restart of the shim
                await self.close()
                stream = await self._connect()
                reply = await self._exchange(stream, request)
        except BaseException:
            stream.close()  # its answer may still come: nobody else must get it
            raise
        self._idle.append(stream)
        return cri.result_of(_successful(reply), kind)

    async def _exchange(self, stream: socket.socket, request: cri.AnyRequest) -> cri.Answer | cri.Failure:
        try:
            await asyncio.get_running_loop().sock_sendall(stream, cri.frame(request))
        except OSError as problem:
            raise Unavailable(f"the runtime went away: {problem.strerror}") from None
        async for body in self._bodies(stream):
            return cri.reply_of(body)
        raise Unavailable("the runtime went away before it answered")

    async def _bodies(self, stream: socket.socket) -> AsyncIterator[bytes]:
        frames, loop = cri.Frames(), asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(stream, 1 << 16)
            except OSError:
                return
            if not data:
                return
            for body in frames.feed(data):
                yield body

    async def _connect(self) -> socket.socket:
        """Waits a while for a shim that is starting again."""
        loop = asyncio.get_running_loop()
        delays, deadline = backoff.Backoff(0.01, limit=0.5), loop.time() + PATIENCE
        while True:
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                await loop.sock_connect(stream, self._path)
                return stream
            except OSError as problem:
                stream.close()
                if loop.time() >= deadline:
                    message = f"the runtime does not answer at {self._path}: {problem.strerror}"
                    raise Unavailable(message) from None
            except BaseException:
                stream.close()
                raise
            await asyncio.sleep(delays.next())
