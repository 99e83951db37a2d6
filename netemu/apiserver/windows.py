"""Versions of a custom kind whose objects a webhook converts: windows on objects kept in another version.

What somebody looks at is converted first (`prepare`) and kept; changes are shown in their order once they
are. Does not know how the webhook is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from netemu.api import kinds
from netemu.apiserver import cache, entries, statuses, views
from netemu.store import revisions

_log = logging.getLogger("definitions")
_BATCH = 500  # objects a webhook is asked about at once
Document = dict[str, Any]


class Conversion(Protocol):
    """Asks the webhook."""

    storage: str  # the version in which new objects are kept

    async def convert(self, documents: Sequence[Document], version: str) -> list[Document]:
        """Documents in some version of the kind as that version has them. Refusal."""
        ...


class Converted(cache.Window):
    """One version. `all` and `get` need `prepare` first, with nothing awaited in between."""

    converting = True

    def __init__(
        self, kind: kinds.Kind, below: cache.Collection, recent: entries.Recent, conversion: Conversion
    ) -> None:
        super().__init__(kind, below, recent)
        self._conversion = conversion
        self._kept: dict[tuple[str, str], entries.Entry] = {}
        self._queue: deque[cache.Event] = deque()
        self._task: asyncio.Task[None] | None = None

    async def prepare(self, namespace: str = "", name: str = "", *, since: int = 0) -> None:
        while missing := [e for e in self._wanted(namespace, name) if self._version(e) is None]:
            await self._shown(missing[:_BATCH])
        while since and (events := self._unturned(self.below.since(since) or ())):
            await self._turn(events)

    async def pack(self, document: Document) -> bytes:
        storage = self._conversion.storage
        if self.kind.version != storage:
            (document,) = await self._conversion.convert([document], storage)
        return self.below.dump(views.kept(document, self.below.kind, storage))

    async def past(self, records: Sequence[revisions.Record]) -> list[entries.Entry]:
        return await self._shown([self.below.entry(record) for record in records])

    async def across(self, document: Document, other: kinds.Kind) -> Document:
        (found,) = await self._conversion.convert([document], other.version)
        return found

    def seen(self, revision: int) -> int:
        return min(revision, self._queue[0].entry.revision - 1) if self._queue else revision

    def receive_from_below(self, event: cache.Event) -> None:
        """Tell it when its turn has come."""
        if not self._listeners and not self._queue:
            if event.type == "DELETED":
                self._kept.pop((event.entry.namespace, event.entry.name), None)
            return
        self._queue.append(event)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Whoever watches when the webhook fails is sent away: it lists anew, and is told why it cannot."""
        try:
            while self._queue:
                await self._turn(self._unturned(self._queue))
                while self._queue and self.kind in self._queue[0].frames:
                    super().receive_from_below(self._queue.popleft())
        except statuses.Refusal as refusal:
            _log.warning("watchers are sent away kind=%s error=%s", self.kind.qualified, refusal)
            end = cache.Event(cache.END, self._queue[-1].entry, None)
            self._queue.clear()
            for listener in tuple(self._listeners):
                listener(end)
        finally:
            self._task = None

    def _wanted(self, namespace: str, name: str) -> Iterator[entries.Entry]:
        if not name:
            yield from self.below.all(namespace)
        elif found := self.below.get(namespace, name):
            yield found

    def _unturned(self, events: Iterable[cache.Event]) -> list[cache.Event]:
        return list(itertools.islice((e for e in events if self.kind not in e.frames), _BATCH // 2))

    def _version(self, entry: entries.Entry) -> entries.Entry | None:
        kept = self._kept.get((entry.namespace, entry.name))
        if kept is not None and kept.revision == entry.revision:
            return kept
        own = entry.document().get(views.VERSION) == self.kind.version
        return super()._turned(entry) if own else None

    def _turned(self, entry: entries.Entry) -> entries.Entry:
        known = self._version(entry)
        assert known is not None, "prepare it first"
        return known

    async def _turn(self, events: Sequence[cache.Event]) -> None:
        """Convert both states of each change, and keep it as this version has it."""
        wanted = {}
        for event in events:
            for entry in (event.previous, None if event.type == "DELETED" else event.entry):
                if entry is not None:
                    wanted[entry.namespace, entry.name, entry.revision] = entry
        found = dict(zip(wanted, await self._shown(tuple(wanted.values())), strict=True))
        for event in events:
            last, now = event.previous, event.entry
            before = found[last.namespace, last.name, last.revision] if last is not None else None
            if event.type == "DELETED":
                assert before is not None
                self._kept.pop((now.namespace, now.name), None)
                turned = before.at(now.revision, self.head)
            else:
                turned = found[now.namespace, now.name, now.revision]
            event.frames[self.kind] = cache.Event(event.type, turned, before)

    async def _shown(self, asked: Sequence[entries.Entry]) -> list[entries.Entry]:
        """Entries from below as this version has them, in the same order. The current ones are kept."""
        known = [self._version(entry) for entry in asked]
        missing = [entry for entry, found in zip(asked, known, strict=True) if found is None]
        if not missing:
            return [found for found in known if found is not None]
        documents = [views.shown(entry.fresh(), self.kind.group) for entry in missing]
        converted = iter(await self._conversion.convert(documents, self.kind.version))
        return [
            found or self._made(entry, next(converted)) for entry, found in zip(asked, known, strict=True)
        ]

    def _made(self, entry: entries.Entry, document: Document) -> entries.Entry:
        data = entries.splice(entries.dump(document), self.head, entry.revision)
        made = entries.Entry(entry.namespace, entry.name, entry.revision, data, self._recent)
        current = self.below.get(entry.namespace, entry.name)
        if current is not None and current.revision == entry.revision:
            self._kept[entry.namespace, entry.name] = made
        return made
