"""Events do not stay: each goes an hour after its last change. Knows revisions by their time, and no more."""

from __future__ import annotations

from collections import deque

from netemu.api import core, kinds
from netemu.apiserver import cache, contexts
from netemu.store import revisions

EVENTS = 3600.0  # seconds, as kube-apiserver's --event-ttl


class Expiry:
    """Remembers which revision it was when, as often as it is asked to look."""

    def __init__(self, parts: contexts.Parts) -> None:
        self._parts = parts
        self._marks: deque[tuple[float, int]] = deque()

    async def look(self) -> int:
        """Delete the events that are due; how many."""
        now, due = self._parts.clock.monotonic(), 0
        self._marks.append((now, self._parts.store.revision))
        while self._marks and self._marks[0][0] <= now - EVENTS:
            due = self._marks.popleft()[1]
        if not due:
            return 0
        kind = kinds.of(core.Event)
        old = [entry for entry in self._parts.cache.of(kind).all() if entry.revision <= due]
        for entry in old:
            try:
                await self._parts.store.delete(cache.key(kind, entry.namespace, entry.name), entry.revision)
            except revisions.Changed:
                continue  # it has happened again meanwhile
        return len(old)
