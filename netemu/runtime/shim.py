"""The runtime of one node: a small single-threaded server that forks and reaps pods.

It speaks the frames of wire/cri.py on a unix socket, mode 0600. Pods outlive it: started again after SIGKILL
it takes them over. Knows connections and verbs; what a verb does is in pods.py.
"""

import contextlib
import gc
import importlib
import logging
import os
import pkgutil
import signal
import socket
import stat
from collections.abc import Callable
from typing import Any

import msgspec

from netemu.base import errors
from netemu.kernel import linux, process
from netemu.runtime import eventloop, executions, output, pods, programs, rootfs, tenants
from netemu.runtime.connections import Connection
from netemu.runtime.images import bundles, catalogue, commands
from netemu.wire import cri, elf

log = logging.getLogger("shim")

FAILURES: tuple[tuple[type[Exception], cri.FailureKind], ...] = (
    (pods.NotFound, "not found"),
    (catalogue.ImageNotFound, "image not found"),
    (tenants.StartFailed, "start failed"),
    (executions.TimedOut, "timeout"),
    (linux.KernelError, "kernel"),
    (errors.NetemuError, "rejected"),
    (ValueError, "rejected"),
    (OSError, "kernel"),
)


def main(socket_path: str, root_dir: str, hidden: tuple[str, ...] = ()) -> None:
    """Serve until SIGTERM; pods go on without it. `hidden`: paths of the host that no container may see.

    Must run in the node's namespaces, single-threaded, /proc being that of its pid namespace.
    """
    process.set_name("shim")
    os.chdir("/")
    _own_descriptors()
    prepare_share(f"{root_dir}/share")
    preload()
    loop = eventloop.EventLoop()
    server = Server(root_dir, loop, hidden)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    signal.set_wakeup_fd(server.wake.fileno(), warn_on_full_buffer=False)
    listener = listen(socket_path)
    loop.readable(listener.fileno(), lambda: server.accept(listener))
    gc.freeze()
    gc.enable()
    log.info("serving socket=%s sandboxes=%d", socket_path, server.count())
    loop.run()


def preload() -> None:
    """Load the built-in programs once, so that containers share them: they cannot load much in there."""
    for module in pkgutil.iter_modules(programs.__path__):
        importlib.import_module(f"{programs.__name__}.{module.name}")
    for name in ("ssl", "encodings.idna", "traceback"):
        importlib.import_module(name)


def prepare_share(directory: str) -> None:
    """What every container sees at /.netemu: the programs as executable files, and pause."""
    os.makedirs(f"{directory}/bin", mode=0o755, exist_ok=True)
    machine = os.uname().machine
    _put(f"{directory}/pause", elf.pause(machine))
    _put(f"{directory}/{rootfs.MOUNT_PROC}", elf.mount_proc(machine))
    _put(f"{directory}/programs", bundles.archive())
    for name in {os.path.basename(name) for name in commands.bundled()}:
        with contextlib.suppress(FileExistsError):
            os.symlink("../programs", f"{directory}/bin/{name}")


