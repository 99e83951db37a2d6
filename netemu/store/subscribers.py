"""Who wants to hear of changes, by key prefix. Calls them in order; knows nothing of what they do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from netemu.store import revisions


class Subscribers:
    """All of one store."""

    def __init__(self) -> None:
        self._receivers: dict[int, tuple[str, Callable[[revisions.Change], None]]] = {}
        self._numbers = itertools.count()

    def add(self, prefix: str, receive: Callable[[revisions.Change], None]) -> Callable[[], None]:
        number = next(self._numbers)
        self._receivers[number] = (prefix, receive)
        return lambda: self._end(number)

    def _end(self, number: int) -> None:
        self._receivers.pop(number, None)

    def publish(self, changes: Iterable[revisions.Change]) -> None:
        for change in changes:
            for prefix, receive in tuple(self._receivers.values()):
                if change.key.startswith(prefix):
                    receive(change)
