"""Events about pods and the node: taken at once, written later, one at a time, never in anybody's way.

An event that happens again raises the count of the first one (client-go's EventCorrelator).
"""

from __future__ import annotations

import asyncio
import collections
import logging
from typing import NamedTuple

from netemu.api import core, meta
from netemu.base import clock, errors, times
from netemu.client import api

_log = logging.getLogger("kubelet")
_QUIET, _LATEST = 1.0, 5.0  # pods on their way up have better use for the processor
_QUEUE, _REMEMBERED = 2000, 1000


class Note(NamedTuple):
    """One thing that happened."""

    about: core.ObjectReference
    warning: bool
    reason: str
    message: str


class Recorder:
    """`note` from anywhere in the loop; `run` writes."""

    def __init__(self, client: api.Client, host: str, clock: clock.Clock) -> None:
        self._client = client
        self._source = core.EventSource(component="kubelet", host=host)
        self._clock = clock
        self._queue: collections.deque[tuple[Note, float]] = collections.deque(maxlen=_QUEUE)
        self._some = asyncio.Event()
        self._written: collections.OrderedDict[int, tuple[str, int]] = collections.OrderedDict()

    def note(self, about: core.ObjectReference, reason: str, message: str, *, warning: bool = False) -> None:
        """It happened now."""
        self._queue.append((Note(about, warning, reason, message[:1024]), self._clock.now()))
        self._some.set()

    async def run(self) -> None:
        """Write for ever. Events are best effort: what the API refuses is dropped."""
        while True:
            await self._some.wait()
            await self._lull()
            while self._queue:
                note, when = self._queue.popleft()
                try:
                    await self._write(note, when)
                except errors.NetemuError as problem:
                    _log.debug("event dropped: %s reason=%s", problem, note.reason)
            self._some.clear()

    async def _lull(self) -> None:
        began, seen = self._clock.monotonic(), -1
        while seen != len(self._queue) and self._clock.monotonic() - began < _LATEST:
            seen = len(self._queue)
            await self._clock.sleep(_QUIET)

    async def _write(self, note: Note, when: float) -> None:
        stamp = times.rfc3339(when)
        name, count = self._written.get(hash(note), ("", 0))
        if name:
            body = {"count": count + 1, "lastTimestamp": stamp}
            await self._client.patch(core.Event, name, _namespace(note), body=body)
        else:
            name = (await self._client.create(self._event(note, when, stamp))).metadata.name
        self._written[hash(note)] = (name, count + 1)
        self._written.move_to_end(hash(note))
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _event(self, note: Note, when: float, stamp: str) -> core.Event:
        name = f"{note.about.name}.{int(when * 1e9):x}"
        return core.Event(
            metadata=meta.ObjectMeta(name=name, namespace=_namespace(note)),
            involvedObject=note.about,
            reason=note.reason,
            message=note.message,
            source=self._source,
            firstTimestamp=stamp,
            lastTimestamp=stamp,
            count=1,
            type="Warning" if note.warning else "Normal",
            reportingComponent="kubelet",
            reportingInstance=self._source.host,
        )


def _namespace(note: Note) -> str:
    return note.about.namespace or "default"  # events about nodes


def pod(of: core.Pod, container: str = "") -> core.ObjectReference:
    """A pod, or one container of it."""
    path = ""
    if container:
        field = "initContainers" if any(c.name == container for c in of.spec.initContainers) else "containers"
        path = f"spec.{field}{{{container}}}"
    about = of.metadata
    return core.ObjectReference(
        kind="Pod",
        apiVersion="v1",
        namespace=about.namespace,
        name=about.name,
        uid=about.uid,
        fieldPath=path,
    )
