"""The Services of one node, from objects to the kernel. Knows what is programmed; not when to program.

The whole table is made anew at the start, after a failure, and when somebody else changed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from netemu.base import clock
from netemu.kernel import conntrack, firewall
from netemu.kubeproxy import (
    affinity,
    audit,
    changes,
    endpoints,
    health,
    layout,
    ledger,
    metrics,
    plan,
    services,
    stale,
)
from netemu.wire import nft

_UNKNOWN = layout.INTERVALS | affinity.DYNAMIC  # what these hold is not compared


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Plans are many small tuples and no cycles: the collector would take as long again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Generations(Protocol):
    """Counts transactions of everybody in the namespace."""

    def current(self) -> int: ...


class Doors(NamedTuple):
    """The namespace that is served: its packet filter, its tracked flows, and who else changes it."""

    firewall: firewall.Firewall
    tracking: conntrack.Conntrack
    counting: Generations


class Proxy:
    """The Services of one node, from objects to the kernel. `sync` makes the tables what the objects say."""

    def __init__(
        self,
        node: str,
        doors: Doors,
        surroundings: dict[str, layout.Surroundings],
        time: clock.Clock,
    ) -> None:
        self.changes = changes.Changes()
        self.metrics = metrics.Metrics()
        self.checks: dict[services.Key, health.Check] = {}  # as of the last sync
        self._door, self._tracking, self._generations = doors
        self._time = time
        self._surroundings = surroundings
        self._topology = endpoints.Topology(node)
        self._ledger = ledger.Ledger(node)
        self._tables = ledger.Tables(surroundings)
        self._identities = itertools.count(1)
        self._whole = True
        self._trusted: int | None = None  # the generation whose tables are known to be ours
        self._busy = asyncio.Lock()  # planning, applying and checking see one state of the books

    @property
    def pending(self) -> bool:
        return self._whole or bool(self.changes)

    def start_over(self) -> None:
        """The next sync makes the tables anew, whatever they hold."""
        self._whole = True

    def surround(self, surroundings: dict[str, layout.Surroundings]) -> None:
        """The node or the cluster is otherwise than it was."""
        if surroundings != self._surroundings:
            self._surroundings = surroundings
            self._tables = ledger.Tables(surroundings)
            self.start_over()

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
            began, extent = self._time.monotonic(), "full" if self._whole else "partial"
            with _without_collector():
                transactions, affected, count = self._everything() if self._whole else self._changed()
                document = "".join(map(str, transactions))
            self._whole = False
            if not transactions:
                return 0
            try:
                await asyncio.to_thread(self._apply, document, affected)
            except BaseException:
                self._whole = True  # the book says more than the kernel has
                self.metrics.add("sync_proxy_rules_nftables_sync_failures_total")
                raise
            took = self._time.monotonic() - began
            self.metrics.observe("sync_proxy_rules_duration_seconds", took)
            self.metrics.observe(f"sync_{extent}_proxy_rules_duration_seconds", took)
            return count

    async def check(self) -> bool:
        """Whether the tables still are what we made them. Cheap while nobody else changed any table."""
        async with self._busy:
            return self._whole or await asyncio.to_thread(self._intact)

    def no_local(self) -> dict[tuple[str, str], int]:
        """Service ports with a Local policy and backends only elsewhere, by family and policy."""
        found: dict[tuple[str, str], int] = {}
        for _, wanted in self._ledger.items():
            for placement in wanted.placements:
                if placement.local or not placement.cluster:
                    continue
                family = "IPv6" if placement.family is layout.IP6 else "IPv4"
                for policy, local in (
                    ("internal", wanted.service.internal_local),
                    ("external", wanted.service.external_local),
                ):
                    if local:
                        found[family, policy] = found.get((family, policy), 0) + 1
        return found

    def _check(self, key: services.Key, state: changes.State) -> None:
        check = health.check(state, self._topology.node)
        if check is not None:
            self.checks[key] = check
        else:
            self.checks.pop(key, None)

    def _everything(self) -> tuple[tuple[nft.Transaction, ...], stale.Live, int]:
        self._ledger = ledger.Ledger(self._topology.node)
        states = self.changes.everything()
        self.checks.clear()
        for key, state in states.items():
            self._check(key, state)
        wanted = {
            key: plan.place(state, self._topology, None, self._identities) for key, state in states.items()
        }
        added = self._ledger.fill(wanted)
        return self._tables.fresh(added), stale.live(self._ledger, wanted.values()), len(added)

    def _changed(self) -> tuple[tuple[nft.Transaction, ...], stale.Live, int]:
        taken = self.changes.take()
        for key, change in taken.items():
            self._check(key, change.current)
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
            began = self._time.monotonic()
            flows = stale.flows(self._tracking.flows(conntrack.UDP), affected)
            self._tracking.forget(flows)
            self.metrics.add("conntrack_reconciler_deleted_entries_total", len(flows))
            took = self._time.monotonic() - began
            self.metrics.observe("conntrack_reconciler_sync_duration_seconds", took)

    def _intact(self) -> bool:
        now = self._generations.current()
        if now == self._trusted:
            return True
        chains = {family: self._tables.rules(family) for family in layout.FAMILIES}
        try:
            listings = {f: audit.contents(self._door.list_json, f, chains[f]) for f in layout.FAMILIES}
        except firewall.FirewallError:
            return False
        held: dict[layout.Family, list[nft.Element]] = {family: [] for family in layout.FAMILIES}
        for family, element in self._ledger.elements():
            held[family].append(element)
        if not all(
            audit.same(listing, held[family], chains[family], _UNKNOWN)
            for family, listing in listings.items()
        ):
            return False
        self._trusted = now  # what came after it was read is looked at next time
        return True
