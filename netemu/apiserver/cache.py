"""Every object in memory as its JSON, and what became of it lately: serves gets, lists and watches.

Fed by the store before a write returns, so whoever got an answer finds it here. Knows entries, revisions and
who listens; does not know HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from netemu.api import kinds
from netemu.apiserver import entries, views
from netemu.store import revisions

END = "END"  # no change: nothing more can be told for now


class Event:
    """A change of one object. Of a deleted one `entry` is the last state, at the deletion's revision.

    `frames` is for watches to keep what they rendered: all of them send the same bytes.
    """

    __slots__ = ("entry", "frames", "previous", "type")

    def __init__(self, type: str, entry: entries.Entry, previous: entries.Entry | None) -> None:
        self.type = type
        self.entry = entry
        self.previous = previous
        self.frames: dict[Hashable, Any] = {}


Listener = Callable[[Event], None]


def prefix(kind: kinds.Kind) -> str:
    """What the store keys of a kind begin with."""
    kind = kind.stored or kind
    return f"{kind.group or 'core'}/{kind.plural}/"


def key(kind: kinds.Kind, namespace: str, name: str) -> str:
    """The store key of an object."""
    return f"{prefix(kind)}{namespace}/{name}"


def _in_key(namespace: str) -> str:
    """`a-b/` comes before `a/`: pages begun here go on in the store."""
    return f"{namespace}/"


class Collection:
    """The objects of one resource."""

    converting = False  # whether `prepare`, `pack` and `past` have anything to wait for

    def __init__(self, kind: kinds.Kind, recent: entries.Recent, *, history: int) -> None:
        self._recent = recent
        self.kind = kind
        self.head = entries.head(kind.api_version, kind.kind)
        self._prefix = len(prefix(kind))
        self._entries: dict[str, dict[str, entries.Entry]] = {}
        self._count = 0
        self._history: deque[Event] = deque()
        self._most = history
        self._listeners: dict[Listener, None] = {}
        self.forgotten = 0  # changes up to this revision are no longer in the history

    def __len__(self) -> int:
        return self._count

    def get(self, namespace: str, name: str) -> entries.Entry | None:
        """The object, or None."""
        return self._entries.get(namespace, {}).get(name)

    def has(self, namespace: str, name: str) -> bool:
        """Whether there is such an object."""
        return name in self._entries.get(namespace, ())

    def all(self, namespace: str = "") -> Iterator[entries.Entry]:
        """Objects of a namespace, or (empty) of all, in the order of the store's keys."""
        for space in (namespace,) if namespace else sorted(self._entries, key=_in_key):
            found = self._entries.get(space, {})
            for name in sorted(found):
                yield found[name]

    def since(self, revision: int) -> Iterable[Event] | None:
        """What changed after the revision; None when that is no longer known."""
        if revision < self.forgotten:
            return None
        newer: list[Event] = []
        for event in reversed(self._history):
            if event.entry.revision <= revision:
                break
            newer.append(event)
        return reversed(newer)

    def listen(self, listener: Listener) -> None:
        """Hear every later change, until `leave`."""
        self._listeners[listener] = None

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def entry(self, record: revisions.Record) -> entries.Entry:
        """A record of the store as an entry."""
        namespace, _, name = record.key[self._prefix :].partition("/")
        data = entries.splice(record.value, self.head, record.revision)
        return entries.Entry(namespace, name, record.revision, data, self._recent)

    def shown(self, namespace: str, document: dict[str, Any]) -> entries.Entry:
        """A document that is not in the store, as an entry."""
        name = document["metadata"].get("name", "")
        return entries.Entry(namespace, name, 0, msgspec.json.encode(document), self._recent)

    def dump(self, document: dict[str, Any]) -> bytes:
        """The bytes to store."""
        return entries.dump(document)

    async def prepare(self, namespace: str = "", name: str = "", *, since: int = 0) -> None:
        """Make ready what is going to be looked at: an object, a namespace's, all; changes `since` then.
        Refusal."""

    async def pack(self, document: dict[str, Any]) -> bytes:
        """The bytes to store, in whatever form they are kept. Refusal."""
        return self.dump(document)

    async def past(self, records: Sequence[revisions.Record]) -> list[entries.Entry]:
        """Records of another time as entries. Refusal."""
        return [self.entry(record) for record in records]

    async def across(self, document: dict[str, Any], other: kinds.Kind) -> dict[str, Any]:
        """An object of this form in another form of it. Refusal."""
        return views.of(other).outward(document)

    def seen(self, revision: int) -> int:
        """Up to which revision listeners have been told everything; `revision` is the store's."""
        return revision

    def load(self, record: revisions.Record) -> None:
        """Take over what the store holds at the start."""
        self._put(self.entry(record))

    def remember(self, change: revisions.Change) -> Event:
        """Turn a change into an event and keep it for those who come back."""
        previous = self._known(change.previous) if change.previous else None
        if change.current is not None:
            event = Event("MODIFIED" if previous else "ADDED", self.entry(change.current), previous)
        else:
            assert change.previous is not None
            last = self.entry(change.previous._replace(revision=change.revision))
            event = Event("DELETED", last, previous)
        self._history.append(event)
        if len(self._history) > self._most:
            self.forgotten = self._history.popleft().entry.revision
        return event

    def receive(self, change: revisions.Change) -> None:
        """A change has happened: take it in and tell everybody."""
        event = self.remember(change)
        if event.type == "DELETED":
            self._drop(event.entry)
        else:
            self._put(event.entry)
        for listener in tuple(self._listeners):
            listener(event)

    def _known(self, record: revisions.Record) -> entries.Entry:
        entry = self.entry(record)
        known = self.get(entry.namespace, entry.name)
        return known if known is not None and known.revision == entry.revision else entry

    def forget(self, revision: int) -> None:
        """Drop what happened up to the revision."""
        self.forgotten = max(self.forgotten, revision)
        while self._history and self._history[0].entry.revision <= revision:
            self._history.popleft()

    def _put(self, entry: entries.Entry) -> None:
        space = self._entries.setdefault(entry.namespace, {})
        self._count += entry.name not in space
        space[entry.name] = entry

    def _drop(self, entry: entries.Entry) -> None:
        space = self._entries.get(entry.namespace, {})
        if space.pop(entry.name, None) is not None:
            self._count -= 1
            if not space:
                del self._entries[entry.namespace]


