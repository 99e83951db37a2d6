"""Port-forwarding into a pod: connections made in its network, carried by a client's streams.

SPDY: for every connection a stream for errors and one for data, matched by requestID. WebSocket (v4): two
channels for each port named in the request. A connection that fails says why and disturbs no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from netemu.kernel import netns
from netemu.kubelet import conversations
from netemu.wire import spdy

MOST = 512  # streams of one session
_PIECE = 1 << 15
_WAITING = 32  # pieces that may wait for a connection; then the client waits
_PATIENCE = 10.0  # seconds for a connection to come about
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))  # as containerd
Dial = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def dialer(network: str) -> Dial:
    """Connects to a port of localhost in that network namespace ("": this one). OSError."""

    async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        trouble: OSError = ConnectionRefusedError(f"no such port: {port}")
        for family, address in _ADDRESSES if 0 < port < 1 << 16 else ():
            made = _socket(network, family)
            try:
                made.setblocking(False)
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.get_running_loop().sock_connect(made, (address, port))
                return await asyncio.open_connection(sock=made)
            except OSError as problem:
                made.close()
                trouble = problem
            except BaseException:
                made.close()
                raise
        raise trouble

    return dial


def _socket(network: str, family: int) -> socket.socket:
    """A socket stays in the network namespace in which it was made."""
    if not network:
        return socket.socket(family, socket.SOCK_STREAM)
    return netns.call(network, socket.socket, family, socket.SOCK_STREAM)


def _why(port: int, problem: OSError) -> str:
    reason = os.strerror(problem.errno).lower() if problem.errno else "timed out"
    return f"failed to connect to localhost:{port} in the pod's network: {reason}"


class _Pair:
    """One connection of a SPDY session."""

    def __init__(self, port: int, error: int) -> None:
        self.port, self.error, self.data = port, error, 0
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self.over = asyncio.Event()


class OverSpdy:
    """One client's session; `run` until it is gone."""

    def __init__(self, session: conversations.Session, dial: Dial, about: str) -> None:
        self._session, self._dial, self._about = session, dial, about
        self._pairs: dict[str, _Pair] = {}
        self._by_stream: dict[int, _Pair] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            lost = tasks.create_task(self._session.lost())
            events = tasks.create_task(self._follow(tasks))
            await asyncio.wait((lost, events), return_when=asyncio.FIRST_COMPLETED)
            raise _Over

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        while (event := await self._session.receive()) is not None:
            if isinstance(event, spdy.SynStream):
                await self._open(event, tasks)
            elif pair := self._by_stream.get(event.id):
                await self._feed(pair, event)
        await asyncio.sleep(0)

    async def _open(self, event: spdy.SynStream, tasks: asyncio.TaskGroup) -> None:
        kind, request = event.headers.get("streamtype", ""), event.headers.get("requestid", "")
        port = event.headers.get("port", "")
        request = request or str(event.id if kind == "error" else event.id - 2)  # clients before 1.3
        pair = self._pairs.get(request)
        if kind == "error" and pair is None and port.isdigit():
            self._pairs[request] = _Pair(int(port), event.id)
        elif kind == "data" and pair is not None and not pair.data:
            pair.data = event.id
            self._by_stream[event.id] = pair
            tasks.create_task(self._carry(request, pair))
        else:
            await self._session.send(spdy.Reset(event.id, spdy.PROTOCOL_ERROR))
            self._session.closed()

    async def _feed(self, pair: _Pair, event: spdy.Data | spdy.Reset) -> None:
        """A connection that takes nothing makes the session wait, as in any single byte stream."""
        if isinstance(event, spdy.Reset):
            pair.over.set()
            return
        for piece in (event.data or None, None if event.fin else b""):
            if piece != b"" and not pair.over.is_set():
                await _put(pair.waiting, piece, pair.over)

    async def _carry(self, request: str, pair: _Pair) -> None:
        try:
            try:
                reader, writer = await self._dial(pair.port)
            except OSError as problem:
                why = f"error forwarding port {pair.port} to pod {self._about}: {_why(pair.port, problem)}"
                await self._session.send(spdy.Data(pair.error, why.encode()))
                return
            try:
                await _first(self._both_ways(pair, reader, writer), pair.over.wait())
            finally:
                writer.close()
        except conversations.LOST:
            pass
        finally:
            pair.over.set()
            with contextlib.suppress(*conversations.LOST):
                await self._session.send(spdy.Data(pair.data, b"", fin=True))
                await self._session.send(spdy.Data(pair.error, b"", fin=True))
            del self._pairs[request], self._by_stream[pair.data]
            self._session.closed()
            self._session.closed()

    async def _both_ways(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the pod has said everything; that the client has is passed on to it."""

        async def send(data: bytes) -> None:
            await self._session.send(spdy.Data(pair.data, data))

        sending = asyncio.ensure_future(_drain(pair.waiting, writer))
        try:
            await _pour(reader, send)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


class _Over(Exception):
    """The client is gone: everything of it ends."""


async def _put(queue: asyncio.Queue[bytes | None], piece: bytes | None, over: asyncio.Event) -> None:
    """Wait for room, but not for a connection that is over."""
    if queue.full():
        await _first(queue.put(piece), over.wait())
    else:
        queue.put_nowait(piece)


async def _first(one: Awaitable[None], other: Awaitable[object]) -> None:
    """Whichever is done first; the other is cancelled."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pour(reader: asyncio.StreamReader, send: Callable[[bytes], Awaitable[None]]) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            await send(data)


async def _drain(waiting: asyncio.Queue[bytes | None], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while (data := await waiting.get()) is not None:
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def over_spdy(stream: conversations.Bytes, dial: Dial, about: str) -> None:
    """Serve one client until it is gone."""
    session = conversations.Session(stream, most=MOST)
    try:
        await OverSpdy(session, dial, about).run()
    except* (_Over, *conversations.LOST):
        pass


async def over_websocket(client: conversations.WebSocket, ports: Sequence[int], dial: Dial) -> None:
    """v4.channel.k8s.io: channel 2i is the data of the i-th port, 2i + 1 its errors; each begins with it."""
    queues: list[asyncio.Queue[bytes | None]] = [asyncio.Queue(_WAITING) for _ in ports]
    over = [asyncio.Event() for _ in ports]

    async def follow() -> None:
        while (message := await client.receive()) is not None:
            index, error = divmod(message[0], 2) if len(message) > 1 else (len(ports), 0)
            if index < len(ports) and not error and not over[index].is_set():
                await _put(queues[index], message[1:], over[index])

    async def carry(index: int, port: int) -> None:
        data, error = bytes([2 * index]), bytes([2 * index + 1])
        number = port.to_bytes(2, "little")
        await client.send(data + number)
        await client.send(error + number)
        try:
            reader, writer = await dial(port)
        except OSError as problem:
            over[index].set()
            await client.send(error + f"error forwarding port {port}: {_why(port, problem)}".encode())
            return
        sending = asyncio.ensure_future(_drain(queues[index], writer))
        try:
            await _pour(reader, lambda piece: client.send(data + piece))
        finally:
            over[index].set()
            sending.cancel()
            writer.close()
            await asyncio.gather(sending, return_exceptions=True)

    async def all_ports() -> None:
        async with asyncio.TaskGroup() as tasks:
            for index, port in enumerate(ports):
                tasks.create_task(carry(index, port))

    with contextlib.suppress(*conversations.LOST):
        await _first(all_ports(), _either(follow(), client.lost()))
        await client.hang_up()


async def _either(one: Awaitable[None], other: Awaitable[None]) -> None:
    await _first(one, other)
