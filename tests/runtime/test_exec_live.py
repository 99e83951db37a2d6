"""Exec as a person uses it: on his own pipes or terminal; and the zygote's death, which nobody notices."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from netemu.base import errors
from netemu.kernel import process
from netemu.runtime import attach, local
from netemu.wire import cri

if TYPE_CHECKING:
    from conftest import Node

pytestmark = pytest.mark.root
SOCKET = "/run/netemu/runtime.sock"


def sleeper(node: Node) -> str:
    """A running container's id."""
    made: list[str] = []

    async def story(runtime: local.LocalRuntime) -> None:
        box = await runtime.run_pod_sandbox(cri.SandboxConfig("web", "default", "u", hostname="web"))
        config = cri.ContainerConfig("main", "busybox", command=("sleep", "1000"))
        made.append(await runtime.create_container(box.id, config))
        await runtime.start_container(made[0])

    node.run(story)
    return made[0]


def in_child(act: Callable[[], int]) -> int:
    """Its pid: exec_interactive blocks and wants descriptors and signals of its own."""
    return process.fork(act)


def test_pipes_go_through(node: Node) -> None:
    container = sleeper(node)
    (their_in, our_in), (our_out, their_out) = os.pipe(), os.pipe()
    command = ("sh", "-c", "tr a-z A-Z; exit 6")
    fds = (their_in, their_out, their_out)
    pid = in_child(
        lambda: os.close(our_in) or attach.exec_interactive(node.path(SOCKET), container, command, fds)
    )
    os.close(their_in)
    os.close(their_out)
    os.write(our_in, b"loud")
    os.close(our_in)
    with os.fdopen(our_out, "rb") as pipe:
        assert pipe.read() == b"LOUD"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6


def test_what_cannot_start_is_said(node: Node) -> None:
    container = sleeper(node)
    with pytest.raises(errors.Rejected, match="executable file not found"):
        attach.exec_interactive(node.path(SOCKET), container, ("no-such-program",))
    with pytest.raises(errors.Rejected, match="could not find container"):
        attach.exec_interactive(node.path(SOCKET), "never-there", ("true",))
    with pytest.raises(errors.Transient, match="does not answer"):
        attach.exec_interactive(node.path("/run/none"), container, ("true",))


def test_a_terminal_is_one(node: Node) -> None:
    container = sleeper(node)
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os._exit(attach.exec_interactive(node.path(SOCKET), container, ("sh",), (0, 1, 2), True))
        finally:
            os._exit(99)
    os.write(terminal, b"test -t 0 && echo it is $((6*7)); stty size\n")
    assert "it is 42" in read_until(terminal, "24 80\r\n# ", "0 0\r\n# ")
    os.write(terminal, b"cat\n")
    read_until(terminal, "cat\r\n")
    os.write(terminal, b"back\n")
    read_until(terminal, "back\r\nback\r\n")  # once from the terminal's echo, once from cat
    os.write(terminal, b"\x03")
    read_until(terminal, "# ")
    os.write(terminal, b"echo code $?\n")
    read_until(terminal, "code 130")
    os.write(terminal, b"exit 4\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    os.close(terminal)


def read_until(terminal: int, *endings: str) -> str:
    seen = ""
    while not any(ending in seen for ending in endings):
        assert select.select([terminal], [], [], 20)[0], seen
        seen += os.read(terminal, 4096).decode()
    return seen


def test_whoever_hangs_up_ends_the_command(node: Node) -> None:
    container = sleeper(node)
    before = sorted(node.processes().values())
    (their_in, our_in), (our_out, their_out) = os.pipe(), os.pipe()
    command = ("sh", "-c", "echo here; sleep 1005; true")
    fds = (their_in, their_out, their_out)
    pid = in_child(lambda: attach.exec_interactive(node.path(SOCKET), container, command, fds))
    assert os.read(our_out, 5) == b"here\n"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while sorted(node.processes().values()) != before:
        os.sched_yield()
    for fd in (their_in, our_in, our_out, their_out):
        os.close(fd)


def test_a_dead_zygote_is_replaced(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        [box] = await runtime.list_pod_sandboxes()
        [zygote] = [pid for pid, name in node.processes().items() if name == "zygote"]
        os.kill(zygote, signal.SIGKILL)
        for _ in range(2):
            made = await runtime.create_container(
                box.id, cri.ContainerConfig("a", "agnhost", args=("dns-suffix",))
            )
            await runtime.start_container(made)
            while (await runtime.container_status(made)).state != "EXITED":
                await asyncio.sleep(0.001)
            assert (await runtime.container_status(made)).exit_code == 0

    sleeper(node)
    node.run(story)
    assert sorted(node.processes().values()) == ["node", "pause", "shim", "sleep", "zygote"]
