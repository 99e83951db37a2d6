"""Record types read as schemas: which property has which shape, number and merge key.

Compiled from the records' own declarations when first asked for, and kept. Knows no kind in particular.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args, get_origin

from netemu.api import fields


@dataclass(frozen=True)
class Shape:
    """What a value looks like: exactly one of a record, a list of items, a map of values, a scalar."""

    record: type[fields.Record] | None = None
    items: Shape | None = None
    values: Shape | None = None
    scalar: str = ""
    words: tuple[str, ...] = ()

    @property
    def zero(self) -> Any:
        """A fresh zero value."""
        if self.items:
            return []
        if self.values or self.record:
            return {}
        return _ZEROS.get(self.scalar, "")

    @functools.cached_property
    def go(self) -> str:
        """The type as Go's decoder calls it in its messages."""
        if self.record:
            return f"v1.{self.record.__name__}"
        if self.items:
            return f"[]{self.items.go}"
        if self.values:
            return f"map[string]{self.values.go}"
        return _GO_NAMES.get(self.scalar, self.scalar)


_ZEROS: dict[str, Any] = {
    "boolean": False,
    "int32": 0,
    "int64": 0,
    "number": 0,
    "int-or-string": 0,
    "quantity": "0",
    "raw": None,
}
_GO_NAMES = {
    "boolean": "bool",
    "number": "float64",
    "byte": "[]uint8",
    "date-time": "string",
    "micro-time": "string",
    "duration": "string",
    "quantity": "string",
    "int-or-string": "intstr.IntOrString",
}


class Property(NamedTuple):
    """A field of a record. `pointer`: absent differs from zero. `path`: the protobuf numbers down to it."""

    name: str
    attribute: str
    shape: Shape
    field: fields.F
    pointer: bool
    path: tuple[int, ...]

    @property
    def kept(self) -> bool:
        """Whether Go writes it out when it is zero."""
        if self.pointer or self.shape.scalar in ("date-time", "micro-time", "raw"):
            return False
        return not self.field.omitzero if self.shape.record else self.field.keep


class Schema:
    """One record type, read."""

    __slots__ = ("kept", "properties", "record")

    def __init__(self, record: type[fields.Record]) -> None:
        self.record = record
        self.properties: dict[str, Property] = {p.name: p for p in _properties(record)}
        self.kept: tuple[Property, ...] = tuple(p for p in self.properties.values() if p.kept)


@functools.cache
def of(record: type[fields.Record]) -> Schema:
    return Schema(record)


@functools.cache
def at(record: type[fields.Record], path: tuple[str, ...]) -> Property | None:
    """The property at a path of names: lists take no step of their own, a map's key does."""
    shape: Shape | None = Shape(record=record)
    found: Property | None = None
    for name in path:
        while shape is not None and shape.items:
            shape = shape.items
        if shape is None:
            return None
        if shape.values:
            found, shape = None, shape.values
            continue
        found = of(shape.record).properties.get(name) if shape.record else None
        shape = found.shape if found else None
    return found


def _properties(record: type[fields.Record]) -> Iterator[Property]:
    names = dict(zip(record.__struct_fields__, record.__struct_encode_fields__, strict=True))
    if getattr(record, "kind", None) and "kind" not in names:
        for name in ("apiVersion", "kind"):
            yield Property(name, name, Shape(scalar="string"), fields.F(0), pointer=False, path=())
    hints = typing.get_type_hints(record, include_extras=True)
    prefixes = _prefixes(record)
    for attribute, name in names.items():
        type_, field = _annotation(hints[attribute])
        path = (*prefixes[attribute], field.number)
        yield Property(name, attribute, _shape(type_), field, pointer=_is_optional(type_), path=path)


def _prefixes(record: type[fields.Record]) -> dict[str, tuple[int, ...]]:
    """Fields of an embedded record are flat in JSON and one message deeper in protobuf."""
    prefixes: dict[str, tuple[int, ...]] = {}
    depth: tuple[int, ...] = ()
    for cls in record.__mro__:
        for name in vars(cls).get("__annotations__", ()):
            prefixes.setdefault(name, depth)
        if "embedded" in vars(cls):
            depth = (*depth, vars(cls)["embedded"])
    return prefixes


def _annotation(hint: Any) -> tuple[Any, fields.F]:
    """A[A[int, Scalar], F] is flat at run time; the F comes last."""
    *marks, field = hint.__metadata__
    inner = hint.__origin__
    return (typing.Annotated[(inner, *marks)] if marks else inner), field


def _is_optional(type_: Any) -> bool:
    return get_origin(type_) in (typing.Union, types.UnionType) and type(None) in get_args(type_)


_PLAIN = {str: "string", int: "int64", bool: "boolean", float: "number"}


def _shape(type_: Any) -> Shape:
    for mark in getattr(type_, "__metadata__", ()):
        if isinstance(mark, fields.Scalar):
            return Shape(scalar=mark.name)
        if isinstance(mark, fields.Enum):
            return Shape(scalar="string", words=mark.words)
    origin, args = get_origin(type_), get_args(type_)
    if _is_optional(type_):
        return _shape(next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        return Shape(items=_shape(args[0]))
    if origin is dict:
        return Shape(values=_shape(args[1]))
    if isinstance(type_, type) and issubclass(type_, fields.Record):
        return Shape(record=type_)
    return Shape(scalar=_PLAIN[type_])
