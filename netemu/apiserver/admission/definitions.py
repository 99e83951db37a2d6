"""The status of a CustomResourceDefinition: established as soon as it is written, for serving begins then."""

from __future__ import annotations

from netemu.apiserver.admission import changes
from netemu.base import clock as clocks


async def establish(write: changes.Write) -> None:
    """Accept the names, note the storage version."""
    spec = write.new["spec"]
    before = (write.old or {}).get("status") or {}
    now = clocks.rfc3339(write.parts.clock.now())
    known = {one["type"]: one for one in before.get("conditions") or ()}
    conditions = [
        known.get(type_)
        or {"type": type_, "status": "True", "lastTransitionTime": now, "reason": why, "message": message}
        for type_, why, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    stored = [v.get("name", "") for v in spec.get("versions") or () if v.get("storage")]
    kept = before.get("storedVersions") or []
    write.new["status"] = {
        "conditions": conditions,
        "acceptedNames": spec["names"],
        "storedVersions": [*kept, *(name for name in stored if name not in kept)],
    }
