"""HTTP/1.1 as a server speaks it on one connection. Knows the protocol; what is answered is the caller's.

Standard library only. An answer that blocks is made in a thread of its own (`Later`).
"""

import contextlib
import http
import os
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple, Protocol

from netemu.runtime import eventloop
from netemu.runtime.programs import sockets

HEAD_LIMIT, BODY_LIMIT = 64 * 1024, 64 * 1024 * 1024


class Request(NamedTuple):
    """`headers` by lower-case name, `raw_headers` as they came; `peer` and `local` are address and port."""

    method: str
    target: str
    headers: dict[str, str]
    raw_headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: sockets.Address
    local: sockets.Address
    version: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        return urllib.parse.unquote(self.target.partition("?")[0])

    def value(self, name: str) -> str:
        """The first of that name in the query or an urlencoded body; "" when there is none."""
        query = self.target.partition("?")[2]
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            query = f"{self.body.decode(errors='replace')}&{query}"
        return urllib.parse.parse_qs(query, keep_blank_values=True).get(name, [""])[0]


class Reply(NamedTuple):
    """`kind` is its content type; with `close` the connection ends after it."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


class Later(NamedTuple):
    """A reply that takes its time: made in a thread of its own."""

    make: Callable[[], Reply]


Handler = Callable[[Request], Reply | Later]


def say(message: str) -> None:
    """One line on stderr, as Go's log package writes it."""
    os.write(2, f"{time.strftime('%Y/%m/%d %H:%M:%S')} {message}\n".encode(errors="replace"))


class Host(Protocol):
    """Where conversations go on: what they need of a server."""

    name: str
    loop: eventloop.EventLoop

    def button(self) -> socket.socket:
        """What wakes the loop, made before any other thread is."""
        ...

    def call_later(self, work: Callable[[], None]) -> None:
        """From another thread: have `work` done in the loop's."""
        ...


