"""The namespace loop: empties a namespace that is being deleted, kind by kind, then lets it go."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from netemu.api import codec, core, kinds
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import customs, ownership, views
from netemu.controllers.namespaces import plan
from netemu.reconcile import loops

_AGAIN: Final = 5.0  # seconds; what goes meanwhile is told by informers, so this is for kinds nobody watches


class Namespaces:
    """Deletes what is in a Terminating namespace, waits for what takes its time, finalizes."""

    def __init__(self, client: api.Client, known: informers.Informers, clock: clock.Clock) -> None:
        self._client = client
        self._clock = clock
        self._loop = loops.Loop("namespace", self._reconcile, workers=4, clock=clock)
        self._customs = customs.Customs(known)
        self._namespaces = views.View(known.of(core.Namespace))
        self._namespaces.subscribe(self._namespace_changed)
        self._kinds = [
            kind for kind in kinds.ALL if kind.namespaced and {"list", "deletecollection"} <= set(kind.verbs)
        ]
        for kind in self._kinds:
            if kind.type is not core.Event:
                known.of(kind.type).subscribe(self._content_changed)

    async def run(self) -> None:
        await self._namespaces.synced.wait()
        await self._loop.run()

    def _namespace_changed(self, change: informers.Change[core.Namespace]) -> None:
        if change.current is not None and change.current.metadata.deletionTimestamp:
            self._loop.enqueue(change.key.name)

    def _content_changed(self, change: informers.Change[Any]) -> None:
        if change.current is not None:
            return
        namespace = self._namespaces.get(informers.Key("", change.key.namespace))
        if namespace is not None and namespace.metadata.deletionTimestamp:
            self._loop.enqueue(change.key.namespace)

    async def _reconcile(self, name: str) -> float | None:
        namespace = self._namespaces.get(informers.Key("", name))
        if namespace is None or not namespace.metadata.deletionTimestamp:
            return None
        if plan.FINALIZER not in namespace.spec.finalizers:
            return None
        remaining: Counter[str] = Counter()
        finalizers: Counter[str] = Counter()
        failures: list[str] = []
        for kind in (*self._kinds, *self._custom()):
            await self._empty(kind, name, remaining, finalizers, failures)
        if not remaining and not failures:
            await self._finalize(namespace)
            return None
        await self._report(namespace, remaining, finalizers, "; ".join(failures))
        return _AGAIN

    def _custom(self) -> list[kinds.Kind]:
        return [kind for kind in self._customs.kinds.values() if kind.namespaced]

    async def _empty(
        self,
        kind: kinds.Kind,
        namespace: str,
        remaining: Counter[str],
        finalizers: Counter[str],
        failures: list[str],
    ) -> None:
        found: tuple[Any, ...] = (await self._client.list(kind.type, namespace)).items
        if not found:
            return
        if any(not one.metadata.deletionTimestamp for one in found):
            response = await self._client.raw(
                "DELETE", kind.path(namespace), query=(("propagationPolicy", "Background"),)
            )
            if response.status >= 400:
                failures.append(f"{kind.qualified}: HTTP {response.status}")
            found = (await self._client.list(kind.type, namespace)).items
        if found:
            remaining[f"{kind.plural}.{kind.group}"] += len(found)
            finalizers.update(name for one in found for name in one.metadata.finalizers)

    async def _finalize(self, namespace: core.Namespace) -> None:
        path = kinds.of(core.Namespace).path("", namespace.metadata.name, "finalize")
        fresh = await self._client.get(core.Namespace, namespace.metadata.name)
        if fresh.metadata.uid != namespace.metadata.uid:
            return
        response = await self._client.raw(
            "PUT",
            path,
            body=codec.encode(plan.finalized(fresh)),
            headers=(("content-type", "application/json"),),
        )
        if response.status == 409:
            self._loop.enqueue_after(namespace.metadata.name, 0.05)
        elif response.status >= 400 and response.status != 404:
            self._loop.enqueue_after(namespace.metadata.name, _AGAIN)

    async def _report(
        self, namespace: core.Namespace, remaining: Counter[str], finalizers: Counter[str], failure: str
    ) -> None:
        now = clock.rfc3339(self._clock.now())
        wanted = plan.conditions(namespace.status.conditions, remaining, finalizers, failure, now)
        if wanted == namespace.status.conditions:
            return
        status = msgspec.structs.replace(namespace.status, conditions=wanted)
        try:
            written = await self._client.update_status(ownership.with_status(namespace, status))
        except api_errors.NotFound:
            return
        self._namespaces.wrote(written)
