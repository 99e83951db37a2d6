"""What the enforcer counts, as Prometheus reads it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from netemu.netpol import layout
from netemu.wire import listings

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds


class Counts(NamedTuple):
    """`dropped`: packets by direction and address of a pod; `syncs`: seconds that each transaction took."""

    dropped: Mapping[tuple[str, str], int]
    syncs: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    spent: float = 0.0
    failures: int = 0
    elements: int = 0
    policies: int = 0

    def synced(self, seconds: float) -> Counts:
        """One more transaction."""
        at = next((n for n, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        syncs = (*self.syncs[:at], self.syncs[at] + 1, *self.syncs[at + 1 :])
        return self._replace(syncs=syncs, spent=self.spent + seconds)


NOTHING = Counts({})


def dropped(held: Mapping[str, Mapping[str, listings.Entry]]) -> dict[tuple[str, str], int]:
    """What the table itself has counted, of a listing of it."""
    return {
        (direction.name, address): entry.packets
        for direction in layout.FORWARDED
        for family in layout.FAMILIES
        for address, entry in held.get(layout.drops(direction.name, family), {}).items()
    }


def text(counts: Counts, names: Mapping[str, str]) -> str:
    """The whole page. `names`: pods by address."""
    return "\n".join((*_drops(counts, names), *_syncs(counts), *_gauges(counts))) + "\n"


def _drops(counts: Counts, names: Mapping[str, str]) -> Iterator[str]:
    yield "# HELP netpol_dropped_packets_total Packets that policies of a pod dropped"
    yield "# TYPE netpol_dropped_packets_total counter"
    for (direction, address), packets in sorted(counts.dropped.items()):
        space, _, pod = names.get(address, "").rpartition("/")
        labels = f'direction="{direction}",namespace="{space}",pod="{pod}",address="{address}"'
        yield f"netpol_dropped_packets_total{{{labels}}} {packets}"


def _syncs(counts: Counts) -> Iterator[str]:
    yield "# HELP netpol_sync_duration_seconds Time from a change to its transaction's end"
    yield "# TYPE netpol_sync_duration_seconds histogram"
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts.syncs, strict=True):
        total += count
        yield f'netpol_sync_duration_seconds_bucket{{le="{bound}"}} {total}'
    yield f"netpol_sync_duration_seconds_sum {counts.spent!r}"
    yield f"netpol_sync_duration_seconds_count {total}"


def _gauges(counts: Counts) -> Iterator[str]:
    for name, kind, help_, value in (
        ("sync_failures_total", "counter", "Transactions that the kernel refused", counts.failures),
        ("elements", "gauge", "Elements in the table", counts.elements),
        ("policies", "gauge", "Policies that are known", counts.policies),
    ):
        yield f"# HELP netpol_{name} {help_}"
        yield f"# TYPE netpol_{name} {kind}"
        yield f"netpol_{name} {value}"
