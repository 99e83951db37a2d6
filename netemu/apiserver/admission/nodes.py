"""Node rules: nobody is scheduled to a node that has not said yet that it is ready."""

from __future__ import annotations

from netemu.api import wellknown
from netemu.apiserver.admission import changes

_NOT_READY = {"key": wellknown.NOT_READY, "effect": "NoSchedule"}


async def not_ready(write: changes.Write) -> None:
    """TaintNodesByCondition: born with the taint, which the node lifecycle controller takes away."""
    if write.old is not None:
        return
    spec = write.new.setdefault("spec", {})
    taints = spec.get("taints") or []
    known = {(taint.get("key"), taint.get("effect")) for taint in taints if isinstance(taint, dict)}
    if (_NOT_READY["key"], _NOT_READY["effect"]) not in known:
        spec["taints"] = [*taints, dict(_NOT_READY)]
