"""Times as the API writes them: RFC 3339 in UTC, in seconds or microseconds; ages as people read them."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 86400 * 365


class Malformed(ValueError):
    """The text is no time."""


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> datetime:
    match = _RFC3339.fullmatch(text)
    if not match:
        raise Malformed(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": not in that form')
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone == "Z" else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Malformed(f'parsing time "{text}": {error}') from None


def seconds(text: str) -> float:
    """Unix seconds. Raises `Malformed`."""
    return _read(text).timestamp()


def canonical(text: str) -> str:
    """In UTC, cut to whole seconds. Raises `Malformed`."""
    return f"{_read(text):%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0")


def canonical_micro(text: str) -> str:
    """In UTC, with six digits of a second. Raises `Malformed`."""
    return f"{_read(text):%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0")


def age(text: str, now: float) -> str:
    """How long ago, as kubectl prints it: "5m12s", "3h2m", "2d"; "<unknown>" for no time."""
    if not text:
        return "<unknown>"
    try:
        return duration(now - seconds(text))
    except Malformed:
        return "<unknown>"


def duration(length: float) -> str:
    """A length in seconds in at most two units, coarser the longer it is (apimachinery's HumanDuration)."""
    total = int(length)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    for limit, unit, name, lesser, lesser_name in _STEPS:
        if total < limit:
            rest = (total % unit) // lesser if lesser else 0
            return f"{total // unit}{name}" + (f"{rest}{lesser_name}" if rest else "")
    return f"{total // _YEAR}y"


# below this many seconds: unit and its letter, lesser unit and its letter
_STEPS = (
    (2 * _MINUTE, 1, "s", 0, ""),
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (2 * _DAY, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)
