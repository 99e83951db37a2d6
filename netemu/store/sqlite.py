"""The store on disk: one append-only table of revisions in SQLite, written in groups by one writer.

Writes asked for in one turn of the event loop are one transaction (group commit). How durable a commit is
(`Durability`) is decided by whoever opens the store; see docs/adr/0008-store-durability.md.
"""

from __future__ import annotations

import asyncio
import enum
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from netemu.base import errors
from netemu.store import revisions, subscribers

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS revisions (
  revision INTEGER PRIMARY KEY, key TEXT NOT NULL,
  created INTEGER NOT NULL, previous INTEGER NOT NULL, value BLOB
);
CREATE INDEX IF NOT EXISTS by_key ON revisions (key, revision);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_LATEST = "SELECT revision, created, value FROM revisions WHERE key = ? ORDER BY revision DESC LIMIT 1"
_INSERT = "INSERT INTO revisions (revision, key, created, previous, value) VALUES (?, ?, ?, ?, ?)"
# SQLite takes the bare columns of a MAX() query from the row that has the maximum.
_STATE = """
SELECT key, value, MAX(revision), created FROM revisions
WHERE key >= ? AND key < ? AND key > ? AND revision <= ? GROUP BY key HAVING value IS NOT NULL ORDER BY key
"""
_CHANGES = """
SELECT c.revision, c.key, c.value, c.created, p.value, p.revision, p.created FROM revisions c
LEFT JOIN revisions p ON p.revision = c.previous
WHERE c.revision > ? AND c.revision <= ? AND c.key >= ? AND c.key < ? ORDER BY c.revision
"""
_SUPERSEDED = """
DELETE FROM revisions WHERE revision < :at AND EXISTS (
  SELECT 1 FROM revisions n
  WHERE n.key = revisions.key AND n.revision > revisions.revision AND n.revision <= :at
)
"""
_TOMBSTONES = "DELETE FROM revisions WHERE value IS NULL AND revision <= ?"
_FIRST_KEPT = "INSERT OR REPLACE INTO facts VALUES (?, ?)"


class Durability(enum.Enum):
    """What an acknowledged write survives: the death of every process, or also of the power."""

    PROCESS = "NORMAL"
    POWER = "FULL"


class _Write(NamedTuple):
    key: str
    value: bytes | None
    expected: revisions.Revision  # 0: the key must not exist
    done: asyncio.Future[revisions.Change]


_Outcomes = list[revisions.Change | errors.NetemuError]


