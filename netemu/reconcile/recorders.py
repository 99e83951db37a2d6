"""Events: what a component wants people to know of an object. Knows how repeats are counted; nothing waits
for it.

An event that cannot be written is dropped: events are news, not state.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from netemu.api import core, meta
from netemu.base import clock, errors
from netemu.client import api

_log = logging.getLogger("events")
_WAITING: Final = 1000  # more than these are not kept: writing news must not eat the memory
_REMEMBERED: Final = 2000
_SAME_FOR: Final = 600.0  # seconds in which a repeat counts up instead of being a new event
_PACE: Final = 0.003  # seconds between two writes: everybody else's work comes first


class _What(NamedTuple):
    uid: str
    kind: str
    reason: str
    message: str


class _Written(NamedTuple):
    name: str
    namespace: str
    times: int
    at: float


class Recorder:
    """Events of one component; `run` writes them, `record` only takes them down."""

    def __init__(self, client: api.Client, component: str, clock: clock.Clock, *, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._queue: asyncio.Queue[tuple[core.ObjectReference, str, str, str, float]] = asyncio.Queue(
            _WAITING
        )
        self._written: OrderedDict[_What, _Written] = OrderedDict()

    def record(self, regarding: Any, kind: str, reason: str, message: str) -> None:
        """`regarding`: the object; `kind`: Normal or Warning; `reason`: a CamelCase word."""
        item = (reference(regarding), kind, reason, message[:1024], self._clock.now())
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            _log.debug("dropped event reason=%s message=%s", reason, message)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            item = await self._queue.get()
            try:
                await self._write(*item)
            except errors.NetemuError as error:
                _log.debug("event not written: %s", error)
            await self._clock.sleep(_PACE)

    async def _write(
        self, about: core.ObjectReference, kind: str, reason: str, message: str, at: float
    ) -> None:
        what = _What(about.uid, kind, reason, message)
        before = self._written.get(what)
        if before is not None and at - before.at < _SAME_FOR:
            await self._again(what, before, at)
            return
        event = self._event(about, kind, reason, message, at)
        created = await self._client.create(event)
        self._remember(what, _Written(created.metadata.name, created.metadata.namespace, 1, at))

    async def _again(self, what: _What, before: _Written, at: float) -> None:
        body = {"count": before.times + 1, "lastTimestamp": clock.rfc3339(at)}
        self._written.pop(what, None)
        await self._client.patch(core.Event, before.name, before.namespace, body=body)
        self._remember(what, before._replace(times=before.times + 1, at=at))

    def _remember(self, what: _What, written: _Written) -> None:
        self._written[what] = written
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _event(
        self, about: core.ObjectReference, kind: str, reason: str, message: str, at: float
    ) -> core.Event:
        return core.Event(
            metadata=meta.ObjectMeta(
                # Upstream's form: the object's name and a number that does not come again.
                name=f"{about.name}.{int(at * 1e9):x}{len(self._written):x}",
                namespace=about.namespace or "default",
            ),
            involvedObject=about,
            type=kind,
            reason=reason,
            message=message,
            source=core.EventSource(component=self._component, host=self._host),
            firstTimestamp=clock.rfc3339(at),
            lastTimestamp=clock.rfc3339(at),
            count=1,
            reportingComponent=self._component,
            reportingInstance=self._host,
        )


def reference(regarding: Any) -> core.ObjectReference:
    """An object as events and statuses refer to it."""
    return core.ObjectReference(
        apiVersion=regarding.apiVersion,
        kind=regarding.kind,
        namespace=regarding.metadata.namespace,
        name=regarding.metadata.name,
        uid=regarding.metadata.uid,
        resourceVersion=regarding.metadata.resourceVersion,
    )
