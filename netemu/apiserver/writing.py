"""Creating, replacing and patching objects: read, fit, admit, validate, allocate, store.

The order is that of k8s.io/apiserver pkg/registry. A write is one compare-and-swap: all of it or none.
"""

from __future__ import annotations

from collections.abc import Callable

from netemu.api import core, defaults, kinds, validation
from netemu.apiserver import (
    bodies,
    contexts,
    entries,
    objects,
    ownership,
    patching,
    rendering,
    statuses,
)
from netemu.apiserver.admission import chain, changes
from netemu.http import messages
from netemu.store import revisions

_BORN_WITH_STATUS = (kinds.of(core.Node),)  # a kubelet registers its node as it is
Document = statuses.Document
Prepare = Callable[[Document], tuple[Document, tuple[str, ...]]]
_TRIES = 8
_OWN_RULES = ("ephemeralcontainers", "resize")  # subresources that may change what the object itself may not
_STATUS = ("status", "approval")  # subresources that write nothing but status


async def create(call: contexts.Call) -> messages.Response:
    """POST: a new object. AlreadyExists, Invalid, Forbidden."""
    given, duplicates = bodies.read(call.request, call.kind)
    document, warnings = bodies.fit(given, call.kind, call.request, duplicates=duplicates)
    entry = await new(call, document, dry=dry_run(call))
    return rendering.item(call, entry, status=201, warnings=warnings)


async def new(
    call: contexts.Call, document: Document, *, dry: bool = False, applied: ownership.Owners | None = None
) -> entries.Entry:
    """Store a new object that fits its kind's schema; `applied` says who owns its fields, if it was applied.
    AlreadyExists, Invalid, Forbidden."""
    about = document.setdefault("metadata", {})
    if call.parts.catalog.ending(call.kind):
        why = "create not allowed while custom resource definition is terminating"
        raise statuses.forbidden(call.kind.group, call.kind.plural, str(about.get("name", "")), why)
    _same_namespace(call, about)
    if not about.get("name") and not about.get("generateName"):
        cause = statuses.Cause(
            "FieldValueRequired", "Required value: name or generateName is required", "metadata.name"
        )
        raise statuses.invalid(call.kind.group, call.kind.kind, "", [cause])
    if about.get("resourceVersion"):
        raise statuses.bad_request("resourceVersion should not be set on objects to be created")
    for _ in range(_TRIES):
        attempt = {**document, "metadata": dict(about)} if about.get("generateName") else document
        generated = objects.begin(call.kind, attempt, call.namespace, call.parts.rng, call.parts.clock.now())
        try:
            return await _store_new(call, attempt, dry=dry, applied=applied)
        except statuses.Refusal as refusal:
            if not generated or refusal.reason != "AlreadyExists":
                raise
    raise statuses.already_exists(call.kind.group, call.kind.plural, objects.name(attempt))


async def _store_new(
    call: contexts.Call, document: Document, *, dry: bool, applied: ownership.Owners | None = None
) -> entries.Entry:
    kind = call.kind
    if call.collection.has(call.namespace, objects.name(document)):
        raise statuses.already_exists(kind.group, kind.plural, objects.name(document))
    write = changes.Write(call.parts, kind, call.namespace, defaults.apply(kind, document), None, call, dry)
    if kind.has_status and kind not in _BORN_WITH_STATUS:
        write.new.pop("status", None)
    if applied is not None:
        ownership.write(write.new, applied)
    else:
        ownership.created(call, write.new)  # before admission: what that adds is nobody's
    with write.held:
        await chain.mutate(write)
        _validate(write)
        await chain.admit(write)
        key_name = objects.name(write.new)
        if dry:
            return call.transient(write.new)
        try:
            packed = await call.collection.pack(write.new)
            record = await call.parts.store.create(call.key(key_name), packed)
        except revisions.Exists:
            raise statuses.already_exists(kind.group, kind.plural, key_name) from None
    return (await call.collection.past((record,)))[0]


async def replace(call: contexts.Call) -> messages.Response:
    """PUT: the object, or with a subresource only its status. Conflict, Invalid, NotFound."""
    given, duplicates = bodies.read(call.request, call.kind)
    if call.collection.converting:
        await call.collection.prepare(call.namespace, call.name)
    known = call.collection.get(call.namespace, call.name)
    document, warnings = bodies.fit(
        given,
        call.kind,
        call.request,
        duplicates=duplicates,
        known=known.document() if known else None,
    )
    about = document.setdefault("metadata", {})
    _same_namespace(call, about)
    about["name"] = about.get("name") or call.name
    if about["name"] != call.name:
        raise statuses.bad_request(
            f"the name of the object ({about['name']}) does not match the name on the URL ({call.name})"
        )
    entry = await update(call, lambda _: (document, ()), dry=dry_run(call))
    return rendering.item(call, entry, warnings=warnings)


