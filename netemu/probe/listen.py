"""A server inside a namespace that answers like agnhost netexec: the far end of a probe where no pod is.

Its sockets are made in the namespace; it runs in the caller's event loop and ends with its `async with`.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import cast

from netemu.kernel import netns


@contextlib.asynccontextmanager
async def listening(place: netns.Place, port: int, name: str) -> AsyncIterator[None]:
    """Answer on TCP and UDP, IPv4 and IPv6, under the host name `name`. OSError when the port is taken."""
    tcp, udp = netns.call(place, _open, port)
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        for sock in (*tcp, *udp):
            stack.callback(sock.close)
        for sock in tcp:
            server = await asyncio.start_server(_Talk(name).serve, sock=sock)
            stack.callback(server.close)
        for sock in udp:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(name), sock=sock)
            stack.callback(transport.close)
        yield


class _Talk:
    """One HTTP conversation."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port, *_ = writer.get_extra_info("peername")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode(errors="replace")
                status, body = _answer(path.lstrip("/"), self.name, host, port)
                head_lines = (
                    f"HTTP/1.1 {status}",
                    "Content-Type: text/plain",
                    f"Content-Length: {len(body)}",
                )
                writer.write(("\r\n".join((*head_lines, "", "")) + body).encode())
                await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    """netexec's UDP commands."""

    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        _, body = _answer(data.decode(errors="replace").strip(), self.name, addr[0], addr[1])
        self.transport.sendto(body.encode(), addr)


def _answer(command: str, name: str, host: str, port: int) -> tuple[str, str]:
    match command.split():
        case ["hostname"]:
            return "200 OK", name
        case ["clientip"]:
            return "200 OK", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case ["echo", *words]:
            return "200 OK", " ".join(words)
    return "404 Not Found", "unknown command\n"


def _open(port: int) -> tuple[list[socket.socket], list[socket.socket]]:
    opened: dict[int, list[socket.socket]] = {socket.SOCK_STREAM: [], socket.SOCK_DGRAM: []}
    try:
        for kind, of_kind in opened.items():
            for family in (socket.AF_INET, socket.AF_INET6):
                sock = socket.socket(family, kind)
                of_kind.append(sock)
                sock.setblocking(False)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    except BaseException:
        for sock in (*opened[socket.SOCK_STREAM], *opened[socket.SOCK_DGRAM]):
            sock.close()
        raise
    return opened[socket.SOCK_STREAM], opened[socket.SOCK_DGRAM]
