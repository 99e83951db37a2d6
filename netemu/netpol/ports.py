"""Sets of ports: what a rule opens, with their union, difference and intersection. Pure arithmetic.

One set says for TCP, UDP and SCTP which destination ports, and whether every other protocol (ICMP among them)
is in it. NetworkPolicy v1 names those three alone, so the others come all together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

Interval = tuple[int, int]  # both ends count
Intervals = tuple[Interval, ...]  # in order; neither overlapping nor touching
PROTOCOLS = ("tcp", "udp", "sctp")
LAST = 65535
_EVERY: Intervals = ((0, LAST),)


class Ports(NamedTuple):
    """Destination ports by protocol; `others`: every protocol but these three."""

    tcp: Intervals = ()
    udp: Intervals = ()
    sctp: Intervals = ()
    others: bool = False

    def __or__(self, more: Ports) -> Ports:
        if not self or more == ALL:
            return more
        if not more or self == ALL:
            return self
        tcp, udp, sctp = map(_union, self[:3], more[:3])
        return Ports(tcp, udp, sctp, self.others or more.others)

    def __sub__(self, less: Ports) -> Ports:
        return self if not less else self & ~less

    def __and__(self, both: Ports) -> Ports:
        if self == ALL or not both:
            return both
        if both == ALL or not self:
            return self
        tcp, udp, sctp = map(_intersection, self[:3], both[:3])
        return Ports(tcp, udp, sctp, self.others and both.others)

    def __invert__(self) -> Ports:
        tcp, udp, sctp = map(_complement, self[:3])
        return Ports(tcp, udp, sctp, not self.others)

    def __bool__(self) -> bool:
        return self != NONE

    def __contains__(self, flow: object) -> bool:
        """Whether a flow, as (protocol, port), is in it. The port of other protocols counts for nothing."""
        assert isinstance(flow, tuple)
        protocol, port = flow
        if protocol not in PROTOCOLS:
            return self.others
        return any(low <= port <= high for low, high in getattr(self, protocol))

    def boxes(self) -> Iterator[tuple[str, int, int]]:
        """Protocol, first and last port of each interval."""
        for protocol in PROTOCOLS:
            for low, high in getattr(self, protocol):
                yield protocol, low, high


NONE = Ports()
ALL = Ports(_EVERY, _EVERY, _EVERY, others=True)


def one(protocol: str, low: int = 0, high: int = LAST) -> Ports:
    """A range of one protocol (`tcp`, `udp`, `sctp`)."""
    found = {each: ((low, high),) if each == protocol else () for each in PROTOCOLS}
    return Ports(found["tcp"], found["udp"], found["sctp"])


def union(several: Iterable[Ports]) -> Ports:
    """All that is in one of them."""
    found = NONE
    for each in several:
        found |= each
    return found


def joined(intervals: Iterable[Interval]) -> Intervals:
    """The same numbers, in order, without overlaps."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def _union(one: Intervals, other: Intervals) -> Intervals:
    return one if one == other else joined((*one, *other))


def _complement(intervals: Intervals) -> Intervals:
    found, at = [], 0
    for low, high in intervals:
        if low > at:
            found.append((at, low - 1))
        at = high + 1
    if at <= LAST:
        found.append((at, LAST))
    return tuple(found)


def _intersection(one: Intervals, other: Intervals) -> Intervals:
    return tuple(
        (max(low, first), min(high, last))
        for low, high in one
        for first, last in other
        if max(low, first) <= min(high, last)
    )
