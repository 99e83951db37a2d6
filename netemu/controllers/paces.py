"""At most one run of a key in an interval, the first one at once. Knows when; not what."""

from __future__ import annotations

from typing import Generic, TypeVar

from netemu.base import clock
from netemu.reconcile import loops

K = TypeVar("K")


class Pace(Generic[K]):
    """Merges bursts of news on one key: a hundred pods becoming ready are a few writes, not a hundred."""

    def __init__(self, loop: loops.Loop[K], clock: clock.Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._last: dict[K, float] = {}

    def touch(self, key: K, interval: float) -> None:
        """Something about the key changed; run it now, or `interval` seconds after its last run."""
        now = self._clock.monotonic()
        last = self._last.get(key)
        if last is None or last + interval <= now:
            self._last[key] = now
            self._loop.enqueue(key)
        elif last <= now:
            self._last[key] = last + interval
            self._loop.enqueue_after(key, last + interval - now)

    def forget(self, key: K) -> None:
        """The key is gone."""
        self._last.pop(key, None)
