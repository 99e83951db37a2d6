"""CustomResourceDefinitions at work: each becomes kinds that are served, and goes with all its objects.

Objects are kept in a form of no version, so that the storage version may change; every version is a view.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from netemu.api import autoscaling, codec, core, extensions, kinds, meta, resources, structural
from netemu.apiserver import cache, catalogs, priorities
from netemu.base import errors
from netemu.store import revisions

_log = logging.getLogger("definitions")
_KEPT = "stored"  # the version objects are kept in
_AGE = ("Age", "date", ".metadata.creationTimestamp", False)


class Definitions:
    """Keeps a catalog and a cache as the definitions in the cache say."""

    def __init__(self, caches: cache.Cache, catalog: catalogs.Catalog, store: revisions.Store) -> None:
        self._cache = caches
        self._catalog = catalog
        self._store = store
        self._stored: dict[str, kinds.Kind] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._source = caches.of(kinds.of(extensions.CustomResourceDefinition))
        for entry in self._source.all():
            self._define(entry.document())
        self._source.listen(self._changed)
        self._namespaces = caches.of(kinds.of(core.Namespace))
        self._namespaces.listen(self._namespace_changed)

    async def close(self) -> None:
        self._source.leave(self._changed)
        self._namespaces.leave(self._namespace_changed)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _changed(self, event: cache.Event) -> None:
        if event.type != "DELETED":
            self._define(event.entry.document())
            return
        for view in self._catalog.defined(event.entry.name):
            self._cache.drop(view)
        self._catalog.define(event.entry.name, ())
        stored = self._stored.pop(event.entry.name, None)
        if stored is not None:
            self._later(self._empty(stored))

    def _namespace_changed(self, event: cache.Event) -> None:
        """No controller knows custom kinds; what is left in a namespace goes when it does."""
        if event.type == "DELETED":
            for stored in self._stored.values():
                if stored.namespaced:
                    self._later(self._empty(stored, event.entry.name))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _define(self, document: dict[str, Any]) -> None:
        try:
            found = codec.convert(extensions.CustomResourceDefinition, document)
        except errors.Rejected as error:
            _log.warning("a definition in the store is unreadable error=%s", error.message)
            return
        name = found.metadata.name
        stored = self._stored.get(name)
        if stored is None:
            stored = self._stored[name] = _kind(found, None, None)
            self._cache.add(stored)
        for view in self._catalog.defined(name):
            self._cache.drop(view)
        served = [version for version in found.spec.versions if version.served]
        newest = sorted(served, key=lambda version: priorities.rank(version.name), reverse=True)
        self._catalog.define(name, tuple(_kind(found, version, stored) for version in newest))

    async def _empty(self, stored: kinds.Kind, namespace: str = "") -> None:
        for entry in list(self._cache.of(stored).all(namespace)):
            try:
                await self._store.delete(cache.key(stored, entry.namespace, entry.name), entry.revision)
            except revisions.Changed:
                continue
            except revisions.Failed as error:
                _log.warning("objects of a deleted kind stay kind=%s error=%s", stored.qualified, error)
                return
        if stored not in self._stored.values():
            self._cache.drop(stored)


def _kind(
    found: extensions.CustomResourceDefinition,
    version: extensions.CustomResourceDefinitionVersion | None,
    stored: kinds.Kind | None,
) -> kinds.Kind:
    names, group = found.spec.names, found.spec.group
    api_version = f"{group}/{version.name if version else _KEPT}"
    record: Any = msgspec.defstruct(
        names.kind,
        [],
        bases=(meta.Object,),
        namespace={"apiVersion": api_version, "kind": names.kind},
        module=meta.__name__,
        frozen=True,
        omit_defaults=True,
    )
    return kinds.Kind(
        type=record,
        plural=names.plural,
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


def _schema(version: extensions.CustomResourceDefinitionVersion | None) -> structural.Schema:
    if version is None or version.schema is None:
        return structural.Schema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    columns = tuple(
        (column.name, column.type, column.jsonPath, column.priority > 0)
        for column in version.additionalPrinterColumns
    )
    scale = version.subresources.scale if version.subresources else None
    return structural.Schema(
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
