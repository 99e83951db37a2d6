"""The scale of a workload: autoscaling/v1 Scale as a view of its replicas. Pure."""

from __future__ import annotations

from typing import Any

from netemu.api import autoscaling, jsonpaths, kinds
from netemu.apiserver import statuses

SCALE = kinds.Kind(type=autoscaling.Scale, plural="scales")


def with_replicas(workload: statuses.Document, kind: kinds.Kind, replicas: int) -> statuses.Document:
    """A copy of the workload that wants so many."""
    changed = dict(workload)
    place, steps = changed, _paths(kind)[0].strip(".").split(".")
    for step in steps[:-1]:
        below = place.get(step)
        place[step] = dict(below) if isinstance(below, dict) else {}
        place = place[step]
    place[steps[-1]] = replicas
    return changed


def _paths(kind: kinds.Kind) -> tuple[str, str, str]:
    custom = kind.custom.scale if kind.custom is not None else None
    return custom or (".spec.replicas", ".status.replicas", "")


def scale(workload: statuses.Document, kind: kinds.Kind) -> statuses.Document:
    """The Scale of a Deployment, ReplicaSet, custom kind ..."""
    about = workload["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    wanted, there, selector = _paths(kind)
    status: dict[str, Any] = {"replicas": _number(workload, there, 0)}
    if kind.custom is None:
        chosen = (workload.get("spec") or {}).get("selector")
        if chosen and "matchLabels" not in chosen and "matchExpressions" not in chosen:
            chosen = {"matchLabels": chosen}  # a ReplicationController's
        status |= {"selector": selector_text(chosen)}
    elif selector:
        found = jsonpaths.find(workload, selector)
        status |= {"selector": str(found[0]) if found else ""}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: about[key] for key in kept if key in about},
        "spec": {"replicas": _number(workload, wanted, 0 if kind.custom is not None else 1)},
        "status": status,
    }


def _number(workload: statuses.Document, path: str, otherwise: int) -> int:
    found = jsonpaths.find(workload, path)
    return found[0] if found and isinstance(found[0], int) else otherwise


def selector_text(selector: dict[str, Any] | None) -> str:
    """A LabelSelector as the query string clients can use (metav1.FormatLabelSelector)."""
    if not selector:
        return ""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for need in selector.get("matchExpressions") or ():
        key, values = need["key"], ",".join(sorted(need.get("values") or ()))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[need["operator"]]
        )
    return ",".join(parts)
