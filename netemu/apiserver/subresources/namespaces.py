"""The end of a namespace: whoever emptied it takes the finalizer away."""

from __future__ import annotations

from netemu.apiserver import bodies, contexts, rendering, statuses, writing
from netemu.http import messages


async def finalize(call: contexts.Call) -> messages.Response:
    """PUT namespaces/x/finalize: replace spec.finalizers and nothing else. Conflict."""
    document = bodies.take(call.request, call.kind)
    wanted = (document.get("spec") or {}).get("finalizers") or []
    asked = (document.get("metadata") or {}).get("resourceVersion", "")

    def prepare(current: statuses.Document) -> tuple[statuses.Document, tuple[str, ...]]:
        if asked and asked != current["metadata"]["resourceVersion"]:
            raise statuses.conflict("", "namespaces", call.name)
        spec = {key: value for key, value in current.get("spec", {}).items() if key != "finalizers"}
        return {**current, "spec": {**spec, **({"finalizers": wanted} if wanted else {})}}, ()

    return rendering.item(call, await writing.store(call, prepare, dry=writing.dry_run(call)))