async def patch(call: contexts.Call) -> messages.Response:
    """PATCH in any of its forms. Without a resourceVersion in it, it is tried again."""
    if bodies.media(call.request) == patching.APPLY:
        return await _apply(call)
    change = patching.read(call.request, call.kind)
    warned: list[str] = []

    def apply(current: Document) -> tuple[Document, tuple[str, ...]]:
        document, warnings = bodies.fit(
            change(current),
            call.kind,
            call.request,
            duplicates=change.duplicates,
            patched=True,
            known=current,
        )
        warned[:] = warnings
        return document, warnings

    entry = await update(call, apply, dry=dry_run(call))
    return rendering.item(call, entry, warnings=tuple(warned))


async def _apply(call: contexts.Call) -> messages.Response:
    """PATCH by server-side apply: makes the object if there is none. Conflict with other managers' fields."""
    wanted, duplicates = patching.configuration(call.request, call.kind)
    force = call.request.parameter("force") in ("true", "1")
    dry, warned = dry_run(call), list[str]()

    def fit(document: Document, known: Document | None) -> Document:
        fitting, warnings = bodies.fit(
            document, call.kind, call.request, duplicates=duplicates, patched=True, known=known
        )
        warned[:] = warnings
        return fitting

    def prepare(current: Document) -> tuple[Document, tuple[str, ...]]:
        fit(wanted, None)
        document, conflicts = patching.applied(call, current, wanted, force=force)
        if conflicts:
            raise ownership.refusal(conflicts)
        asked = wanted["metadata"].get("resourceVersion", "")
        document["metadata"]["resourceVersion"] = asked
        return document, ()

    if not call.collection.has(call.namespace, call.name) and not call.target.subresource:
        if wanted["metadata"].get("uid"):
            raise statuses.conflict(call.kind.group, call.kind.plural, call.name)
        wanted["metadata"].setdefault("name", call.name)
        document = fit(wanted, None)
        after, _ = patching.applied(call, {"metadata": {}}, document, force=True)
        owners = ownership.read(after["metadata"].pop("managedFields", None))
        try:
            entry = await new(call, after, dry=dry, applied=owners)
            return rendering.item(call, entry, status=201, warnings=tuple(warned))
        except statuses.Refusal as refusal:
            if refusal.reason != "AlreadyExists":
                raise
    entry = await update(call, prepare, dry=dry)
    return rendering.item(call, entry, warnings=tuple(warned))


async def update(call: contexts.Call, prepare: Prepare, *, dry: bool = False) -> entries.Entry:
    """Store what `prepare` makes of the current object. Conflict when it asks for another revision."""
    for _ in range(_TRIES):
        if call.collection.converting:
            await call.collection.prepare(call.namespace, call.name)
        old = find(call.kind, call)
        document, _ = prepare(old.fresh())
        asked = document.get("metadata", {}).get("resourceVersion", "")
        if asked and asked != str(old.revision):
            raise statuses.conflict(call.kind.group, call.kind.plural, call.name)
        try:
            return await _store_changed(call, document, old, dry=dry)
        except revisions.Changed:
            if asked and call.request.method == "PUT":
                raise statuses.conflict(call.kind.group, call.kind.plural, call.name) from None
    raise statuses.conflict(call.kind.group, call.kind.plural, call.name)


async def _store_changed(
    call: contexts.Call, document: Document, old: entries.Entry, *, dry: bool
) -> entries.Entry:
    kind, before = call.kind, old.fresh()
    _same_identity(call, document, before)
    part = _PARTS.get(call.target.subresource)
    merged = part(document, before) if part else document
    write = changes.Write(call.parts, kind, call.namespace, defaults.apply(kind, merged), before, call, dry)
    with write.held:
        if call.target.subresource not in _STATUS and kind.has_status:
            _keep_status(write.new, before)
        if bodies.media(call.request) != patching.APPLY:
            ownership.changed(call, write.new, before)
        await chain.mutate(write)
        objects.carry(kind, write.new, before)
        if write.new == before:
            return old
        _validate(write, call.target.subresource)
        await chain.admit(write)
        return await _put(call, write.new, before, old, dry=dry)


