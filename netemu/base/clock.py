"""Time as an argument. Knows seconds and RFC 3339; does not know who waits, or for what."""

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from netemu.base import times


class Clock(Protocol):
    """Where a loop gets its time from."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock which stands still until it is told to move."""

    def __init__(self, start: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move on at once: whoever was due meanwhile wakes at the next turn of the event loop."""
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    async def run_for(self, seconds: float, *, turns: int = 50) -> None:
        """Move on from one sleeper to the next, giving everybody `turns` turns of the loop at each stop."""
        end = self._elapsed + seconds
        await _turn(turns)
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance(max(0.0, self._sleepers[0][0] - self._elapsed))
            await _turn(turns)
        self.advance(end - self._elapsed)
        await _turn(turns)


async def _turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# For those who have a clock anyway; what must stay pure imports `times`.
rfc3339 = times.rfc3339
rfc3339_micro = times.rfc3339_micro
parse_rfc3339 = times.parse_rfc3339
