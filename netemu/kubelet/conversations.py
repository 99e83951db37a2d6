"""A connection that was upgraded, as whoever uses it sees it: bytes, WebSocket messages, SPDY frames.

Answers pings, keeps limits, waits for slow readers. Knows no channels and no pods.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Protocol

from netemu.http import upgrades
from netemu.wire import spdy, websocket

_PIECE = 1 << 16
_AHEAD = 1 << 18  # bytes read that nobody has asked for yet
_KEPT = 64  # messages that came before a client answered a ping
_LINGER = 2.0  # seconds the other side has to hang up after the last word
LOST = (ConnectionError, TimeoutError, asyncio.IncompleteReadError)


class Bytes(Protocol):
    """A byte stream both ways."""

    async def read(self) -> bytes:
        """Some bytes; none at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more."""
        ...

    async def lost(self) -> None:
        """Returns when the other side is gone."""
        ...

    async def hang_up(self) -> None:
        """All is said; give the other side a moment to take it."""
        ...


class Plain:
    """The connection itself. While somebody waits in `lost` it is read ahead, to hear of its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._ahead: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._room = asyncio.Event()
        self._reading = asyncio.Lock()
        upgrades.be_patient(writer)

    async def read(self) -> bytes:
        while not self._ahead and not self._ended:
            async with self._reading:
                if not self._ahead and not self._ended:
                    await self._fill()
        if not self._ahead:
            return b""
        data = self._ahead.popleft()
        self._size -= len(data)
        self._room.set()
        return data

    async def _fill(self) -> None:
        try:
            data = await self._reader.read(_PIECE)
        except OSError:
            data = b""
        if data:
            self._ahead.append(data)
            self._size += len(data)
        else:
            self._ended = True

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def lost(self) -> None:
        closed = asyncio.ensure_future(asyncio.shield(self._writer.wait_closed()))
        ended = asyncio.ensure_future(self._read_ahead())
        try:
            await asyncio.wait((closed, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
            ended.cancel()
            await asyncio.gather(closed, ended, return_exceptions=True)

    async def _read_ahead(self) -> None:
        while not self._ended:
            if self._size >= _AHEAD:
                self._room.clear()
                await self._room.wait()
                continue
            async with self._reading:
                if not self._ended:
                    await self._fill()

    async def hang_up(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while await self.read():
                    pass


class WebSocket:
    """Messages. One receiver at a time; any number of senders. `coded`: they travel as text, in base64."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, coded: bool = False
    ) -> None:
        self._coded = coded
        self._plain = Plain(reader, writer)
        self._decoder = websocket.Decoder(masked=True)
        self._waiting: deque[websocket.Message] = deque()
        self._closed = False

    async def receive(self) -> bytes | None:
        """The next message's data; None when there will be none."""
        while self._waiting or not self._closed:
            while self._waiting:
                message = self._waiting.popleft()
                if message.opcode in (websocket.BINARY, websocket.TEXT):
                    if not self._coded or not message.data:
                        return message.data
                    try:
                        return websocket.from_text(message.data)
                    except websocket.Broken as broken:
                        await self._close(broken.code, str(broken))
                        return None
                if message.opcode == websocket.PING and not self._closed:
                    await self._plain.write(websocket.encode(websocket.PONG, message.data))
                elif message.opcode == websocket.CLOSE:
                    await self._close(websocket.NORMAL)
                    return None
            if not self._closed:
                await self._hear()
        return None

    async def reads(self, patience: float) -> None:
        """Wait until the client answers a ping, which shows that it reads; at most `patience` seconds.

        What else it says meanwhile is kept for `receive`.
        """
        await self._plain.write(websocket.encode(websocket.PING, b""))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self._closed and len(self._waiting) < _KEPT:
                    if any(message.opcode == websocket.PONG for message in self._waiting):
                        return
                    await self._hear()

    async def _hear(self) -> None:
        data = await self._plain.read()
        if not data:
            self._closed = True
        try:
            self._waiting.extend(self._decoder.feed(data))
        except websocket.Broken as broken:
            await self._close(broken.code, str(broken))

    async def send(self, data: bytes) -> None:
        """One message."""
        if self._closed:
            return
        if self._coded:
            await self._plain.write(websocket.encode(websocket.TEXT, websocket.to_text(data)))
        else:
            await self._plain.write(websocket.encode(websocket.BINARY, data))

    async def lost(self) -> None:
        await self._plain.lost()

    async def hang_up(self) -> None:
        """Close as agreed (1000)."""
        await self._close(websocket.NORMAL)
        await self._plain.hang_up()

    async def _close(self, code: int, reason: str = "") -> None:
        if not self._closed:
            self._closed = True
            await self._plain.write(websocket.close(code, reason))


class Tunnel:
    """A byte stream in WebSocket messages, cut anywhere (KEP-4006)."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while (data := await self._socket.receive()) is not None:
            if data:
                return data
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)

    async def lost(self) -> None:
        await self._socket.lost()

    async def hang_up(self) -> None:
        await self._socket.hang_up()


Event = spdy.SynStream | spdy.Data | spdy.Reset


class Session:
    """SPDY: streams the client opens are accepted, up to `most` in all."""

    def __init__(self, stream: Bytes, *, most: int) -> None:
        self._stream, self._left = stream, most
        self._encoder, self._decoder = spdy.Encoder(), spdy.Decoder()
        self._waiting: deque[spdy.Frame] = deque()
        self._last = 0

    async def receive(self) -> Event | None:
        """What happens next on a stream; None when nothing will."""
        while True:
            while self._waiting:
                event = await self._take(self._waiting.popleft())
                if event is not None:
                    return event
            data = await self._stream.read()
            if not data:
                return None
            try:
                self._waiting.extend(self._decoder.feed(data))
            except spdy.Broken:
                await self.send(spdy.GoAway(self._last, spdy.PROTOCOL_ERROR))
                return None

    async def _take(self, frame: spdy.Frame) -> Event | None:
        match frame:
            case spdy.Ping(number) if number % 2:
                await self.send(frame)
            case spdy.SynStream(number):
                if number % 2 == 0 or number <= self._last:
                    await self.send(spdy.Reset(number, spdy.PROTOCOL_ERROR))
                elif not self._left:
                    await self.send(spdy.Reset(number, spdy.REFUSED))
                else:
                    self._left -= 1
                    self._last = number
                    await self.send(spdy.SynReply(number))
                    return frame
            case spdy.Data() | spdy.Reset():
                return frame
        return None

    async def send(self, frame: spdy.Frame) -> None:
        """Frames go out in the order of the calls."""
        await self._stream.write(self._encoder.encode(frame))

    def closed(self) -> None:
        """One of the streams is over: there is room for another."""
        self._left += 1

    async def lost(self) -> None:
        await self._stream.lost()

    async def hang_up(self) -> None:
        await self.send(spdy.GoAway(self._last))
        await self._stream.hang_up()