class Conversation:
    """One HTTP connection: requests one after the other until somebody closes."""

    def __init__(
        self,
        server: Host,
        stream: socket.socket,
        peer: sockets.Address,
        handle: Handler,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._server, self._peer, self._handle = server, peer, handle
        if tls:
            stream = tls.wrap_socket(stream, server_side=True, do_handshake_on_connect=False)
        self._stream = stream
        self._in, self._out = bytearray(), bytearray()
        self._last = self._busy = self._continued = False
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.loop.readable(stream.fileno(), self._read)

    def _read(self) -> None:
        try:
            data = self._stream.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            self._server.loop.both(self._stream.fileno(), self._read, self._read)
            return
        except OSError:
            self._close()
            return
        if not data:
            self._close()
            return
        self._in += data
        self._next()
        if isinstance(self._stream, ssl.SSLSocket) and self._stream.fileno() >= 0 and self._stream.pending():
            self._read()

    def _next(self) -> None:
        """Answer what has come whole, in order."""
        while not self._busy and not self._last and self._stream.fileno() >= 0:
            try:
                request = self._request()
            except ValueError as problem:
                self._last = True
                self._send(Reply(400, f"400 Bad Request: {problem}".encode(), close=True), "GET")
                return
            if request is None:
                return
            asked = request.headers.get("connection", "").lower()
            self._last = "close" in asked or (request.version == "HTTP/1.0" and "keep-alive" not in asked)
            try:
                reply = self._handle(request)
            except Exception as failure:
                say(f"http: panic serving {sockets.text(self._peer)}: {failure!r}")
                reply = Reply(500, b"Internal Server Error\n")
            if isinstance(reply, Later):
                self._busy = True
                self._server.button()
                threading.Thread(target=self._work, args=(reply, request.method), daemon=True).start()
            else:
                self._send(reply, request.method)

    def _work(self, later: Later, method: str) -> None:
        try:
            reply = later.make()
        except Exception as failure:
            say(f"http: panic serving {sockets.text(self._peer)}: {failure!r}")
            reply = Reply(500, b"Internal Server Error\n")

        def finish() -> None:
            self._busy = False
            self._send(reply, method)
            self._next()

        self._server.call_later(finish)

    def _request(self) -> Request | None:
        """Take one whole request off the buffer. ValueError when it is none."""
        end = self._in.find(b"\r\n\r\n")
        if end < 0:
            if len(self._in) > HEAD_LIMIT:
                raise ValueError("header too long")
            return None
        first, *lines = bytes(self._in[:end]).decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise ValueError("malformed request line")
        raw = tuple((n.strip(), v.strip()) for n, _, v in (line.partition(":") for line in lines))
        headers = {name.lower(): value for name, value in raw}
        if headers.get("expect", "").lower() == "100-continue" and not self._continued:
            self._continued = True
            self._out += b"HTTP/1.1 100 Continue\r\n\r\n"
            self._flush()
        found = _body(self._in, end + 4, headers)
        if found is None:
            return None
        body, after = found
        del self._in[:after]
        self._continued = False
        local = sockets.plain(self._stream.getsockname())
        return Request(words[0], _origin(words[1]), headers, raw, body, self._peer, local, words[2])

    def _send(self, reply: Reply, method: str) -> None:
        if self._stream.fileno() < 0:
            return
        self._last = self._last or reply.close
        try:
            phrase = http.HTTPStatus(reply.status).phrase
        except ValueError:
            phrase = "status code " + str(reply.status)
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in reply.headers)]
        if self._server.name:
            lines.append(f"Server: {self._server.name}")
        lines.append(time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()))
        bodiless = reply.status in (204, 304) or reply.status < 200
        if not bodiless:
            lines.append(f"Content-Length: {len(reply.body)}")
            if reply.body and reply.kind:
                lines.append(f"Content-Type: {reply.kind}")
        if self._last:
            lines.append("Connection: close")
        self._out += "\r\n".join((*lines, "", "")).encode("latin-1", errors="replace")
        if method != "HEAD" and not bodiless:
            self._out += reply.body
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self._stream.send(self._out)
                del self._out[:sent]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._server.loop.both(self._stream.fileno(), self._read, self._flush)
            return
        except OSError:
            self._close()
            return
        if self._last and not self._busy:
            self._finish()
        else:
            self._server.loop.both(self._stream.fileno(), self._read, None)

    def _finish(self) -> None:
        """Closing with unread input would reset the connection and may lose the answer on its way."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while self._stream.recv(1 << 16):
                pass
        self._close()

    def _close(self) -> None:
        if self._stream.fileno() >= 0:
            self._server.loop.forget(self._stream.fileno())
            self._stream.close()


def _origin(target: str) -> str:
    """A proxy's absolute target as an origin server sees it."""
    if target.startswith(("http://", "https://")):
        return "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    return target


def _body(data: bytearray, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
    """The body that begins at `start` and where it ends; None while it is not whole."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _chunks(data, start)
    length = int(headers.get("content-length") or 0)
    if not 0 <= length <= BODY_LIMIT:
        raise ValueError("body too long")
    return (bytes(data[start : start + length]), start + length) if len(data) >= start + length else None


def _chunks(data: bytearray, start: int) -> tuple[bytes, int] | None:
    pieces = bytearray()
    while True:
        line = data.find(b"\r\n", start)
        if line < 0:
            return None
        size = int(bytes(data[start:line]).partition(b";")[0], 16)
        if not 0 <= size <= BODY_LIMIT - len(pieces):
            raise ValueError("body too long")
        start = line + 2
        if size == 0:
            end = data.find(b"\r\n", start)
            while end > start:  # trailers
                start, end = end + 2, data.find(b"\r\n", end + 2)
            return (bytes(pieces), end + 2) if end >= 0 else None
        if len(data) < start + size + 2:
            return None
        pieces += data[start : start + size]
        start += size + 2
