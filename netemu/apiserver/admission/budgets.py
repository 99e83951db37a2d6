"""Disruption budgets: how many pods may go now, and whether a pod may be evicted.

Counted from the objects there are at the moment, so two evictions never use the same allowance. Follows
k8s.io/kubernetes pkg/controller/disruption and pkg/registry/core/pod/storage/eviction.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from netemu.api import apps, codec, core, kinds, meta, policy, selectors
from netemu.apiserver import cache, statuses

_POD, _BUDGET = kinds.of(core.Pod), kinds.of(policy.PodDisruptionBudget)
_SCALED = {
    ("apps/v1", "ReplicaSet"): kinds.of(apps.ReplicaSet),
    ("apps/v1", "Deployment"): kinds.of(apps.Deployment),
    ("apps/v1", "StatefulSet"): kinds.of(apps.StatefulSet),
    ("v1", "ReplicationController"): kinds.of(core.ReplicationController),
}
Document = statuses.Document


def check(caches: cache.Cache, pod: Document) -> None:
    """Whether the pod may be evicted now. Refusal: TooManyRequests when its budget does not allow it."""
    about = pod["metadata"]
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending", None):
        return
    if "deletionTimestamp" in about:
        return
    found = [b for b in _budgets(caches, about["namespace"]) if _selects(b, about.get("labels") or {})]
    if not found:
        return
    if len(found) > 1:
        raise statuses.internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    now = status(caches, found[0])
    if not _ready(pod):
        if (found[0].get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            return
        if now["currentHealthy"] >= now["desiredHealthy"] > 0:
            return
    if now["disruptionsAllowed"] <= 0:
        name = found[0]["metadata"]["name"]
        why = (
            f"The disruption budget {name} needs {now['desiredHealthy']} healthy pods and has"
            f" {now['currentHealthy']} currently"
        )
        raise statuses.too_many_requests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            causes=(statuses.Cause("DisruptionBudget", why),),
            retry_after=0,
        )


def _budgets(caches: cache.Cache, namespace: str) -> Iterator[Document]:
    return (entry.document() for entry in caches.of(_BUDGET).all(namespace))


def _selects(budget: Document, labels: dict[str, str]) -> bool:
    wanted = (budget.get("spec") or {}).get("selector")
    return wanted is not None and selectors.of(codec.convert(meta.LabelSelector, wanted)).matches(labels)


def _ready(pod: Document) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def status(caches: cache.Cache, budget: Document) -> Document:
    """The status of a budget as it is now, without conditions' times."""
    namespace, spec = budget["metadata"]["namespace"], budget.get("spec") or {}
    entries = caches.of(_POD).all(namespace)
    chosen = [entry.document() for entry in entries if _selects(budget, entry.labels)]
    chosen = [pod for pod in chosen if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    healthy = sum(_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in chosen)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if isinstance(least, int) and most is None:
        expected, desired = len(chosen), least
    else:
        expected = _expected(caches, namespace, chosen)
        if most is not None:
            desired = max(0, expected - _share(most, expected))
        else:
            desired = _share(least if least is not None else 1, expected)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    return {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
    }


def _share(value: int | str, whole: int) -> int:
    """A number, or a percentage of the whole rounded up."""
    if isinstance(value, int):
        return value
    return math.ceil(int(value.rstrip("%") or 0) * whole / 100)


def _expected(caches: cache.Cache, namespace: str, pods: list[Document]) -> int:
    """How many pods the workloads of these pods want; a pod of none counts for itself."""
    scales: dict[str, int] = {}
    for pod in pods:
        owner, found = _workload(caches, namespace, pod["metadata"])
        scales[owner] = (found.get("spec") or {}).get("replicas", 1) if found else 1
    return sum(scales.values())


def _workload(caches: cache.Cache, namespace: str, about: Any) -> tuple[str, Document | None]:
    """The topmost workload above an object."""
    found: Document | None = None
    while True:
        owners = [o for o in about.get("ownerReferences") or () if o.get("controller")]
        kind = _SCALED.get((owners[0]["apiVersion"], owners[0]["kind"])) if owners else None
        entry = caches.of(kind).get(namespace, owners[0]["name"]) if kind else None
        if entry is None or entry.document()["metadata"]["uid"] != owners[0]["uid"]:
            return about["uid"], found
        found = entry.document()
        about = found["metadata"]
