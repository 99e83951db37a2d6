"""An HTTP/1.1 client: a pool of kept-alive connections to one server.

Knows framing, reuse and streamed responses. Knows no Kubernetes: a status is a number to it, and only a
server that cannot be reached or breaks the protocol is an error (`Unreachable`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

import httptools

from netemu.base import errors
from netemu.http import messages

_IDLE = 60.0
_WINDOW = 1 << 20
_SAFE = ("GET", "HEAD", "OPTIONS")


class Unreachable(errors.Transient):
    """No connection, no whole answer, or none in time."""


class _Exchange(asyncio.Protocol):
    """One connection; one request under way at most."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()
        self._head: asyncio.Future[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._fields: list[tuple[str, str]] = []
        self._parts: deque[bytes] = deque()
        self._buffered = 0
        self._reading = True
        self.status = 0
        self.headers: messages.Fields = ()
        self.idle_since = 0.0
        self.lost = False
        self.complete = True
        self.reused = self.streamed = False
        self._keep = self._until_close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()
            self.connection_lost(None)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost and not self.complete and self._until_close:
            self.complete = True
        self.lost = True
        self._notify(self._head)
        self._notify(self._wake)

    # -- httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status == 100:
            return
        self.headers = tuple(self._fields)
        lengths = [value for name, value in self.headers if name == "content-length"]
        self.streamed = not lengths and self.status not in (204, 304)
        self._until_close = self.streamed and not any(name == "transfer-encoding" for name, _ in self.headers)
        self._keep = self._parser.should_keep_alive() and not self._until_close
        if self.streamed:
            self._notify(self._head)

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._buffered += len(data)
        if self.streamed:
            if self._buffered > _WINDOW and self._reading:
                self._reading = False
                self._transport.pause_reading()
            self._notify(self._wake)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() == 100:
            self._fields = []
            return
        self.complete = True
        self._notify(self._head)
        self._notify(self._wake)

    @staticmethod
    def _notify(future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)

    # -- for Connections

    async def ask(
        self, head: bytes, body: bytes, release: Callable[[_Exchange], None]
    ) -> messages.Response | None:
        """Send and wait for the head, and for a body of known length. None: the connection broke first.

        `release` is called when a streamed body has been read, has failed or was given up.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._fields = []
        self._parts.clear()
        self._buffered = 0
        self._keep = self._until_close = self.streamed = self.complete = False
        self.status = 0
        self.headers = ()
        self._head = self._loop.create_future()
        self._transport.write(head + body)
        await self._head
        if self.streamed and self.headers:
            return messages.Response(self.status, self.headers, _Body(self, release))
        if not self.complete:
            return None
        return messages.Response(self.status, self.headers, b"".join(self._parts))

    async def part(self) -> bytes:
        """The next piece of a streamed body; empty at its end."""
        while not self._parts:
            if self.complete:
                return b""
            if self.lost:
                raise Unreachable("the connection was lost in the middle of a response")
            self._wake = self._loop.create_future()
            await self._wake
        part = self._parts.popleft()
        self._buffered -= len(part)
        if not self._reading and self._buffered < _WINDOW // 2 and not self.lost:
            self._reading = True
            self._transport.resume_reading()
        return part

    @property
    def reusable(self) -> bool:
        return self.complete and not self.lost and self._keep and not self._transport.is_closing()

    def socket(self) -> socket.socket:
        """The connection's own."""
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    def close(self) -> None:
        self._transport.abort()


class _Body:
    """A streamed body; whoever stops early calls `aclose`."""

    def __init__(self, exchange: _Exchange, release: Callable[[_Exchange], None]) -> None:
        self._exchange: _Exchange | None = exchange
        self._release = release

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if self._exchange is None:
            raise StopAsyncIteration
        try:
            part = await self._exchange.part()
        except BaseException:
            await self.aclose()
            raise
        if not part:
            await self.aclose()
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._release(exchange)


class Connections:
    """A pool of connections to `base_url` (http:// or https://, an IPv6 address in brackets)."""

    def __init__(
        self,
        base_url: str,
        ssl_context: ssl.SSLContext | None = None,
        *,
        headers: messages.Fields = (),
        timeout: float = 60.0,
        dial: tuple[str, int] | None = None,
    ) -> None:
        """`dial`: the address and port to connect to instead of the URL's, which still names the server."""
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise errors.Rejected(
                f"not a server URL: {base_url!r}", hint="give http://host:port or https://host:port"
            )
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = (ssl_context or ssl.create_default_context()) if url.scheme == "https" else None
        self._fixed = messages.render((("host", url.netloc.rpartition("@")[2]), *headers))
        self._prefix = url.path.rstrip("/")
        self._timeout = timeout
        self._dialled = dial
        self._idle: list[_Exchange] = []
        self._busy: set[_Exchange] = set()

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, request: messages.Request) -> messages.Response:
        """The response; its body is bytes when its length was announced, otherwise an iterator (see `whole`).

        Unreachable when there is no answer within `timeout` seconds. A request that changes nothing is sent
        again once when a kept-alive connection turns out to be dead.
        """
        head = self._render(request)
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    exchange = self._take() or await self._dial()
                    response = await self._ask(exchange, head, request.body)
                    if response is not None:
                        return response
                    if not exchange.reused or request.method not in _SAFE:
                        raise Unreachable(
                            f"{self._host}:{self._port} closed the connection without an answer"
                        )
        except TimeoutError:
            raise Unreachable(
                f"no answer from {self._host}:{self._port} within {self._timeout:g} s"
            ) from None

    async def _ask(self, exchange: _Exchange, head: bytes, body: bytes) -> messages.Response | None:
        self._busy.add(exchange)
        try:
            response = await exchange.ask(head, body, self._give_back)
        except BaseException:
            exchange.close()
            self._busy.discard(exchange)
            raise
        if response is None or isinstance(response.body, bytes):
            self._give_back(exchange)
        return response

    def _render(self, request: messages.Request) -> bytes:
        length = f"content-length: {len(request.body)}\r\n" if request.body or request.method != "GET" else ""
        own = messages.render(request.headers)
        line = f"{request.method} {self._prefix}{request.target()} HTTP/1.1\r\n"
        return f"{line}{self._fixed}{own}{length}\r\n".encode()

    def _take(self) -> _Exchange | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            exchange = self._idle.pop()
            if exchange.reusable and now - exchange.idle_since < _IDLE:
                exchange.reused = True
                return exchange
            exchange.close()
        return None

    async def _dial(self) -> _Exchange:
        loop = asyncio.get_running_loop()
        try:
            _, exchange = await loop.create_connection(
                _Exchange,
                *(self._dialled or (self._host, self._port)),
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except (OSError, ssl.SSLError) as error:
            raise Unreachable(f"cannot connect to {self._host}:{self._port}: {error}") from None
        messages.keep_alive(exchange.socket())
        return exchange

    def _give_back(self, exchange: _Exchange) -> None:
        self._busy.discard(exchange)
        if exchange.reusable:
            exchange.idle_since = asyncio.get_running_loop().time()
            self._idle.append(exchange)
        else:
            exchange.close()

    async def close(self) -> None:
        """Close every connection, also those with a response under way."""
        for exchange in (*self._idle, *self._busy):
            exchange.close()
        self._idle.clear()
        self._busy.clear()
        await asyncio.sleep(0)
