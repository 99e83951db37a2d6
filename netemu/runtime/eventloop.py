"""One thread that waits for many things: descriptors and moments. Knows neither pods nor sockets.

Not asyncio: the shim forks on every request, and a child forgets the loop by closing descriptors.
"""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable

Action = Callable[[], None]


class Timer:
    """Something due later; `cancel` makes it nothing."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        self.action = None


class EventLoop:
    """Level-triggered: an action is called again until what made its descriptor ready is dealt with."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def readable(self, fd: int, action: Action) -> None:
        self._selector.register(fd, selectors.EVENT_READ, (action, None))

    def both(self, fd: int, read: Action, write: Action | None) -> None:
        """Change what a registered descriptor is watched for; `write` None: reading only."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        self._selector.modify(fd, events, (read, write))

    def forget(self, fd: int) -> None:
        """Before closing it. Fine when it is not watched."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def after(self, seconds: float, action: Action) -> Timer:
        timer = Timer(action)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped:
            self.turn()

    def turn(self) -> None:
        """Wait for the next thing and do all that is due."""
        for key, events in self._selector.select(self._patience()):
            if self._selector.get_map().get(key.fd) is not key:
                continue  # an action of this very turn forgot or replaced it
            read, write = key.data
            if events & selectors.EVENT_WRITE and write:
                write()
            if events & selectors.EVENT_READ and self._selector.get_map().get(key.fd) is key:
                read()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.action:
                timer.action()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
