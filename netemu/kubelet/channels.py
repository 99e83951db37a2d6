"""The channels of a remote command: stdin, stdout, stderr, its status, the terminal's size; over either wire.

WebSocket: the first byte of a message is its channel (v5: 255 ends one). SPDY: a stream each, named by its
header streamType (KEP-4006; k8s.io/kubelet/pkg/cri/streaming/remotecommand). Knows no command.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from netemu.kubelet import conversations
from netemu.wire import spdy

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_NAMES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
_PATIENCE = 30.0  # seconds for the client to open its streams
# client-go at version 5 begins to read a moment before it has made its streams, and throws away what comes
# till then ("Unknown stream id"). Elsewhere starting a process takes longer; here it is too quick. So the
# moment begins when the client is known to read.
_READING = 1.0  # seconds at most: some answer no ping
_HEAD_START = 0.03  # seconds
Status = Mapping[str, Any]


class Wish(NamedTuple):
    """Which channels a client wants."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Input(NamedTuple):
    """Something came on STDIN or RESIZE; no data: that was all."""

    channel: int
    data: bytes


class Channels(Protocol):
    """One client."""

    async def open(self) -> bool:
        """Wait until the channels are there; False when they do not come."""
        ...

    async def receive(self) -> Input | None:
        """None: the client is gone."""
        ...

    async def send(self, channel: int, data: bytes) -> None: ...

    async def lost(self) -> None: ...

    async def finish(self, status: Status) -> None:
        """Say how it ended, and hang up."""
        ...


class OverWebSocket:
    """`version` 4 or 5; older ones have no status but a text."""

    def __init__(self, socket: conversations.WebSocket, wish: Wish, version: int) -> None:
        self._socket, self._wish, self._version = socket, wish, version

    async def open(self) -> bool:
        if self._version >= 5:
            await self._socket.reads(_READING)
            await asyncio.sleep(_HEAD_START)
        first = STDOUT if self._wish.stdout else STDERR if self._wish.stderr else ERROR
        await self.send(first, b"")  # tells the client that the connection is established, as upstream's
        return True

    async def receive(self) -> Input | None:
        while (message := await self._socket.receive()) is not None:
            channel, data = (message[0], message[1:]) if message else (ERROR, b"")
            if channel == CLOSE and self._version >= 5 and data[:1] == bytes([STDIN]):
                return Input(STDIN, b"")
            if channel == STDIN and data:
                return Input(STDIN, data)
            if channel == RESIZE and data:
                return Input(RESIZE, data + b"\n")
        return None

    async def send(self, channel: int, data: bytes) -> None:
        await self._socket.send(bytes([channel]) + data)

    async def lost(self) -> None:
        await self._socket.lost()

    async def finish(self, status: Status) -> None:
        await self.send(ERROR, _said(status, self._version))
        await self._socket.hang_up()


class OverSpdy:
    """`version` 1 to 5, of which 5 is as 4 here."""

    def __init__(self, session: conversations.Session, wish: Wish, version: int) -> None:
        self._session, self._version = session, version
        self._wanted = {
            ERROR,
            *((STDIN,) if wish.stdin else ()),
            *((STDOUT,) if wish.stdout else ()),
            *((STDERR,) if wish.stderr and not wish.tty else ()),
            *((RESIZE,) if wish.tty and version >= 3 else ()),
        }
        self._channel_of: dict[int, int] = {}
        self._stream_of: dict[int, int] = {}
        self._inputs: deque[Input] = deque()

    async def open(self) -> bool:
        """As many as are wanted are enough, as the real kubelet counts them.

        A client may ask for a terminal and for stderr, and then open stderr in place of the terminal's size.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._wanted - self._stream_of.keys() and len(self._stream_of) < len(self._wanted):
                    event = await self._session.receive()
                    if event is None:
                        return False
                    await self._take(event)
        except TimeoutError:
            return False
        return True

    async def receive(self) -> Input | None:
        while not self._inputs:
            event = await self._session.receive()
            if event is None:
                return None
            await self._take(event)
        return self._inputs.popleft()

    async def _take(self, event: conversations.Event) -> None:
        if isinstance(event, spdy.SynStream):
            channel = _NAMES.get(event.headers.get("streamtype", ""))
            if channel is None or channel in self._stream_of:
                await self._session.send(spdy.Reset(event.id, spdy.PROTOCOL_ERROR))
                return
            self._channel_of[event.id], self._stream_of[channel] = channel, event.id
        of = self._channel_of.get(event.id)
        if of not in (STDIN, RESIZE):
            return
        if isinstance(event, spdy.Data) and event.data:
            self._inputs.append(Input(of, event.data))
        if isinstance(event, spdy.Reset) or event.fin:
            self._inputs.append(Input(of, b""))

    async def send(self, channel: int, data: bytes) -> None:
        stream = self._stream_of.get(channel)
        if stream is not None:
            await self._session.send(spdy.Data(stream, data))

    async def lost(self) -> None:
        await self._session.lost()

    async def finish(self, status: Status) -> None:
        await self.send(ERROR, _said(status, self._version))
        for stream in self._channel_of:
            await self._session.send(spdy.Data(stream, b"", fin=True))
        await self._session.hang_up()


def _said(status: Status, version: int) -> bytes:
    if version >= 4:
        return json.dumps(status).encode()
    return b"" if status.get("status") == "Success" else str(status.get("message", "")).encode()


def success() -> Status:
    """It ended well."""
    return {"metadata": {}, "status": "Success"}


def exited(code: int) -> Status:
    """It ended by itself, with that exit code."""
    if code == 0:
        return success()
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(message: str) -> Status:
    """It could not be done."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
