"""How a document fits a shape: values of the wrong type, in the words of Go's decoder, and unknown fields.

Knows shapes; no kind, no defaults, no rules. Never raises, whatever the JSON.
"""

from __future__ import annotations

import binascii
from typing import Any, NamedTuple

from netemu.api import quantities, shapes, times


class Problem(NamedTuple):
    """A value that cannot be read. `path` is Kubernetes' form, "spec.containers[0].name"; `message` is worded
    as Go's decoder words it; `reason` is that of a Status cause."""

    path: str
    message: str
    reason: str


class Inspection(NamedTuple):
    """`unknown`: the paths of fields the kind does not have."""

    problems: tuple[Problem, ...]
    unknown: tuple[str, ...]


def inspect(document: Any, shape: shapes.Shape) -> Inspection:
    """Everything that does not fit, in one walk."""
    walk = _Walk()
    walk.look(document, shape)
    return Inspection(tuple(walk.problems), tuple(walk.unknown))


class _Walk:
    """Goes through a document with the shape beside it. `trail` is the way there: names and indices."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.unknown: list[str] = []
        self.trail: list[str | int] = []
        self.records: list[str] = []

    def look(self, value: Any, shape: shapes.Shape) -> None:
        if value is None:
            return
        if shape.record:
            self._record(value, shape)
        elif shape.items:
            self._list(value, shape, shape.items)
        elif shape.values:
            self._map(value, shape, shape.values)
        else:
            why = _SCALARS[shape.scalar](value)
            if why is not None:
                self._wrong(why or self._cannot(value, shape))

    def _record(self, value: Any, shape: shapes.Shape) -> None:
        if not isinstance(value, dict) or not shape.record:
            self._wrong(self._cannot(value, shape))
            return
        properties = shapes.of(shape.record).properties
        self.records.append(shape.record.__name__)
        for name, inner in value.items():
            found = properties.get(name)
            self.trail.append(name)
            if found is None:
                self.unknown.append(self._path())
            else:
                self.look(inner, found.shape)
            self.trail.pop()
        self.records.pop()

    def _list(self, value: Any, shape: shapes.Shape, items: shapes.Shape) -> None:
        if not isinstance(value, list):
            self._wrong(self._cannot(value, shape))
            return
        for index, inner in enumerate(value):
            self.trail.append(index)
            self.look(inner, items)
            self.trail.pop()

    def _map(self, value: Any, shape: shapes.Shape, values: shapes.Shape) -> None:
        if not isinstance(value, dict):
            self._wrong(self._cannot(value, shape))
            return
        for name, inner in value.items():
            self.trail.append(name)
            self.look(inner, values)
            self.trail.pop()

    def _path(self) -> str:
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.trail)
        return text.removeprefix(".")

    def _wrong(self, message: str) -> None:
        self.problems.append(Problem(self._path(), message, "FieldValueTypeInvalid"))

    def _cannot(self, value: Any, shape: shapes.Shape) -> str:
        """In the words of Go's decoder, which leaves out indices and names the innermost record."""
        what = _JSON_NAMES.get(type(value), "object")
        if what == "number" and shape.scalar.startswith("int"):
            what = f"number {value}"
        if not self.records:
            return f"json: cannot unmarshal {what} into Go value of type {shape.go}"
        way = ".".join(step for step in self.trail if isinstance(step, str))
        return (
            f"json: cannot unmarshal {what} into Go struct field {self.records[-1]}.{way} of type {shape.go}"
        )


_JSON_NAMES = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}


# Each returns None for a good value, "" for one of the wrong JSON type, else what is wrong with it.


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else ""


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else ""


def _int32(value: Any) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31
    return None if good else ""


def _int64(value: Any) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return None if good else ""


def _number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _int_or_string(value: Any) -> str | None:
    return None if isinstance(value, str) else _int32(value)


def _quantity(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        quantities.parse(str(value))
    except quantities.Malformed as error:
        return str(error)
    return None


def _time(value: Any) -> str | None:
    if not isinstance(value, str):
        return ""
    try:
        times.seconds(value)
    except times.Malformed as error:
        return str(error)
    return None


def _bytes(value: Any) -> str | None:
    if not isinstance(value, str):
        return ""
    try:
        binascii.a2b_base64(value.replace("\n", "").replace("\r", "").encode(), strict_mode=True)
    except (binascii.Error, ValueError):
        return "illegal base64 data"
    return None


def _any(_: Any) -> str | None:
    return None


_SCALARS = {
    "string": _text,
    "duration": _text,
    "boolean": _boolean,
    "int32": _int32,
    "int64": _int64,
    "number": _number,
    "int-or-string": _int_or_string,
    "quantity": _quantity,
    "date-time": _time,
    "micro-time": _time,
    "byte": _bytes,
    "raw": _any,
}
