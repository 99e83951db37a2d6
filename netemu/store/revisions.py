"""What a store is: keys with values, every change numbered, the past readable until it is compacted.

Knows keys, bytes and revisions. Does not know what the bytes mean, nor where they are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from netemu.base import errors

Revision = int


class Record(NamedTuple):
    """A key as of `revision`, its last change; `created` is the revision of its first."""

    key: str
    value: bytes
    revision: Revision
    created: Revision


class Change(NamedTuple):
    """One revision. `current` is None when the key was deleted, `previous` when it was created."""

    revision: Revision
    key: str
    current: Record | None
    previous: Record | None


class Page(NamedTuple):
    """Records in key order as of `revision`; `remaining` more follow after the last one, if it was asked."""

    records: tuple[Record, ...]
    revision: Revision
    remaining: int


class Exists(errors.NetemuError):
    """Creation of a key that is there."""

    def __init__(self, record: Record) -> None:
        super().__init__(f"{record.key} exists at revision {record.revision}")
        self.record = record


class Changed(errors.NetemuError):
    """Compare-and-swap of a key that is at another revision, or gone (`record` None)."""

    def __init__(self, key: str, expected: Revision, record: Record | None) -> None:
        found = f"at revision {record.revision}" if record else "absent"
        super().__init__(f"{key} is {found}, not at {expected}")
        self.record = record


class Compacted(errors.NetemuError):
    """The revision asked for has been forgotten; `oldest` is the first one still readable."""

    def __init__(self, asked: Revision, oldest: Revision) -> None:
        super().__init__(f"revision {asked} was compacted; the oldest is {oldest}")
        self.asked = asked
        self.oldest = oldest


class Future(errors.NetemuError):
    """The revision asked for has not happened yet."""

    def __init__(self, asked: Revision, current: Revision) -> None:
        super().__init__(f"revision {asked} is larger than the current one, {current}")
        self.current = current


class Failed(errors.Transient):
    """The medium refused (disk full, I/O error): nothing of the write happened."""


class Store(Protocol):
    """Writes return once they are durable; their changes have been given to every subscriber by then."""

    @property
    def revision(self) -> Revision:
        """The last revision."""
        ...

    @property
    def compacted(self) -> Revision:
        """States older than this one are gone; changes after it are all there."""
        ...

    async def create(self, key: str, value: bytes) -> Record:
        """A new key. Exists when it is there; Failed."""
        ...

    async def update(self, key: str, value: bytes, expected: Revision) -> Record:
        """A new value, if the key is still at revision `expected`. Changed; Failed."""
        ...

    async def delete(self, key: str, expected: Revision) -> Change:
        """Delete the key, if it is still at revision `expected`. Changed; Failed."""
        ...

    def read(
        self, prefix: str, *, after: str = "", limit: int = 0, at: Revision = 0, count: bool = False
    ) -> Page:
        """Records whose key has the prefix and is greater than `after`, as of revision `at` (0: the last);
        with `count` also how many there are beyond the limit.

        Compacted when `at` is forgotten, Future when it has not been.
        """
        ...

    def changes(self, prefix: str, since: Revision) -> tuple[Change, ...]:
        """Every change after revision `since` of keys with the prefix. Compacted."""
        ...

    def subscribe(self, prefix: str, receive: Callable[[Change], None]) -> Callable[[], None]:
        """Call `receive` with every later change, in order, before its write returns. The result ends it."""
        ...

    async def compact(self, at: Revision) -> None:
        """Forget states before revision `at`."""
        ...

    async def close(self) -> None: ...
