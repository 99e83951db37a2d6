"""When the proxy works: follows Services and EndpointSlices, programs what changed. Knows no nft and no rule.

The first change of a quiet time is programmed at once; what comes meanwhile or shortly after goes together.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Iterable

from netemu.api import core, discovery, meta, wellknown
from netemu.base import backoff, clock, errors
from netemu.client import api, informers
from netemu.kernel import conntrack, firewall, linux, network, touches
from netemu.kernel import operations as ops
from netemu.kubeproxy import (
    affinity,
    endpoints,
    health,
    layout,
    listeners,
    metrics,
    options,
    programs,
    proxy,
    services,
)

BREATHER = 0.02  # seconds between two transactions while changes keep coming
CHECK_INTERVAL = 5.0  # seconds between looks at whether the tables are still ours
CHECK_SHARE = 0.02  # of the time, at most: where others change the packet filter often all must be read
_NOT_HEADLESS = "!service.kubernetes.io/headless"  # nobody sends through the proxy to those
_log = logging.getLogger("kubeproxy")


async def run(
    client: api.Client,
    node_name: str,
    door: firewall.Firewall,
    clock: clock.Clock,
    cluster_cidrs: Iterable[str],
    *,
    service_cidrs: Iterable[str] = (),
    settings: options.Options | None = None,
    tracking: conntrack.Conntrack | None = None,
    touching: programs.Touches | None = None,
    system: network.Network | None = None,
) -> None:
    """Serve Services on this node for ever. Sources outside `cluster_cidrs` are no pods, and masqueraded.

    New connections to addresses in `service_cidrs` which no Service has are dropped. `settings` has the rest
    of what may be chosen. `tracking` and `touching` are of the namespace that `door` filters (None: the
    caller's). `system` gets kube-proxy's sysctls (None: they are left alone).
    """
    chosen = (settings or options.Options())._replace(
        cluster_cidrs=tuple(cluster_cidrs), service_cidrs=tuple(service_cidrs)
    )
    around = options.surroundings(options.check(chosen), None)
    program: programs.Program
    if chosen.mode == "iptables":
        program = programs.Iptables(around, system=system)
    else:
        program = programs.Nftables(door, touching or touches.Touches(layout.TABLES), around)
    tracked = tracking or conntrack.NetlinkConntrack()
    one = proxy.Proxy(node_name, program, tracked, around, clock)
    loop = _Loop(one, clock, chosen)
    held = informers.Informers(client, clock)
    loop.listen(held, node_name)
    if system is not None:
        _settle(system, chosen, tracked)
    places = functools.partial(_places, one, system)
    ports = listeners.Listeners(loop.health, one.metrics, chosen, clock, gather=loop.gather, places=places)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(held.run())
            await ports.start()
            await held.synced()  # nothing is programmed from half of the objects
            if informers.Key("", node_name) not in held.of(core.Node, fields=_named(node_name)).objects:
                _log.warning("there is no Node %s: no endpoint is local to it", node_name)
            tasks.create_task(loop.watch_over())
            await loop.program(ports)
    finally:
        await ports.close()


def _settle(system: network.Network, chosen: options.Options, tracked: conntrack.Conntrack) -> None:
    """A kernel without connection tracking has no such settings; where it is a module that nobody has used
    yet, they come when it is asked for connections.
    """
    wanted = [ops.SetSysctl(key, value) for key, value in options.sysctls(chosen)]
    try:
        system.apply(wanted[:1])
    except linux.KernelError:
        with contextlib.suppress(linux.KernelError, OSError):
            tracked.flows(socket.IPPROTO_TCP)
    for one in wanted:
        try:
            system.apply((one,))
        except linux.KernelError as refusal:
            _log.warning("%s", refusal)


def _places(one: proxy.Proxy, system: network.Network | None) -> tuple[str, ...]:
    """Where node ports are, and so ports for health checks: at the node's addresses, or chosen ones."""
    around = one.surroundings.values()
    if system is None or all(of.node_ports is None for of in around):
        return ("::",)
    own = sorted({str(held.ip.ip) for held in system.observe().addresses})
    return tuple(address for of in around for address in options.taking(of, own))


def _named(node: str) -> str:
    return f"metadata.name={node}"


def _revision(object_: core.Service | discovery.EndpointSlice | None) -> int:
    text = object_.metadata.resourceVersion if object_ is not None else ""
    return int(text) if text.isdigit() else 0


class _Loop:
    """What wakes the proxy up, and what is told of it."""

    def __init__(self, one: proxy.Proxy, time: clock.Clock, chosen: options.Options) -> None:
        self.health = health.Health()
        self._proxy, self._clock, self._options = one, time, chosen
        self._wake = asyncio.Event()
        self._crowded: set[meta.Key] = set()
        self._seen = (0, 0)  # revisions of Services and of EndpointSlices
        self._triggers: list[float] = []  # when endpoints changed that are not programmed yet, unix seconds

    def listen(self, held: informers.Informers, node_name: str) -> None:
        name = self._options.service_proxy_name
        ours = f"{wellknown.PROXY_NAME}={name}" if name else f"!{wellknown.PROXY_NAME}"
        held.of(core.Service, labels=ours).subscribe(self._service)
        held.of(discovery.EndpointSlice, labels=_NOT_HEADLESS).subscribe(self._slice)
        held.of(core.Node, fields=_named(node_name)).subscribe(self._node)

    def _service(self, change: informers.Change[core.Service]) -> None:
        name = self._options.service_proxy_name
        current = services.parse(change.current, name) if change.current is not None else None
        self._proxy.changes.service(change.key, current)
        self._seen = (max(self._seen[0], _revision(change.current)), self._seen[1])
        self._queued("service")

    def _slice(self, change: informers.Change[discovery.EndpointSlice]) -> None:
        previous = endpoints.parse(change.previous) if change.previous is not None else None
        current = endpoints.parse(change.current) if change.current is not None else None
        self._proxy.changes.slice(change.key.name, previous, current)
        self._seen = (self._seen[0], max(self._seen[1], _revision(change.current)))
        if change.current is not None and self.health.updated is not None:
            self._note(change.current.metadata.annotations.get(wellknown.TRIGGER_TIME, ""))
        self._queued("endpoint")

    def _note(self, trigger: str) -> None:
        try:
            self._triggers.append(clock.parse_rfc3339(trigger))
        except ValueError:
            return

    def _node(self, change: informers.Change[core.Node]) -> None:
        self.health.see(change.current)
        if change.current is not None:
            self._proxy.move(change.current.metadata.labels.get(wellknown.ZONE, ""))
            self._proxy.surround(options.surroundings(self._options, change.current))
            self._wake.set()

    def _queued(self, what: str) -> None:
        counted, now = self._proxy.metrics, self._clock.now()
        counted.add(f"sync_proxy_rules_{what}_changes_total")
        counted.add(f"sync_proxy_rules_{what}_changes_pending")
        counted.set("sync_proxy_rules_last_queued_timestamp_seconds", now)
        self.health.queued(self._clock.monotonic())
        self._wake.set()

    def _done(self) -> None:
        counted, now = self._proxy.metrics, self._clock.now()
        for what in ("service", "endpoint"):
            counted.set(f"sync_proxy_rules_{what}_changes_pending", 0)
        counted.set("sync_proxy_rules_last_timestamp_seconds", now)
        for trigger in self._triggers:
            counted.observe("network_programming_duration_seconds", max(0.0, now - trigger))
        self._triggers.clear()
        self.health.programmed = self._seen
        self.health.synced(now)

    def _complain(self) -> None:
        """Once of each: what cannot be done."""
        for key in sorted(self._proxy.crowded - self._crowded):
            limit = affinity.SIZE_LIMIT
            _log.warning("session affinity draws from %d backends and no more: service=%s", limit, key)
        self._crowded = set(self._proxy.crowded)

    def gather(self) -> None:
        """Count what is only counted when somebody asks."""
        metrics.no_local(self._proxy.no_local(), self._proxy.metrics)
        metrics.rules(*self._proxy.rules(), self._proxy.metrics)

    async def program(self, ports: listeners.Listeners) -> None:
        """For ever: what is pending, at once after quiet, together while changes keep coming."""
        retry = backoff.Backoff(0.05, limit=10.0)
        while True:
            self._wake.clear()
            began = self._clock.monotonic()
            try:
                count = await self._proxy.sync() if self._proxy.pending else 0
            except errors.NetemuError as error:
                wait = retry.next()
                _log.warning("programming Services failed: %s retry=%.3gs", error, wait)
                await self._clock.sleep(wait)
                continue
            retry.reset()
            took = self._clock.monotonic() - began
            if not self._proxy.pending:
                self._done()
            self._complain()
            await ports.set_checks(self._proxy.checks)
            if count:
                _log.debug("programmed elements=%d seconds=%.4f", count, took)
                await self._clock.sleep(max(BREATHER, took))  # at most half of the time is spent programming
            await self._wake.wait()

    async def watch_over(self) -> None:
        """For ever: whether the tables are as they should be. Others change them, nodes their addresses."""
        took = 0.0
        while True:
            await self._clock.sleep(max(CHECK_INTERVAL, took / CHECK_SHARE))
            began = self._clock.monotonic()
            intact = await self._proxy.check()
            took = self._clock.monotonic() - began
            if not intact:
                _log.warning("the Service tables are not what they should be: making them anew")
                self._proxy.start_over()
                self._wake.set()
