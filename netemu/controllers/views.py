"""What a controller sees: an informer's objects in groups, brought forward by what the controller itself
wrote.

An informer lags behind one's own writes; acting on it alone would make things twice. Here an own write counts
at once, and its echo is no news. (client-go solves the same with expectations.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from netemu.api import meta
from netemu.client import informers

T = TypeVar("T", bound=meta.Object)
_REMEMBERED: Final = 4096
_NONE: Final[Mapping[Any, Any]] = {}


class View(Generic[T]):
    """Objects by key and by group. `groups`: which groups an object is in."""

    def __init__(
        self, informer: informers.Informer[T], groups: Callable[[T], Iterable[Hashable]] = lambda _: ()
    ) -> None:
        self._groups_of = groups
        self._objects: dict[informers.Key, T] = {}
        self._groups: dict[Hashable, dict[informers.Key, T]] = {}
        # Uids seen to go: a late own write must not revive them.
        self._gone: OrderedDict[str, None] = OrderedDict()
        # Uids this controller has deleted, still shown as if nothing had happened.
        self._leaving: dict[str, None] = {}
        self._handlers: list[Callable[[informers.Change[T]], None]] = []
        self.synced = informer.synced
        informer.subscribe(self._changed)

    def get(self, key: informers.Key) -> T | None:
        return self._objects.get(key)

    def every(self) -> Iterable[T]:
        return self._objects.values()

    def group(self, group: Hashable) -> Iterable[T]:
        """The objects of one group. Copy it before awaiting."""
        return self._groups.get(group, _NONE).values()

    def is_leaving(self, obj: T) -> bool:
        """Deleted by this controller, though its deletionTimestamp is not seen yet."""
        return obj.metadata.uid in self._leaving

    def subscribe(self, handler: Callable[[informers.Change[T]], None]) -> None:
        """Call `handler` with what is there, and with every change which is not the echo of an own write."""
        self._handlers.append(handler)
        for key, obj in tuple(self._objects.items()):
            handler(informers.Change(key, None, obj))

    def wrote(self, obj: T) -> T:
        """The API's answer to an own create, update or patch."""
        key = informers.key(obj)
        have = self._objects.get(key)
        if obj.metadata.uid not in self._gone and (have is None or _revision(have) < _revision(obj)):
            self._put(key, obj)
        return obj

    def deleted(self, obj: T) -> None:
        """An own delete was accepted: it counts as leaving from now on."""
        uid = obj.metadata.uid
        if uid not in self._gone:
            self._leaving[uid] = None

    def _changed(self, change: informers.Change[T]) -> None:
        key, _, current = change
        have = self._objects.get(key)
        if current is None:
            self._went(key, have, change.previous)
            return
        if have is not None and _revision(current) <= _revision(have):
            return  # the echo of an own write, or what was before it
        if have is not None and have.metadata.uid != current.metadata.uid:
            self._forget(have.metadata.uid)
        if current.metadata.deletionTimestamp:
            self._leaving.pop(current.metadata.uid, None)
        self._put(key, current)
        self._tell(informers.Change(key, have, current))

    def _went(self, key: informers.Key, have: T | None, gone: T | None) -> None:
        if have is not None and gone is not None and have.metadata.uid != gone.metadata.uid:
            self._forget(gone.metadata.uid)  # its successor, an own write, is known already
            self._tell(informers.Change(key, gone, have))
            return
        gone = have if have is not None else gone
        if gone is not None:
            self._forget(gone.metadata.uid)
            self._remove(key)
            self._tell(informers.Change(key, gone, None))

    def _tell(self, change: informers.Change[T]) -> None:
        for handler in self._handlers:
            handler(change)

    def _put(self, key: informers.Key, obj: T) -> None:
        self._remove(key)
        self._objects[key] = obj
        for group in self._groups_of(obj):
            self._groups.setdefault(group, {})[key] = obj

    def _remove(self, key: informers.Key) -> None:
        have = self._objects.pop(key, None)
        if have is None:
            return
        for group in self._groups_of(have):
            members = self._groups[group]
            del members[key]
            if not members:
                del self._groups[group]

    def _forget(self, uid: str) -> None:
        self._leaving.pop(uid, None)
        self._gone[uid] = None
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)


def by_controller(obj: meta.Object) -> Iterable[Hashable]:
    """Groups: the uid of the controlling owner; or, of objects without one, their namespace."""
    for owner in obj.metadata.ownerReferences:
        if owner.controller:
            yield owner.uid
            return
    yield orphans(obj.metadata.namespace)


def orphans(namespace: str) -> Hashable:
    """The group of a namespace's objects without a controller."""
    return "orphans of", namespace


def by_namespace(obj: meta.Object) -> Iterable[Hashable]:
    return (obj.metadata.namespace,)


def _revision(obj: meta.Object) -> int:
    # Revisions are decimal and monotonic (KEP-5504 lets clients compare them).
    return int(obj.metadata.resourceVersion or 0)
