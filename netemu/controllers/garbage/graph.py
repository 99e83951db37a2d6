"""Who owns whom, among all objects. Knows uids and references; does not know what follows from them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from netemu.api import meta

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


class Thing(NamedTuple):
    """What garbage collection needs of one object."""

    uid: str
    type: type[Any]
    kind: str
    namespace: str
    name: str
    owners: tuple[meta.OwnerReference, ...]
    finalizers: tuple[str, ...]
    deleting: bool

    @property
    def waits_for_dependents(self) -> bool:
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def lets_dependents_go(self) -> bool:
        return self.deleting and ORPHAN in self.finalizers


def thing(obj: Any) -> Thing:
    """What of an object the graph needs."""

    about = obj.metadata
    return Thing(
        about.uid,
        type(obj),
        obj.kind,
        about.namespace,
        about.name,
        about.ownerReferences,
        about.finalizers,
        bool(about.deletionTimestamp),
    )


class Graph:
    """All things, and their dependents."""

    def __init__(self) -> None:
        self._things: dict[str, Thing] = {}
        self._dependents: dict[str, set[str]] = {}

    def get(self, uid: str) -> Thing | None:
        return self._things.get(uid)

    def dependents(self, uid: str) -> list[Thing]:
        """Also of an owner which is not there (any more)."""
        return [self._things[one] for one in self._dependents.get(uid, ())]

    def put(self, new: Thing) -> None:
        self._unlink(self._things.get(new.uid))
        self._things[new.uid] = new
        for owner in new.owners:
            self._dependents.setdefault(owner.uid, set()).add(new.uid)

    def drop(self, uid: str) -> None:
        self._unlink(self._things.pop(uid, None))

    def _unlink(self, old: Thing | None) -> None:
        if old is None:
            return
        for owner in old.owners:
            dependents = self._dependents.get(owner.uid)
            if dependents is not None:
                dependents.discard(old.uid)
                if not dependents:
                    del self._dependents[owner.uid]
