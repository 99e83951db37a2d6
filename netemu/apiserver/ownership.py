"""Who set which field of an object: metadata.managedFields kept true through every write.

Objects are tracked if their creation names a fieldManager, and from their first apply on; those the lab's own
loops make cost nothing. Source: k8s.io/apimachinery pkg/util/managedfields.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from netemu.api import codec, fieldsets, schema, wellknown
from netemu.apiserver import contexts, statuses
from netemu.base import clock as clocks
from netemu.base import errors

Document = statuses.Document
APPLY, UPDATE = "Apply", "Update"
_FIRST = "before-first-apply"
_ANCIENT = "ancient-changes"
_KUBECTL = "kubectl"
_MOST_UPDATES = 10
_LONGEST = 128
# Nobody owns what identifies an object or is the server's own to set (managedfields stripmeta.go).
_NOBODYS = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        ),
        (),
    }
)


class Manager(NamedTuple):
    """Who. Appliers are one whatever version they speak."""

    name: str
    operation: str
    version: str
    subresource: str = ""

    @property
    def shown(self) -> str:
        """As a conflict names it."""
        where = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.name}"{where} using {self.version}'


Owners = dict[Manager, tuple[fieldsets.Fields, str]]  # the fields, and since when


def manager(call: contexts.Call, operation: str) -> Manager:
    """Who is writing. Invalid for a name that cannot be one."""
    name = call.request.parameter("fieldManager")
    if len(name) > _LONGEST or not name.isprintable():
        why = f"Invalid value: {name[:200]!r}: must be printable and at most {_LONGEST} bytes"
        raise _bad_options(call, statuses.Cause("FieldValueInvalid", why, "fieldManager"))
    if not name and operation == APPLY:
        why = "Required value: is required for apply patch"
        raise _bad_options(call, statuses.Cause("FieldValueRequired", why, "fieldManager"))
    name = name or call.request.header("user-agent").partition("/")[0][:_LONGEST] or "unknown"
    return Manager(name, operation, call.kind.api_version, call.target.subresource)


def _bad_options(call: contexts.Call, cause: statuses.Cause) -> statuses.Refusal:
    which = {"POST": "CreateOptions", "PUT": "UpdateOptions"}.get(call.request.method, "PatchOptions")
    return statuses.invalid("meta.k8s.io", which, "", [cause])


def read(entries: Any) -> Owners:
    """Owners from managedFields. Rejected if they cannot be read."""
    found: Owners = {}
    for entry in entries or ():
        if entry.get("fieldsType", "FieldsV1") != "FieldsV1" or entry.get("operation") not in (APPLY, UPDATE):
            raise errors.Rejected("metadata.managedFields: an entry is neither Apply nor Update of FieldsV1")
        who = Manager(
            entry.get("manager", ""),
            entry["operation"],
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        found[who] = (fieldsets.parse(entry.get("fieldsV1") or {}), entry.get("time") or "")
    return found


def write(document: Document, owners: Owners) -> None:
    """Put owners into an object: appliers first, then by time."""
    entries = [
        {
            "manager": who.name,
            "operation": who.operation,
            "apiVersion": who.version,
            **({"time": since} if since else {}),
            "fieldsType": "FieldsV1",
            "fieldsV1": fieldsets.tree(fields),
            **({"subresource": who.subresource} if who.subresource else {}),
        }
        for who, (fields, since) in sorted(owners.items(), key=lambda item: _order(*item))
        if fields
    ]
    document["metadata"].pop("managedFields", None)
    if entries:
        document["metadata"]["managedFields"] = entries


def _order(who: Manager, owned: tuple[fieldsets.Fields, str]) -> tuple[str, ...]:
    return (who.operation, owned[1], *who)


def created(call: contexts.Call, new: Document) -> None:
    """Note who made an object, if they gave their name."""
    if call.request.parameter("fieldManager"):
        _updated(call, new, schema.normalise(call.kind, {"metadata": {}}), {})


def changed(call: contexts.Call, new: Document, before: Document) -> None:
    """Note who changed an object. The request may also have set managedFields by hand."""
    known, asked = before["metadata"].get("managedFields"), new["metadata"].get("managedFields")
    if asked == [{}] and not call.target.subresource:
        new["metadata"].pop("managedFields", None)
        return
    if not known and not asked:
        return
    try:
        owners = read(asked if asked and not call.target.subresource else known)
    except errors.Rejected:
        owners = read(known)
    _updated(call, new, before, owners)


def _updated(call: contexts.Call, new: Document, before: Document, owners: Owners) -> None:
    difference = fieldsets.compare(_bare(before), _bare(new), fieldsets.of(call.kind))
    written = difference.written - _NOBODYS
    who = manager(call, UPDATE)
    now = clocks.rfc3339(call.parts.clock.now())
    left: Owners = {}
    for other, (fields, since) in owners.items():
        rest = fields - difference.removed - (written if other != who else fieldsets.EMPTY)
        if rest:
            left[other] = (rest, since)
    if written:
        own = left.get(who, (fieldsets.EMPTY, ""))[0]
        left[who] = (own | written, now)
    write(new, _bounded(left))


def _bare(document: Document) -> Document:
    about = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
    return {**document, "metadata": about}


def _bounded(owners: Owners) -> Owners:
    """Only so many updaters are told apart: the oldest become one."""
    updaters = sorted((who for who in owners if who.operation == UPDATE), key=lambda who: owners[who][1])
    many = len(updaters) - _MOST_UPDATES
    if many <= 0:
        return owners
    for who in updaters[: many + 1]:
        fields, since = owners.pop(who)
        ancient = Manager(_ANCIENT, UPDATE, who.version)
        known = owners.get(ancient, (fieldsets.EMPTY, ""))[0]
        owners[ancient] = (known | fields, since)
    return owners


class Conflict(NamedTuple):
    """A field somebody else owns and the applier would give another value."""

    who: Manager
    path: fieldsets.Path


def applied(
    call: contexts.Call, live: Document, wanted: Document, *, force: bool
) -> tuple[Document, tuple[Conflict, ...]]:
    """The object after applying a configuration to it, with its new owners; and conflicts, none if forced.
    Rejected for a configuration that cannot be applied."""
    node = fieldsets.of(call.kind)
    who = manager(call, APPLY)
    owners = read(live["metadata"].get("managedFields"))
    if not owners and live["metadata"].get("uid"):
        nodes = fieldsets.values(_bare(live), node)
        owners[Manager(_FIRST, UPDATE, call.kind.api_version)] = (frozenset(nodes) - _NOBODYS, "")
    claimed = _without_reset(call, fieldsets.given(wanted, node) - _NOBODYS)
    mine = next((m for m in owners if m[:2] == who[:2] and m.subresource == who.subresource), who)
    last, since = owners.pop(mine, (fieldsets.EMPTY, ""))
    merged = fieldsets.merge(live, wanted, node)
    others = [fields for fields, _ in owners.values()]
    lost = fieldsets.free(last - claimed, (*others, claimed))
    after = fieldsets.without(merged, lost, node)
    difference = fieldsets.compare(_bare(live), _bare(after), node)
    allowed = _left_by_client(live, node) if who.name == _KUBECTL else fieldsets.EMPTY
    conflicts = []
    for other, (fields, time) in tuple(owners.items()):
        taken = fields & difference.written & claimed
        conflicts += [Conflict(other, path) for path in sorted(taken - allowed)]
        owners[other] = (fields - taken - difference.removed, time)
    if claimed != last or not since:
        since = clocks.rfc3339(call.parts.clock.now())
    owners[who] = (claimed, since)
    write(after, owners)
    return after, () if force else tuple(conflicts)


def _left_by_client(live: Document, node: fieldsets.Node) -> fieldsets.Fields:
    """What kubectl applied itself and still stands: it may take that over (lastappliedmanager.go)."""
    note = (live["metadata"].get("annotations") or {}).get(wellknown.LAST_APPLIED)
    try:
        last = codec.loads(note.encode()) if note else None
        if not isinstance(last, dict) or not isinstance(last.get("metadata"), dict):
            return fieldsets.EMPTY
        found = fieldsets.given(last, node)
    except errors.Rejected:
        return fieldsets.EMPTY
    return found - fieldsets.compare(live, last, node).written


def _without_reset(call: contexts.Call, fields: fieldsets.Fields) -> fieldsets.Fields:
    """Nobody comes to own what the request cannot write."""
    if not call.kind.has_status:
        return fields
    if call.target.subresource == "status":
        return frozenset(path for path in fields if path[0] in ("f:status", "f:metadata"))
    return frozenset(path for path in fields if path[0] != "f:status")


def refusal(conflicts: tuple[Conflict, ...]) -> statuses.Refusal:
    """409 with a cause for every field, worded as managedfields/internal/conflict.go does."""
    causes = [
        statuses.Cause("FieldManagerConflict", f"conflict with {who.shown}", fieldsets.text(path))
        for who, path in conflicts
    ]
    if len(conflicts) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        lines = []
        for who in dict.fromkeys(one.who for one in conflicts):
            paths = (f"- {fieldsets.text(one.path)}" for one in conflicts if one.who == who)
            lines.append("\n".join((f"conflicts with {who.shown}:", *paths)))
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return statuses.Refusal(409, "Conflict", message, causes=causes)
