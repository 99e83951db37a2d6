"""What validation finds: a field, a reason and a sentence, in the words Kubernetes uses.

Clients and people read these sentences; their forms are those of k8s.io/apimachinery's field errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netemu.api import codec
from netemu.api import fields as records


class FieldError(NamedTuple):
    """One cause of a 422. `field` is "spec.containers[0].name"; `reason` that of a Status cause; `message`
    the sentence without the field; `value` what was found there."""

    field: str
    reason: str
    message: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


Findings = Iterator[FieldError]


def _sentence(what: str, detail: str) -> str:
    return f"{what}: {detail}" if detail else what


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(field, "FieldValueRequired", _sentence("Required value", detail))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(field, "FieldValueInvalid", _sentence(f"Invalid value: {shown(value)}", detail), value)


def unsupported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    words = ", ".join(json.dumps(word) for word in supported)
    detail = f"supported values: {words}" if words else ""
    return FieldError(
        field, "FieldValueNotSupported", _sentence(f"Unsupported value: {shown(value)}", detail), value
    )


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}", value)


def not_found(field: str, value: Any) -> FieldError:
    return FieldError(field, "FieldValueNotFound", f"Not found: {shown(value)}", value)


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError(field, "FieldValueForbidden", _sentence("Forbidden", detail))


def too_long(field: str, limit: int) -> FieldError:
    return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(field: str, count: int, limit: int) -> FieldError:
    items = "item" if limit == 1 else "items"
    return FieldError(
        field, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} {items}", count
    )


def shown(value: Any) -> str:
    """A value as Go's errors print it: quoted text, plain numbers, JSON for the rest."""
    if isinstance(value, records.Record):
        return codec.encode(value).decode()
    if isinstance(value, tuple):
        return "[" + ",".join(map(shown, value)) + "]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def named(field: str, value: Any, messages: Iterable[str]) -> Findings:
    """An `invalid` for each message of a function of `api.names`."""
    for message in messages:
        yield invalid(field, value, message)


def at_least(field: str, value: int | None, least: int = 0) -> Findings:
    if value is not None and value < least:
        detail = "must be greater than 0" if least == 1 else f"must be greater than or equal to {least}"
        yield invalid(field, value, detail)


def within(field: str, value: int | None, low: int, high: int) -> Findings:
    if value is not None and not low <= value <= high:
        yield invalid(field, value, f"must be between {low} and {high}, inclusive")


def one_of(field: str, value: str | None, supported: Iterable[str]) -> Findings:
    words = sorted(supported)
    if value is not None and value not in words:
        yield unsupported(field, value, words)


def unchanged(field: str, new: Any, old: Any, detail: str = "field is immutable") -> Findings:
    if new != old:
        yield invalid(field, new, detail)
