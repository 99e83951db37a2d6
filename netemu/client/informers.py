"""A local copy of the objects of one kind, kept up to date: list once, then watch, list again when lost.

Knows keys, objects and changes of them. Whoever subscribes hears each change once, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from netemu.api import meta
from netemu.base import backoff, clock
from netemu.client import api, errors

T = TypeVar("T", bound=meta.Object)
_log = logging.getLogger("informer")
# Objects are kept by these.
Key = meta.Key
key = meta.key


class Change(NamedTuple, Generic[T]):
    """What became of an object. `previous` None: it is new; `current` None: it is gone."""

    key: Key
    previous: T | None
    current: T | None


class Informer(Generic[T]):
    """The objects of `kind` that match; `synced` is set once the first list is in."""

    def __init__(
        self,
        client: api.Client,
        kind: type[T],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        clock: clock.Clock,
    ) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._selectors = {"labels": labels, "fields": fields}
        self._clock = clock
        self._objects: dict[Key, T] = {}
        self._handlers: list[Callable[[Change[T]], None]] = []
        self._retry = backoff.Backoff(0.05, limit=10.0)
        self.objects: Mapping[Key, T] = MappingProxyType(self._objects)
        self.synced = asyncio.Event()
        self.revision = ""

    def get(self, key: Key) -> T | None:
        """The object as last seen."""
        return self._objects.get(key)

    def subscribe(self, handler: Callable[[Change[T]], None]) -> None:
        """Call `handler` with what is there already, as new, and then with every change."""
        self._handlers.append(handler)
        for key, obj in tuple(self._objects.items()):
            handler(Change(key, None, obj))

    async def run(self) -> None:
        """Keep up for ever. An exception of a handler is a bug and ends it."""
        while True:
            try:
                await self._list()
                await self._follow()
            except errors.ApiError as error:
                wait = self._retry.next()
                if not isinstance(error, errors.Expired):
                    _log.warning("%s: %s retry=%.3gs", self._kind.__name__, error, wait)
                await self._clock.sleep(wait)

    async def _list(self) -> None:
        found = await self._client.list(self._kind, self._namespace, **self._selectors)
        present = {key(obj): obj for obj in found.items}
        self.revision = found.revision
        for gone in self._objects.keys() - present.keys():
            self._apply(gone, None)
        for which, obj in present.items():
            known = self._objects.get(which)
            if known is None or _revision(known) != _revision(obj):
                self._apply(which, obj)
        self.synced.set()

    async def _follow(self) -> None:
        """Watch until the revision is forgotten (Expired) or the server fails; its timeouts are no end."""
        while True:
            events = self._client.watch(
                self._kind, self._namespace, revision=self.revision, **self._selectors
            )
            began = self._clock.monotonic()
            heard = False
            async with contextlib.aclosing(events):
                async for event in events:
                    heard = True
                    self._retry.reset()
                    self._receive(event)
            if not heard and self._clock.monotonic() - began < 1.0:
                await self._clock.sleep(self._retry.next())

    def _receive(self, event: api.Event[T]) -> None:
        self.revision = _revision(event.object)
        if event.type == "DELETED":
            self._apply(key(event.object), None)
        elif event.type in ("ADDED", "MODIFIED"):
            self._apply(key(event.object), event.object)

    def _apply(self, key: Key, current: T | None) -> None:
        previous = self._objects.get(key)
        if current is None:
            if self._objects.pop(key, None) is None:
                return
        else:
            self._objects[key] = current
        change = Change(key, previous, current)
        for handler in self._handlers:
            handler(change)


class Informers:
    """Informers shared by everybody in one process: one copy and one watch for each kind and selection."""

    def __init__(self, client: api.Client, clock: clock.Clock) -> None:
        self._client = client
        self._clock = clock
        self._informers: dict[tuple[type, str, str, str], Informer[Any]] = {}
        self._running: dict[tuple[type, str, str, str], asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def of(self, kind: type[T], *, namespace: str = "", labels: str = "", fields: str = "") -> Informer[T]:
        """The informer for this kind and selection; the first to ask makes it."""
        which = (kind, namespace, labels, fields)
        informer = self._informers.get(which)
        if informer is None:
            informer = Informer(
                self._client, kind, namespace=namespace, labels=labels, fields=fields, clock=self._clock
            )
            self._informers[which] = informer
            if self._tasks is not None:
                self._running[which] = self._tasks.create_task(informer.run())
        return informer

    def drop(self, kind: type[T]) -> tuple[T, ...]:
        """Follow a kind no longer, which nobody else looks at either; what was there last."""
        left: list[T] = []
        for which in [which for which in self._informers if which[0] is kind]:
            left += self._informers.pop(which).objects.values()
            task = self._running.pop(which, None)
            if task is not None:
                task.cancel()
        return tuple(left)

    async def run(self) -> None:
        """Run them all, also those asked for later, for ever."""
        async with asyncio.TaskGroup() as self._tasks:
            for which, informer in self._informers.items():
                self._running[which] = self._tasks.create_task(informer.run())
            await asyncio.get_running_loop().create_future()

    async def synced(self) -> None:
        """Wait until each has its first list."""
        for informer in tuple(self._informers.values()):
            await informer.synced.wait()


def _revision(obj: meta.Object) -> str:
    return obj.metadata.resourceVersion
