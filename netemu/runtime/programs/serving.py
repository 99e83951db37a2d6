"""A small HTTP/1.1, TCP and UDP server in one thread. Knows protocols; the pages are its callers'.

Standard library only. What blocks goes into a thread of its own (`Later`).
"""

import contextlib
import http
import os
import signal
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import NamedTuple

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


class Server:
    """Everything one program serves. `run` ends with the exit code given to `exit`."""

    def __init__(self, name: str = "") -> None:
        self.loop = eventloop.EventLoop()
        self.name = name
        self._code = 0
        self._finished: list[Callable[[], None]] = []
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._kept: list[object] = []

    def http(self, port: int, handle: Handler, *, tls: ssl.SSLContext | None = None, host: str = "") -> None:
        listener = sockets.listen(port, host=host)
        self._accept(listener, lambda stream, peer: _Conversation(self, stream, peer, handle, tls))

    def tcp(
        self, port: int, talk: Callable[[socket.socket, sockets.Address], None], *, protocol: int = 0
    ) -> None:
        """`talk` gets each connection (blocking, in a thread of its own) and must not keep it."""

        def begin(stream: socket.socket, peer: sockets.Address) -> None:
            stream.setblocking(True)
            threading.Thread(target=_closing, args=(talk, stream, peer), daemon=True).start()

        self._accept(sockets.listen(port, protocol=protocol), begin)

    def sctp(self, port: int, talk: Callable[[socket.socket, sockets.Address], None]) -> str:
        """As `tcp`; where the kernel has no SCTP, INITs are answered by hand. Says what was done."""
        try:
            self.tcp(port, talk, protocol=sockets.SCTP)
        except OSError as refusal:
            if str(refusal.strerror) != sockets.NO_SCTP:
                raise
            from netemu.runtime.programs import associations

            self._kept.append(associations.Responder(port, self.loop, hostname()))
            return associations.ANSWERED
        return "Started SCTP server"

    def udp(
        self, port: int, answer: Callable[[bytes, sockets.Address], bytes | None], *, host: str = ""
    ) -> None:
        """`answer` gets each datagram; what it returns goes back, from the address that was asked."""
        sock = sockets.listen(port, socket.SOCK_DGRAM, host)
        _remember_destination(sock)

        def take() -> None:
            for _ in range(64):
                try:
                    data, ancillary, _, peer = sock.recvmsg(65536, 128)
                except (BlockingIOError, ConnectionError):
                    return
                reply = answer(data, sockets.plain(peer))
                if reply is not None:
                    with contextlib.suppress(OSError):
                        sock.sendmsg([reply], sockets.answering(ancillary), 0, peer)

        self.loop.readable(sock.fileno(), take)
        self._kept.append(sock)

    def _accept(
        self, listener: socket.socket, begin: Callable[[socket.socket, sockets.Address], object]
    ) -> None:
        def take() -> None:
            for _ in range(64):
                try:
                    stream, peer = listener.accept()
                except OSError:  # nobody there any more, or no descriptors: try again later
                    return
                stream.setblocking(False)
                begin(stream, sockets.plain(peer))

        self.loop.readable(listener.fileno(), take)
        self._kept.append(listener)

    def call_later(self, work: Callable[[], None]) -> None:
        """From another thread (after `button`): have `work` done in the server's."""
        self._finished.append(work)
        with contextlib.suppress(OSError):
            self.button().send(b"!")

    def button(self) -> socket.socket:
        """What wakes the loop; made when it is first needed, for most servers never need it."""
        if self._pair is None:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self.loop.readable(self._pair[0].fileno(), self._rung)
        return self._pair[1]

    def _rung(self) -> None:
        assert self._pair is not None
        with contextlib.suppress(BlockingIOError):
            self._pair[0].recv(4096)
        while self._finished:
            self._finished.pop(0)()

    def exit(self, code: int) -> None:
        self._code = code
        self.loop.stop()

    def exit_after(self, seconds: float, code: int) -> None:
        self.loop.after(seconds, lambda: self.exit(code))

    def on_signal(self, act: Callable[[], None]) -> None:
        """SIGTERM does `act` instead of ending the program."""
        signal.set_wakeup_fd(self.button().fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: act())

    def on_quit(self) -> None:
        """SIGQUIT and SIGWINCH, by which web servers are stopped, end the program with 0; SIGTERM, too."""
        signal.set_wakeup_fd(self.button().fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGWINCH):
            signal.signal(number, lambda *_: self.exit(0))

    def run(self) -> int:
        self.loop.run()
        return self._code


def _closing(
    talk: Callable[[socket.socket, sockets.Address], None], stream: socket.socket, peer: sockets.Address
) -> None:
    with stream, contextlib.suppress(OSError):
        talk(stream, peer)


def _remember_destination(sock: socket.socket) -> None:
    """Ask for the address a datagram was sent to: of several, the answer must come from that one."""
    sock.setsockopt(socket.IPPROTO_IP, sockets.IP_PKTINFO, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


class _Conversation:
    """One HTTP connection: requests one after the other until somebody closes."""

    def __init__(
        self,
        server: Server,
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


def hostname() -> str:
    return os.uname().nodename


def rehearse() -> None:
    """Open and close a server of each kind on this machine's loopback, for who is about to fork many."""
    server = Server()
    server.http(0, lambda _: Reply(), host="127.0.0.1")
    server.udp(0, lambda data, peer: None, host="127.0.0.1")
    server.exit_after(0, 0)
    server.run()
