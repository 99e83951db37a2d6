"""A store in memory: the twin of `sqlite` for tests, held to the same stories.

Nothing in it outlives the process.
"""

from __future__ import annotations

from collections.abc import Callable

from netemu.store import revisions, subscribers


class MemoryStore:
    """See `revisions.Store`."""

    def __init__(self) -> None:
        self._log: list[revisions.Change] = []
        self._current: dict[str, revisions.Record] = {}
        self._subscribers = subscribers.Subscribers()
        self.revision = 0
        self.compacted = 0

    async def create(self, key: str, value: bytes) -> revisions.Record:
        found = self._current.get(key)
        if found is not None:
            raise revisions.Exists(found)
        record = revisions.Record(key, value, self.revision + 1, self.revision + 1)
        self._append(revisions.Change(record.revision, key, record, None))
        return record

    async def update(self, key: str, value: bytes, expected: revisions.Revision) -> revisions.Record:
        found = self._expect(key, expected)
        record = revisions.Record(key, value, self.revision + 1, found.created)
        self._append(revisions.Change(record.revision, key, record, found))
        return record

    async def delete(self, key: str, expected: revisions.Revision) -> revisions.Change:
        change = revisions.Change(self.revision + 1, key, None, self._expect(key, expected))
        self._append(change)
        return change

    def _expect(self, key: str, expected: revisions.Revision) -> revisions.Record:
        found = self._current.get(key)
        if found is None or found.revision != expected:
            raise revisions.Changed(key, expected, found)
        return found

    def _append(self, change: revisions.Change) -> None:
        self._log.append(change)
        self.revision = change.revision
        if change.current is None:
            del self._current[change.key]
        else:
            self._current[change.key] = change.current
        self._subscribers.publish((change,))

    def read(
        self,
        prefix: str,
        *,
        after: str = "",
        limit: int = 0,
        at: revisions.Revision = 0,
        count: bool = False,
    ) -> revisions.Page:
        state = self._current if at in (0, self.revision) else self._state(at)
        keys = sorted(key for key in state if key.startswith(prefix) and key > after)
        shown = keys[:limit] if limit else keys
        records = tuple(state[key] for key in shown)
        return revisions.Page(records, at or self.revision, len(keys) - len(shown) if count else 0)

    def _state(self, at: revisions.Revision) -> dict[str, revisions.Record]:
        if at > self.revision:
            raise revisions.Future(at, self.revision)
        if at < self.compacted:
            raise revisions.Compacted(at, self.compacted)
        state: dict[str, revisions.Record] = {}
        for change in self._log:
            if change.revision > at:
                break
            if change.current is None:
                state.pop(change.key, None)
            else:
                state[change.key] = change.current
        return state

    def changes(self, prefix: str, since: revisions.Revision) -> tuple[revisions.Change, ...]:
        if since < self.compacted:
            raise revisions.Compacted(since, self.compacted)
        return tuple(c for c in self._log if c.revision > since and c.key.startswith(prefix))

    def subscribe(self, prefix: str, receive: Callable[[revisions.Change], None]) -> Callable[[], None]:
        return self._subscribers.add(prefix, receive)

    async def compact(self, at: revisions.Revision) -> None:
        if at > self.revision:
            raise revisions.Future(at, self.revision)
        self.compacted = max(self.compacted, at)

    async def close(self) -> None:
        return
