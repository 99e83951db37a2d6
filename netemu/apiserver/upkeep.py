"""What the server keeps true by itself: aggregated roles, what quotas are used, what budgets allow.

Upstream's clusterrole-aggregation, resourcequota and disruption controllers. Hears of every change in the
store and writes, through the server's own requests, what is no longer so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import msgspec

from netemu.api import codec, core, kinds, meta, policy, quantities, rbac, selectors
from netemu.apiserver import cache
from netemu.apiserver.admission import budgets, quotas
from netemu.base import clock as clocks
from netemu.client import api
from netemu.store import revisions

_log = logging.getLogger("apiserver")
_ROLE = kinds.of(rbac.ClusterRole)
_QUOTA = kinds.of(core.ResourceQuota)
_BUDGET = kinds.of(policy.PodDisruptionBudget)
_COUNTED = (
    "core/pods",
    "core/replicationcontrollers",
    "apps/replicasets",
    "apps/deployments",
    "apps/statefulsets",
    "policy/poddisruptionbudgets",
)
_MERGE = (("content-type", "application/merge-patch+json"),)
Patch = tuple[str, dict[str, Any]]  # path, merge patch


class Upkeep:
    """Notes what has to be looked at again. `due` gives the patches that make it true."""

    def __init__(
        self, store: revisions.Store, caches: cache.Cache, books: quotas.Books, clock: clocks.Clock
    ) -> None:
        self._caches = caches
        self._books = books
        self._clock = clock
        self._roles = True
        self._quotas = {entry.namespace for entry in caches.of(_QUOTA).all()}
        self._budgets = {entry.namespace for entry in caches.of(_BUDGET).all()}
        self._wake = asyncio.Event()
        self._wake.set()
        self._end = store.subscribe("", self._receive)

    def close(self) -> None:
        self._end()

    async def run(self, client: api.Client) -> None:
        """Forever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for path, patch in list(self.due()):
                body = msgspec.json.encode(patch)
                answer = await client.raw("PATCH", path, body=body, headers=_MERGE)
                if answer.status not in (200, 404, 409):
                    _log.warning("upkeep path=%s status=%d", path, answer.status)

    def due(self) -> Iterator[Patch]:
        """What is to be written."""
        roles, self._roles = self._roles, False
        charged, self._quotas = self._quotas, set()
        disrupted, self._budgets = self._budgets, set()
        if roles:
            yield from self._aggregate()
        for namespace in charged:
            for quota in self._books.of(namespace):
                yield from self._quota(quota)
        for namespace in disrupted:
            for entry in self._caches.of(_BUDGET).all(namespace):
                yield from self._budget(entry.document())

    def _receive(self, change: revisions.Change) -> None:
        group, plural, namespace, _ = change.key.split("/", 3)
        if not namespace:
            if plural != _ROLE.plural:
                return
            self._roles = True
        else:
            held = next(self._caches.of(_QUOTA).all(namespace), None) is not None
            watched = f"{group}/{plural}" in _COUNTED
            disruptable = watched and next(self._caches.of(_BUDGET).all(namespace), None) is not None
            if held:
                self._quotas.add(namespace)
            if disruptable:
                self._budgets.add(namespace)
            if not held and not disruptable:
                return
        self._wake.set()

    def _aggregate(self) -> Iterator[Patch]:
        every = [entry.document() for entry in self._caches.of(_ROLE).all()]
        every.sort(key=lambda role: str(role["metadata"]["name"]))
        for role in every:
            if not role.get("aggregationRule"):
                continue
            found: list[Any] = []
            for text in role["aggregationRule"].get("clusterRoleSelectors") or ():
                wanted = selectors.of(codec.convert(meta.LabelSelector, text))
                for other in every:
                    if other is not role and wanted.matches(other["metadata"].get("labels") or {}):
                        found += [rule for rule in other.get("rules") or () if rule not in found]
            if found != (role.get("rules") or []):
                yield _ROLE.path("", role["metadata"]["name"]), {"rules": found}

    def _quota(self, quota: Any) -> Iterator[Patch]:
        about, hard = quota["metadata"], (quota.get("spec") or {}).get("hard") or {}
        before = quota.get("status") or {}
        used = {name: quantities.canonical(n) for name, n in self._books.used(quota, sorted(hard)).items()}
        if before.get("hard", {}) != hard or before.get("used", {}) != used:
            now = {"hard": hard, "used": used}
            status = {name: _replacing(before.get(name), amounts) for name, amounts in now.items()}
            yield _QUOTA.path(about["namespace"], about["name"], "status"), {"status": status}

    def _budget(self, budget: Any) -> Iterator[Patch]:
        about, before = budget["metadata"], budget.get("status") or {}
        status = budgets.status(self._caches, budget)
        enough = status["disruptionsAllowed"] > 0
        condition = {
            "type": "DisruptionAllowed",
            "status": "True" if enough else "False",
            "reason": "SufficientPods" if enough else "InsufficientPods",
            "message": "",
            "observedGeneration": about.get("generation", 0),
        }
        known: dict[str, str] = next(
            (c for c in before.get("conditions") or () if c["type"] == "DisruptionAllowed"), {}
        )
        moved = known.get("status") != condition["status"]
        now = clocks.rfc3339(self._clock.now())
        condition["lastTransitionTime"] = now if moved else known["lastTransitionTime"]
        if moved or any(before.get(name, 0) != value for name, value in status.items()):
            patch = {"status": {**status, "conditions": [condition]}}
            yield _BUDGET.path(about["namespace"], about["name"], "status"), patch


def _replacing(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """A merge patch that leaves nothing of what was before."""
    return {**{name: None for name in before or {} if name not in now}, **now}
