"""One thread that waits for many things: descriptors and moments. Knows neither pods nor sockets.

Not asyncio: the shim forks on every request, and a child forgets the loop by closing descriptors; and a
container's server is to touch little memory. Standard library only, for it also runs in containers.
"""

import heapq
import itertools
import select
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
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Action, Action | None]] = {}
        self._new: set[int] = set()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def readable(self, fd: int, action: Action) -> None:
        self._epoll.register(fd, select.EPOLLIN)
        self._watched[fd] = (action, None)
        self._new.add(fd)

    def both(self, fd: int, read: Action, write: Action | None) -> None:
        """Change what a watched descriptor is watched for; `write` None: reading only."""
        if self._watched[fd] != (read, write):
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if write else select.EPOLLIN)
            self._watched[fd] = (read, write)

    def forget(self, fd: int) -> None:
        """Before closing it. Fine when it is not watched."""
        if self._watched.pop(fd, None):
            self._epoll.unregister(fd)

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
        self._new.clear()
        for fd, events in self._epoll.poll(self._patience()):
            if events & select.EPOLLOUT:
                self._act(fd, 1)
            if events & ~select.EPOLLOUT:
                self._act(fd, 0)
        if self._timers:
            self._do_due(time.monotonic())

    def _act(self, fd: int, which: int) -> None:
        """Unless an action of this very turn closed the descriptor, whose number may be another's by now."""
        if fd in self._watched and fd not in self._new:
            action = self._watched[fd][which]
            if action:
                action()

    def _do_due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.action:
                timer.action()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
