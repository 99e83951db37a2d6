"""The Services of one node, from objects to the kernel. Knows what is programmed; not when to program.

The whole table is made anew at the start, after a failure, and when somebody else changed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from netemu.api import meta
from netemu.base import clock
from netemu.kernel import conntrack
from netemu.kubeproxy import (
    affinity,
    changes,
    endpoints,
    health,
    layout,
    ledger,
    metrics,
    plan,
    programs,
    stale,
)

_FAILURES = {
    "nftables": "sync_proxy_rules_nftables_sync_failures_total",
    "iptables": "sync_proxy_rules_iptables_restore_failures_total",
}


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


class Proxy:
    """The Services of one node, from objects to the kernel. `sync` makes the tables what the objects say."""

    def __init__(
        self,
        node: str,
        program: programs.Program,
        tracking: conntrack.Conntrack,
        surroundings: dict[str, layout.Surroundings],
        time: clock.Clock,
    ) -> None:
        """`program` is how Services are brought into the kernel; `tracking` its flows."""
        self.changes = changes.Changes()
        self.metrics = metrics.Metrics()
        self.checks: dict[meta.Key, health.Check] = {}  # as of the last sync
        self.crowded: set[meta.Key] = set()  # sticky, with backends that nobody is sent to
        self._tracking, self._program = tracking, program
        self._time = time
        self.surroundings = surroundings
        self._topology = endpoints.Topology(node)
        self._ledger = ledger.Ledger(node)
        self._identities = itertools.count(1)
        self._past: Mapping[str, affinity.Numbers] | None = None  # of a proxy that was here before
        self._whole = True
        self._busy = asyncio.Lock()  # planning, applying and checking see one state of the books

    @property
    def mode(self) -> str:
        return self._program.mode

    @property
    def pending(self) -> bool:
        return self._whole or bool(self.changes)

    def start_over(self) -> None:
        """The next sync makes the tables anew, whatever they hold."""
        self._whole = True

    def surround(self, surroundings: dict[str, layout.Surroundings]) -> None:
        """The node or the cluster is otherwise than it was."""
        if surroundings != self.surroundings:
            self.surroundings = surroundings
            self._program.surround(surroundings)
            self.start_over()

    def move(self, zone: str) -> None:
        """The node is in that zone: every choice may be another. Clients keep their affinity."""
        if zone != self._topology.zone:
            self._topology = self._topology._replace(zone=zone)
            self.changes.touch()

    async def sync(self) -> int:
        """Program what is pending; how much that was. Transient when the kernel refused.

        Planning happens here, in one go; the kernel's work, and the text for it, are given to a thread.
        """
        async with self._busy:
            if self._past is None:
                self._past = await asyncio.to_thread(self._program.recall)
                self._identities = itertools.count(
                    1 + max((n.identity for n in self._past.values()), default=0)
                )
            began, extent = self._time.monotonic(), "full" if self._whole else "partial"
            with _without_collector():
                planned, affected, count = self._everything() if self._whole else self._changed()
            self._whole = False
            if not planned:
                return 0
            try:
                with _without_collector():
                    await asyncio.to_thread(self._apply, planned, affected)
            except BaseException:
                self._whole = True  # the book says more than the kernel has
                self.metrics.add(_FAILURES[self.mode])
                if (extent, self.mode) == ("partial", "iptables"):
                    self.metrics.add("sync_proxy_rules_iptables_partial_restore_failures_total")
                raise
            took = self._time.monotonic() - began
            self.metrics.observe("sync_proxy_rules_duration_seconds", took)
            self.metrics.observe(f"sync_{extent}_proxy_rules_duration_seconds", took)
            return count

    async def check(self) -> bool:
        """Whether the tables still are what we made them. With nftables cheap while nobody touched them."""
        async with self._busy:
            return self._whole or await asyncio.to_thread(self._program.intact, self._ledger)

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

    def rules(self) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
        """In iptables mode: how many rules there are, and were written last, by family and table."""
        if not isinstance(self._program, programs.Iptables):
            return {}, {}
        return self._program.owned(self._ledger), self._program.written

    def _check(self, key: meta.Key, state: changes.State) -> None:
        check = health.check(state, self._topology.node)
        if check is not None:
            self.checks[key] = check
        else:
            self.checks.pop(key, None)

    def _everything(self) -> tuple[Any, stale.Live, int]:
        own = tuple(address for around in self.surroundings.values() for address in around.addresses)
        before, self._ledger = self._ledger, ledger.Ledger(self._topology.node, own)
        past, identities = self._past or {}, self._identities
        states = self.changes.everything()
        self.checks.clear()
        for key, state in states.items():
            self._check(key, state)
        wanted = {
            key: plan.place(state, self._topology, before.get(key), identities, past)
            for key, state in states.items()
        }
        self.crowded = {key for key, one in wanted.items() if one is not None and plan.crowded(one)}
        added = self._ledger.fill(wanted)
        planned = self._program.fresh(self._ledger, added)
        return planned, stale.live(self._ledger, wanted.values()), len(wanted)

    def _changed(self) -> tuple[Any, stale.Live, int]:
        taken = self.changes.take()
        for key, change in taken.items():
            self._check(key, change.current)
        before = {key: self._ledger.get(key) for key in taken}
        wanted = {
            key: plan.place(change.current, self._topology, before[key], self._identities, self._past or {})
            for key, change in taken.items()
        }
        for key, one in wanted.items():
            (self.crowded.add if one is not None and plan.crowded(one) else self.crowded.discard)(key)
        difference = self._ledger.update(wanted)
        replaced = {key: (before[key], wanted[key]) for key in taken}
        affected: stale.Live = {}
        if difference:
            changed = stale.live(self._ledger, (*before.values(), *wanted.values()))
            grown = stale.grown(self._ledger, replaced)
            affected = {at: backends for at, backends in changed.items() if at not in grown}
        count = len(difference.deleted) + len(difference.added)
        return self._program.change(self._ledger, difference, replaced), affected, count

    def _apply(self, planned: Any, affected: stale.Live) -> None:
        self._program.apply(planned)
        # Tracked flows go after the rules: a packet in flight would learn the old translation again.
        if affected:
            began = self._time.monotonic()
            flows = stale.flows(self._tracking.flows(conntrack.UDP), affected)
            self._tracking.forget(flows)
            self.metrics.add("conntrack_reconciler_deleted_entries_total", len(flows))
            took = self._time.monotonic() - began
            self.metrics.observe("conntrack_reconciler_sync_duration_seconds", took)
