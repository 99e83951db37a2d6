"""The scale of a workload: autoscaling/v1 Scale as a view of its replicas."""

from __future__ import annotations

from typing import Any

from netemu.api import autoscaling, kinds, schema, structural
from netemu.apiserver import bodies, contexts, patching, rendering, statuses, writing
from netemu.http import messages

SCALE = kinds.Kind(type=autoscaling.Scale, plural="scales")


async def read(call: contexts.Call) -> messages.Response:
    """GET."""
    return rendering.view(call, SCALE, scale(writing.find(call.kind, call).document(), call.kind))


async def replace(call: contexts.Call) -> messages.Response:
    """PUT."""
    document = bodies.take(call.request, SCALE)
    return await _set(call, lambda _: document)


async def patch(call: contexts.Call) -> messages.Response:
    """PATCH."""
    change = patching.read(call.request, SCALE, call.name)

    def patched(current: statuses.Document) -> statuses.Document:
        document, _ = bodies.fit(change(current), SCALE, call.request, patched=True)
        return schema.normalise(SCALE, document)

    return await _set(call, patched)


async def _set(call: contexts.Call, change: Any) -> messages.Response:
    def prepare(current: statuses.Document) -> tuple[statuses.Document, tuple[str, ...]]:
        wanted = change(scale(current, call.kind))
        replicas = wanted.get("spec", {}).get("replicas", 0)
        if replicas < 0:
            cause = statuses.Cause(
                "FieldValueInvalid",
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise statuses.invalid(SCALE.group, SCALE.kind, call.name, [cause])
        about = wanted.get("metadata", {})
        changed = _with_replicas(current, call.kind, replicas)
        given = {key: about[key] for key in ("uid", "resourceVersion") if about.get(key)}
        changed["metadata"] = {**current["metadata"], **given}
        if call.request.method == "PUT" and "resourceVersion" not in given:
            changed["metadata"].pop("resourceVersion", None)
        return changed, ()

    entry = await writing.update(call, prepare, dry=writing.dry_run(call))
    return rendering.view(call, SCALE, scale(entry.document(), call.kind))


def _with_replicas(workload: statuses.Document, kind: kinds.Kind, replicas: int) -> statuses.Document:
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
        found = structural.find(workload, selector)
        status |= {"selector": str(found[0]) if found else ""}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: about[key] for key in kept if key in about},
        "spec": {"replicas": _number(workload, wanted, 0 if kind.custom is not None else 1)},
        "status": status,
    }


def _number(workload: statuses.Document, path: str, otherwise: int) -> int:
    found = structural.find(workload, path)
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