class SqliteStore:
    """See `revisions.Store`. Made by `open`."""

    def __init__(self, connection: sqlite3.Connection, durability: Durability) -> None:
        self._db = connection
        self._thread = ThreadPoolExecutor(1, "store") if durability is Durability.POWER else None
        self._waiting: list[_Write] = []
        self._committing: asyncio.Future[_Outcomes] | None = None
        self._subscribers = subscribers.Subscribers()
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        self.compacted: revisions.Revision = facts.get("compacted", 0)
        last = connection.execute("SELECT MAX(revision) FROM revisions").fetchone()[0] or 0
        self.revision: revisions.Revision = max(last, self.compacted)

    # -- writing

    async def create(self, key: str, value: bytes) -> revisions.Record:
        change = await self._write(key, value, 0)
        assert change.current is not None
        return change.current

    async def update(self, key: str, value: bytes, expected: revisions.Revision) -> revisions.Record:
        change = await self._write(key, value, expected or -1)
        assert change.current is not None
        return change.current

    async def delete(self, key: str, expected: revisions.Revision) -> revisions.Change:
        return await self._write(key, None, expected or -1)

    def _write(
        self, key: str, value: bytes | None, expected: revisions.Revision
    ) -> asyncio.Future[revisions.Change]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[revisions.Change] = loop.create_future()
        if not self._waiting and self._committing is None:
            loop.call_soon(self._flush)
        self._waiting.append(_Write(key, value, expected, done))
        return done

    def _flush(self) -> None:
        """Commit what waits: here when a commit costs microseconds, in the store's thread when it syncs."""
        group, self._waiting = self._waiting, []
        if self._thread is None:
            self._settle(group, self._commit(group))
            return
        loop = asyncio.get_running_loop()
        self._committing = loop.run_in_executor(self._thread, self._commit, group)
        self._committing.add_done_callback(lambda done: self._committed(group, done.result()))

    def _committed(self, group: list[_Write], outcomes: _Outcomes) -> None:
        self._committing = None
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._settle(group, outcomes)

    def _commit(self, group: list[_Write]) -> _Outcomes:
        """One transaction: each write decided in turn, all of them durable or none."""
        outcomes: _Outcomes = []
        revision = self.revision
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for write in group:
                outcome = self._decide(write, revision + 1)
                outcomes.append(outcome)
                if isinstance(outcome, revisions.Change):
                    revision += 1
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            failed = revisions.Failed(f"the store cannot be written: {error}", hint="is the disk full?")
            outcomes += [failed] * (len(group) - len(outcomes))
            return [failed if isinstance(o, revisions.Change) else o for o in outcomes]
        return outcomes

    def _decide(self, write: _Write, revision: revisions.Revision) -> revisions.Change | errors.NetemuError:
        row = self._db.execute(_LATEST, (write.key,)).fetchone()
        found = None
        if row is not None and row[2] is not None:
            found = revisions.Record(write.key, row[2], row[0], row[1])
        if write.expected == 0:
            if found is not None:
                return revisions.Exists(found)
        elif found is None or found.revision != write.expected:
            return revisions.Changed(write.key, write.expected, found)
        created = found.created if found else revision
        previous = found.revision if found else 0
        self._db.execute(_INSERT, (revision, write.key, created, previous, write.value))
        record = None
        if write.value is not None:
            record = revisions.Record(write.key, write.value, revision, created)
        return revisions.Change(revision, write.key, record, found)

    def _settle(self, group: list[_Write], outcomes: _Outcomes) -> None:
        changes = [outcome for outcome in outcomes if isinstance(outcome, revisions.Change)]
        if changes:
            self.revision = changes[-1].revision
            self._subscribers.publish(changes)
        for write, outcome in zip(group, outcomes, strict=True):
            if write.done.cancelled():
                continue
            if isinstance(outcome, revisions.Change):
                write.done.set_result(outcome)
            else:
                write.done.set_exception(outcome)

    # -- reading

    def read(
        self,
        prefix: str,
        *,
        after: str = "",
        limit: int = 0,
        at: revisions.Revision = 0,
        count: bool = False,
    ) -> revisions.Page:
        revision = at or self.revision
        if revision > self.revision:
            raise revisions.Future(revision, self.revision)
        if revision < self.compacted:
            raise revisions.Compacted(revision, self.compacted)
        span = (*_span(prefix), after, revision)
        if not limit:
            rows = self._db.execute(_STATE, span).fetchall()
            remaining = 0
        else:
            rows = self._db.execute(f"{_STATE} LIMIT ?", (*span, limit)).fetchall()
            remaining = self._count(span) - len(rows) if count and len(rows) == limit else 0
        return revisions.Page(tuple(revisions.Record(k, v, r, c) for k, v, r, c in rows), revision, remaining)

    def _count(self, span: tuple[str, str, str, int]) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM ({_STATE})", span).fetchone()[0])

    def changes(self, prefix: str, since: revisions.Revision) -> tuple[revisions.Change, ...]:
        if since < self.compacted:
            raise revisions.Compacted(since, self.compacted)
        found = []
        for revision, key, value, created, old, old_revision, old_created in self._db.execute(
            _CHANGES, (since, self.revision, *_span(prefix))
        ):
            current = None if value is None else revisions.Record(key, value, revision, created)
            previous = None if old is None else revisions.Record(key, old, old_revision, old_created)
            found.append(revisions.Change(revision, key, current, previous))
        return tuple(found)

    def subscribe(self, prefix: str, receive: Callable[[revisions.Change], None]) -> Callable[[], None]:
        return self._subscribers.add(prefix, receive)

    # -- forgetting

    async def compact(self, at: revisions.Revision) -> None:
        if at > self.revision:
            raise revisions.Future(at, self.revision)
        if at <= self.compacted:
            return
        while self._committing is not None:
            await asyncio.wait([self._committing])
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_FIRST_KEPT, ("compacted", at))
            self._db.execute(_SUPERSEDED, {"at": at})
            self._db.execute(_TOMBSTONES, (at,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise revisions.Failed(f"the store cannot be compacted: {error}") from None
        self.compacted = at

    async def close(self) -> None:
        if self._waiting and self._committing is None:
            self._flush()
        while self._committing is not None:
            await asyncio.wait([self._committing])
            await asyncio.sleep(0)
        if self._thread is not None:
            self._thread.shutdown()
        self._db.close()


def _span(prefix: str) -> tuple[str, str]:
    """All keys with the prefix lie in [first, second): keys are text, compared by code point."""
    return prefix, prefix + "\U0010ffff"


def open(path: Path | str, *, durability: Durability = Durability.PROCESS) -> SqliteStore:
    """Open or make the store at `path` (mode 0600). Rejected when it is no store of ours or unusable."""
    path = Path(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.5)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _FORMAT):
            connection.close()
            raise errors.Rejected(f"{path} has store format {version}; this program knows {_FORMAT}")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {durability.value}")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    except (OSError, sqlite3.Error) as error:
        raise errors.Rejected(
            f"cannot open the store {path}: {error}", hint="is the path writable?"
        ) from None
    return SqliteStore(connection, durability)
