"""CustomResourceDefinitions at work: each becomes kinds that are served, and goes when its objects have gone.

Objects are kept with the version they are in, so that the storage version may change; versions are views.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import msgspec

from netemu.api import autoscaling, codec, extensions, kinds, meta, resources
from netemu.api.structural import schemas
from netemu.apiserver import acceptance, cache, callbacks, catalogs, conversions, windows
from netemu.base import clock as clocks
from netemu.base import errors
from netemu.client import api
from netemu.store import revisions

_log = logging.getLogger("definitions")
_KEPT = "stored"  # the version of all kinds that are views of the same kept one
_AGE = ("Age", "date", ".metadata.creationTimestamp", False)
_KIND = kinds.of(extensions.CustomResourceDefinition)
_MERGE = (("content-type", "application/merge-patch+json"),)
_BACKGROUND = (("propagationPolicy", "Background"),)


class Definitions:
    """Keeps a catalog and a cache as the definitions in the cache say. `run` looks after the definitions."""

    def __init__(
        self,
        caches: cache.Cache,
        catalog: catalogs.Catalog,
        store: revisions.Store,
        clock: clocks.Clock,
        *,
        asking: callbacks.Callbacks,
        rng: random.Random,
    ) -> None:
        self._cache = caches
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._asking = asking
        self._rng = rng
        self._stored: dict[str, kinds.Kind] = {}
        self._defined: dict[str, Any] = {}
        self._ending: dict[str, Callable[[], None]] = {}
        self._wake = asyncio.Event()
        self._wake.set()
        self._source = caches.of(_KIND)
        for entry in self._source.all():
            self._define(entry.document())
        self._source.listen(self._changed)

    def close(self) -> None:
        """Hear of nothing more."""
        self._source.leave(self._changed)
        for stop in self._ending.values():
            stop()

    def _changed(self, event: cache.Event) -> None:
        self._wake.set()
        if event.type != "DELETED":
            self._define(event.entry.document())
            return
        name = event.entry.name
        self._withdraw(name)
        self._defined.pop(name, None)
        stored = self._stored.pop(name, None)
        if stored is not None:
            self._cache.drop(stored)
        self._ending.pop(name, lambda: None)()

    def _withdraw(self, name: str) -> None:
        for view in self._catalog.defined(name):
            self._cache.drop(view)
        self._catalog.define(name, ())

    def _define(self, document: dict[str, Any]) -> None:
        name, ending = document["metadata"]["name"], "deletionTimestamp" in document["metadata"]
        names = (document.get("status") or {}).get("acceptedNames")
        meaning = (document["spec"], names, acceptance.is_established(document), ending)
        if self._defined.get(name) == meaning:
            return
        self._defined[name] = meaning
        try:
            found = codec.convert(extensions.CustomResourceDefinition, document)
        except errors.Rejected as error:
            _log.warning("a definition in the store is unreadable error=%s", error.message)
            return
        stored = self._stored.get(name)
        if stored is None:
            stored = self._stored[name] = _kind(found, None, None)
            self._cache.add(stored)
        self._withdraw(name)
        if not acceptance.is_established(document):
            return
        served = [version for version in found.spec.versions if version.served]
        newest = sorted(served, key=lambda version: resources.rank(version.name), reverse=True)
        versions = tuple(_kind(found, version, stored) for version in newest)
        if document["spec"].get("conversion", {}).get("strategy") == "Webhook":
            storage = next(version.name for version in found.spec.versions if version.storage)
            webhook = conversions.Webhook(document, storage, self._asking, self._rng)
            for kind in versions:
                self._cache.show(kind, _window(kind, webhook))
        self._catalog.define(name, versions, ending=ending)

    # -- what is due

    async def run(self, writer: api.Client) -> None:
        """Forever: accept names that have become free; end definitions whose objects are gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            every = [entry.document() for entry in self._source.all()]
            for document in every:
                if "deletionTimestamp" in document["metadata"]:
                    if acceptance.FINALIZER in (document["metadata"].get("finalizers") or ()):
                        await self._end(document, writer)
                    continue
                others = (one for one in every if one is not document)
                await self._tell(document, acceptance.status(document, others, self._now()), writer)

    def _now(self) -> str:
        return clocks.rfc3339(self._clock.now())

    async def _tell(self, document: dict[str, Any], status: dict[str, Any], writer: api.Client) -> None:
        if status != document.get("status"):
            path = _KIND.path("", document["metadata"]["name"], "status")
            await self._patch(path, {"status": status}, writer)

    async def _patch(self, path: str, body: dict[str, Any], writer: api.Client) -> None:
        answer = await writer.raw("PATCH", path, body=msgspec.json.encode(body), headers=_MERGE)
        if answer.status == 409:
            self._wake.set()
        elif answer.status not in (200, 404):
            _log.warning("definition path=%s status=%d", path, answer.status)

    async def _end(self, document: dict[str, Any], writer: api.Client) -> None:
        """Delete every object, wait until their finalizers have let them go, then let the definition go."""
        about = document["metadata"]
        name, stored = about["name"], self._stored.get(about["name"])
        left = list(self._cache.of(stored).all()) if stored is not None else []
        verdict = acceptance.IN_PROGRESS if left else acceptance.COMPLETED
        await self._tell(document, acceptance.terminating(document, verdict, self._now()), writer)
        if left and stored is not None:
            if name not in self._ending:
                self._ending[name] = self._store.subscribe(cache.prefix(stored), lambda _: self._wake.set())
            await self._empty(stored, name, writer)
            return
        kept = [one for one in about["finalizers"] if one != acceptance.FINALIZER]
        await self._patch(_KIND.path("", name), {"metadata": {"finalizers": kept}}, writer)

    async def _empty(self, stored: kinds.Kind, name: str, writer: api.Client) -> None:
        views, collection = self._catalog.defined(name), self._cache.of(stored)
        if views:
            fresh = (e for e in collection.all() if "deletionTimestamp" not in e.document()["metadata"])
            for namespace in dict.fromkeys(entry.namespace for entry in fresh):
                await writer.raw("DELETE", views[0].path(namespace), query=_BACKGROUND)
            return
        for entry in list(collection.all()):  # no version is served: nobody can reach them, nor finalize them
            try:
                await self._store.delete(cache.key(stored, entry.namespace, entry.name), entry.revision)
            except revisions.Changed:
                self._wake.set()


