"""One server connection: bytes in, requests out to the handler one after another, responses back.

Knows the life of a connection (idle, reading, answering, lingering) and what ends it. A handler once begun
is finished even when its client has gone; a streamed body is closed as soon as its reader is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import httptools

from netemu.base import errors
from netemu.http import messages

if TYPE_CHECKING:
    from netemu.http.server import Server

_log = logging.getLogger("http")
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NEVER = float("inf")
_HIGH_WATER = 512 << 10


class _Framing(NamedTuple):
    """How one answer is delimited."""

    keep: bool
    chunked: bool
    head_only: bool


_LAST = _Framing(keep=False, chunked=True, head_only=False)


class Connection(asyncio.Protocol):
    """Driven by the event loop; `deadline` is the loop time after which the server may expire it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._requests: deque[tuple[messages.Request, _Framing]] = deque()
        self._refusal: messages.Response | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._leftover = b""
        self._peer = messages.NOBODY
        self._lost = self._deaf = self._streaming = self._last = self._taken = self._paused = False
        self.deadline = _NEVER
        self._begin()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._peer = _peer(transport)
        messages.keep_alive(transport.get_extra_info("socket"))
        self._server.open.add(self)
        self.deadline = self._loop.time() + self._limits.request
        if self._server.closing:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leftover = data[upgrade.args[0] :]
            self._deaf = True
            self._transport.pause_reading()
        except httptools.HttpParserCallbackError:
            if not self._deaf:
                self._refuse(400, "malformed request")
        except httptools.HttpParserError:
            self._refuse(400, "malformed request")
        else:
            if self._seen and not self._in_body:
                self._grow_head(len(data))

    def eof_received(self) -> bool:
        # Half-closed clients still get their answers; an idle or half-sent request has nothing to wait for.
        self._last = True
        half_open = self._transport.get_extra_info("sslcontext") is None  # TLS knows no such thing
        return half_open and self._answering() and not self._streaming

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._deaf = True
        self._server.open.discard(self)
        self._resume(self._drained)
        self._resume(self._waiter)
        if self._streaming and self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()
        self.deadline = self._loop.time() + self._limits.write

    def resume_writing(self) -> None:
        self._resume(self._drained)
        self._drained = None
        self.deadline = _NEVER

    # -- httptools callbacks

    def _begin(self) -> None:
        self._target = b""
        self._fields: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._head_size = self._body_size = 0
        self._seen = self._in_body = False

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head:
            self._refuse(431, f"request head is larger than {self._limits.head} bytes")

    def on_message_begin(self) -> None:
        self._seen = True
        if self._task is None or not self._answering():
            self.deadline = self._loop.time() + self._limits.request

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._deaf:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))
            self._grow_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_body = True
        for name, value in self._fields:
            if name == "content-length" and int(value) > self._limits.body:
                self._too_large()
            elif name == "expect" and value.lower() == "100-continue" and not self._deaf:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._deaf:
            return
        self._body_size += len(data)
        if self._body_size > self._limits.body:
            self._too_large()
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        parser = self._parser
        method = parser.get_method().decode("ascii")
        path, query = messages.split(self._target.decode("latin-1"))
        body = b"".join(self._body)
        request = messages.Request(method, path, query, tuple(self._fields), body, self._peer)
        keep = parser.should_keep_alive() and not parser.should_upgrade()
        self._begin()
        self._requests.append((request, _Framing(keep, parser.get_http_version() != "1.0", method == "HEAD")))
        self.deadline = _NEVER
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())
            self._server.tasks.add(self._task)
            self._task.add_done_callback(self._server.tasks.discard)
        else:
            self._resume(self._waiter)
        if len(self._requests) > 8 and not self._paused:  # pipelined faster than answered
            self._paused = True
            self._transport.pause_reading()

    # -- refusing and ending

    def _too_large(self) -> None:
        self._refuse(413, f"request body is larger than {self._limits.body} bytes")

    def _refuse(self, status: int, reason: str) -> None:
        """Stop listening and say why, after the answers still owed."""
        if self._deaf:
            return
        self._deaf = self._last = True
        self._refusal = self._server.refuse(status, reason)
        if not self._answering():
            self._linger()
            self._resume(self._waiter)

    def _answering(self) -> bool:
        return self._task is not None and (bool(self._requests) or self._waiter is None)

    def _linger(self) -> None:
        """Close a little later: closing on unread input resets the connection and loses the answer."""
        if self._refusal is not None:
            self._write(self._refusal, _LAST)
            self._refusal = None
        self.deadline = self._loop.time() + self._limits.linger

    def expire(self) -> None:
        """The deadline has passed: say so to a client that stopped in mid-request, then close."""
        self.deadline = _NEVER
        if self._seen and not self._deaf and self._drained is None:
            self._refuse(408, "request was not received in time")
        elif self._drained is not None:
            self.abort()
        else:
            self._close()

    def finish(self) -> None:
        """Close when the answer under way, if any, has been sent."""
        self._last = True
        if not self._answering():
            self._close()
            self._resume(self._waiter)

    def _close(self) -> None:
        # asyncio forgets a TLS transport's protocol when it is closed twice, and then cannot abort it.
        if not self._transport.is_closing():
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection now."""
        self._transport.abort()

    @staticmethod
    def _resume(future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)

    # -- answering

    async def _answer_all(self) -> None:
        try:
            while await self._more():
                request, framing = self._requests.popleft()
                if self._paused and not self._requests:
                    self._paused = False
                    self._transport.resume_reading()
                if not await self._answer(request, framing):
                    break
        finally:
            if not self._lost and not self._taken:
                if self._deaf:
                    self._linger()
                else:
                    self._close()

    async def _more(self) -> bool:
        while not self._requests:
            if self._lost or self._last:
                return False
            self.deadline = self._loop.time() + self._limits.idle
            self._waiter = self._loop.create_future()
            await self._waiter
            self._waiter = None
        return not self._lost

    async def _answer(self, request: messages.Request, framing: _Framing) -> bool:
        try:
            response = await self._server.handler(request)
        except Exception:  # the connection's edge: one failed answer disturbs nobody else
            _log.exception("handler failed method=%s path=%s", request.method, request.path)
            response = self._server.refuse(500, "internal error")
        if self._lost:
            await messages.discard(response.body)
            return False
        if response.upgrade is not None:
            await self._take_over(response, response.upgrade)
            return False
        if self._last and not self._requests:
            framing = framing._replace(keep=False)
        if isinstance(response.body, bytes):
            self._write(response, framing)
            if self._drained:
                await self._drained
        else:
            await self._stream(response, response.body, framing)
        return framing.keep and not self._lost

    def _write(self, response: messages.Response, framing: _Framing) -> None:
        assert isinstance(response.body, bytes)
        length = "" if response.status in (204, 304) else f"content-length: {len(response.body)}\r\n"
        head = _head(response, framing.keep, length)
        self._transport.write(head if framing.head_only else head + response.body)

    async def _stream(
        self, response: messages.Response, body: AsyncIterator[bytes], framing: _Framing
    ) -> None:
        """Chunks as they come. A body failing midway breaks the connection: nobody may take it for whole."""
        self._streaming = True
        end = b"0\r\n\r\n" if framing.chunked else b""
        try:
            self._transport.write(
                _head(response, framing.keep, "transfer-encoding: chunked\r\n" if end else "")
            )
            async for part in body:
                if part:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(part), part) if end else part)
                    if self._drained:
                        await self._drained
                if self._lost:
                    return
            self._transport.write(end)
        except errors.Transient as error:
            _log.warning("streamed body ended early error=%s", error.message)
            self._transport.abort()
        except Exception:
            _log.exception("streamed body failed")
            self._transport.abort()
        finally:
            self._streaming = False
            await messages.discard(body)

    async def _take_over(self, response: messages.Response, upgrade: messages.Takeover) -> None:
        """Hand the connection to the upgrade: its own reader and writer, starting with what came early."""
        self._taken = True
        self._transport.write(_head(response, None, ""))
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(reader)
        if self._leftover:
            reader.feed_data(self._leftover)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        self._transport.resume_reading()
        writer = asyncio.StreamWriter(self._transport, protocol, reader, self._loop)
        self._server.open.discard(self)
        try:
            await upgrade(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._close()


def _peer(transport: asyncio.Transport) -> messages.Peer:
    address = transport.get_extra_info("peername")
    certificate = transport.get_extra_info("peercert") or {}
    names = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    return messages.Peer(
        address[0] if isinstance(address, tuple) else "",
        next((value for key, value in names if key == "commonName"), ""),
        tuple(value for key, value in names if key == "organizationName"),
    )


class _Date:
    """The Date field, rendered once a second (RFC 9110 6.6.1)."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def field(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, f"date: {formatdate(second, usegmt=True)}\r\n"
        return self._text


_date = _Date()


def _head(response: messages.Response, keep: bool | None, framing: str) -> bytes:
    """The head; `keep` None leaves Connection to the response's own fields."""
    connection = "" if keep is None or keep else "connection: close\r\n"
    return (
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}\r\n{_date.field()}"
        f"{messages.render(response.headers)}{framing}{connection}\r\n"
    ).encode("latin-1", "replace")
