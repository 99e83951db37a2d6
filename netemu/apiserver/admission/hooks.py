"""Admission webhooks as values: which writes each wants to see, and what it is told about one.

Pure. Knows admissionregistration.k8s.io/v1 and admission.k8s.io/v1; does not know how to reach anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netemu.api import codec, kinds, meta, selectors

Document = dict[str, Any]
_GROUP = "admissionregistration.k8s.io"


@dataclass(frozen=True, eq=False)
class Hook:
    """One webhook of a configuration. `timeout` in seconds; `lenient`: its failure is no refusal."""

    name: str
    client: Document
    rules: tuple[Document, ...]
    namespaces: selectors.Selector
    objects: selectors.Selector
    lenient: bool
    timeout: float
    side_effects: str
    versions: tuple[str, ...]
    conditions: tuple[str, ...]
    again: bool
    exact: bool


@dataclass(frozen=True)
class Event:
    """A write as webhooks are asked about it. `shape`: the kind of `new` and `old`, when they are not the
    object itself (a Scale, an Eviction, what an exec asks for)."""

    operation: str  # CREATE, UPDATE, DELETE, CONNECT
    kind: kinds.Kind
    namespace: str
    name: str
    subresource: str
    new: Document | None
    old: Document | None
    dry: bool
    user: Document
    shape: kinds.Kind | None = None


def read(configuration: Document) -> Iterator[Hook]:
    """The webhooks of a Mutating- or ValidatingWebhookConfiguration."""
    for found in configuration.get("webhooks") or ():
        yield Hook(
            name=found["name"],
            client=found.get("clientConfig") or {},
            rules=tuple(found.get("rules") or ()),
            namespaces=_selector(found.get("namespaceSelector")),
            objects=_selector(found.get("objectSelector")),
            lenient=found.get("failurePolicy") == "Ignore",
            timeout=float(found.get("timeoutSeconds") or 10),
            side_effects=found.get("sideEffects") or "Unknown",
            versions=tuple(found.get("admissionReviewVersions") or ()),
            conditions=tuple(one["expression"] for one in found.get("matchConditions") or ()),
            again=found.get("reinvocationPolicy") == "IfNeeded",
            exact=found.get("matchPolicy") == "Exact",
        )


def _selector(found: Document | None) -> selectors.Selector:
    return selectors.of(codec.convert(meta.LabelSelector, found or {}))


def wants(
    hook: Hook, event: Event, namespace_labels: Mapping[str, str], equivalents: Iterable[kinds.Kind] = ()
) -> kinds.Kind | None:
    """The kind as which the hook is to be asked about the object: its own, or one of the `equivalents` (other
    forms of the same objects); None: not at all. Configurations of webhooks are nobody's business but their
    own."""
    if event.kind.group == _GROUP:
        return None
    forms = (event.kind,) if hook.exact else (event.kind, *equivalents)
    found = next((kind for kind in forms if any(_rule(rule, event, kind) for rule in hook.rules)), None)
    if found is None:
        return None
    within = event.kind.namespaced or (event.kind.group, event.kind.plural) == ("", "namespaces")
    if within and not hook.namespaces.matches(namespace_labels):
        return None
    chosen = any(hook.objects.matches(labels(one)) for one in (event.new, event.old) if one is not None)
    return found if chosen else None


def _rule(rule: Document, event: Event, kind: kinds.Kind) -> bool:
    scope = rule.get("scope") or "*"
    return (
        _among(rule.get("operations"), event.operation)
        and _among(rule.get("apiGroups"), kind.group)
        and _among(rule.get("apiVersions"), kind.version)
        and any(_resource(pattern, kind, event.subresource) for pattern in rule.get("resources") or ())
        and (scope == "*" or (scope == "Namespaced") == kind.namespaced)
    )


def _among(patterns: list[str] | None, value: str) -> bool:
    return not {"*", value}.isdisjoint(patterns or ())


def _resource(pattern: str, kind: kinds.Kind, asked: str) -> bool:
    resource, _, subresource = pattern.partition("/")
    return resource in ("*", kind.plural) and subresource in ("*", asked)


def labels(document: Document) -> dict[str, str]:
    return (document.get("metadata") or {}).get("labels") or {}


def meets(hook: Hook, review: Document) -> bool:
    """Whether the hook's matchConditions hold for what it would be asked. Failed or Malformed when one cannot
    be evaluated and none is false."""
    from netemu.api.cel import parsing, programs, values

    request = review["request"]
    known = {"object": request["object"], "oldObject": request["oldObject"], "request": request}
    failure: Exception | None = None
    for text in hook.conditions:
        try:
            found = programs.compiled(text, *known).evaluate(known)
            if not isinstance(found, bool):
                raise values.overload("bool")
            if not found:
                return False
        except (parsing.Malformed, values.Failed) as failed:
            failure = failure or failed
    if failure is not None:
        raise failure
    return True


def question(event: Event, uid: str, asked: kinds.Kind) -> Document:
    """The AdmissionReview that is sent. `asked`: the kind of the request, whose equivalent the event's is."""
    request: Document = {
        "uid": uid,
        "kind": _kind(event.shape or event.kind),
        "resource": _resource_of(event.kind),
        "requestKind": _kind(event.shape or asked),
        "requestResource": _resource_of(asked),
        "operation": event.operation,
        "userInfo": event.user,
        "object": event.new,
        "oldObject": event.old,
        "dryRun": event.dry,
        "options": {"kind": f"{event.operation.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"},
    }
    if event.operation == "CONNECT":
        request["options"] = None
    optional = (
        ("name", event.name),
        ("namespace", event.namespace),
        ("subResource", event.subresource),
        ("requestSubResource", event.subresource),
    )
    request |= {key: value for key, value in optional if value}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def _kind(kind: kinds.Kind) -> Document:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource_of(kind: kinds.Kind) -> Document:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}
