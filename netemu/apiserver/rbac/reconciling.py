"""The default roles and bindings put right at every start: what is missing in them comes back.

Pure. What people added stays; whoever sets the annotation autoupdate to "false" is left alone. Source:
k8s.io/kubernetes pkg/apis/rbac reconciliation and the rbac/bootstrap-roles post-start hook.
"""

from __future__ import annotations

from typing import Any

from netemu.api import wellknown
from netemu.apiserver.rbac import rules

Document = dict[str, Any]


def reconciled(wanted: Document, there: Document) -> Document | None:
    """What the object there must become; None when it is right as it is. Without `uid` it must be made anew:
    a binding's role cannot be changed."""
    about = there["metadata"]
    if (about.get("annotations") or {}).get(wellknown.RBAC_AUTOUPDATE) == "false":
        return None
    if wanted.get("roleRef") != there.get("roleRef"):
        return wanted
    now = {**there, "metadata": _marked(wanted["metadata"], about)}
    if "subjects" in wanted:
        known = there.get("subjects") or []
        now["subjects"] = [*known, *(one for one in wanted["subjects"] if one not in known)]
    elif not wanted.get("aggregationRule"):
        known = there.get("rules") or []
        missing = rules.uncovered(rules.read(known), rules.read(wanted.get("rules")))
        now["rules"] = [*known, *(rule.document() for rule in missing)]
    else:
        now["aggregationRule"] = there.get("aggregationRule") or wanted["aggregationRule"]
    return None if _same(now, there) else now


def _marked(wanted: Document, about: Document) -> Document:
    marks = ("labels", "annotations")
    return {**about, **{name: {**wanted.get(name, {}), **(about.get(name) or {})} for name in marks}}


def _same(now: Document, there: Document) -> bool:
    return all((now[name] or None) == (there.get(name) or None) for name in now)
