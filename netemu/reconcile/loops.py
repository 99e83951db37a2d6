"""The level-triggered loop: make one key right, again and again, with back-off when it cannot be yet.

Knows keys, retries and workers. What is right is the reconcile function's, which gets a key and no event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from netemu.base import backoff, clock, errors
from netemu.client import errors as api_errors
from netemu.reconcile import queues

K = TypeVar("K", bound=Hashable)
_log = logging.getLogger("reconcile")
# As client-go's DefaultControllerRateLimiter, but bounded by half a minute: a lab's life is short.
_FIRST_RETRY, _LAST_RETRY = 0.01, 30.0
_EXPECTED = (api_errors.Conflict, api_errors.NotFound)


class Loop(Generic[K]):
    """Calls `reconcile(key)` for every key enqueued; it returns seconds until it wants to run again, or None.

    What the API refuses and what is transient is retried with back-off; any other exception is a bug and
    ends `run`.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 1,
        clock: clock.Clock,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._workers = workers
        self._queue: queues.Queue[K] = queues.Queue(clock)
        self._failures: dict[K, backoff.Backoff] = {}

    def enqueue(self, key: K) -> None:
        """The key may not be right: look at it soon."""
        self._queue.add(key)

    def enqueue_after(self, key: K, seconds: float) -> None:
        """Look at the key in `seconds`."""
        self._queue.add_after(key, seconds)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._workers):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                again = await self._reconcile(key)
            except (api_errors.ApiError, errors.Transient) as error:
                wait = self._failures.setdefault(key, _retries()).next()
                level = logging.DEBUG if isinstance(error, _EXPECTED) else logging.WARNING
                _log.log(level, "%s: %s key=%s retry=%.3gs", self.name, error, _shown(key), wait)
                self._queue.add_after(key, wait)
            else:
                self._failures.pop(key, None)
                if again is not None:
                    self._queue.add_after(key, again)
            finally:
                self._queue.done(key)


def _retries() -> backoff.Backoff:
    return backoff.Backoff(_FIRST_RETRY, limit=_LAST_RETRY)


def _shown(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
