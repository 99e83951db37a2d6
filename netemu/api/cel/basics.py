"""Functions for values of every kind: sizes, conversions, lists, sets, optional values."""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

from netemu.api.cel import times, values
from netemu.api.cel.values import Cidr, Duration, Failed, Ip, Optional, Timestamp, Type, Uint


def size(value: Any) -> int:
    """Characters, bytes, items or keys. Failed."""
    values.need("size", value, str, bytes, list, dict)
    return len(value)


def _int(value: Any) -> int:
    if isinstance(value, Timestamp):
        return value.nanos // 10**9
    if isinstance(value, str):
        if not re.fullmatch(r"[-+]?\d+", value):
            raise Failed(f"type conversion error from string to int: {value!r}")
        value = int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Failed("integer overflow")
        value = math.trunc(value)
    values.need("int", value, int)
    if not -(1 << 63) <= value < 1 << 63:
        raise Failed("integer overflow")
    return int(value)


def _uint(value: Any) -> Uint:
    number = int(value) if isinstance(value, Uint) else _int(value)
    if number < 0:
        raise Failed("unsigned integer overflow")
    return Uint(number)


def _double(value: Any) -> float:
    values.need("double", value, int, float, str)
    try:
        return float(value)
    except ValueError:
        raise Failed(f"type conversion error from string to double: {value!r}") from None


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Failed("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, Duration):
        return f"{value.nanos / 10**9:g}s"
    if isinstance(value, Timestamp):
        return times.moment(value).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Ip):
        return str(value.address)
    if isinstance(value, Cidr):
        return str(value.network)
    values.need("string", value, str, int, float)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bytes(value: Any) -> bytes:
    values.need("bytes", value, str, bytes)
    return value.encode() if isinstance(value, str) else bytes(value)


def _bool(value: Any) -> bool:
    if isinstance(value, str) and value in ("true", "t", "1", "TRUE", "True"):
        return True
    if isinstance(value, str) and value in ("false", "f", "0", "FALSE", "False"):
        return False
    values.need("bool", value, bool)
    return bool(value)


# --- lists and sets


def _sorted(items: Any) -> bool:
    values.need("isSorted", items, list)
    return not any(values.less(b, a) for a, b in itertools.pairwise(items))


def _sum(items: Any) -> Any:
    values.need("sum", items, list)
    total: Any = items[0] if items else 0
    for one in items[1:]:
        total = values.arithmetic("+", total, one)
    return total


def _least(items: Any) -> Any:
    return _extreme("min", items, values.less)


def _greatest(items: Any) -> Any:
    return _extreme("max", items, lambda a, b: values.less(b, a))


def _extreme(name: str, items: Any, better: Callable[[Any, Any], bool]) -> Any:
    values.need(name, items, list)
    if not items:
        raise Failed(f"{name} called on empty list")
    found = items[0]
    for one in items[1:]:
        found = one if better(one, found) else found
    return found


def _has_all(items: Any, wanted: Any) -> bool:
    values.need("sets.contains", items, list)
    return all(values.contains(one, items) for one in wanted)


def _same_set(items: Any, others: Any) -> bool:
    return _has_all(items, others) and _has_all(others, items)


def _meet(items: Any, others: Any) -> bool:
    return any(values.contains(one, others) for one in items)


# --- optional values


def _optional(name: str, value: Any) -> Optional:
    values.need(name, value, Optional)
    found: Optional = value
    return found


def _value(value: Any) -> Any:
    found = _optional("value", value)
    if not found.present:
        raise Failed("optional.none() dereference")
    return found.value


def _or_value(value: Any, otherwise: Any) -> Any:
    found = _optional("orValue", value)
    return found.value if found.present else otherwise


def _or(value: Any, other: Any) -> Optional:
    return value if _optional("or", value).present else _optional("or", other)


def _non_zero(value: Any) -> Optional:
    empty = value in (None, 0, False, "", b"") or (isinstance(value, list | dict) and not value)
    return values.NONE if empty else Optional(True, value)


CALLS: dict[str, Callable[..., Any]] = {
    "size": size,
    "int": _int,
    "uint": _uint,
    "double": _double,
    "string": _string,
    "bytes": _bytes,
    "bool": _bool,
    "dyn": lambda value: value,
    "type": lambda value: Type(values.kind(value)),
    "sets.contains": _has_all,
    "sets.equivalent": _same_set,
    "sets.intersects": _meet,
    "optional.of": lambda value: Optional(True, value),
    "optional.ofNonZeroValue": _non_zero,
    "optional.none": lambda: values.NONE,
    "base64.encode": lambda data: base64.b64encode(_bytes(data)).decode(),
    "math.greatest": lambda *given: _greatest(given[0] if isinstance(given[0], list) else list(given)),
    "math.least": lambda *given: _least(given[0] if isinstance(given[0], list) else list(given)),
}
MEMBERS: dict[str, Callable[..., Any]] = {
    "size": size,
    "isSorted": _sorted,
    "sum": _sum,
    "min": _least,
    "max": _greatest,
    "hasValue": lambda value: _optional("hasValue", value).present,
    "value": _value,
    "orValue": _or_value,
    "or": _or,
}