async def store(call: contexts.Call, prepare: Prepare, *, dry: bool = False) -> entries.Entry:
    """Store what `prepare` makes of the current object; it is the server's own doing, unchecked."""
    for _ in range(_TRIES):
        old = find(call.kind, call)
        before = old.fresh()
        document, _ = prepare(old.fresh())
        objects.carry(call.kind, document, before, count=False)
        try:
            return await _put(call, document, before, old, dry=dry)
        except revisions.Changed:
            continue
    raise statuses.conflict(call.kind.group, call.kind.plural, call.name)


async def _put(
    call: contexts.Call, document: Document, before: Document, old: entries.Entry, *, dry: bool
) -> entries.Entry:
    if document == before:
        return old
    if dry:
        return call.transient(document)
    if gone(document):
        change = await call.parts.store.delete(call.key(), old.revision)
        assert change.previous is not None
        packed = await call.collection.pack(document)
        last = change.previous._replace(revision=change.revision, value=packed)
        return (await call.collection.past((last,)))[0]
    record = await call.parts.store.update(call.key(), await call.collection.pack(document), old.revision)
    return (await call.collection.past((record,)))[0]


def gone(document: Document) -> bool:
    """Whether nothing holds an object back that is being deleted."""
    about = document["metadata"]
    if "deletionTimestamp" not in about or about.get("finalizers"):
        return False
    spec = document.get("spec")
    if document["kind"] == "Namespace" and isinstance(spec, dict) and spec.get("finalizers"):
        return False
    return not about.get("deletionGracePeriodSeconds", 0)


def _validate(write: changes.Write, subresource: str = "") -> None:
    own = subresource if subresource in _OWN_RULES else ""
    wrong = validation.check(write.kind, write.new, write.old, subresource=own)
    if wrong:
        raise write.invalid(*(statuses.Cause(e.reason, e.message, e.field) for e in wrong))


def _status_only(document: Document, before: Document) -> Document:
    """A write of status may also change metadata (flanneld annotates nodes that way) but nothing else."""
    about = {**document.get("metadata", {})}
    if "ownerReferences" in before["metadata"]:
        about["ownerReferences"] = before["metadata"]["ownerReferences"]
    merged = {**before, "metadata": about}
    if "status" in document:
        merged["status"] = document["status"]
    else:
        merged.pop("status", None)
    return merged


def _keep_status(new_: Document, before: Document) -> None:
    if "status" in before:
        new_["status"] = before["status"]
    else:
        new_.pop("status", None)


def _same_namespace(call: contexts.Call, about: Document) -> None:
    if call.kind.namespaced and (about.get("namespace") or call.namespace) != call.namespace:
        raise statuses.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _same_identity(call: contexts.Call, document: Document, before: Document) -> None:
    about = document.setdefault("metadata", {})
    given, uid = about.get("uid", ""), before["metadata"].get("uid", "")
    if given and given != uid:
        why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
        raise statuses.conflict(call.kind.group, call.kind.plural, call.name, why)
    for name, value in (("name", call.name), ("namespace", call.namespace)):
        about[name] = about.get(name) or value
        if value and about[name] != value:
            cause = statuses.Cause("FieldValueInvalid", "field is immutable", f"metadata.{name}")
            raise statuses.invalid(call.kind.group, call.kind.kind, call.name, [cause])


def dry_run(call: contexts.Call) -> bool:
    """Whether the query asks to persist nothing. Invalid for anything but All."""
    given = call.request.parameters("dryRun")
    if any(value != "All" for value in given):
        cause = statuses.Cause(
            "FieldValueNotSupported", f'Unsupported value: "{given[0]}": supported values: "All"', "dryRun"
        )
        raise statuses.invalid("meta.k8s.io", f"{call.request.method.capitalize()}Options", "", [cause])
    return bool(given)


def find(kind: kinds.Kind, call: contexts.Call) -> entries.Entry:
    """The object the call is about. NotFound."""
    entry = call.collection.get(call.namespace, call.name)
    if entry is None:
        raise statuses.not_found(kind.group, kind.plural, call.name)
    return entry


def _ephemeral_only(document: Document, before: Document) -> Document:
    """Nothing but the list of ephemeral containers is taken."""
    spec = document.get("spec") if isinstance(document.get("spec"), dict) else {}
    given = spec.get("ephemeralContainers") if spec else None
    kept = {key: value for key, value in before["spec"].items() if key != "ephemeralContainers"}
    about = {**before["metadata"]}
    if "managedFields" in document.get("metadata", {}):
        about["managedFields"] = document["metadata"]["managedFields"]
    return {
        **before,
        "metadata": about,
        "spec": {**kept, **({"ephemeralContainers": given} if given else {})},
    }


_PARTS: dict[str, Callable[[Document, Document], Document]] = {
    **dict.fromkeys(_STATUS, _status_only),
    "ephemeralcontainers": _ephemeral_only,
}
