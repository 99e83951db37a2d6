"""exec and attach: a client's channels joined to a command in a container, or to the container's own streams.

A client that is gone takes its command with it; one that is slow makes it wait. Does not know the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Sequence

from netemu.base import errors
from netemu.kubelet import channels, conversations, pipes, runtimes

_END_OF_FILE = b"\x04"  # what a terminal takes for the end
_FAREWELL = 10.0  # seconds a client may take to hear the end
_MOST_RESIZE = 4096


class Ends:
    """The kubelet's ends of a command's streams, with the descriptors to be closed when it is over."""

    def __init__(self) -> None:
        self.sources: dict[int, pipes.Source] = {}
        self.sink: pipes.Sink | None = None
        self.terminal: int | None = None
        self.given: list[int] = []
        self.ready = asyncio.Event()  # for what the client sends
        self._sizes = b""

    def close(self) -> None:
        for source in self.sources.values():
            source.close()
        if self.sink:
            self.sink.close()
        for fd in {*self.given, *(() if self.terminal is None else (self.terminal,))}:
            os.close(fd)

    def pipe(self) -> int:
        """The reading end of a new pipe; the writing end is among the given."""
        ours, theirs = os.pipe()
        self.given.append(theirs)
        return ours

    async def take(self, given: channels.Input) -> None:
        """What a client sent."""
        if given.channel == channels.RESIZE:
            self._resize(given.data)
        elif self.sink is not None and given.data:
            await self.sink.write(given.data)
        elif self.sink is not None:
            if self.terminal is not None:
                await self.sink.write(_END_OF_FILE)
            self.sink.close()
            self.sink = None

    def _resize(self, data: bytes) -> None:
        *lines, self._sizes = (self._sizes + data)[-_MOST_RESIZE:].split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                size = json.loads(line)
                if self.terminal is not None:
                    pipes.resize(self.terminal, int(size["Width"]), int(size["Height"]))

    async def pour(self, client: channels.Channels) -> None:
        """Everything that is written, until all sources have ended."""
        async with asyncio.TaskGroup() as tasks:
            for channel, source in self.sources.items():
                tasks.create_task(_pour(source, channel, client))


async def _pour(source: pipes.Source, channel: int, client: channels.Channels) -> None:
    with contextlib.suppress(*conversations.LOST):
        while data := await source.read():
            await client.send(channel, data)


async def execute(
    runtime: runtimes.Runtime,
    container_id: str,
    command: Sequence[str],
    wish: channels.Wish,
    client: channels.Channels,
) -> None:
    """Run a command for a client, to its end or the client's."""
    ends = Ends()
    try:
        inside = (await runtime.container_status(container_id)).pid if wish.tty else 0
        _connect(ends, wish, inside)
        await _converse(client, ends, lambda: _run(runtime, container_id, command, client, ends))
    finally:
        ends.close()


def _connect(ends: Ends, wish: channels.Wish, inside: int) -> None:
    """`inside`: a process of the container, whose /dev/pts the terminal is one of."""
    if wish.tty:
        ours, theirs = pipes.terminal(f"/proc/{inside}/root/dev/pts/ptmx")
        ends.terminal, ends.given = ours, [theirs]
        ends.sources[channels.STDOUT] = pipes.Source(os.dup(ours))
        if wish.stdin:
            ends.sink = pipes.Sink(os.dup(ours))
        return
    if wish.stdin:
        theirs, ours = os.pipe()
        ends.given.append(theirs)
        ends.sink = pipes.Sink(ours)
    else:
        ends.given.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    for channel, wanted in ((channels.STDOUT, wish.stdout), (channels.STDERR, wish.stderr)):
        if wanted:
            ends.sources[channel] = pipes.Source(ends.pipe())
        else:
            ends.given.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))


async def _run(
    runtime: runtimes.Runtime,
    container_id: str,
    command: Sequence[str],
    client: channels.Channels,
    ends: Ends,
) -> channels.Status:
    tty = ends.terminal is not None
    ends.ready.set()
    async with asyncio.TaskGroup() as tasks:
        pouring = tasks.create_task(ends.pour(client))
        try:
            fds = ends.given * 3 if tty else ends.given
            code = await runtime.exec(container_id, command, fds, tty=tty)
        except (errors.NetemuError, OSError) as problem:
            pouring.cancel()
            return channels.failed(f"error executing command in container: {problem}")
        for source in ends.sources.values():
            source.finish()
    return channels.exited(code)


async def attach(
    runtime: runtimes.Runtime,
    container_id: str,
    wish: channels.Wish,
    client: channels.Channels,
    *,
    tty: bool,
) -> None:
    """Join a client to a running container's own streams; `tty`: the container has a terminal."""
    ends = Ends()
    try:
        for channel, wanted in ((channels.STDOUT, wish.stdout), (channels.STDERR, wish.stderr and not tty)):
            if wanted:
                ends.sources[channel] = pipes.Source(ends.pipe())
        await _converse(client, ends, lambda: _follow(runtime, container_id, wish, client, ends, tty=tty))
    finally:
        ends.close()


async def _follow(
    runtime: runtimes.Runtime,
    container_id: str,
    wish: channels.Wish,
    client: channels.Channels,
    ends: Ends,
    *,
    tty: bool,
) -> channels.Status:
    wanted = iter(ends.given)
    try:
        stdout = next(wanted) if channels.STDOUT in ends.sources else None
        stderr = next(wanted) if channels.STDERR in ends.sources else None
        fd = await runtime.attach(container_id, stdin=wish.stdin, stdout=stdout, stderr=stderr)
    except (errors.NetemuError, OSError) as problem:
        return channels.failed(f"error attaching to container: {problem}")
    if fd is not None and tty:
        ends.terminal = fd
        if wish.stdin:
            ends.sink = pipes.Sink(os.dup(fd))
    elif fd is not None:
        ends.sink = pipes.Sink(fd)
    while ends.given:
        os.close(ends.given.pop())  # the container's are the only ones now: they end with it
    ends.ready.set()
    await ends.pour(client)
    return channels.success()


async def _converse(
    client: channels.Channels, ends: Ends, work: Callable[[], Awaitable[channels.Status]]
) -> None:
    """Until the work is done and told, or the client is gone."""
    lost = asyncio.ensure_future(client.lost())
    working = asyncio.ensure_future(_after_open(client, work))
    feeding = asyncio.ensure_future(_feed(client, ends))
    try:
        await asyncio.wait((working, feeding, lost), return_when=asyncio.FIRST_COMPLETED)
        if working.done() and not lost.done() and (status := working.result()) is not None:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            async with asyncio.timeout(_FAREWELL):
                await client.finish(status)
    except conversations.LOST:
        pass
    finally:
        for task in (working, feeding, lost):
            task.cancel()
        await asyncio.gather(working, feeding, lost, return_exceptions=True)


async def _after_open(
    client: channels.Channels, work: Callable[[], Awaitable[channels.Status]]
) -> channels.Status | None:
    if not await client.open():
        return None
    return await work()


async def _feed(client: channels.Channels, ends: Ends) -> None:
    """What the client sends, until it is gone."""
    await ends.ready.wait()
    while (given := await client.receive()) is not None:
        await ends.take(given)
