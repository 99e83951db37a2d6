"""Between bytes, JSON documents and records. Knows JSON and the types; no defaults, no validation.

A record drops keys it does not know and reads null as absent; who must report them asks `schema` first.
`kind` and `apiVersion` are written from the class.
"""

from __future__ import annotations

import functools
from typing import Any, NoReturn, TypeVar

import msgspec

from netemu.api import fields
from netemu.base import errors

T = TypeVar("T", bound=fields.Record)
Document = dict[str, Any]


def decode(type_: type[T], data: bytes) -> T:
    """The record in a JSON text. Raises `errors.Rejected` saying where it does not fit."""
    try:
        record: T = _decoder(type_).decode(data)
    except msgspec.ValidationError:
        return convert(type_, loads(data))  # perhaps only for nulls, which Go reads as absent
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse(type_, error)
    return record


def convert(type_: type[T], document: Any) -> T:
    """The record in a document. Raises `errors.Rejected` saying where it does not fit."""
    try:
        return msgspec.convert(document, type_)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(without_nulls(document), type_)
    except msgspec.ValidationError as error:
        _refuse(type_, error)


def encode(obj: fields.Record) -> bytes:
    """JSON without fields that hold their zero value."""
    text = msgspec.json.encode(obj)
    head = _head(type(obj))
    if not head:
        return text
    return head + b"}" if text == b"{}" else head + b"," + text[1:]


def document(obj: fields.Record) -> Document:
    """The same as a fresh document of dicts and lists, which the caller owns."""
    return msgspec.json.decode(encode(obj), type=Document)


def loads(data: bytes) -> Any:
    """JSON of any shape, the last of duplicate keys winning. `schema.read` is the strict one."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.Rejected(f"malformed JSON: {error}") from None


def dumps(value: Any) -> bytes:
    return msgspec.json.encode(value)


def without_nulls(value: Any) -> Any:
    """A copy of a document in which no field is null."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


@functools.cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@functools.cache
def _head(type_: type) -> bytes:
    """`{"kind":"Pod","apiVersion":"v1"` for a top-level kind, else nothing."""
    kind, version = getattr(type_, "kind", ""), getattr(type_, "apiVersion", "")
    if not isinstance(kind, str) or not kind:  # a record may have a field of that name
        return b""
    return msgspec.json.encode({"kind": kind, "apiVersion": version})[:-1]


def _refuse(type_: type, error: Exception) -> NoReturn:
    raise errors.Rejected(f"not a valid {type_.__name__}: {error}") from None
