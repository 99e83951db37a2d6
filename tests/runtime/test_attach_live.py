"""Attaching to a running container: its output from now on, its stdin with an end, its terminal."""

import asyncio
import os
from typing import Any

import pytest

from netemu.kubelet import pipes
from netemu.runtime import local
from netemu.wire import cri

pytestmark = pytest.mark.root


class Pipe:
    def __init__(self) -> None:
        self.ours, self.theirs = os.pipe()

    def give(self) -> None:
        os.close(self.theirs)

    async def line(self) -> bytes:
        return await asyncio.to_thread(self._line)

    def _line(self) -> bytes:
        found = b""
        while not found.endswith(b"\n") and (data := os.read(self.ours, 1)):
            found += data
        return found


async def run(runtime: local.LocalRuntime, **fields: Any) -> str:
    sandbox = await runtime.run_pod_sandbox(cri.SandboxConfig("web", "default", "u1", host_network=True))
    config = cri.ContainerConfig("main", "busybox", **fields)
    container_id = await runtime.create_container(sandbox.id, config)
    await runtime.start_container(container_id)
    return container_id


def test_a_session_ends_when_its_client_closes_stdin(node: Any) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        container_id = await run(runtime, command=("cat",), stdin=True, stdin_once=True)
        out = Pipe()
        stdin = await runtime.attach(container_id, stdin=True, stdout=out.theirs, stderr=None)
        out.give()
        assert stdin is not None
        os.write(stdin, b"hello\n")
        assert await out.line() == b"hello\n"
        second = Pipe()
        assert await runtime.attach(container_id, stdin=True, stdout=second.theirs, stderr=None) is None
        second.give()
        os.close(stdin)
        assert await out.line() == b""
        assert await second.line() == b""
        async with asyncio.timeout(10):
            async for container in runtime.events():
                if container.id == container_id and container.state == "EXITED":
                    assert container.exit_code == 0
                    break

    node.run(story)


def test_stdin_that_may_be_attached_again_stays_open(node: Any) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        container_id = await run(runtime, command=("cat",), stdin=True)
        for text in (b"one\n", b"two\n"):
            out = Pipe()
            stdin = await runtime.attach(container_id, stdin=True, stdout=out.theirs, stderr=None)
            out.give()
            assert stdin is not None
            os.write(stdin, text)
            assert await out.line() == text
            os.close(stdin)
            os.close(out.ours)

    node.run(story)


def test_a_terminal_can_be_written_to_and_resized(node: Any) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        container_id = await run(runtime, command=("sh",), stdin=True, tty=True)
        out = Pipe()
        terminal = await runtime.attach(container_id, stdin=True, stdout=out.theirs, stderr=None)
        out.give()
        assert terminal is not None
        pipes.resize(terminal, columns=123, rows=45)
        os.write(terminal, b"echo size $(stty size)\n")
        async with asyncio.timeout(10):
            while b"size 45 123" not in await out.line():
                pass
        os.close(terminal)

    node.run(story)


def test_a_reader_that_is_slow_loses_nothing_and_one_that_leaves_harms_nothing(node: Any) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        script = "read x; dd if=/dev/zero bs=64k count=32 2>/dev/null; read x; echo end"
        container_id = await run(runtime, command=("sh", "-c", script), stdin=True)
        slow, gone = Pipe(), Pipe()
        stdin = await runtime.attach(container_id, stdin=True, stdout=slow.theirs, stderr=None)
        assert stdin is not None
        assert await runtime.attach(container_id, stdin=False, stdout=gone.theirs, stderr=None) is None
        slow.give()
        gone.give()
        os.write(stdin, b"go\n")
        assert os.read(gone.ours, 100)
        os.close(gone.ours)
        assert (await runtime.container_status(container_id)).state == "RUNNING"  # nobody else waits
        total = 0
        while total < 32 << 16:
            total += len(await asyncio.to_thread(os.read, slow.ours, 1 << 16))
        os.write(stdin, b"go\n")
        assert await slow.line() == b"end\n"
        assert await slow.line() == b""
        os.close(stdin)

    node.run(story)


def test_what_does_not_run_cannot_be_attached_to(node: Any) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(cri.SandboxConfig("web", "default", "u1", host_network=True))
        config = cri.ContainerConfig("main", "busybox")
        container_id = await runtime.create_container(sandbox.id, config)
        out = Pipe()
        with pytest.raises(local.RuntimeFailed, match="is not running"):
            await runtime.attach(container_id, stdin=False, stdout=out.theirs, stderr=None)
        with pytest.raises(local.NotFound):
            await runtime.attach("nobody", stdin=False, stdout=out.theirs, stderr=None)

    node.run(story)
