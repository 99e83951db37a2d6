"""The ResourceQuota plugin: a namespace holds no more than its quotas say.

What is used is counted from the objects there are, and those being written just now. Follows
k8s.io/kubernetes plugin/pkg/admission and pkg/quota/v1; what each object uses, `usage` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netemu.api import core, kinds, quantities
from netemu.apiserver import cache, statuses
from netemu.apiserver.admission import changes, usage

_KIND = kinds.of(core.ResourceQuota)
_POD = kinds.of(core.Pod)
_REMEMBERED = 50_000
_CHARGED_ON_UPDATE = ("pods", "services", "persistentvolumeclaims")


class _Pending(NamedTuple):
    """A write under way: what it will add to the object that is at this revision now (0: there is none)."""

    kind: kinds.Kind
    name: str
    revision: int
    document: statuses.Document
    adds: usage.Amounts


class Books:
    """What is used in namespaces with quotas."""

    def __init__(self, caches: cache.Cache) -> None:
        self._caches = caches
        self._known: dict[tuple[str, str, str], tuple[int, usage.Used]] = {}
        self._pending: dict[str, list[_Pending]] = {}

    def of(self, namespace: str) -> list[statuses.Document]:
        """The quotas of a namespace."""
        return [entry.document() for entry in self._caches.of(_KIND).all(namespace)]

    def used(self, quota: statuses.Document, names: list[str]) -> usage.Amounts:
        """How much of each resource is used, counting what is stored and what is being written."""
        namespace, texts = quota["metadata"]["namespace"], {name: list[str]() for name in names}
        for kind in _kinds(self._caches.resources, names):
            for entry in self._caches.of(kind).all(namespace):
                found = self._of(kind, entry)
                if usage.in_scope(quota, found.scopes, found.priority):
                    for name in names:
                        if name in found.amounts:
                            texts[name].append(found.amounts[name])
        for pending in self._pending.get(namespace, ()):
            now = self._caches.of(pending.kind).get(namespace, pending.name)
            about = usage.of(pending.kind, pending.document)
            if (now.revision if now else 0) == pending.revision and usage.in_scope(
                quota, about.scopes, about.priority
            ):
                for name in names:
                    if name in pending.adds:
                        texts[name].append(pending.adds[name])
        return {name: quantities.total(found) for name, found in texts.items()}

    def _of(self, kind: kinds.Kind, entry: Any) -> usage.Used:
        key = (kind.qualified, entry.namespace, entry.name)
        known = self._known.get(key)
        if known is None or known[0] != entry.revision:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = (entry.revision, usage.of(kind, entry.document()))
        return known[1]

    def reserve(self, namespace: str, pending: _Pending) -> None:
        self._pending.setdefault(namespace, []).append(pending)

    def release(self, namespace: str, pending: _Pending) -> None:
        left = self._pending[namespace]
        left.remove(pending)
        if not left:
            del self._pending[namespace]


def _kinds(resources: Iterable[kinds.Kind], names: list[str]) -> Iterator[kinds.Kind]:
    wanted = set(names)
    for kind in resources:
        if not kind.namespaced:
            continue
        open_ = kind in usage.OPEN and any(usage.counts(kind, name) for name in wanted)
        if open_ or not wanted.isdisjoint(usage.names(kind)):
            yield kind


async def charge(write: changes.Write) -> None:
    """The write fits into every quota of its namespace, and is counted until it is stored. Refusal."""
    if not write.kind.namespaced:
        return
    books = write.parts.quotas
    found = books.of(write.namespace)
    if not found or (write.old is not None and write.kind.plural not in _CHARGED_ON_UPDATE):
        return
    now = usage.of(write.kind, write.new)
    before = usage.of(write.kind, write.old).amounts if write.old is not None else {}
    adds = usage.more(now.amounts, before)
    for quota in found:
        if usage.in_scope(quota, now.scopes, now.priority):
            _check(write, books, quota, adds)
    revision = int(write.old["metadata"].get("resourceVersion", 0)) if write.old else 0
    pending = _Pending(write.kind.stored or write.kind, write.name, revision, write.new, adds)
    if adds and not write.dry:
        books.reserve(write.namespace, pending)
        write.held.callback(books.release, write.namespace, pending)


def _check(write: changes.Write, books: Books, quota: statuses.Document, adds: usage.Amounts) -> None:
    hard: usage.Amounts = (quota.get("spec") or {}).get("hard") or {}
    name = quota["metadata"]["name"]
    pod = write.old is None and write.kind is _POD
    if pod and (missing := usage.unspecified(write.new["spec"], hard)):
        raise write.forbidden(f"failed quota: {name}: must specify {missing}")
    limited = sorted(resource for resource in hard if resource in adds)
    if not limited:
        return
    used = books.used(quota, limited)
    over = [n for n in limited if usage.exceeds(used[n], adds[n], hard[n])]
    if over:
        told = [",".join(f"{n}={amounts[n]}" for n in over) for amounts in (adds, used, hard)]
        raise write.forbidden(
            f"exceeded quota: {name}, requested: {told[0]}, used: {told[1]}, limited: {told[2]}"
        )