def _put(path: str, content: bytes) -> None:
    """Replaced, not rewritten: the old one may be running."""
    with open(f"{path}.new", "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o755)
    os.replace(f"{path}.new", path)


def listen(path: str) -> socket.socket:
    """The old socket of a killed shim is replaced; the new one is only its owner's."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(128)
    return listener


def _own_descriptors() -> None:
    """Four for every container, at least; and none of those this process was given is for containers."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            os.set_inheritable(int(name), int(name) < 3)
    process.allow_files()


class Server:
    """Requests in, answers out."""

    def __init__(self, root_dir: str, loop: eventloop.EventLoop, hidden: tuple[str, ...]) -> None:
        self._loop = loop
        self._listeners: dict[Connection, int] = {}
        self._running: dict[Connection, set[executions.Execution]] = {}
        self.wake, self._alarm = socket.socketpair()
        self.wake.setblocking(False)
        self._alarm.setblocking(False)
        loop.readable(self._alarm.fileno(), self._rung)
        self._pods = pods.Pods(root_dir, loop, hidden, self._announce)
        self._verbs: dict[type, Callable[[Connection, Any], None]] = {
            cri.StopPodSandbox: self._stop_sandbox,
            cri.RemovePodSandbox: self._remove_sandbox,
            cri.StartContainer: self._start,
            cri.StopContainer: self._stop,
            cri.RemoveContainer: self._remove,
            cri.ExecSync: self._exec_sync,
            cri.Exec: self._exec,
            cri.Attach: self._attach,
            cri.GetContainerEvents: self._events,
        }

    def _rung(self) -> None:
        """A signal came; its handler has run by now."""
        self._alarm.recv(64)

    def count(self) -> int:
        return len(self._pods.list_pod_sandboxes())

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            stream, _ = listener.accept()
            Connection(stream, self._loop, self._take, self._gone)

    def _take(self, connection: Connection, body: bytes) -> None:
        try:
            request = cri.request_of(body)
        except msgspec.DecodeError as problem:
            connection.send(cri.frame(cri.Failure(0, "rejected", f"no request: {problem}")))
            return
        try:
            verb = self._verbs.get(type(request))
            if verb:
                verb(connection, request)
            else:
                connection.send(cri.answer(request.number, self._at_once(request)))
        except Exception as failure:
            self._fail(connection, request.number, failure)

    def _at_once(self, request: cri.AnyRequest) -> object:
        """The verbs that are answered without waiting."""
        match request:
            case cri.RunPodSandbox():
                return self._pods.run_pod_sandbox(request.config)
            case cri.AttachedNetwork():
                return self._pods.attached_network(request.sandbox_id, request.ips)
            case cri.ListPodSandboxes():
                return self._pods.list_pod_sandboxes()
            case cri.CreateContainer():
                return self._pods.create_container(request.sandbox_id, request.config)
            case cri.ListContainers():
                return self._pods.list_containers()
            case cri.ContainerStatus():
                return self._pods.container_status(request.container_id)
            case cri.ReopenContainerLog():
                self._pods.reopen_container_log(request.container_id)
                return None
        raise TypeError(f"no verb for {request}")

    def _stop_sandbox(self, connection: Connection, request: cri.StopPodSandbox) -> None:
        self._pods.stop_pod_sandbox(request.sandbox_id, lambda: self._done(connection, request.number))

    def _remove_sandbox(self, connection: Connection, request: cri.RemovePodSandbox) -> None:
        self._pods.remove_pod_sandbox(request.sandbox_id, lambda: self._done(connection, request.number))

    def _start(self, connection: Connection, request: cri.StartContainer) -> None:
        def failed(failure: Exception) -> None:
            self._fail(connection, request.number, failure)

        self._pods.start_container(
            request.container_id, lambda result: self._done(connection, request.number, result), failed
        )

    def _stop(self, connection: Connection, request: cri.StopContainer) -> None:
        self._pods.stop_container(
            request.container_id, request.timeout, lambda: self._done(connection, request.number)
        )

    def _remove(self, connection: Connection, request: cri.RemoveContainer) -> None:
        self._pods.remove_container(request.container_id, lambda: self._done(connection, request.number))

    def _exec_sync(self, connection: Connection, request: cri.ExecSync) -> None:
        collected = executions.Collected(self._loop)
        try:
            started = self._pods.execute(
                request.container_id, request.command, collected.stdio, terminal=False
            )
        finally:
            collected.watch()

        def failed(failure: Exception) -> None:
            collected.close()
            self._fail(connection, request.number, failure)

        self._execution(
            connection,
            started,
            lambda code: self._done(connection, request.number, collected.result(code)),
            failed,
            request.timeout,
        )

    def _exec(self, connection: Connection, request: cri.Exec) -> None:
        if len(connection.descriptors) != 3:
            raise errors.Rejected("an exec needs three descriptors")
        stdio = output.Stdio(*connection.descriptors)
        started = self._pods.execute(request.container_id, request.command, stdio, terminal=request.tty)
        self._execution(
            connection,
            started,
            lambda code: self._done(connection, request.number, code),
            lambda failure: self._fail(connection, request.number, failure),
        )

    def _attach(self, connection: Connection, request: cri.Attach) -> None:
        streams = (("stdout", request.stdout), ("stderr", request.stderr))
        asked = [name for name, wanted in streams if wanted]
        if len(connection.descriptors) != len(asked):
            raise errors.Rejected(f"an attach to {asked} needs as many descriptors")
        outlets = tuple(zip(asked, connection.descriptors, strict=True))
        fd = self._pods.attach(request.container_id, outlets, stdin=request.stdin)
        if fd is None:
            self._done(connection, request.number, False)
            return
        try:
            connection.send_descriptor(cri.answer(request.number, True), fd)
        finally:
            os.close(fd)

    def _execution(
        self,
        connection: Connection,
        started: tuple[int, int],
        done: Callable[[int], None],
        failed: Callable[[Exception], None],
        timeout: float = 0.0,
    ) -> None:
        mine = self._running.setdefault(connection, set())

        def finished(tell: Callable[[], None]) -> None:
            mine.discard(execution)
            tell()

        execution = executions.Execution(
            self._loop,
            started,
            lambda code: finished(lambda: done(code)),
            lambda failure: finished(lambda: failed(failure)),
            timeout,
        )
        mine.add(execution)

    def _events(self, connection: Connection, request: cri.GetContainerEvents) -> None:
        self._listeners[connection] = request.number
        for container in self._pods.list_containers():
            connection.send(cri.answer(request.number, container))

    def _announce(self, container: cri.Container) -> None:
        for connection, number in tuple(self._listeners.items()):
            connection.send(cri.answer(number, container))

    def _done(self, connection: Connection, number: int, result: object = None) -> None:
        connection.send(cri.answer(number, result))

    def _fail(self, connection: Connection, number: int, failure: Exception) -> None:
        for kind, name in FAILURES:
            if isinstance(failure, kind):
                connection.send(cri.frame(cri.Failure(number, name, str(failure))))
                return
        raise failure

    def _gone(self, connection: Connection) -> None:
        self._listeners.pop(connection, None)
        for execution in self._running.pop(connection, set()):
            execution.kill()
