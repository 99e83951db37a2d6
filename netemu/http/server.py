"""An HTTP/1.1 server: connections of one listener answered by one handler, within limits.

Knows framing, keep-alive, pipelining, limits and slow or lost clients. Knows no Kubernetes and raises
nothing at the handler: what breaks the protocol is answered (4xx) and the connection closed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from netemu.http import connections, messages

Handler = Callable[[messages.Request], Awaitable[messages.Response]]


def _plain(status: int, reason: str) -> messages.Response:
    body = f"{reason}\n".encode()
    return messages.Response(status, (("content-type", "text/plain; charset=utf-8"),), body)


@dataclass(frozen=True)
class Limits:
    """What one client may take. Sizes in bytes, times in seconds."""

    body: int = 3 << 20
    head: int = 64 << 10
    idle: float = 180.0
    request: float = 30.0
    write: float = 60.0
    linger: float = 1.0


class Server:
    """The listeners and connections of one `serve` call. It owns their tasks until `close`."""

    def __init__(
        self, handler: Handler, limits: Limits, refuse: Callable[[int, str], messages.Response]
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.refuse = refuse
        self.open: set[connections.Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self.closing = False

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept on a bound socket."""
        self._listeners.append(
            await asyncio.get_running_loop().create_server(
                lambda: connections.Connection(self),
                sock=sock,
                ssl=context,
                backlog=1024,
                ssl_handshake_timeout=10.0 if context else None,
                ssl_shutdown_timeout=1.0 if context else None,
            )
        )
        if self._sweeper is None:
            self._sweep()

    def addresses(self) -> tuple[tuple[str, int], ...]:
        """(address, port) of every listener."""
        return tuple(s.getsockname()[:2] for listener in self._listeners for s in listener.sockets)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self.open):
            if connection.deadline <= now:
                connection.expire()
        self._sweeper = loop.call_later(min(1.0, self.limits.request / 4), self._sweep)

    async def close(self, *, grace: float = 1.0) -> None:
        """Stop accepting, let answers under way finish for `grace` seconds, then end every connection."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self.open):
            connection.finish()
        if self.tasks and grace > 0:
            await asyncio.wait(self.tasks, timeout=grace)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in tuple(self.open):
            connection.abort()
        if self._sweeper:
            self._sweeper.cancel()
        await asyncio.sleep(0)


async def serve(
    handler: Handler,
    sockets: Sequence[socket.socket],
    ssl_context: ssl.SSLContext | None = None,
    *,
    limits: Limits | None = None,
    refuse: Callable[[int, str], messages.Response] = _plain,
) -> Server:
    """Answer every request on the bound `sockets` by `handler` until `close`.

    `refuse(status, reason)` renders what the server itself has to say (400, 408, 413, 431, 500).
    """
    server = Server(handler, limits or Limits(), refuse)
    for sock in sockets:
        await server.listen(sock, ssl_context)
    return server
