"""Rules for what all kinds share: object metadata, label selectors, owner references."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netemu.api import core, meta, names, selectors
from netemu.api.validation.findings import (
    Findings,
    forbidden,
    invalid,
    named,
    required,
    too_long,
    unchanged,
)

Naming = Callable[[str], names.Messages]

ANNOTATIONS_LIMIT = 256 * 1024
_EVENT = ("v1", "Event")


def check(new: meta.ObjectMeta, *, namespaced: bool, naming: Naming) -> Findings:
    if new.generateName:
        masked = new.generateName.removesuffix("-") + "a"  # what is generated ends in a letter or digit
        yield from named("metadata.generateName", new.generateName, naming(masked))
    if not new.name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from named("metadata.name", new.name, naming(new.name))
    if namespaced and not new.namespace:
        yield required("metadata.namespace")
    elif namespaced:
        yield from named("metadata.namespace", new.namespace, names.label(new.namespace))
    elif new.namespace:
        yield forbidden("metadata.namespace", "not allowed on this type")
    yield from labels(new.labels, "metadata.labels")
    yield from _annotations(new.annotations, "metadata.annotations")
    yield from _owners(new.ownerReferences, "metadata.ownerReferences")
    for finalizer in new.finalizers:
        yield from named("metadata.finalizers", finalizer, names.qualified(finalizer))
    if {"orphan", "foregroundDeletion"} <= set(new.finalizers):
        yield invalid(
            "metadata.finalizers",
            new.finalizers,
            "finalizer orphan and foregroundDeletion cannot be both set",
        )


def check_update(new: meta.ObjectMeta, old: meta.ObjectMeta) -> Findings:
    yield from unchanged("metadata.name", new.name, old.name)
    yield from unchanged("metadata.namespace", new.namespace, old.namespace)
    added = sorted(set(new.finalizers) - set(old.finalizers))
    if old.deletionTimestamp and added:
        shown = ", ".join(f'"{name}"' for name in added)
        yield forbidden(
            "metadata.finalizers",
            "no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{shown}}}",
        )


def labels(found: Mapping[str, str], path: str) -> Findings:
    for key, value in found.items():
        yield from named(path, key, names.qualified(key))
        yield from named(path, value, names.label_value(value))


def _annotations(found: Mapping[str, str], path: str) -> Findings:
    for key in found:
        yield from named(path, key, names.qualified(key.lower()))
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > ANNOTATIONS_LIMIT:
        yield too_long(path, ANNOTATIONS_LIMIT)


def _owners(owners: tuple[meta.OwnerReference, ...], path: str) -> Findings:
    for index, owner in enumerate(owners):
        here = f"{path}[{index}]"
        for name in ("apiVersion", "kind", "name", "uid"):
            if not getattr(owner, name):
                yield required(f"{here}.{name}", "must not be empty")
        if owner.apiVersion.count("/") > 1:
            yield invalid(f"{here}.apiVersion", owner.apiVersion, "must be <group>/<version> or <version>")
        if (owner.apiVersion, owner.kind) == _EVENT:
            yield invalid(here, owner, "/v1, Kind=Event is disallowed from being an owner")
    controllers = [f"{owner.kind}/{owner.name}" for owner in owners if owner.controller]
    if len(controllers) > 1:
        yield invalid(
            path,
            owners,
            'Only one reference can have Controller set to true. Found "true" in references '
            f"for {controllers[0]} and {controllers[1]}",
        )


def selector(found: meta.LabelSelector | None, path: str) -> Findings:
    if found is None:
        return
    yield from labels(found.matchLabels, f"{path}.matchLabels")
    for index, expression in enumerate(found.matchExpressions):
        yield from requirement(expression, f"{path}.matchExpressions[{index}]")


Requirement = meta.LabelSelectorRequirement | core.NodeSelectorRequirement


def requirement(found: Requirement, path: str) -> Findings:
    match found.operator:
        case "In" | "NotIn":
            if not found.values:
                yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if found.values:
                yield forbidden(
                    f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        case _:
            yield invalid(f"{path}.operator", found.operator, "not a valid selector operator")
    yield from selected(found, path)


def selected(found: Requirement, path: str) -> Findings:
    """The label that a requirement speaks of, and its values, whatever the operator."""
    yield from named(f"{path}.key", found.key, names.qualified(found.key))
    for index, value in enumerate(found.values):
        yield from named(f"{path}.values[{index}]", value, names.label_value(value))


def matches(found: meta.LabelSelector, of: Mapping[str, str]) -> bool:
    """Whether a selector without faults matches labels; one with an unknown operator does not."""
    known = all(e.operator in ("In", "NotIn", "Exists", "DoesNotExist") for e in found.matchExpressions)
    return known and selectors.of(found).matches(of)
