"""Documents held against a kind's schema: what is wrong, what is unknown, and the normal form.

A document is JSON as Python holds it. Nothing here raises on any JSON, except `read` on text that is none.
Defaults and rules between fields are elsewhere (`defaults`, `validation`).
"""

from __future__ import annotations

import binascii
import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from netemu.api import fields, kinds, quantities, shapes, times
from netemu.base import errors

Document = dict[str, Any]


class Problem(NamedTuple):
    """A value that cannot be read. `path` is Kubernetes' form, "spec.containers[0].name"; `message` is worded
    as Go's decoder words it; `reason` is that of a Status cause."""

    path: str
    message: str
    reason: str


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


def problems(kind: kinds.Kind, document: Any) -> tuple[Problem, ...]:
    """Every value of the wrong type."""
    return tuple(f for f in _inspect(document, _root(kind), _TOP) if isinstance(f, Problem))


def unknown(kind: kinds.Kind, document: Any) -> tuple[str, ...]:
    """The paths of fields the kind does not have."""
    return tuple(f for f in _inspect(document, _root(kind), _TOP) if isinstance(f, str))


def prune(kind: kinds.Kind, document: Document) -> Document:
    """A copy without the fields the kind does not have."""
    return _pruned(document, _root(kind))


def normalise(kind: kinds.Kind, document: Document) -> Document:
    """A copy as Go would write it after reading it: no nulls, no unknown fields, zero values exactly where Go
    writes them, times and quantities in canonical form. Wrong types stay as they are.
    Where Go writes null for an empty list it is [] here, which every client reads."""
    named = {"kind": kind.kind, "apiVersion": kind.api_version}
    return named | _normal(document, _root(kind)) | named


def merge_rule(kind: kinds.Kind, path: tuple[str, ...]) -> Merging:
    """Strategic merge at a path of field names, ("spec", "containers", "ports")."""
    found = shapes.at(kind.type, path)
    if found is None:
        return Merging()
    words = found.field.strategy.split(",")
    return Merging("merge" in words, found.field.merge, "replace" in words, "retainKeys" in words)


def list_keys(kind: kinds.Kind, path: tuple[str, ...]) -> tuple[str, ...]:
    """Server-side apply: the keys of the list at a path, () if it is a set or replaced whole."""
    found = shapes.at(kind.type, path)
    return found.field.keys if found else ()


@functools.cache
def _root(kind: kinds.Kind) -> shapes.Shape:
    return shapes.Shape(record=kind.type)


# --- what is wrong ---


class _Place(NamedTuple):
    path: str  # with indices, for people
    go: str  # without, as Go's decoder says it
    record: str

    def child(self, name: str, record: str) -> _Place:
        dot = "." if self.path else ""
        return _Place(f"{self.path}{dot}{name}", f"{self.go}.{name}" if self.go else name, record)

    def item(self, index: int) -> _Place:
        return self._replace(path=f"{self.path}[{index}]")


_TOP = _Place("", "", "")


def _inspect(value: Any, shape: shapes.Shape, place: _Place) -> Iterator[Problem | str]:
    """Problems, and the paths of unknown fields as plain strings."""
    if value is None:
        return
    if shape.record:
        if not isinstance(value, dict):
            yield _mismatch(value, shape, place)
            return
        properties = shapes.of(shape.record).properties
        for name, inner in value.items():
            found = properties.get(name)
            there = place.child(name, shape.record.__name__)
            if found is None:
                yield there.path
            else:
                yield from _inspect(inner, found.shape, there)
    elif shape.items:
        if not isinstance(value, list):
            yield _mismatch(value, shape, place)
            return
        for index, inner in enumerate(value):
            yield from _inspect(inner, shape.items, place.item(index))
    elif shape.values:
        if not isinstance(value, dict):
            yield _mismatch(value, shape, place)
            return
        for name, inner in value.items():
            yield from _inspect(inner, shape.values, place.child(name, place.record))
    else:
        message = _SCALARS[shape.scalar](value, shape, place)
        if message:
            yield Problem(place.path, message, "FieldValueTypeInvalid")


def _mismatch(value: Any, shape: shapes.Shape, place: _Place) -> Problem:
    return Problem(place.path, _cannot(value, shape, place), "FieldValueTypeInvalid")


def _cannot(value: Any, shape: shapes.Shape, place: _Place) -> str:
    what = _JSON_NAMES.get(type(value), "object")
    if what == "number" and shape.scalar.startswith("int"):
        what = f"number {value}"
    if not place.record:
        return f"json: cannot unmarshal {what} into Go value of type {shape.go}"
    return f"json: cannot unmarshal {what} into Go struct field {place.record}.{place.go} of type {shape.go}"


_JSON_NAMES = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}


def _text(value: Any, shape: shapes.Shape, place: _Place) -> str:
    return "" if isinstance(value, str) else _cannot(value, shape, place)


def _boolean(value: Any, shape: shapes.Shape, place: _Place) -> str:
    return "" if isinstance(value, bool) else _cannot(value, shape, place)


def _integer(value: Any, shape: shapes.Shape, place: _Place) -> str:
    bits = 31 if shape.scalar == "int32" else 63
    whole = isinstance(value, int) and not isinstance(value, bool)
    return "" if whole and -(1 << bits) <= value < 1 << bits else _cannot(value, shape, place)


def _number(value: Any, shape: shapes.Shape, place: _Place) -> str:
    return (
        "" if isinstance(value, int | float) and not isinstance(value, bool) else _cannot(value, shape, place)
    )


def _int_or_string(value: Any, shape: shapes.Shape, place: _Place) -> str:
    if isinstance(value, str):
        return ""
    return _integer(value, shapes.Shape(scalar="int32"), place)


def _quantity(value: Any, shape: shapes.Shape, place: _Place) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _cannot(value, shape, place)
    try:
        quantities.parse(str(value))
    except quantities.Malformed as error:
        return str(error)
    return ""


def _time(value: Any, shape: shapes.Shape, place: _Place) -> str:
    if not isinstance(value, str):
        return _cannot(value, shape, place)
    try:
        times.seconds(value)
    except times.Malformed as error:
        return str(error)
    return ""


def _bytes(value: Any, shape: shapes.Shape, place: _Place) -> str:
    if not isinstance(value, str):
        return _cannot(value, shape, place)
    try:
        binascii.a2b_base64(value.replace("\n", "").replace("\r", "").encode(), strict_mode=True)
    except (binascii.Error, ValueError):
        return "illegal base64 data"
    return ""


def _any(value: Any, shape: shapes.Shape, place: _Place) -> str:
    return ""


_SCALARS = {
    "string": _text,
    "duration": _text,
    "boolean": _boolean,
    "int32": _integer,
    "int64": _integer,
    "number": _number,
    "int-or-string": _int_or_string,
    "quantity": _quantity,
    "date-time": _time,
    "micro-time": _time,
    "byte": _bytes,
    "raw": _any,
}


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
