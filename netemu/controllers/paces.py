"""At most one run of a key in an interval, the first one at once. Knows when; not what."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from netemu.base import clock
from netemu.reconcile import loops

K = TypeVar("K", bound=Hashable)


class Pace(Generic[K]):
    """Merges bursts of news on one key: a hundred pods becoming ready are a few writes, not a hundred."""

    def __init__(self, loop: loops.Loop[K], clock: clock.Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._began: dict[K, float] = {}
        self._asked: set[K] = set()

    def touch(self, key: K, interval: float) -> None:
        """Something about the key changed: run it now, or `interval` seconds after its last run began."""
        if key in self._asked:
            return
        self._asked.add(key)
        now = self._clock.monotonic()
        self._loop.enqueue_after(key, self._began.get(key, now - interval) + interval - now)

    def began(self, key: K) -> None:
        """The loop runs the key now, for whatever reason: what changes from here on is news again."""
        self._asked.discard(key)
        self._began[key] = self._clock.monotonic()

    def forget(self, key: K) -> None:
        """The key is gone."""
        self._began.pop(key, None)
