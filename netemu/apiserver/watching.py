"""Watches: what is there or has changed since, then every change as it happens, in the form asked for.

Knows selector transitions, bookmarks, timeouts, and that a watcher which does not read is cut off.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from netemu.api import kinds
from netemu.apiserver import cache, entries, forms, selections, statuses
from netemu.base import clock

_BATCH = 256


@dataclass(frozen=True)
class Settings:
    """Times in seconds; `backlog` is how many events a watcher may fall behind before it is cut off."""

    bookmark: float = 60.0
    timeout: float = 1800.0
    backlog: int = 10_000
    backlog_bytes: int = 32 << 20


class Watch:
    """The body of a watch response. `aclose` ends it; so does its end."""

    def __init__(
        self,
        caches: cache.Cache,
        kind: kinds.Kind,
        namespace: str,
        *,
        match: selections.Match | None,
        form: forms.Form,
        options: selections.Options,
        settings: Settings,
        clock: clock.Clock,
        rng: random.Random,
    ) -> None:
        self._cache = caches
        self._collection = caches.of(kind)
        self._kind = kind
        self._namespace = namespace
        self._match = match
        self._form = form
        self._settings = settings
        self._clock = clock
        self._bookmarks = options.bookmarks
        self._pending: deque[bytes] = deque()
        self._size = 0
        self._wake: asyncio.Future[None] | None = None
        self._ended = False
        self._initial = self._begin(options)
        self._collection.listen(self._receive)
        self._loop = asyncio.get_running_loop()
        seconds = options.timeout or settings.timeout * (1 + rng.random())
        self._deadline = self._loop.time() + seconds
        self._timer = self._schedule()

    def _begin(self, options: selections.Options) -> Iterator[bytes]:
        """What is sent before anything happens. Expired, Timeout (Refusal)."""
        current = self._told = self._cache.revision
        since = options.revision or 0
        if since > current:
            raise statuses.version_too_large(since, current)
        if options.initial_events:
            return self._present(current, options)
        if options.initial_events is None and since == 0:
            return self._present(current, None)
        missed = self._collection.since(since or current)
        if missed is None:
            oldest = self._collection.forgotten
            raise statuses.expired(f"too old resource version: {since} ({oldest})")
        return (frame for event in list(missed) for frame in self._frames(event))

    def _present(self, revision: int, initial: selections.Options | None) -> Iterator[bytes]:
        found = list(self._collection.all(self._namespace))
        now = self._clock.now()

        def frames() -> Iterator[bytes]:
            for entry in found:
                if self._match is None or self._match(entry):
                    yield forms.frame(self._form, self._kind, "ADDED", entry, now)
            if initial is not None and initial.bookmarks:
                yield forms.bookmark(self._form, self._kind, revision, initial_end=True)

        return frames()

    # -- the stream

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> bytes:
        while True:
            batch = list(itertools.islice(self._initial, _BATCH))
            if batch:
                return b"".join(batch)
            if self._pending:
                joined = b"".join(self._pending)
                self._pending.clear()
                self._size = 0
                return joined
            if self._ended:
                await self.aclose()
                raise StopAsyncIteration
            self._wake = self._loop.create_future()
            await self._wake

    async def aclose(self) -> None:
        self._ended = True
        self._collection.leave(self._receive)
        self._timer.cancel()

    def end(self) -> None:
        """Send what is pending, then end."""
        self._ended = True
        self._collection.leave(self._receive)
        self._notify()

    # -- events

    def _receive(self, event: cache.Event) -> None:
        if event.type == cache.END:
            self.end()
            return
        if event.entry.revision <= self._told:
            return
        for frame in self._frames(event):
            self._pending.append(frame)
            self._size += len(frame)
            if len(self._pending) > self._settings.backlog or self._size > self._settings.backlog_bytes:
                self._pending.clear()  # too slow: it may come back and ask for what it missed
                self._initial = iter(())
                self.end()
                return
            self._notify()

    def _frames(self, event: cache.Event) -> tuple[bytes, ...]:
        if self._namespace and event.entry.namespace != self._namespace:
            return ()
        type, entry = event.type, event.entry
        if self._match is not None:
            now = type != "DELETED" and self._match(entry)
            before = event.previous is not None and self._match(event.previous)
            if not now and not before:
                return ()
            if now:
                type = "MODIFIED" if before else "ADDED"
            elif type != "DELETED":
                type, entry = "DELETED", self._left(event)
        which = (self._form, type)
        frame = event.frames.get(which)
        if frame is None:
            frame = forms.frame(self._form, self._kind, type, entry, self._clock.now())
            event.frames[which] = frame
        return (frame,)

    def _left(self, event: cache.Event) -> entries.Entry:
        """An object that no longer matches is shown as it last matched, at the revision of the change."""
        assert event.previous is not None
        return event.previous.at(event.entry.revision, self._collection.head)

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # -- time

    def _schedule(self) -> asyncio.TimerHandle:
        now = self._loop.time()
        due = self._deadline
        if self._bookmarks:
            due = min(due, now + self._settings.bookmark)
        return self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        if self._bookmarks:
            revision = self._collection.seen(self._cache.revision)
            frame = forms.bookmark(self._form, self._kind, revision, initial_end=False)
            self._pending.append(frame)
            self._notify()
        if self._loop.time() >= self._deadline:
            self.end()
        elif not self._ended:
            self._timer = self._schedule()
