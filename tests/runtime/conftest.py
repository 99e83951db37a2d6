"""A node for the tests of the runtime: namespaces of its own with a shim in them, gone with its PID 1."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from netemu.kernel import linux, mounts, process
from netemu.runtime import local, sandboxes, shim
from netemu.wire import cri

SOCKET, HIDDEN = "/run/netemu/runtime.sock", "/srv/state"


class NoNetwork:
    """Attaches pods to nothing; knows what it was asked."""

    def __init__(self) -> None:
        self.attached: list[str] = []
        self.detached: list[str] = []
        self.refuses = False

    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]:
        if self.refuses:
            raise OSError("no addresses left")
        self.attached.append(sandbox.id)
        return ("10.244.9.9", "fd00:244:9::9")

    async def detach(self, sandbox: cri.Sandbox) -> None:
        self.detached.append(sandbox.id)

    def needs_namespace(self, sandbox: cri.Sandbox) -> bool:
        return True


class Node:
    """PID 1 of the node adopts and reaps; the shim is its child and can be killed and started again."""

    def __init__(self, logs: Path) -> None:
        self.logs = str(logs)
        self.network = NoNetwork()
        self._orders, orders = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._orders.close()
            _in_child(lambda: _be_the_node(orders))
        orders.close()
        self.pid = int(self._orders.recv(32))
        self._outer = pid

    def path(self, inside: str) -> str:
        return f"/proc/{self.pid}/root{inside}"

    def runtime(self) -> local.LocalRuntime:
        return local.LocalRuntime(self.path(SOCKET), self.network)

    def run(self, story: Callable[[local.LocalRuntime], Coroutine[Any, Any, None]]) -> None:
        async def tell() -> None:
            runtime = self.runtime()
            try:
                async with asyncio.timeout(60):
                    await story(runtime)
            finally:
                await runtime.close()

        asyncio.run(tell())

    def kill_shim(self, *, and_then: int = 0) -> None:
        """SIGKILL, and wait until the node's PID 1 has reaped it; a new one is started then.

        `and_then` is a process of the node to kill, and have reaped, while there is no shim.
        """
        self._orders.send(b"kill")
        assert self._orders.recv(32) == b"killed"
        if and_then:
            os.kill(and_then, signal.SIGKILL)
            while os.path.exists(f"/proc/{and_then}"):
                os.sched_yield()
        self._orders.send(b"start")
        assert self._orders.recv(32) == b"started"

    def processes(self) -> dict[int, str]:
        """Every process of the node, as the test's own pid namespace numbers them, with its name."""
        found: dict[int, str] = {}
        waiting = [self.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
                waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def close(self) -> None:
        self._orders.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self._outer, 0)


def _in_child(act: Callable[[], None]) -> None:
    code = 1
    try:
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _be_the_node(orders: socket.socket) -> None:
    """The outer process waits for the inner one, PID 1, whose death ends everything."""
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWUTS)
    pid = os.fork()
    if pid == 0:
        _in_child(lambda: _be_pid_one(orders))
    orders.send(str(pid).encode())
    os.waitpid(pid, 0)


def _be_pid_one(orders: socket.socket) -> None:
    process.die_with_parent()
    process.set_name("node")
    mounts.private("/")
    mounts.proc("/proc")
    mounts.tmpfs("/run")
    mounts.tmpfs("/srv")
    Path(HIDDEN).mkdir()
    Path(HIDDEN, "ca.key").write_text("secret")
    Path("/srv/file").write_text("shown")
    socket.sethostname("worker-1")
    sandboxes.bring_up_loopback()
    runner = _start_shim(orders)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    wake, bell = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([orders, bell], [], [])
        if bell in ready:
            bell.recv(64)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        if orders in ready:
            match orders.recv(32):
                case b"kill":
                    os.kill(runner, signal.SIGKILL)
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(runner, 0)
                    orders.send(b"killed")
                case b"start":
                    runner = _start_shim(orders)
                    orders.send(b"started")
                case _:
                    return


def _start_shim(orders: socket.socket) -> int:
    pid = os.fork()
    if pid == 0:
        orders.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _in_child(lambda: shim.main(SOCKET, "/run/netemu", (HIDDEN,)))
    return pid


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    made = Node(tmp_path)
    try:
        yield made
    finally:
        made.close()
