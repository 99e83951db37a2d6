"""Protobuf request bodies as documents: what client-go sends since 1.32 where kubectl has no flag for JSON.

Decodes by the field numbers in the kinds' declarations; encodes nothing, for every client reads JSON answers.
Envelope and encodings: k8s.io/apimachinery runtime.Unknown, protobuf encoding specification (proto2).
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from netemu.api import fields, shapes
from netemu.base import clock, errors

_MAGIC = b"k8s\0"
_DEEPEST = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(errors.Rejected):
    """The bytes are no message of that type."""


class _Leaf(NamedTuple):
    name: str
    shape: shapes.Shape


_Plan = dict[int, "_Leaf | _Plan"]


def decode(record: type[fields.Record], data: bytes) -> dict[str, Any]:
    """The object in an enveloped message. `kind` and `apiVersion` are those of the envelope. Malformed."""
    if not data.startswith(_MAGIC):
        raise Malformed("provided data does not appear to be a protobuf message, it lacks the prefix k8s")
    envelope = _collect(data[len(_MAGIC) :])
    names = _collect(envelope.get(1, b""))
    document: dict[str, Any] = {}
    for name, number in (("apiVersion", 1), ("kind", 2)):
        if names.get(number):
            document[name] = _text(names[number])
    return document | _message(envelope.get(2, b""), record, 0)


def _collect(data: Any) -> dict[int, bytes]:
    """The length-delimited fields of a small message."""
    if not isinstance(data, bytes):
        raise Malformed("a message was expected")
    return {number: value for number, value in _fields(data) if isinstance(value, bytes)}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise Malformed(f"unknown wire type {wire} at byte {at}")
        if number == 0 or at + size > end:
            raise Malformed(f"unexpected end of message at byte {at}")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed(f"malformed varint at byte {at}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7


@functools.cache
def _plan(record: type[fields.Record]) -> _Plan:
    plan: _Plan = {}
    for found in shapes.of(record).properties.values():
        if not found.path or found.path[-1] == 0:
            continue
        level = plan
        for number in found.path[:-1]:
            below = level.setdefault(number, {})
            assert isinstance(below, dict)
            level = below
        level[found.path[-1]] = _Leaf(found.name, found.shape)
    return plan


def _message(data: bytes, record: type[fields.Record], depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    _fill(document, data, _plan(record), depth)
    return document


def _fill(document: dict[str, Any], data: bytes, plan: _Plan, depth: int) -> None:
    if depth > _DEEPEST:
        raise Malformed("the message is nested too deeply")
    for number, raw in _fields(data):
        step = plan.get(number)
        if step is None:
            continue
        if isinstance(step, dict):
            _fill(document, _bytes(raw), step, depth + 1)
        elif step.shape.items:
            found = document.setdefault(step.name, [])
            found.extend(_repeated(raw, step.shape.items, depth))
        elif step.shape.values:
            key, value = _pair(_bytes(raw), step.shape.values, depth)
            document.setdefault(step.name, {})[key] = value
        else:
            value = _value(raw, step.shape, depth)
            if value is not None:
                document[step.name] = value


def _repeated(raw: int | bytes, items: shapes.Shape, depth: int) -> list[Any]:
    if isinstance(raw, bytes) and items.scalar in ("int32", "int64", "boolean"):  # packed
        found, at = [], 0
        while at < len(raw):
            value, at = _varint(raw, at)
            found.append(_value(value, items, depth))
        return found
    return [_value(raw, items, depth)]


def _pair(data: bytes, values: shapes.Shape, depth: int) -> tuple[str, Any]:
    key, value = "", values.zero
    for number, raw in _fields(data):
        if number == 1:
            key = _text(_bytes(raw))
        elif number == 2 and values.items:  # a named list type, such as ExtraValue
            value = [_text(_bytes(item)) for n, item in _fields(_bytes(raw)) if n == 1]
        elif number == 2:
            value = _value(raw, values, depth)
    return key, value


def _value(raw: int | bytes, shape: shapes.Shape, depth: int) -> Any:
    if shape.record:
        return _message(_bytes(raw), shape.record, depth + 1)
    reader = _SCALARS.get(shape.scalar)
    if reader is not None:
        return reader(_bytes(raw))
    if shape.scalar == "boolean":
        return bool(_number(raw))
    if shape.scalar in ("int32", "int64"):
        number = _number(raw)
        return number - (1 << 64) if number >> 63 else number
    if shape.scalar == "number":
        return struct.unpack("<d", _bytes(raw))[0]
    return _text(_bytes(raw))


def _time(data: bytes) -> str | None:
    seconds, nanos = _seconds(data)
    return clock.rfc3339(seconds) if seconds or nanos else None


def _micro_time(data: bytes) -> str | None:
    seconds, nanos = _seconds(data)
    return clock.rfc3339_micro(seconds + nanos / 1e9) if seconds or nanos else None


def _seconds(data: bytes) -> tuple[int, int]:
    parts = {number: value for number, value in _fields(data) if isinstance(value, int)}
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if seconds >> 63 or seconds > 253402300799 or nanos > 999_999_999:
        # Go's zero time is the year 1, long before 1970: it stands for "no time".
        return 0, 0
    return seconds, nanos


def _duration(data: bytes) -> str:
    nanos = next((value for number, value in _fields(data) if number == 1 and isinstance(value, int)), 0)
    return f"{nanos / 1e9:g}s"


def _quantity(data: bytes) -> str:
    return _text(_collect(data).get(1, b"0"))


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_fields(data))
    if parts.get(1):
        return _text(_bytes(parts.get(3, b"")))
    number = _number(parts.get(2, 0))
    return number - (1 << 64) if number >> 63 else number


def _raw(data: bytes) -> Any:
    inner = _collect(data).get(1, b"")
    if not inner:
        return None
    try:
        return msgspec.json.decode(inner)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"embedded object: {error}") from None


_SCALARS: dict[str, Callable[[bytes], Any]] = {
    "date-time": _time,
    "micro-time": _micro_time,
    "duration": _duration,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "raw": _raw,
    "byte": lambda data: base64.b64encode(data).decode(),
}


def _bytes(raw: int | bytes | None) -> bytes:
    if not isinstance(raw, bytes):
        raise Malformed("a number stands where a message or text was expected")
    return raw


def _number(raw: int | bytes | None) -> int:
    if not isinstance(raw, int):
        raise Malformed("a message or text stands where a number was expected")
    return raw


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None
