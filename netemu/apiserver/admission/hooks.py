"""Admission webhooks as values: which writes each wants to see, and what it is told about one.

Pure. Knows admissionregistration.k8s.io/v1 and admission.k8s.io/v1; does not know how to reach anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    conditional: bool
    again: bool


@dataclass(frozen=True)
class Event:
    """A write as webhooks are asked about it."""

    operation: str  # CREATE, UPDATE, DELETE
    kind: kinds.Kind
    namespace: str
    name: str
    subresource: str
    new: Document | None
    old: Document | None
    dry: bool
    user: Document


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
            conditional=bool(found.get("matchConditions")),
            again=found.get("reinvocationPolicy") == "IfNeeded",
        )


def _selector(found: Document | None) -> selectors.Selector:
    return selectors.of(codec.convert(meta.LabelSelector, found or {}))


def wants(hook: Hook, event: Event, namespace_labels: Mapping[str, str]) -> bool:
    """Whether the hook is to be asked. Configurations of webhooks are nobody's business but their own."""
    if event.kind.group == _GROUP or not any(_rule(rule, event) for rule in hook.rules):
        return False
    within = event.kind.namespaced or (event.kind.group, event.kind.plural) == ("", "namespaces")
    if within and not hook.namespaces.matches(namespace_labels):
        return False
    return any(hook.objects.matches(labels(found)) for found in (event.new, event.old) if found is not None)


def _rule(rule: Document, event: Event) -> bool:
    kind = event.kind
    scope = rule.get("scope") or "*"
    return (
        _among(rule.get("operations"), event.operation)
        and _among(rule.get("apiGroups"), kind.group)
        and _among(rule.get("apiVersions"), kind.version)
        and any(_resource(pattern, event) for pattern in rule.get("resources") or ())
        and (scope == "*" or (scope == "Namespaced") == kind.namespaced)
    )


def _among(patterns: list[str] | None, value: str) -> bool:
    return not {"*", value}.isdisjoint(patterns or ())


def _resource(pattern: str, event: Event) -> bool:
    resource, _, subresource = pattern.partition("/")
    return resource in ("*", event.kind.plural) and subresource in ("*", event.subresource)


def labels(document: Document) -> dict[str, str]:
    return document["metadata"].get("labels") or {}


def question(event: Event, uid: str) -> Document:
    """The AdmissionReview that is sent."""
    kind = event.kind
    about = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    resource = {"group": kind.group, "version": kind.version, "resource": kind.plural}
    request: Document = {
        "uid": uid,
        "kind": about,
        "resource": resource,
        "requestKind": about,
        "requestResource": resource,
        "operation": event.operation,
        "userInfo": event.user,
        "object": event.new,
        "oldObject": event.old,
        "dryRun": event.dry,
        "options": {"kind": f"{event.operation.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"},
    }
    optional = (
        ("name", event.name),
        ("namespace", event.namespace),
        ("subResource", event.subresource),
        ("requestSubResource", event.subresource),
    )
    request |= {key: value for key, value in optional if value}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
