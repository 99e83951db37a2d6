"""Kinds that users defined, as controllers see them: of each the newest version served, and only metadata.

Follows CustomResourceDefinitions. A kind that changes its version or scope is told as another kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netemu.api import extensions, kinds, resources
from netemu.client import informers


class Change(NamedTuple):
    """`previous` None: the kind is new; `current` None: it is served no longer. `over`: it never will be."""

    previous: kinds.Kind | None
    current: kinds.Kind | None
    over: bool = False


class Customs:
    """The custom kinds there are, by the names of their definitions."""

    def __init__(self, known: informers.Informers) -> None:
        self.kinds: dict[str, kinds.Kind] = {}
        self._handlers: list[Callable[[Change], None]] = []
        known.of(extensions.CustomResourceDefinition).subscribe(self._changed)

    def subscribe(self, handler: Callable[[Change], None]) -> None:
        """Call `handler` with every kind there is, and with every change."""
        self._handlers.append(handler)
        for kind in tuple(self.kinds.values()):
            handler(Change(None, kind))

    def named(self, api_version: str, kind: str) -> kinds.Kind | None:
        """What an owner reference names, in any version."""
        group = api_version.rpartition("/")[0]
        return next((one for one in self.kinds.values() if (one.group, one.kind) == (group, kind)), None)

    def _changed(self, change: informers.Change[extensions.CustomResourceDefinition]) -> None:
        name = change.key.name
        before, found = self.kinds.get(name), change.current
        now = _kind(found) if found is not None else None
        if before is not None and now is not None and _facts(before) == _facts(now):
            return
        if before is None and now is None:
            return
        if now is None:
            del self.kinds[name]
        else:
            self.kinds[name] = now
        for handler in self._handlers:
            handler(Change(before, now, over=found is None))


def _facts(kind: kinds.Kind) -> tuple[str, str, str, bool]:
    return kind.api_version, kind.kind, kind.plural, kind.namespaced


def _kind(found: extensions.CustomResourceDefinition) -> kinds.Kind | None:
    established = any(c.type == "Established" and c.status == "True" for c in found.status.conditions)
    served = [version.name for version in found.spec.versions if version.served]
    if not established or not served:
        return None
    names = found.status.acceptedNames
    record = kinds.nameless(f"{found.spec.group}/{max(served, key=resources.rank)}", names.kind)
    return kinds.custom(record, names.plural, namespaced=found.spec.scope == "Namespaced")
