"""What a node's enforcer tells: drops as they happen, metrics when somebody asks. Knows no rule.

Drops come from the kernel's log group, are explained, and go to the board; metrics go over HTTP.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from netemu.base import clock, errors
from netemu.http import messages, server
from netemu.kernel import logged
from netemu.netpol import board
from netemu.wire import nflog

if TYPE_CHECKING:
    from netemu.netpol import drops

_log = logging.getLogger("netpol")
# To explain a packet takes a millisecond, and longer on a busy machine: half of the time is for the rest.
_AT_ONCE, _PAUSE = 10, 0.01  # packets, seconds
_WAITING = 1000  # packets; earlier ones are lost then, which a log may do


class Teller:
    """`known` gives what is known about two addresses; `loud`: each drop is a line of the log, too."""

    def __init__(
        self, node: str, known: Callable[[str, str], drops.Known], time: clock.Clock, *, loud: bool = False
    ) -> None:
        self.board = board.Board()
        self._node, self._known, self._clock, self._loud = node, known, time, loud
        self._waiting: collections.deque[nflog.Logged] = collections.deque(maxlen=_WAITING)
        self._busy = False

    def listen(self, log: logged.Log) -> None:
        """Hear of dropped packets from now on."""
        asyncio.get_running_loop().add_reader(log.fileno(), self._receive, log)

    def _receive(self, log: logged.Log) -> None:
        self._waiting.extend(log.receive())
        if self._waiting and not self._busy:
            self._busy = True
            self._explain()

    def _explain(self) -> None:
        """A few of those that wait; the others after what else the node does, as saying that it lives."""
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            self._tell(self._waiting.popleft())
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_later(_PAUSE, self._explain)

    def _tell(self, one: nflog.Logged) -> None:
        from netemu.netpol import drops  # and with it the model: most nodes never drop anything

        flow = nflog.flow(one.payload)
        if flow is None:
            return
        known = self._known(flow.source, flow.destination)
        drop = drops.explain(known, self._node, one._replace(at=one.at or self._clock.now()))
        if drop is not None:
            document = drop.document()
            self.board.put(document)
            if self._loud:
                _log.info("dropped %s", drops.line(document))

    async def serve_metrics(self, address: str, read: Callable[[], Awaitable[str]]) -> server.Server | None:
        """/metrics at address:port; None when that cannot be listened at, which is said."""

        async def answer(request: messages.Request) -> messages.Response:
            if request.path != "/metrics":
                return messages.Response(404, (), b"")
            try:
                body = (await read()).encode()
            except errors.NetemuError as error:
                return messages.Response(500, (), str(error).encode())
            return messages.Response(200, (("content-type", "text/plain; version=0.0.4"),), body)

        host, _, port = address.rpartition(":")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            bound = socket.create_server((host.strip("[]"), int(port)), family=family)
            return await server.serve(answer, [bound])
        except OSError as error:
            _log.warning("cannot listen: %s address=%s", error.strerror or error, address)
            return None
