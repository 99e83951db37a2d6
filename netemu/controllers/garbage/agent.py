"""The garbage collector: deletes what has lost its owners, carries out foreground and orphaning deletion."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from typing import Any, Final

from netemu.api import core, kinds, meta
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import customs, ownership
from netemu.controllers.garbage import graph, plan
from netemu.reconcile import loops, recorders

_log = logging.getLogger("garbage")
_IGNORED: Final = (core.Event,)  # many, short-lived and never owned
_LAG: Final = 0.5  # seconds for the owner's own informer to show it, before asking the server
_REMEMBERED: Final = 500
_WORKERS: Final = 8


class Garbage:
    """One graph over all kinds."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, events: recorders.Recorder
    ) -> None:
        self._client = client
        self._events = events
        self._graph = graph.Graph()
        self._known = known
        self._customs = customs.Customs(known)
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._loop = loops.Loop("garbage", self._reconcile, workers=_WORKERS, clock=clock)
        self._informers = [
            known.of(kind.type)
            for kind in kinds.ALL
            if kind.type not in _IGNORED and {"delete", "list", "watch"} <= set(kind.verbs)
        ]

    async def run(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        for informer in self._informers:
            informer.subscribe(self._changed)
        self._customs.subscribe(self._custom)
        await self._loop.run()

    def _custom(self, change: customs.Change) -> None:
        """Objects of a kind whose definition has gone are gone, whoever has heard of it."""
        if change.previous is not None:
            left = self._known.drop(change.previous.type)
            for obj in left if change.over else ():
                self._gone(obj)
        if change.current is not None:
            self._known.of(change.current.type).subscribe(self._changed)

    def _changed(self, change: informers.Change[Any]) -> None:
        before, now = change.previous, change.current
        if before is not None and (now is None or now.metadata.uid != before.metadata.uid):
            self._gone(before)
        if now is None:
            return
        if before is not None and now.metadata.uid == before.metadata.uid and _facts(before) == _facts(now):
            return
        one = graph.thing(now)
        lost = [] if before is None else [o for o in before.metadata.ownerReferences if o not in one.owners]
        self._graph.put(one)
        for owner in lost:
            self._look_at_waiting(owner.uid)
        if one.deleting and (one.waits_for_dependents or one.lets_dependents_go):
            self._loop.enqueue(one.uid)
            for dependent in self._graph.dependents(one.uid) if one.waits_for_dependents else ():
                self._loop.enqueue(dependent.uid)
        for owner in one.owners:
            above = self._graph.get(owner.uid)
            if above is None:
                self._loop.enqueue_after(one.uid, 0 if owner.uid in self._absent else _LAG)
            elif above.waits_for_dependents:
                self._loop.enqueue(one.uid)

    def _gone(self, obj: Any) -> None:
        one = graph.thing(obj)
        self._graph.drop(one.uid)
        self._absent[one.uid] = None
        while len(self._absent) > _REMEMBERED:
            self._absent.popitem(last=False)
        for dependent in self._graph.dependents(one.uid):
            self._loop.enqueue(dependent.uid)
        for owner in one.owners:
            self._look_at_waiting(owner.uid)

    def _look_at_waiting(self, uid: str) -> None:
        above = self._graph.get(uid)
        if above is not None and above.waits_for_dependents:
            self._loop.enqueue(uid)

    async def _reconcile(self, uid: str) -> float | None:
        one = self._graph.get(uid)
        if one is None:
            return None
        owners = {owner.uid: await self._state(one, owner) for owner in one.owners}
        action = plan.plan(one, owners, self._graph.dependents(uid))
        with contextlib.suppress(api_errors.NotFound):
            await self._act(one, action)
        for other in action.look_at:
            self._loop.enqueue(other)
        return None

    async def _act(self, one: graph.Thing, action: plan.Action) -> None:
        if action.delete:
            _log.debug("deleting kind=%s name=%s/%s", one.kind, one.namespace, one.name)
            await self._client.delete(
                one.type, one.name, one.namespace, propagation=action.delete, uid=one.uid
            )
        if action.disown:
            await self._disown(one, frozenset(action.disown))
        for dependent in action.orphan:
            await self._disown(dependent, frozenset((one.uid,)))
        if action.unblock:
            await self._unblock(one, action.unblock)

    async def _disown(self, one: graph.Thing, gone: frozenset[str]) -> None:
        fresh = await self._fresh(one)
        if fresh is None:
            return
        left = [owner for owner in fresh.metadata.ownerReferences if owner.uid not in gone]
        await self._patch(fresh, {"ownerReferences": ownership.documents(left)})

    async def _unblock(self, one: graph.Thing, finalizer: str) -> None:
        fresh = await self._fresh(one)
        if fresh is not None and finalizer in fresh.metadata.finalizers:
            left = [name for name in fresh.metadata.finalizers if name != finalizer]
            await self._patch(fresh, {"finalizers": left})

    async def _fresh(self, one: graph.Thing) -> Any:
        try:
            fresh = await self._client.get(one.type, one.name, one.namespace)
        except api_errors.NotFound:
            return None
        return fresh if fresh.metadata.uid == one.uid else None

    async def _patch(self, fresh: Any, metadata: dict[str, Any]) -> None:
        about: meta.ObjectMeta = fresh.metadata
        body = {"metadata": {**metadata, "resourceVersion": about.resourceVersion}}
        await self._client.patch(type(fresh), about.name, about.namespace, body=body)

    async def _state(self, one: graph.Thing, owner: meta.OwnerReference) -> plan.Owner:
        known = self._graph.get(owner.uid)
        if known is not None:
            return plan.Owner.WAITING if known.waits_for_dependents else plan.Owner.SOLID
        if owner.uid in self._absent:
            return plan.Owner.DANGLING
        kind = kinds.named(owner.apiVersion, owner.kind) or self._customs.named(owner.apiVersion, owner.kind)
        if kind is None:
            return plan.Owner.SOLID  # not a kind of ours: somebody else's business
        if kind.namespaced and not one.namespace:
            # https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
            self._warn(one, owner)
            return plan.Owner.SOLID
        try:
            found: Any = await self._client.get(
                kind.type, owner.name, one.namespace if kind.namespaced else ""
            )
        except api_errors.NotFound:
            return plan.Owner.DANGLING
        return plan.Owner.SOLID if found.metadata.uid == owner.uid else plan.Owner.DANGLING

    def _warn(self, one: graph.Thing, owner: meta.OwnerReference) -> None:
        about = one.type(metadata=meta.ObjectMeta(name=one.name, namespace=one.namespace, uid=one.uid))
        message = (
            f"ownerRef [{owner.apiVersion}/{owner.kind}, namespace: , name: {owner.name}, uid: {owner.uid}] "
            "does not exist in namespace"
        )
        self._events.record(about, "Warning", "OwnerRefInvalidNamespace", message)


def _facts(obj: Any) -> tuple[Any, ...]:
    about = obj.metadata
    return about.ownerReferences, about.finalizers, about.deletionTimestamp
