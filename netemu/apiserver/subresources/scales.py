"""The scale of a workload: autoscaling/v1 Scale as a view of its replicas."""

from __future__ import annotations

from typing import Any

from netemu.api import autoscaling, kinds, schema
from netemu.apiserver import bodies, contexts, patching, rendering, statuses, writing
from netemu.http import messages

SCALE = kinds.Kind(type=autoscaling.Scale, plural="scales")


async def read(call: contexts.Call) -> messages.Response:
    """GET."""
    return rendering.view(call, SCALE, scale(writing.find(call.kind, call).document()))


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
    workload = contexts.Call(
        call.parts, call.request, call.target._replace(subresource=""), call.user, call.kind
    )

    def prepare(current: statuses.Document) -> tuple[statuses.Document, tuple[str, ...]]:
        wanted = change(scale(current))
        replicas = wanted.get("spec", {}).get("replicas", 0)
        if replicas < 0:
            cause = statuses.Cause(
                "FieldValueInvalid",
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise statuses.invalid(SCALE.group, SCALE.kind, call.name, [cause])
        about = wanted.get("metadata", {})
        changed = {**current, "spec": {**current["spec"], "replicas": replicas}}
        given = {key: about[key] for key in ("uid", "resourceVersion") if about.get(key)}
        changed["metadata"] = {**current["metadata"], **given}
        if call.request.method == "PUT" and "resourceVersion" not in given:
            changed["metadata"].pop("resourceVersion", None)
        return changed, ()

    entry = await writing.update(workload, prepare, dry=writing.dry_run(call))
    return rendering.view(call, SCALE, scale(entry.document()))


def scale(workload: statuses.Document) -> statuses.Document:
    """The Scale of a Deployment, ReplicaSet ..."""
    about = workload["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, status = workload.get("spec", {}), workload.get("status", {})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: about[key] for key in kept if key in about},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {"replicas": status.get("replicas", 0), "selector": selector_text(spec.get("selector"))},
    }


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
