"""The language of agnhost netexec, spoken over a connected socket: who are you, and whom do you see?

Source: kubernetes test/images/agnhost/netexec. HTTP GET /clientip answers "ADDRESS:PORT" and GET
/hostname the host name; the UDP commands are `clientip` and `hostname`. Other HTTP servers stay unnamed.
"""

import asyncio
import ipaddress
import socket
from typing import NamedTuple

import httptools


class Identity(NamedTuple):
    """What the server said: its host name and the client address it saw; empty where it did not say."""

    endpoint: str = ""
    seen: str = ""
    detail: str = ""


async def over_tcp(sock: socket.socket, host: str) -> Identity:
    """Ask an HTTP server on one kept-alive connection, so that both answers are of the same endpoint."""
    seen = await _get(sock, host, "/clientip")
    if seen.status != 200:
        return Identity(detail=f"answers HTTP {seen.status}, but is not netexec")
    if not address(seen.text):
        return Identity(detail="answers HTTP, but is not netexec")
    if not seen.keep_alive:
        return Identity(seen=address(seen.text))
    name = await _get(sock, host, "/hostname")
    return Identity(endpoint=name.text.strip() if name.status == 200 else "", seen=address(seen.text))


async def over_udp(sock: socket.socket, patience: float) -> Identity:
    """Ask by two datagrams from one port, so that connection tracking leads both to the same endpoint.

    A datagram without an answer is repeated every `patience` seconds for as long as the caller waits.
    """
    seen = await _command(sock, b"clientip", patience)
    name = await _command(sock, b"hostname", patience)
    return Identity(endpoint=name.strip(), seen=address(seen))


def address(text: str) -> str:
    """The address in "ADDRESS:PORT", spelled canonically; "" when there is none."""
    host = text.strip().rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def commands(host: str) -> bytes:
    """Both HTTP requests at once, for one connection."""
    return _request(host, "/clientip") + _request(host, "/hostname")


class Reader:
    """The answers to `commands`, as they come in. `identity`: what they say so far; `done`: both are in."""

    def __init__(self) -> None:
        self._responses: list[tuple[int, bytes]] = []
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)
        self._broken = False

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self._responses.append((self._parser.get_status_code(), bytes(self._body)))
        self._broken = self._broken or not self._parser.should_keep_alive()
        self._body.clear()

    def feed(self, data: bytes) -> None:
        """What was received; b"" when the server has closed."""
        try:
            if data:
                self._parser.feed_data(data)
            else:
                self._broken = True
        except httptools.HttpParserError:
            self._broken = True

    @property
    def done(self) -> bool:
        return self._broken or len(self._responses) == 2

    @property
    def identity(self) -> Identity:
        if not self._responses:
            return Identity(detail="connected, but nobody speaks HTTP there")
        status, body = self._responses[0]
        if status != 200:
            return Identity(detail=f"answers HTTP {status}, but is not netexec")
        seen = address(body.decode(errors="replace"))
        if not seen:
            return Identity(detail="answers HTTP, but is not netexec")
        named = self._responses[1:] and self._responses[1][0] == 200
        return Identity(self._responses[1][1].decode(errors="replace").strip() if named else "", seen)


class _Response:
    """Collects one HTTP response for httptools' parser."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.done = False
        self.status = 0
        self.keep_alive = False
        self.parser = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.done = True
        self.status = self.parser.get_status_code()
        self.keep_alive = self.parser.should_keep_alive()

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


async def _get(sock: socket.socket, host: str, path: str) -> _Response:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, _request(host, path))
    response = _Response()
    while not response.done:
        data = await loop.sock_recv(sock, 65536)
        if not data:
            break
        try:
            response.parser.feed_data(data)
        except httptools.HttpParserError:
            break
    return response


def _request(host: str, path: str) -> bytes:
    shown = f"[{host}]" if ":" in host else host
    return f"GET {path} HTTP/1.1\r\nHost: {shown}\r\nUser-Agent: netemu\r\n\r\n".encode()


async def _command(sock: socket.socket, command: bytes, patience: float) -> str:
    loop = asyncio.get_running_loop()
    while True:
        sock.send(command)
        try:
            async with asyncio.timeout(patience):
                return (await loop.sock_recv(sock, 65536)).decode(errors="replace")
        except TimeoutError:
            continue
