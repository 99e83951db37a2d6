"""Whom the news of something owned concerns: who controls it, and who may adopt it. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from netemu.api import meta, selectors
from netemu.client import informers
from netemu.controllers import ownership

T = TypeVar("T", bound=meta.Object)


def owner(thing: meta.Object, kind: str) -> informers.Key | None:
    """The thing's controlling owner, if it is of that kind."""
    found = ownership.controller(thing)
    if found is None or found.kind != kind:
        return None
    return informers.Key(thing.metadata.namespace, found.name)


def owners(change: informers.Change[T], kind: str) -> Iterator[informers.Key]:
    """The controlling owner of that kind before the change, and that after it if it is another."""
    things = (one for one in (change.previous, change.current) if one is not None)
    yield from dict.fromkeys(key for one in things if (key := owner(one, kind)) is not None)


def adopters(change: informers.Change[T], among: Iterable[Any]) -> Iterator[informers.Key]:
    """Those among possible owners of the thing's namespace which select it, if nobody controls it now."""
    thing = change.current
    if thing is None or ownership.controller(thing) is not None:
        return
    for one in among:
        if selectors.of(one.spec.selector).matches(thing.metadata.labels):
            yield informers.key(one)
