"""What a CustomResourceDefinition's status says: are its names free, is it served. Pure.

Source: apiextensions-apiserver pkg/controller/status (naming_controller.go).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Document = dict[str, Any]
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_NAMES = (  # field, what it must differ from, reason when it does not
    ("plural", "resources", "PluralConflict"),
    ("singular", "resources", "SingularConflict"),
    ("shortNames", "resources", "ShortNamesConflict"),
    ("kind", "kinds", "KindConflict"),
    ("listKind", "kinds", "ListKindConflict"),
)


def status(definition: Document, others: Iterable[Document], now: str) -> Document:
    """The status a definition has beside the other definitions; what it says already of more stays."""
    spec, before = definition["spec"], definition.get("status") or {}
    known = {one["type"]: one for one in before.get("conditions") or ()}
    names, why = _names(spec, before.get("acceptedNames") or {}, _taken(spec, others))
    accepted = _condition(known, "NamesAccepted", why or ("True", "NoConflicts", "no conflicts found"), now)
    if why is None or is_established(definition):
        verdict = ("True", "InitialNamesAccepted", "the initial names have been accepted")
    else:
        verdict = ("False", "NotAccepted", "not all names are accepted")
    stored = [version.get("name", "") for version in spec.get("versions") or () if version.get("storage")]
    kept = before.get("storedVersions") or []
    known |= {one["type"]: one for one in (accepted, _condition(known, "Established", verdict, now))}
    return {
        **before,
        "conditions": list(known.values()),
        "acceptedNames": names,
        "storedVersions": [*kept, *(name for name in stored if name not in kept)],
    }


def is_established(definition: Document) -> bool:
    """Whether its kind is served."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)


PENDING = (
    "True",
    "InstanceDeletionPending",
    "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
)
IN_PROGRESS = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
COMPLETED = ("False", "InstanceDeletionCompleted", "removed all instances")


def terminating(definition: Document, verdict: tuple[str, str, str], now: str) -> Document:
    """The status of a definition being deleted; `verdict` is PENDING, IN_PROGRESS or COMPLETED."""
    before = definition.get("status") or {}
    known = {one["type"]: one for one in before.get("conditions") or ()}
    known["Terminating"] = _condition(known, "Terminating", verdict, now)
    return {**before, "conditions": list(known.values())}


def _taken(spec: Document, others: Iterable[Document]) -> dict[str, set[str]]:
    taken: dict[str, set[str]] = {"resources": set(), "kinds": set()}
    for other in others:
        if other["spec"].get("group") != spec.get("group"):
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        for field, sort, _ in _NAMES:
            taken[sort].update(_every(names.get(field)))
    return taken


def _every(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _names(
    spec: Document, accepted: Document, taken: dict[str, set[str]]
) -> tuple[Document, tuple[str, str, str] | None]:
    wanted, why = spec["names"], None
    names = dict(accepted)
    for field, sort, reason in _NAMES:
        mine = _every(accepted.get(field))
        used = [name for name in _every(wanted.get(field)) if name in taken[sort] and name not in mine]
        if used:
            why = ("False", reason, ", ".join(f'"{name}" is already in use' for name in used))
        elif wanted.get(field):
            names[field] = wanted[field]
        else:
            names.pop(field, None)
    names.pop("categories", None)
    return names | ({"categories": wanted["categories"]} if wanted.get("categories") else {}), why


def _condition(known: dict[str, Document], type_: str, verdict: tuple[str, str, str], now: str) -> Document:
    status_, reason, message = verdict
    before = known.get(type_)
    since = before["lastTransitionTime"] if before and before["status"] == status_ else now
    found = {"type": type_, "status": status_, "lastTransitionTime": since}
    return {**found, "reason": reason, "message": message}
