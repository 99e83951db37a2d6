"""What changed since the last look, by Service: {previous, current}. Knows Services and slices; not nft.

A Service that changed and changed back is no change. Nothing is lost between two looks, nothing seen twice.
"""

from __future__ import annotations

from typing import NamedTuple

from netemu.api import meta
from netemu.kubeproxy import endpoints, services


class State(NamedTuple):
    """All that is known of one Service. `service` is None while it does not exist or is none of ours."""

    service: services.Service | None = None
    slices: tuple[endpoints.Slice, ...] = ()


NOTHING = State()


class Change(NamedTuple):
    previous: State
    current: State


class Changes:
    """Takes in objects one by one, gives out what became of each Service since the last `take`."""

    def __init__(self) -> None:
        self._services: dict[meta.Key, services.Service] = {}
        self._slices: dict[meta.Key, dict[str, endpoints.Slice]] = {}
        self._previous: dict[meta.Key, State] = {}
        self._touched = False

    def __bool__(self) -> bool:
        """Whether something was recorded which nobody took yet."""
        return self._touched or bool(self._previous)

    def touch(self) -> None:
        """All Services count as changed: something else did that bears on each."""
        self._touched = True

    def service(self, key: meta.Key, current: services.Service | None) -> None:
        """The Service `key` is now like this; None: gone, or not for this proxy."""
        if self._services.get(key) == current:
            return
        self._remember(key)
        if current is None:
            del self._services[key]
        else:
            self._services[key] = current

    def slice(self, name: str, previous: endpoints.Slice | None, current: endpoints.Slice | None) -> None:
        """The slice `name` (of the namespace that its Service is in) was that and is now this."""
        if previous is not None and (current is None or current.service != previous.service):
            self._drop(previous.service, name)
        if current is None:
            return
        siblings = self._slices.setdefault(current.service, {})
        if siblings.get(name) != current:
            self._remember(current.service)
            siblings[name] = current

    def state(self, key: meta.Key) -> State:
        """The Service as it is now."""
        slices = self._slices.get(key, {})
        return State(self._services.get(key), tuple(slices[name] for name in sorted(slices)))

    def take(self) -> dict[meta.Key, Change]:
        """The changes since the last take; they are no longer pending."""
        pending, self._previous = self._previous, {}
        changes = ((key, Change(previous, self.state(key))) for key, previous in pending.items())
        if self._touched:
            self._touched = False
            return {**{key: Change(s, s) for key, s in self.everything().items()}, **dict(changes)}
        return {key: change for key, change in changes if change.previous != change.current}

    def everything(self) -> dict[meta.Key, State]:
        """All Services as they are now, in the order of their names; nothing is pending any more."""
        self._previous, self._touched = {}, False
        return {key: self.state(key) for key in sorted(self._services)}

    def _drop(self, key: meta.Key, name: str) -> None:
        siblings = self._slices.get(key, {})
        if name in siblings:
            self._remember(key)
            del siblings[name]
            if not siblings:
                del self._slices[key]

    def _remember(self, key: meta.Key) -> None:
        if key not in self._previous:
            self._previous[key] = self.state(key)
