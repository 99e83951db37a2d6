"""The proxy's HTTP sockets: its health, its metrics, and a port for each Service that asks for one.

A port that is taken is said once and tried again with the next change; nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Iterable, Mapping

from netemu.api import meta
from netemu.base import clock
from netemu.http import messages, server
from netemu.kubeproxy import health, metrics, options

_log = logging.getLogger("kubeproxy")


class Listeners:
    """All servers of one proxy; `set_checks` says which health-check node ports are to be answered.

    `places` tells at which addresses, when it is asked: where node ports are. "::" is everywhere.
    """

    def __init__(
        self,
        state: health.Health,
        counted: metrics.Metrics,
        settings: options.Options,
        time: clock.Clock,
        *,
        gather: Callable[[], None],
        places: Callable[[], Iterable[str]] = lambda: ("::",),
    ) -> None:
        self._gather, self._places = gather, places
        self._health, self._metrics, self._options, self._time = state, counted, settings, time
        self._own: list[server.Server] = []
        self._open: dict[tuple[str, int], server.Server] = {}
        self._checks: dict[meta.Key, health.Check] = {}
        self._by_port: dict[int, meta.Key] = {}
        self._complained: set[int] = set()

    async def start(self) -> None:
        for address, answer in ((self._options.healthz, self._healthz), (self._options.metrics, self._admin)):
            if not address:
                continue
            try:
                self._own.append(await server.serve(answer, [_bound(*options.host_port(address))]))
            except OSError as error:
                _log.warning("cannot listen: %s address=%s", error.strerror or error, address)

    async def close(self) -> None:
        await asyncio.gather(*(one.close(grace=0) for one in (*self._own, *self._open.values())))

    async def set_checks(self, checks: Mapping[meta.Key, health.Check]) -> None:
        """These Services are asked about at these ports, and no others."""
        self._checks = dict(checks)
        self._by_port = {check.port: key for key, check in sorted(checks.items(), reverse=True)}
        wanted = set(itertools.product(self._places() if checks else (), self._by_port))
        for at in self._open.keys() - wanted:
            await self._open.pop(at).close(grace=0)
        for at in sorted(wanted - self._open.keys()):
            await self._listen(*at)

    async def _listen(self, host: str, port: int) -> None:
        async def answer(_: messages.Request) -> messages.Response:
            key = self._by_port[port]
            return health.served(key, self._checks[key], self._health.healthy(self._time.monotonic()))

        try:
            self._open[host, port] = await server.serve(answer, [_bound(host, port)])
            self._complained.discard(port)
        except OSError as error:
            if port not in self._complained:
                self._complained.add(port)
                key, why = self._by_port[port], error.strerror or error
                _log.warning("cannot listen for health checks: %s service=%s port=%d", why, key, port)

    async def _healthz(self, request: messages.Request) -> messages.Response:
        return health.healthz(self._health, self._metrics, request.path, self._time)

    async def _admin(self, request: messages.Request) -> messages.Response:
        self._gather()
        well = self._health.healthy(self._time.monotonic())
        return health.admin(request.path, self._metrics, self._options.document(), well)


def _bound(host: str, port: int) -> socket.socket:
    """Any address of both families for "::" and "0.0.0.0" alike. OSError."""
    host = "::" if host in ("", "0.0.0.0") else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
