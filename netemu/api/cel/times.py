"""Durations as Go writes them and moments as RFC 3339 does. All clocks are in UTC."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from netemu.api.cel import values
from netemu.api.cel.values import Duration, Failed, Timestamp

_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


def duration(text: Any) -> Duration:
    """As Go writes them: 1h30m. Failed."""
    if isinstance(text, Duration):
        return text
    values.need("duration", text, str)
    body = text.lstrip("+-")
    if body == "0":
        return Duration(0)
    if not body or _PART.sub("", body):
        raise Failed(f"type conversion error: time: invalid duration {text!r}")
    nanos = sum(int(Fraction(number) * _UNITS[unit]) for number, unit in _PART.findall(body))
    return Duration(-nanos if text.startswith("-") else nanos)


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")


def timestamp(text: Any) -> Timestamp:
    """RFC 3339. Failed."""
    if isinstance(text, Timestamp):
        return text
    if isinstance(text, int) and not isinstance(text, bool):
        return Timestamp(text * 10**9)
    values.need("timestamp", text, str)
    found = _MOMENT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        zone = "+00:00" if found[4] in "Zz" else found[4]
        moment = datetime.datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError:
        raise Failed(f"type conversion error: invalid timestamp {text!r}") from None
    return Timestamp(int(moment.timestamp()) * 10**9 + int((found[3] or "").ljust(9, "0")))


def moment(value: Timestamp) -> datetime.datetime:
    """As the standard library has it."""
    return datetime.datetime.fromtimestamp(value.nanos // 10**9, datetime.UTC)


def _getter(
    of_time: Callable[[datetime.datetime], int], nanos: int = 0, within: int = 0
) -> Callable[..., int]:
    """`nanos`: how long one such part of a Duration is; `within`: it is counted modulo so many."""

    def get(value: Any, zone: str = "UTC") -> int:
        if isinstance(value, Duration) and nanos:
            return int(value.nanos / nanos) % within if within else int(value.nanos / nanos)
        values.need("get", value, Timestamp)
        if zone != "UTC":
            raise Failed(f"unknown time zone {zone}")
        return of_time(moment(value))

    return get


CALLS: dict[str, Callable[..., Any]] = {
    "duration": duration,
    "timestamp": timestamp,
}
MEMBERS: dict[str, Callable[..., Any]] = {
    "getFullYear": _getter(lambda t: t.year),
    "getMonth": _getter(lambda t: t.month - 1),
    "getDate": _getter(lambda t: t.day),
    "getDayOfMonth": _getter(lambda t: t.day - 1),
    "getDayOfWeek": _getter(lambda t: t.isoweekday() % 7),
    "getDayOfYear": _getter(lambda t: t.timetuple().tm_yday - 1),
    "getHours": _getter(lambda t: t.hour, 3600 * 10**9),
    "getMinutes": _getter(lambda t: t.minute, 60 * 10**9),
    "getSeconds": _getter(lambda t: t.second, 10**9),
    "getMilliseconds": _getter(lambda t: 0, 10**6, 1000),
}
