"""The scale of a workload: autoscaling/v1 Scale as a view of its replicas."""

from __future__ import annotations

from typing import Any

from netemu.api import schema
from netemu.apiserver import bodies, contexts, patching, rendering, scaling, statuses, writing
from netemu.http import messages


async def read(call: contexts.Call) -> messages.Response:
    """GET."""
    return rendering.view(
        call, scaling.SCALE, scaling.scale(writing.find(call.kind, call).document(), call.kind)
    )


async def replace(call: contexts.Call) -> messages.Response:
    """PUT."""
    document = bodies.take(call.request, scaling.SCALE)
    return await _set(call, lambda _: document)


async def patch(call: contexts.Call) -> messages.Response:
    """PATCH."""
    change = patching.read(call.request, scaling.SCALE, call.name)

    def patched(current: statuses.Document) -> statuses.Document:
        document, _ = bodies.fit(change(current), scaling.SCALE, call.request, patched=True)
        return schema.normalise(scaling.SCALE, document)

    return await _set(call, patched)


async def _set(call: contexts.Call, change: Any) -> messages.Response:
    def prepare(current: statuses.Document) -> tuple[statuses.Document, tuple[str, ...]]:
        wanted = change(scaling.scale(current, call.kind))
        replicas = wanted.get("spec", {}).get("replicas", 0)
        if replicas < 0:
            cause = statuses.Cause(
                "FieldValueInvalid",
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise statuses.invalid(scaling.SCALE.group, scaling.SCALE.kind, call.name, [cause])
        about = wanted.get("metadata", {})
        changed = scaling.with_replicas(current, call.kind, replicas)
        given = {key: about[key] for key in ("uid", "resourceVersion") if about.get(key)}
        changed["metadata"] = {**current["metadata"], **given}
        if call.request.method == "PUT" and "resourceVersion" not in given:
            changed["metadata"].pop("resourceVersion", None)
        return changed, ()

    entry = await writing.update(call, prepare, dry=writing.dry_run(call))
    return rendering.view(call, scaling.SCALE, scaling.scale(entry.document(), call.kind))
