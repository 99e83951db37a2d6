"""Watching a store: what happened since a revision, then what happens, with nothing lost in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from netemu.store import revisions


async def watch(
    store: revisions.Store, prefix: str, since: revisions.Revision
) -> AsyncIterator[revisions.Change]:
    """Changes after revision `since` of keys with the prefix, for ever. Compacted if `since` is forgotten."""
    pending: deque[revisions.Change] = deque()
    wake = asyncio.Event()

    def receive(change: revisions.Change) -> None:
        pending.append(change)
        wake.set()

    end = store.subscribe(prefix, receive)
    try:
        pending.extendleft(reversed(store.changes(prefix, since)))
        while True:
            while pending:
                yield pending.popleft()
            wake.clear()
            await wake.wait()
    finally:
        end()
