"""Deletion: preconditions, grace, propagation, finalizers; one object or a selection of them.

Follows k8s.io/apiserver pkg/registry/rest/delete.go and the Pod strategy's CheckGracefulDelete.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from netemu.api import codec, extensions, kinds, meta
from netemu.apiserver import (
    acceptance,
    bodies,
    contexts,
    entries,
    objects,
    paths,
    rendering,
    selections,
    statuses,
    writing,
)
from netemu.apiserver.admission import chain
from netemu.base import clock as clocks
from netemu.base import errors
from netemu.http import messages
from netemu.store import revisions

_TRIES = 8
_FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_DEFAULT_GRACE = 30
_DEFINITION = kinds.of(extensions.CustomResourceDefinition)


class Outcome(NamedTuple):
    """What became of the object; `immediate` when it is gone."""

    entry: entries.Entry
    immediate: bool


async def one(call: contexts.Call) -> messages.Response:
    """DELETE of one object. NotFound, Conflict."""
    options = read_options(call)
    outcome = await delete(call, options)
    return _answer(call, outcome)


async def many(call: contexts.Call) -> messages.Response:
    """DELETE of a list: every object selected. The answer is the list of them."""
    options = read_options(call)
    if call.collection.converting:
        await call.collection.prepare(call.namespace)
    match = selections.match(call.kind, call.request)
    chosen = [e for e in call.collection.all(call.namespace) if match is None or match(e)]
    for entry in chosen:
        target = call.target._replace(name=entry.name, namespace=entry.namespace)
        try:
            await delete(
                contexts.Call(call.parts, call.request, target, call.user, call.kind, call.warnings), options
            )
        except statuses.Refusal as refusal:
            if refusal.reason != "NotFound":
                raise
    about = {"resourceVersion": str(call.parts.cache.revision)}
    return rendering.listing(call, chosen, about)


def read_options(call: contexts.Call) -> meta.DeleteOptions:
    """DeleteOptions from the body or the query. BadRequest, Invalid."""
    document: dict[str, Any] = {}
    if call.request.body:
        document, _ = bodies.read_options(call.request)
    query = call.request
    try:
        if query.parameter("gracePeriodSeconds"):
            document.setdefault("gracePeriodSeconds", int(query.parameter("gracePeriodSeconds")))
        if query.parameter("propagationPolicy"):
            document.setdefault("propagationPolicy", query.parameter("propagationPolicy"))
        if query.parameter("orphanDependents"):
            document.setdefault("orphanDependents", paths.flag(query, "orphanDependents"))
        if query.parameters("dryRun"):
            document.setdefault("dryRun", list(query.parameters("dryRun")))
    except ValueError as error:
        raise statuses.bad_request(f"DeleteOptions cannot be read: {error}") from None
    return convert_options(document)


def convert_options(document: dict[str, Any]) -> meta.DeleteOptions:
    """DeleteOptions from a document. BadRequest, Invalid."""
    try:
        options = codec.convert(meta.DeleteOptions, document)
    except errors.Rejected as error:
        raise statuses.bad_request(f"DeleteOptions cannot be read: {error}") from None
    _check(options)
    return options


def _check(options: meta.DeleteOptions) -> None:
    wrong = []
    policy = options.propagationPolicy
    if policy is not None and policy not in ("Background", *_FINALIZERS):
        why = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        wrong.append(statuses.Cause("FieldValueNotSupported", why, "propagationPolicy"))
    if policy is not None and options.orphanDependents is not None:
        why = "Invalid value: orphanDependents and deletionPropagation cannot be both set"
        wrong.append(statuses.Cause("FieldValueInvalid", why, "propagationPolicy"))
    if (options.gracePeriodSeconds or 0) < 0:
        why = f"Invalid value: {options.gracePeriodSeconds}: must be greater than or equal to 0"
        wrong.append(statuses.Cause("FieldValueInvalid", why, "gracePeriodSeconds"))
    if any(value != "All" for value in options.dryRun):
        why = f'Unsupported value: "{options.dryRun[0]}": supported values: "All"'
        wrong.append(statuses.Cause("FieldValueNotSupported", why, "dryRun"))
    if wrong:
        raise statuses.invalid("meta.k8s.io", "DeleteOptions", "", wrong)


async def delete(call: contexts.Call, options: meta.DeleteOptions) -> Outcome:
    """Delete the object or mark it as being deleted. NotFound, Conflict."""
    for _ in range(_TRIES):
        if call.collection.converting:
            await call.collection.prepare(call.namespace, call.name)
        old = writing.find(call.kind, call)
        _preconditions(call, options, old)
        await chain.delete(call, old.document(), dry=bool(options.dryRun))
        document = old.fresh()
        changed = _mark(call, document, options)
        try:
            if writing.gone(document):
                if not options.dryRun:
                    change = await call.parts.store.delete(call.key(), old.revision)
                    return Outcome(old.at(change.revision, call.collection.head), immediate=True)
                return Outcome(old, immediate=True)
            if not changed or options.dryRun:
                return Outcome(call.transient(document) if changed else old, immediate=False)
            packed = await call.collection.pack(document)
            record = await call.parts.store.update(call.key(), packed, old.revision)
            return Outcome((await call.collection.past((record,)))[0], immediate=False)
        except revisions.Changed:
            continue
    raise statuses.conflict(call.kind.group, call.kind.plural, call.name)


def _preconditions(call: contexts.Call, options: meta.DeleteOptions, old: entries.Entry) -> None:
    wanted = options.preconditions
    if wanted is None:
        return
    uid = old.document()["metadata"].get("uid", "")
    for what, given, found in (
        ("UID", wanted.uid, uid),
        ("ResourceVersion", wanted.resourceVersion, str(old.revision)),
    ):
        if given is not None and given != found:
            why = f"Precondition failed: {what} in precondition: {given}, {what} in object meta: {found}"
            raise statuses.conflict(call.kind.group, call.kind.plural, call.name, why)


def _mark(call: contexts.Call, document: statuses.Document, options: meta.DeleteOptions) -> bool:
    """Write into the object that it is being deleted; whether that changed anything."""
    about = document["metadata"]
    before = dict(about)
    now = call.parts.clock.now()
    _finalizers(about, options)
    grace = _grace(document, options)
    begun = "deletionTimestamp" in about
    if begun:
        previous = about.get("deletionGracePeriodSeconds", 0)
        if grace < previous:
            since = clocks.parse_rfc3339(about["deletionTimestamp"]) - previous
            about["deletionTimestamp"] = clocks.rfc3339(max(since + grace, now))
            about["deletionGracePeriodSeconds"] = grace
    else:
        about["deletionTimestamp"] = clocks.rfc3339(now + grace)
        about["deletionGracePeriodSeconds"] = grace
        if objects.counted(call.kind) and "generation" in about:
            about["generation"] += 1
        if call.kind is _DEFINITION:
            _hold(document, clocks.rfc3339(now))
        if document["kind"] == "Namespace":
            document["status"] = {**document.get("status", {}), "phase": "Terminating"}
    return bool(about != before)


def _hold(definition: statuses.Document, now: str) -> None:
    """A definition stays until its objects are gone."""
    finalizers = definition["metadata"].setdefault("finalizers", [])
    if acceptance.FINALIZER not in finalizers:
        finalizers.append(acceptance.FINALIZER)
    definition["status"] = acceptance.terminating(definition, acceptance.PENDING, now)


def _finalizers(about: dict[str, Any], options: meta.DeleteOptions) -> None:
    policy = options.propagationPolicy
    if policy is None and options.orphanDependents is not None:
        policy = "Orphan" if options.orphanDependents else "Background"
    if policy is None:
        return
    kept = [name for name in about.get("finalizers", ()) if name not in _FINALIZERS.values()]
    if policy in _FINALIZERS:
        kept.append(_FINALIZERS[policy])
    if kept:
        about["finalizers"] = kept
    else:
        about.pop("finalizers", None)


def _grace(document: statuses.Document, options: meta.DeleteOptions) -> int:
    """Seconds; only pods that run somewhere have any."""
    if document["kind"] != "Pod" or document["apiVersion"] != "v1":
        return 0
    spec, phase = document.get("spec", {}), document.get("status", {}).get("phase", "")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if options.gracePeriodSeconds is not None:
        return max(options.gracePeriodSeconds, 0)
    return int(spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE))


def _answer(call: contexts.Call, outcome: Outcome) -> messages.Response:
    if not outcome.immediate or call.kind.plural in ("pods", "services"):
        return rendering.item(call, outcome.entry)
    uid = outcome.entry.document()["metadata"].get("uid", "")
    details = {"name": call.name, "group": call.kind.group, "kind": call.kind.plural, "uid": uid}
    return rendering.document(
        call, statuses.status("Success", details={k: v for k, v in details.items() if v})
    )