class Window(Collection):
    """The objects of another collection in the form of a kind that is a view of it."""

    def __init__(self, kind: kinds.Kind, below: Collection, recent: entries.Recent) -> None:
        super().__init__(kind, recent, history=0)
        self.below = below
        self._view = views.of(kind)

    def __len__(self) -> int:
        return len(self.below)

    def get(self, namespace: str, name: str) -> entries.Entry | None:
        found = self.below.get(namespace, name)
        return None if found is None else self._turned(found)

    def has(self, namespace: str, name: str) -> bool:
        return self.below.has(namespace, name)

    def all(self, namespace: str = "") -> Iterator[entries.Entry]:
        return map(self._turned, self.below.all(namespace))

    def since(self, revision: int) -> Iterable[Event] | None:
        self.forgotten = self.below.forgotten
        missed = self.below.since(revision)
        return None if missed is None else map(self._event, missed)

    @property
    def watched(self) -> bool:
        return bool(self._listeners)

    def receive_from_below(self, event: Event) -> None:
        """Tell what the collection below has told."""
        if self._listeners:
            turned = self._event(event)
            for listener in tuple(self._listeners):
                listener(turned)

    def entry(self, record: revisions.Record) -> entries.Entry:
        return self._turned(self.below.entry(record))

    def dump(self, document: dict[str, Any]) -> bytes:
        return self.below.dump(self._view.inward(document))

    async def across(self, document: dict[str, Any], other: kinds.Kind) -> dict[str, Any]:
        kept = self._view.inward(document)
        return kept if other.stored is None else views.of(other).outward(kept)

    def _event(self, event: Event) -> Event:
        turned: Event | None = event.frames.get(self.kind)
        if turned is None:
            previous = self._turned(event.previous) if event.previous else None
            turned = event.frames[self.kind] = Event(event.type, self._turned(event.entry), previous)
        return turned

    def _turned(self, entry: entries.Entry) -> entries.Entry:
        stored = entries.dump(self._view.outward(entry.document()))
        data = entries.splice(stored, self.head, entry.revision)
        return entries.Entry(entry.namespace, entry.name, entry.revision, data, self._recent)


class Cache:
    """The collections of a store, one for each resource."""

    def __init__(
        self, store: revisions.Store, resources: Iterable[kinds.Kind], *, history: int = 2000
    ) -> None:
        self._store = store
        self._history = history
        self._recent = recent = entries.Recent()
        self._collections = {prefix(kind): Collection(kind, recent, history=history) for kind in resources}
        self._windows: dict[kinds.Kind, Window] = {}
        for record in store.read("").records:
            collection = self._of_key(record.key)
            if collection is not None:
                collection.load(record)
        for collection in self._collections.values():
            collection.forgotten = store.compacted
        for change in store.changes("", store.compacted):
            collection = self._of_key(change.key)
            if collection is not None:
                collection.remember(change)
        self._end = store.subscribe("", self._receive)

    @property
    def revision(self) -> int:
        """Everything up to this revision is here."""
        return self._store.revision

    def of(self, kind: kinds.Kind) -> Collection:
        """The objects of a kind."""
        if kind.stored is None:
            return self._collections[prefix(kind)]
        window = self._windows.get(kind)
        return (
            self._open(kind, Window(kind, self.of(kind.stored), self._recent)) if window is None else window
        )

    def show(self, kind: kinds.Kind, make: Callable[[Collection, entries.Recent], Window]) -> None:
        """Serve a view of a resource by a window of its own."""
        assert kind.stored is not None
        self._open(kind, make(self.of(kind.stored), self._recent))

    def _open(self, kind: kinds.Kind, window: Window) -> Window:
        self._windows[kind] = window
        window.below.listen(window.receive_from_below)
        return window

    @property
    def resources(self) -> tuple[kinds.Kind, ...]:
        """The kinds that are kept, custom ones among them."""
        return tuple(collection.kind for collection in self._collections.values())

    def add(self, kind: kinds.Kind) -> None:
        """Serve one more resource, with what the store has of it."""
        known = prefix(kind)
        collection = Collection(kind, self._recent, history=self._history)
        for record in self._store.read(known).records:
            collection.load(record)
        collection.forgotten = self._store.revision
        self._collections[known] = collection

    def drop(self, kind: kinds.Kind) -> None:
        """Serve a resource, or a view of one, no longer."""
        if kind.stored is None:
            self._collections.pop(prefix(kind), None)
            return
        window = self._windows.pop(kind, None)
        if window is not None and not window.watched:  # who watches goes on seeing what happens
            window.below.leave(window.receive_from_below)

    def forget(self, revision: int) -> None:
        """Drop what happened up to the revision."""
        for collection in self._collections.values():
            collection.forget(revision)

    def close(self) -> None:
        self._end()

    def _of_key(self, key: str) -> Collection | None:
        return self._collections.get(key[: key.index("/", key.index("/") + 1) + 1])

    def _receive(self, change: revisions.Change) -> None:
        collection = self._of_key(change.key)
        if collection is not None:
            collection.receive(change)
