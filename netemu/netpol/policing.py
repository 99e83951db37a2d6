"""The policies of one node, from objects to the kernel. Knows what is programmed; not when to program.

The table is made anew at the start, after a failure, and when somebody else changed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from netemu.base import clock
from netemu.kernel import firewall
from netemu.netpol import audit, changes, layout, ledger, metrics, terms
from netemu.wire import listings


class Touches(Protocol):
    """Counts everybody's transactions on the table."""

    def count(self) -> int:
        """Since it was last asked."""
        ...


class Enforcer:
    """`sync` makes the table what the objects say."""

    def __init__(self, node: str, door: firewall.Firewall, touches: Touches, time: clock.Clock) -> None:
        self.pending = changes.none()
        self._node, self._door, self._touches, self._time = node, door, touches, time
        self._guard: tuple[terms.Network, ...] = ()
        self.book = ledger.Ledger(node)
        self._table = ledger.Table()
        self._whole = True
        self._trusted = False  # nobody else touched the table since it was known to be ours
        self._counts = metrics.NOTHING
        self._busy = asyncio.Lock()

    @property
    def due(self) -> bool:
        return self._whole or bool(self.pending)

    def start_over(self) -> None:
        """The next sync makes the table anew, whatever it holds."""
        self._whole = True

    def guard(self, ranges: Iterable[terms.Network]) -> None:
        """Addresses in these ranges are pods of this node; what no known pod has is dropped."""
        wanted = tuple(ranges)
        if wanted != self._guard:
            self._guard, self._whole = wanted, True
            held = self.book.state.cluster
            self.book = ledger.Ledger(self._node, wanted)
            self.book.update(changes.everything(held))

    async def sync(self) -> int:
        """Program what is pending; how many elements that were. Transient when the kernel refused."""
        async with self._busy:
            began = self._time.monotonic()
            taken, self.pending = self.pending, changes.none()
            difference = self.book.update(taken)
            whole, self._whole = self._whole, False
            if whole:
                documents = self._table.fresh(self.book)
                count = len(tuple(self.book.elements()))
            else:
                documents = self._table.change(difference)
                count = len(difference.deleted) + len(difference.added)
            if documents:
                try:
                    await asyncio.to_thread(self._apply, tuple(map(str, documents)), whole=whole)
                except BaseException:
                    self._whole = True  # the book says more than the kernel has
                    self._counts = self._counts._replace(failures=self._counts.failures + 1)
                    raise
                self._counts = self._counts.synced(self._time.monotonic() - began)
            return count

    async def metrics(self) -> str:
        """As Prometheus reads them. FirewallError."""
        listing = await asyncio.to_thread(self._door.list_json, f"list table {layout.TABLE}")
        state = self.book.state
        counts = self._counts._replace(
            dropped=metrics.dropped(listings.elements(listing)),
            elements=len(tuple(self.book.elements())),
            policies=len(state.policies),
        )
        names = {str(a): str(key) for key, pod in state.pods.items() for a in pod.addresses}
        return metrics.text(counts, names)

    def _apply(self, documents: tuple[str, ...], *, whole: bool) -> None:
        before = self._touches.count()
        for document in documents:
            self._door.apply(document)
        known = whole or (self._trusted and not before)
        self._trusted = known and self._touches.count() <= len(documents)

    async def check(self) -> bool:
        """Whether the table still is what we made it. Cheap while nobody else touched it."""
        async with self._busy:
            return self._whole or await asyncio.to_thread(self._intact)

    def _intact(self) -> bool:
        self._trusted = self._trusted and not self._touches.count()
        if self._trusted:
            return True
        try:
            listing = self._door.list_json(f"list table {layout.TABLE}")
        except firewall.FirewallError:
            return False
        self._trusted = audit.same(listing, self.book.elements(), self._table.rules())
        return self._trusted  # what came after it was read is looked at next time
