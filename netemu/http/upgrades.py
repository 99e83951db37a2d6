"""Requests to take a connection over, passed on to another server: a relay of bytes once both have agreed.

Knows how a protocol is switched (RFC 9110 7.8). Does not know what is spoken afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

from netemu.http import client, messages

_PIECE = 1 << 16
_HEAD = 1 << 16
_MOST_REFUSAL = 1 << 20
_TIMEOUT = 30.0  # seconds for the other server to answer


def wanted(request: messages.Request) -> bool:
    """Whether a request asks for another protocol."""
    return "upgrade" in request.header("connection").lower() and bool(request.header("upgrade"))


def be_patient(writer: asyncio.StreamWriter) -> None:
    """Somebody may stop a terminal's output over lunch: a reader that is slow is not one that is gone."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)


async def ask(
    host: str, port: int, context: ssl.SSLContext | None, request: messages.Request, *, name: str = ""
) -> messages.Response:
    """Send a request for an upgrade. 101: the response's `upgrade` relays; otherwise its body is whole.
    `name` is the server's, if it is not the host it is dialled at.

    Whoever does not use the upgrade discards the body, which ends the connection. client.Unreachable.
    """
    connection = _Connection()
    try:
        async with asyncio.timeout(_TIMEOUT):
            connection.reader, connection.writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=(name or host) if context else None, limit=_HEAD
            )
            connection.writer.write(_head(name or host, port, request))
            status, headers = _parse(await connection.reader.readuntil(b"\r\n\r\n"))
            if status == 101:
                messages.keep_alive(connection.writer.get_extra_info("socket"))
                be_patient(connection.writer)
                return messages.Response(101, headers, connection, upgrade=connection.relay)
            body = await _refusal(connection.reader, headers)
    except (OSError, ssl.SSLError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        await connection.aclose()
        raise client.Unreachable(f"{host}:{port}: {error or type(error).__name__}") from None
    except BaseException:
        await connection.aclose()
        raise
    await connection.aclose()
    return messages.Response(status, headers, body)


def _head(host: str, port: int, request: messages.Request) -> bytes:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    length = (("content-length", str(len(request.body))),) if request.body or request.method != "GET" else ()
    fields = messages.render((("host", where), *request.headers, *length))
    return f"{request.method} {request.target()} HTTP/1.1\r\n{fields}\r\n".encode() + request.body


def _parse(head: bytes) -> tuple[int, messages.Fields]:
    line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"no HTTP answer: {line[:40]!r}")
    fields = (field.partition(":") for field in lines)
    return int(rest[:3]), tuple((name.strip().lower(), value.strip()) for name, _, value in fields)


async def _refusal(reader: asyncio.StreamReader, headers: messages.Fields) -> bytes:
    lengths = [value for name, value in headers if name == "content-length"]
    if lengths:
        return await reader.readexactly(min(int(lengths[0]), _MOST_REFUSAL))
    return await reader.read(_MOST_REFUSAL)


class _Connection:
    """To the other server. As a body it has nothing, and discarding it closes the connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes both ways until either side has ended; what the other server said last still arrives."""
        assert self.writer is not None
        be_patient(writer)
        tasks = [
            asyncio.ensure_future(_copy(reader, self.writer)),
            asyncio.ensure_future(_copy(self.reader, writer)),
            asyncio.ensure_future(_lost(writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.aclose()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()


async def _lost(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await asyncio.shield(writer.wait_closed())
