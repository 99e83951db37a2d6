"""The cluster's name server as a program: follows the API, answers on port 53, says whether it is ready.

Built to be the container `coredns`: same ports, same paths. The Corefile is not read; what kubeadm's says is
what this does (`kubernetes … pods insecure`, `forward . /etc/resolv.conf`, `loadbalance`, `health`, `ready`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netemu.api import core, discovery
from netemu.base import backoff, clock, errors
from netemu.client import api, connect, informers
from netemu.dns import answering, cluster, forward, sockets
from netemu.http import messages, server

HEALTH_PORT, READY_PORT, METRICS_PORT = 8080, 8181, 9153
_log = logging.getLogger("dns")


class Options(NamedTuple):
    """`zone` is the cluster's; `upstreams` are asked for all else, none: what resolv.conf says."""

    zone: str = "cluster.local"
    port: int = 53
    upstreams: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """The program. Ends with 0 on SIGTERM, 1 when it cannot start. Flags: `parse`."""
    line = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line)
    try:
        options = parse(argv[1:])
        asyncio.run(_run_until_stopped(options))
    except (errors.NetemuError, OSError, ValueError) as error:
        print(f"coredns: {error}", file=sys.stderr)
        return 1
    return 0


def parse(args: Sequence[str]) -> Options:
    """-zone, -dns.port, -upstream (repeatable), -conf (not read); spelled as Go's flags are. ValueError."""
    options = Options()
    words = iter(args)
    for word in words:
        name, _, value = word.lstrip("-").partition("=")
        value = value or next(words, "")
        if name == "zone":
            options = options._replace(zone=value)
        elif name == "dns.port":
            options = options._replace(port=int(value))
        elif name == "upstream":
            options = options._replace(upstreams=(*options.upstreams, value))
        elif name != "conf":
            raise ValueError(f"flag provided but not defined: -{name}")
    return options


async def _run_until_stopped(options: Options) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with connect.in_cluster(user_agent="coredns") as client:
        serving = asyncio.create_task(serve(client, options, clock.SystemClock()))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def serve(client: api.Client, options: Options, clock: clock.Clock) -> None:
    """Answer for ever. OSError when a port is taken."""
    known = cluster.Cluster(options.zone)
    given = tuple(forward.Server(address) for address in options.upstreams)
    answers = answering.Answers(known, given or forward.read())
    datagrams = sockets.bound(socket.SOCK_DGRAM, options.port)
    stream = sockets.bound(socket.SOCK_STREAM, options.port)
    pages = {
        HEALTH_PORT: lambda: _page(good=True),
        READY_PORT: lambda: _page(good=answers.synced),
        METRICS_PORT: lambda: messages.Response(
            200, (("content-type", "text/plain"),), metrics(answers).encode()
        ),
    }
    async with asyncio.TaskGroup() as tasks:
        udp = sockets.Datagrams(datagrams, answers, tasks)
        udp.start()
        tcp = await asyncio.start_server(sockets.Streams(answers).serve, sock=stream, backlog=256)
        for port, page in pages.items():
            await server.serve(_handler(page), [_listening(port)])
        try:
            await _follow(client, known, answers, clock)
        finally:
            udp.close()
            tcp.close()


async def _follow(
    client: api.Client, known: cluster.Cluster, answers: answering.Answers, clock: clock.Clock
) -> None:
    held = informers.Informers(client, clock)
    subscribe(held, known)
    await _reach(client, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held.run())
        await held.synced()
        answers.synced = True
        _log.info("answering for zone=%s services=%d", known.zone, len(known.services))


def subscribe(held: informers.Informers, known: cluster.Cluster) -> None:
    """Let the API's objects become names."""

    def namespace(change: informers.Change[core.Namespace]) -> None:
        known.namespace(change.key.name, exists=change.current is not None)

    def service(change: informers.Change[core.Service]) -> None:
        current = cluster.parse_service(change.current) if change.current is not None else None
        known.service(change.key, current)

    def slice_(change: informers.Change[discovery.EndpointSlice]) -> None:
        previous = cluster.parse_slice(change.previous) if change.previous is not None else None
        current = cluster.parse_slice(change.current) if change.current is not None else None
        known.slice(change.key, previous, current)

    held.of(core.Namespace).subscribe(namespace)
    held.of(core.Service).subscribe(service)
    held.of(discovery.EndpointSlice).subscribe(slice_)


async def _reach(client: api.Client, clock: clock.Clock) -> None:
    """Wait until the API answers. Its Service's rules may come after this pod: a lost SYN costs a second."""
    retry = backoff.Backoff(0.02, limit=0.5)
    patience = 0.2
    while True:
        try:
            async with asyncio.timeout(patience):
                await messages.whole(await client.raw("GET", "/version"))
            return
        except (errors.Transient, TimeoutError):
            patience = min(patience * 1.5, 30.0)  # a slow machine may need seconds for its handshake
            await clock.sleep(retry.next())


def _listening(port: int) -> socket.socket:
    sock = sockets.bound(socket.SOCK_STREAM, port)
    sock.listen(64)
    return sock


def _handler(page: Callable[[], messages.Response]) -> server.Handler:
    async def handle(_: messages.Request) -> messages.Response:
        return page()

    return handle


def _page(*, good: bool) -> messages.Response:
    body = b"OK" if good else b"kubernetes"
    return messages.Response(200 if good else 503, (("content-type", "text/plain"),), body)


def metrics(answers: answering.Answers) -> str:
    """Counters in Prometheus' text format, with CoreDNS' names where they mean the same."""
    names = (("dns_requests", "requests"), ("cache_hits", "remembered"), ("forward_requests", "forwarded"))
    return "".join(
        f"# TYPE coredns_{name}_total counter\ncoredns_{name}_total {answers.counts[counter]}\n"
        for name, counter in names
    )
