"""When the proxy works: follows Services and EndpointSlices, programs what changed. Knows no nft and no rule.

The first change of a quiet time is programmed at once; what comes meanwhile or shortly after goes together.
The whole table is made anew at the start, after a failure, and when somebody else changed it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Protocol

from netemu.api import core, discovery
from netemu.base import backoff, clock, errors
from netemu.client import api, informers
from netemu.kernel import conntrack, firewall, generations
from netemu.kubeproxy import affinity, audit, changes, endpoints, layout, ledger, plan, services, stale
from netemu.wire import nft

BREATHER = 0.02  # seconds between two transactions while changes keep coming
CHECK_INTERVAL = 5.0  # seconds between looks at whether the tables are still ours
ZONE_LABEL = "topology.kubernetes.io/zone"
_OURS = f"!{services.NAME_LABEL}"
_NOT_HEADLESS = "!service.kubernetes.io/headless"  # nobody sends through the proxy to those
_UNKNOWN = layout.INTERVALS | affinity.DYNAMIC  # what these hold is not compared
_log = logging.getLogger("kubeproxy")


class Generations(Protocol):
    """Counts transactions of everybody in the namespace."""

    def current(self) -> int: ...


class Proxy:
    """The Services of one node, from objects to the kernel. `sync` makes the tables what the objects say."""

    def __init__(
        self,
        node: str,
        door: firewall.Firewall,
        tracking: conntrack.Conntrack,
        counting: Generations,
        surroundings: dict[str, layout.Surroundings],
    ) -> None:
        self.changes = changes.Changes()
        self._door = door
        self._tracking = tracking
        self._surroundings = surroundings
        self._topology = endpoints.Topology(node)
        self._ledger = ledger.Ledger(node)
        self._tables = ledger.Tables(surroundings)
        self._identities = itertools.count(1)
        self._whole = True
        self._generations = counting
        self._trusted: int | None = None  # the generation whose tables are known to be ours
        self._busy = asyncio.Lock()  # planning, applying and checking see one state of the books

    @property
    def pending(self) -> bool:
        return self._whole or bool(self.changes)

    def start_over(self) -> None:
        """The next sync makes the tables anew, whatever they hold."""
        self._whole = True

    def move(self, zone: str) -> None:
        """The node is in that zone: every choice may be another. Clients keep their affinity."""
        if zone != self._topology.zone:
            self._topology = self._topology._replace(zone=zone)
            self.changes.touch()

    async def sync(self) -> int:
        """Program what is pending; how many elements that were. Transient when the kernel refused.

        Planning happens here, in one go; only the kernel's work is given to a thread.
        """
        async with self._busy:
            transactions, affected, count = self._everything() if self._whole else self._changed()
            self._whole = False
            if not transactions:
                return 0
            try:
                await asyncio.to_thread(self._apply, "".join(map(str, transactions)), affected)
            except BaseException:
                self._whole = True  # the book says more than the kernel has
                raise
            return count

    async def check(self) -> bool:
        """Whether the tables still are what we made them. Cheap while nobody else changed any table."""
        async with self._busy:
            return self._whole or await asyncio.to_thread(self._intact)

    def _everything(self) -> tuple[tuple[nft.Transaction, ...], stale.Live, int]:
        self._ledger = ledger.Ledger(self._topology.node)
        states = self.changes.everything()
        wanted = {
            key: plan.place(state, self._topology, None, self._identities) for key, state in states.items()
        }
        added = self._ledger.fill(wanted)
        return self._tables.fresh(added), stale.live(self._ledger, wanted.values()), len(added)

    def _changed(self) -> tuple[tuple[nft.Transaction, ...], stale.Live, int]:
        taken = self.changes.take()
        before = {key: self._ledger.get(key) for key in taken}
        wanted = {
            key: plan.place(change.current, self._topology, before[key], self._identities)
            for key, change in taken.items()
        }
        difference = self._ledger.update(wanted)
        affected = stale.live(self._ledger, (*before.values(), *wanted.values())) if difference else {}
        count = len(difference.deleted) + len(difference.added)
        return self._tables.change(difference), affected, count

    def _apply(self, document: str, affected: stale.Live) -> None:
        before = self._generations.current()
        self._door.apply(document)
        if self._trusted in (before, None) and self._generations.current() == before + 1:
            self._trusted = before + 1  # else somebody else's transaction is among them
        # Tracked flows go after the rules: a packet in flight would learn the old translation again.
        if affected:
            self._tracking.forget(stale.flows(self._tracking.flows(conntrack.UDP), affected))

    def _intact(self) -> bool:
        now = self._generations.current()
        if now == self._trusted:
            return True
        try:
            listings = {f: self._door.list_json(f"list table {f.table}") for f in layout.FAMILIES}
        except firewall.FirewallError:
            return False
        held: dict[layout.Family, list[nft.Element]] = {family: [] for family in layout.FAMILIES}
        for family, element in self._ledger.elements():
            held[family].append(element)
        if not all(
            audit.same(listing, held[family], self._tables.rules(family), _UNKNOWN)
            for family, listing in listings.items()
        ):
            return False
        self._trusted = now  # what came after it was read is looked at next time
        return True


async def run(
    client: api.Client,
    node_name: str,
    door: firewall.Firewall,
    clock: clock.Clock,
    cluster_cidrs: Iterable[str],
    *,
    service_cidrs: Iterable[str] = (),
    tracking: conntrack.Conntrack | None = None,
    counting: Generations | None = None,
) -> None:
    """Serve Services on this node for ever. Sources outside `cluster_cidrs` are no pods, and masqueraded.

    New connections to addresses in `service_cidrs` which no Service has are dropped. `tracking` and
    `counting` are of the namespace that `door` filters (None: the caller's).
    """
    proxy = Proxy(
        node_name,
        door,
        tracking if tracking is not None else conntrack.NetlinkConntrack(),
        counting if counting is not None else generations.Generations(),
        surroundings(tuple(cluster_cidrs), tuple(service_cidrs)),
    )
    held = informers.Informers(client, clock)
    wake = asyncio.Event()
    _listen(held, node_name, proxy, wake)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held.run())
        await held.synced()  # nothing is programmed from half of the objects
        tasks.create_task(_watch_over(proxy, clock, wake))
        await _program(proxy, clock, wake)


def surroundings(pods: Sequence[str], service_ranges: Sequence[str]) -> dict[str, layout.Surroundings]:
    """Ranges by family name. ValueError for what is no network."""
    nets, ranges = [ip_network(p) for p in pods], [ip_network(s) for s in service_ranges]
    return {
        family.name: layout.Surroundings(
            tuple(str(n) for n in nets if n.version == version),
            tuple(str(n) for n in ranges if n.version == version),
        )
        for family, version in ((layout.IP, 4), (layout.IP6, 6))
    }


def _listen(held: informers.Informers, node_name: str, proxy: Proxy, wake: asyncio.Event) -> None:
    def service(change: informers.Change[core.Service]) -> None:
        current = services.parse(change.current) if change.current is not None else None
        proxy.changes.service(services.Key(*change.key), current)
        wake.set()

    def slice_(change: informers.Change[discovery.EndpointSlice]) -> None:
        previous = endpoints.parse(change.previous) if change.previous is not None else None
        current = endpoints.parse(change.current) if change.current is not None else None
        proxy.changes.slice(change.key.name, previous, current)
        wake.set()

    def node(change: informers.Change[core.Node]) -> None:
        if change.current is not None:
            proxy.move(change.current.metadata.labels.get(ZONE_LABEL, ""))
            wake.set()

    held.of(core.Service, labels=_OURS).subscribe(service)
    held.of(discovery.EndpointSlice, labels=_NOT_HEADLESS).subscribe(slice_)
    held.of(core.Node, fields=f"metadata.name={node_name}").subscribe(node)


async def _program(proxy: Proxy, clock: clock.Clock, wake: asyncio.Event) -> None:
    retry = backoff.Backoff(0.05, limit=10.0)
    while True:
        wake.clear()
        began = clock.monotonic()
        try:
            count = await proxy.sync() if proxy.pending else 0
        except errors.NetemuError as error:
            wait = retry.next()
            _log.warning("programming Services failed: %s retry=%.3gs", error, wait)
            await clock.sleep(wait)
            continue
        retry.reset()
        took = clock.monotonic() - began
        if count:
            _log.debug("programmed elements=%d seconds=%.4f", count, took)
            await clock.sleep(max(BREATHER, took))  # at most half of the time is spent programming
        await wake.wait()


async def _watch_over(proxy: Proxy, clock: clock.Clock, wake: asyncio.Event) -> None:
    while True:
        await clock.sleep(CHECK_INTERVAL)
        if not await proxy.check():
            _log.warning("the Service tables were changed by somebody else: making them anew")
            proxy.start_over()
            wake.set()