def _window(
    kind: kinds.Kind, webhook: conversions.Webhook
) -> Callable[[cache.Collection, Any], windows.Converted]:
    return lambda below, recent: windows.Converted(kind, below, recent, webhook)


def _kind(
    found: extensions.CustomResourceDefinition,
    version: extensions.CustomResourceDefinitionVersion | None,
    stored: kinds.Kind | None,
) -> kinds.Kind:
    names, group = found.spec.names, found.spec.group
    if version is not None:
        names = found.status.acceptedNames
    record = kinds.nameless(f"{group}/{version.name if version else _KEPT}", names.kind)
    return kinds.custom(
        record,
        names.plural,
        singular=names.singular or names.kind.lower(),
        namespaced=found.spec.scope == "Namespaced",
        short_names=names.shortNames,
        categories=names.categories,
        subresources=tuple(_subresources(record, version)) if version else (),
        selectable=tuple(
            resources.Selectable(one.jsonPath.lstrip("."), (one.jsonPath.lstrip("."),))
            for one in (version.selectableFields if version else ())
        ),
        stored=stored,
        custom=_schema(version),
    )


def _schema(version: extensions.CustomResourceDefinitionVersion | None) -> schemas.Schema:
    if version is None or version.schema is None:
        return schemas.Schema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    columns = tuple(
        (column.name, column.type, column.jsonPath, column.priority > 0)
        for column in version.additionalPrinterColumns
    )
    scale = version.subresources.scale if version.subresources else None
    return schemas.Schema(
        version.schema.openAPIV3Schema or {"type": "object"},
        scale=(scale.specReplicasPath, scale.statusReplicasPath, scale.labelSelectorPath or "")
        if scale
        else None,
        columns=columns or (_AGE,),
    )


def _subresources(
    record: type[meta.Object], version: extensions.CustomResourceDefinitionVersion
) -> list[resources.Subresource]:
    found = []
    given = version.subresources
    edit = ("get", "patch", "update")
    if given is not None and given.scale is not None:
        found.append(resources.Subresource("scale", "Scale", edit, autoscaling.Scale, "autoscaling", "v1"))
    if given is not None and given.status is not None:
        group, _, name = record.apiVersion.rpartition("/")
        found.append(resources.Subresource("status", record.kind, edit, record, group, name))
    return found
