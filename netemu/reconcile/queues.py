"""A work queue of keys: a key waits at most once, and is with at most one worker at a time.

Knows keys and when they are due. Does not know what work is, nor who does it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Hashable
from typing import Generic, TypeVar

from netemu.base import clock

K = TypeVar("K", bound=Hashable)


class Queue(Generic[K]):
    """First in, first out. A key added while it is worked on comes back when that work is done."""

    def __init__(self, clock: clock.Clock) -> None:
        self._clock = clock
        self._ready: deque[K] = deque()
        self._wanted: set[K] = set()
        self._busy: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._woken = asyncio.Event()

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, key: K) -> None:
        """Work on the key as soon as possible."""
        if key in self._wanted:
            return
        self._wanted.add(key)
        if key not in self._busy:
            self._ready.append(key)
            self._woken.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Work on the key in `seconds`; of several delays of one key the shortest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, due) < due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._woken.set()

    async def get(self) -> K:
        """The next key; it is the caller's until `done`."""
        while True:
            wait = self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._wanted.discard(key)
                self._busy.add(key)
                return key
            self._woken.clear()
            await _first(self._woken.wait(), None if wait is None else self._clock.sleep(wait))

    def done(self, key: K) -> None:
        """The work on the key is over."""
        self._busy.discard(key)
        if key in self._wanted:
            self._ready.append(key)
            self._woken.set()

    def _promote(self) -> float | None:
        """Move what is due to the ready keys; seconds until the next will be, None when there is none."""
        now = self._clock.monotonic()
        while self._later:
            due, _, key = self._later[0]
            if self._due.get(key) != due:
                heapq.heappop(self._later)  # a shorter delay has replaced it
            elif due <= now:
                heapq.heappop(self._later)
                del self._due[key]
                self.add(key)
            else:
                return due - now
        return None


async def _first(wake: Awaitable[object], sleep: Awaitable[object] | None) -> None:
    """Wait until either is over; the other one is ended."""
    if sleep is None:
        await wake
        return
    tasks = [asyncio.ensure_future(wake), asyncio.ensure_future(sleep)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
