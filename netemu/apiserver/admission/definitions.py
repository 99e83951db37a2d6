"""The status of a CustomResourceDefinition: established as soon as it is written, if its names are free."""

from __future__ import annotations

from netemu.apiserver import acceptance
from netemu.apiserver.admission import changes
from netemu.base import clock as clocks


async def establish(write: changes.Write) -> None:
    """Accept the names that no other definition has, note the storage version."""
    new = write.new
    new["status"] = (write.old or {}).get("status") or {}
    if "deletionTimestamp" in new["metadata"]:
        return
    every = (entry.document() for entry in write.parts.cache.of(write.kind).all())
    others = (one for one in every if one["metadata"]["name"] != write.name)
    new["status"] = acceptance.status(new, others, clocks.rfc3339(write.parts.clock.now()))
