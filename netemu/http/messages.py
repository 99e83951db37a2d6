"""HTTP messages as values: requests, responses, and who is at the other end.

Knows methods, paths, queries, header fields and bodies. Knows no socket and no Kubernetes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode

Fields = tuple[tuple[str, str], ...]
Body = AsyncIterator[bytes]
Takeover = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer(NamedTuple):
    """The other end of a connection; names come from a client certificate that was verified (RFC 5280)."""

    address: str = ""
    common_name: str = ""
    organizations: tuple[str, ...] = ()


NOBODY = Peer()


def _field(fields: Fields, name: str) -> str:
    found = [value for key, value in fields if key == name]
    return found[0] if len(found) == 1 else ", ".join(found)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` is percent-decoded, header names are lower case, `body` is whole."""

    method: str
    path: str
    query: Fields = ()
    headers: Fields = ()
    body: bytes = b""
    peer: Peer = NOBODY

    def header(self, name: str) -> str:
        """The value of a header field (lower-case name); repeats are joined by commas (RFC 9110 5.3)."""
        return _field(self.headers, name)

    def parameter(self, name: str, default: str = "") -> str:
        """The first query parameter of that name."""
        for key, value in self.query:
            if key == name:
                return value
        return default

    def parameters(self, name: str) -> tuple[str, ...]:
        """All query parameters of that name, in order."""
        return tuple(value for key, value in self.query if key == name)

    def target(self) -> str:
        """The request target as it goes on the wire: path and query, percent-encoded."""
        path = quote(self.path, safe="/:@!$&'()*+,;=~")
        return f"{path}?{urlencode(self.query)}" if self.query else path


@dataclass(frozen=True, slots=True)
class Response:
    """One response. A body of bytes has a length; an iterator is streamed in chunks as it yields.

    `upgrade`, with status 101, takes the connection over once the head has been sent.
    """

    status: int
    headers: Fields = ()
    body: bytes | AsyncIterator[bytes] = b""
    upgrade: Takeover | None = None

    def header(self, name: str) -> str:
        """The value of a header field (lower-case name); repeated fields are joined by a comma."""
        return _field(self.headers, name)


class Transport(Protocol):
    """Whatever answers requests: a connection pool, or a server in the same process."""

    async def send(self, request: Request) -> Response: ...


def split(target: str) -> tuple[str, Fields]:
    """A request target as (decoded path, decoded query)."""
    path, _, query = target.partition("?")
    return (
        unquote(path) if "%" in path else path,
        tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=1000)) if query else (),
    )


async def whole(response: Response, *, limit: int = 1 << 30) -> bytes:
    """The whole body, also of a streamed response. ValueError when it is longer than `limit` bytes."""
    if isinstance(response.body, bytes):
        return response.body
    parts: list[bytes] = []
    size = 0
    async for part in response.body:
        size += len(part)
        if size > limit:
            raise ValueError(f"response body is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def discard(body: bytes | AsyncIterator[bytes]) -> None:
    """End a streamed body that nobody will read to its end."""
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()


def keep_alive(connection: socket.socket | None) -> None:
    """Notice within half a minute that the other machine is gone, even when there is nothing to say to it."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 15),
        (socket.TCP_KEEPINTVL, 5),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, 30_000),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def render(fields: Iterable[tuple[str, str]]) -> str:
    """Header fields as text; control characters cannot smuggle a line of their own."""
    return "".join(f"{name}: {_printable(value)}\r\n" for name, value in fields)


def _printable(value: str) -> str:
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)
