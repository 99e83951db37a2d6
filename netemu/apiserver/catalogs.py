"""Which kinds this server serves now: Kubernetes' own, and those that users defined.

Looked up by URL or by name. Does not know how definitions become kinds.
"""

from __future__ import annotations

from netemu.api import kinds


class Catalog:
    """The kinds served. `served` is a new tuple whenever they change, and so a key for what is made of it."""

    def __init__(self) -> None:
        self._defined: dict[str, tuple[kinds.Kind, ...]] = {}
        self._by_path: dict[tuple[str, str, str], kinds.Kind] = {}
        self._ending: set[str] = set()
        self.served: tuple[kinds.Kind, ...] = kinds.SERVED

    def find(self, group: str, version: str, plural: str) -> kinds.Kind | None:
        """By its place in a URL."""
        return kinds.find(group, version, plural) or self._by_path.get((group, version, plural))

    def define(self, definition: str, versions: tuple[kinds.Kind, ...], *, ending: bool = False) -> None:
        """Serve the versions of a custom kind; none: no longer. While `ending` nothing new is made."""
        self._defined.pop(definition, None)
        self._ending.discard(definition)
        if ending:
            self._ending.add(definition)
        if versions:
            self._defined[definition] = versions
        every = [kind for name in sorted(self._defined) for kind in self._defined[name]]
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in every}
        self.served = (*kinds.SERVED, *every)

    def equivalents(self, kind: kinds.Kind) -> tuple[kinds.Kind, ...]:
        """The other kinds that show the same objects."""
        kept = kind.stored or kind
        return tuple(one for one in self.served if one is not kind and kept in (one, one.stored))

    def ending(self, kind: kinds.Kind) -> bool:
        """Whether the kind's definition is being deleted."""
        return bool(self._ending) and kind.qualified in self._ending

    def defined(self, definition: str) -> tuple[kinds.Kind, ...]:
        """The versions of a custom kind."""
        return self._defined.get(definition, ())
