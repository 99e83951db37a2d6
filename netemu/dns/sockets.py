"""DNS over UDP and TCP: datagrams and frames in, whatever `Answers` says out. Knows no names."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable

from netemu.dns import answering

BURST = 64  # datagrams before the event loop gets its turn again
IDLE = 10.0  # seconds that a TCP connection may say nothing (RFC 7766 6.2.3)
MOST_CONNECTIONS = 512
_BUFFER = 4 << 20
_IPV6_RECVPKTINFO, _IPV6_PKTINFO, _IP_PKTINFO = 49, 50, 8  # linux/in6.h, linux/in.h; not all in `socket`


def bound(kind: int, port: int, address: str = "::") -> socket.socket:
    """A socket of both families, or of IPv4 where the machine has no IPv6. OSError."""
    try:
        sock = socket.socket(socket.AF_INET6, kind)
    except OSError:
        sock, address = socket.socket(socket.AF_INET, kind), "0.0.0.0"
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    elif kind == socket.SOCK_DGRAM:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    sock.setblocking(False)
    sock.bind((address, port))
    return sock


class Datagrams:
    """Answers on a bound UDP socket, from the address that was asked."""

    def __init__(self, sock: socket.socket, answers: answering.Answers, tasks: asyncio.TaskGroup) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._sock = sock
        self._answers = answers
        self._tasks = tasks

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _read(self) -> None:
        for _ in range(BURST):
            try:
                data, about, _, peer = self._sock.recvmsg(4096, 128)
            except OSError:
                return
            reply = self._answers.reply(data)
            if isinstance(reply, bytes):
                self._send(reply, about, peer)
            elif reply is not None:
                self._tasks.create_task(self._send_later(reply, about, peer))

    async def _send_later(self, reply: Awaitable[bytes], about: Ancillary, peer: Peer) -> None:
        self._send(await reply, about, peer)

    def _send(self, reply: bytes, about: Ancillary, peer: Peer) -> None:
        # A client that is gone, or a full queue: he asks again, as after any lost datagram.
        with contextlib.suppress(OSError):
            self._sock.sendmsg([reply], [_as_source(*one) for one in about], 0, peer)


Ancillary = list[tuple[int, int, bytes]]
Peer = tuple[str, int] | tuple[str, int, int, int]


def _as_source(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """The address a datagram came to, as the one that the reply goes out from (ipv6(7), ip(7))."""
    if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
        return level, kind, data[:16] + bytes(4)  # on whatever link the route says
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        return level, kind, bytes(4) + data[4:8] + bytes(4)
    return level, kind, data


class Streams:
    """Answers on TCP connections: each message has its length before it (RFC 1035 4.2.2)."""

    def __init__(self, answers: answering.Answers) -> None:
        self._answers = answers
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection until it says nothing more."""
        self._open += 1
        try:
            if self._open <= MOST_CONNECTIONS:
                await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            self._open -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(length)
            reply = self._answers.reply(data, tcp=True)
            if reply is not None and not isinstance(reply, bytes):
                reply = await reply
            if reply is None:
                return
            writer.write(struct.pack("!H", len(reply)) + reply)
            async with asyncio.timeout(IDLE):
                await writer.drain()
