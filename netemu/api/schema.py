"""Documents held against a kind's schema: what is wrong, what is unknown, and the normal form.

A document is JSON as Python holds it. Nothing here raises on any JSON, except `read` on text that is none.
Defaults and rules between fields are elsewhere (`defaults`, `validation`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from netemu.api import fields, fitting, kinds, meta, quantities, shapes, times
from netemu.base import errors

Document = dict[str, Any]
Problem = fitting.Problem


class Merging(NamedTuple):
    """How a strategic merge patch treats a field: see `wire.patches`."""

    merge: bool = False
    key: str = ""
    replace: bool = False
    retain_keys: bool = False


def read(data: bytes) -> tuple[Any, tuple[str, ...]]:
    """The JSON in `data`, and the paths of keys that stand twice in one object (the last one wins).
    Raises `errors.Rejected` if it is not JSON."""
    try:
        document = msgspec.json.decode(data)
        return document, tuple(_duplicates(json.loads(data, object_pairs_hook=_Pairs), ""))
    except (ValueError, RecursionError) as error:
        raise errors.Rejected(f"malformed JSON: {error}") from None


def inspect(kind: kinds.Kind, document: Any) -> fitting.Inspection:
    """Every value of the wrong type, and every unknown field, in one walk. Of a custom kind only metadata can
    be unreadable: its other values are for validation to judge."""
    if kind.custom is None or not isinstance(document, dict):
        return fitting.inspect(document, _root(kind))
    about = {name: document[name] for name in _CUSTOM if name in document}
    found = fitting.inspect(about, _root(kind))
    return fitting.Inspection(found.problems, (*found.unknown, *kind.custom.unknown(document)))


def problems(kind: kinds.Kind, document: Any) -> tuple[fitting.Problem, ...]:
    """Every value of the wrong type."""
    return inspect(kind, document).problems


def unknown(kind: kinds.Kind, document: Any) -> tuple[str, ...]:
    """The paths of fields the kind does not have."""
    return inspect(kind, document).unknown


def prune(kind: kinds.Kind, document: Document) -> Document:
    """A copy without the fields the kind does not have."""
    if kind.custom is not None:
        document = kind.custom.prune(document)
        return document | {"metadata": _pruned(document.get("metadata", {}), _metadata())}
    pruned: Document = _pruned(document, _root(kind))
    return pruned


def normalise(kind: kinds.Kind, document: Document) -> Document:
    """A copy as Go would write it after reading it: no nulls, no unknown fields, zero values exactly where Go
    writes them, times and quantities in canonical form. Wrong types stay as they are.
    Where Go writes null for an empty list it is [] here, which every client reads."""
    named = {"kind": kind.kind, "apiVersion": kind.api_version}
    if kind.custom is not None:
        about = {"metadata": _normal(document.get("metadata") or {}, _metadata())}
        return named | about | {k: v for k, v in kind.custom.prune(document).items() if k not in _CUSTOM}
    return named | _normal_record(document, kind.type) | named


def merge_rule(kind: kinds.Kind, path: tuple[str, ...]) -> Merging:
    """Strategic merge at a path of field names, ("spec", "containers", "ports")."""
    found = shapes.at(kind.type, path)
    if found is None:
        return Merging()
    words = found.field.strategy.split(",")
    return Merging("merge" in words, found.field.merge, "replace" in words, "retainKeys" in words)


_CUSTOM = ("apiVersion", "kind", "metadata")  # what Kubernetes knows of a custom kind


def _metadata() -> shapes.Shape:
    return shapes.Shape(record=meta.ObjectMeta)


@functools.cache
def _root(kind: kinds.Kind) -> shapes.Shape:
    return shapes.Shape(record=kind.type)


# --- the normal form ---


def _normal(value: Any, shape: shapes.Shape) -> Any:
    if shape.record:
        return _normal_record(value, shape.record) if isinstance(value, dict) else value
    if shape.items:
        if not isinstance(value, list):
            return value
        items = shape.items
        return [_normal(inner if inner is not None else items.zero, items) for inner in value]
    if shape.values:
        if not isinstance(value, dict):
            return value
        values = shape.values
        return {
            name: _normal(inner if inner is not None else values.zero, values)
            for name, inner in value.items()
        }
    canonical = _CANONICAL.get(shape.scalar)
    return canonical(value) if canonical else value


def _normal_record(document: Document, record: type[fields.Record]) -> Document:
    schema = shapes.of(record)
    properties = schema.properties
    normal: Document = {}
    for name, value in document.items():
        found = properties.get(name)
        if found is None or value is None:
            continue
        inner = _normal(value, found.shape)
        if not found.pointer and not found.kept and not inner and found.shape.scalar != "raw":
            continue  # Go's omitempty
        normal[name] = inner
    for kept in schema.kept:
        if kept.name not in normal:
            zero = kept.shape.zero
            normal[kept.name] = _normal(zero, kept.shape) if kept.shape.record else zero
    return normal


def _pruned(value: Any, shape: shapes.Shape) -> Any:
    if shape.record and isinstance(value, dict):
        properties = shapes.of(shape.record).properties
        return {n: _pruned(v, properties[n].shape) for n, v in value.items() if n in properties}
    if shape.items and isinstance(value, list):
        return [_pruned(inner, shape.items) for inner in value]
    if shape.values and isinstance(value, dict):
        return {name: _pruned(inner, shape.values) for name, inner in value.items()}
    return value


def _canonical_quantity(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return quantities.canonical(str(value))
    except quantities.Malformed:
        return value


def _canonical_time(value: Any) -> Any:
    try:
        return times.canonical(value) if isinstance(value, str) and value else value
    except times.Malformed:
        return value


def _canonical_micro_time(value: Any) -> Any:
    try:
        return times.canonical_micro(value) if isinstance(value, str) and value else value
    except times.Malformed:
        return value


_CANONICAL = {
    "quantity": _canonical_quantity,
    "date-time": _canonical_time,
    "micro-time": _canonical_micro_time,
}


# --- keys that stand twice ---


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written."""


def _duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, inner in value:
            there = f"{path}.{name}" if path else name
            if name in seen:
                yield there
            seen.add(name)
            yield from _duplicates(inner, there)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _duplicates(inner, f"{path}[{index}]")
