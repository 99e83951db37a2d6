"""CEL's values and what operators make of them. Numbers keep their kind; nothing overflows silently.

bool, int (64 bits), Uint, float, str, bytes, list, dict, None, and the classes below.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import SplitResult

from netemu.api.cel import parsing
from netemu.base import errors

Uint = parsing.Uint


class Failed(errors.Rejected):
    """Evaluation has no result: no such field, a wrong type, a division by zero."""


class Duration(NamedTuple):
    """May be negative."""

    nanos: int


class Timestamp(NamedTuple):
    """Since 1970, in UTC."""

    nanos: int


class Type(NamedTuple):
    """What `type(x)` gives, and what names of types are."""

    name: str


class Optional(NamedTuple):
    """`present`: whether there is a value."""

    present: bool
    value: Any = None


class Url(NamedTuple):
    """`url(text)`; its parts as RFC 3986 has them."""

    parts: SplitResult


class Ip(NamedTuple):
    """`ip(text)`, of either family."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address


class Cidr(NamedTuple):
    """`cidr(text)`: an address and its prefix length."""

    network: ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Quantity(NamedTuple):
    """`quantity(text)`, exact."""

    amount: Fraction


class Format(NamedTuple):
    """A named format; `problems` says what is wrong with a text."""

    problems: Callable[[str], Iterable[str]]


NONE = Optional(False)
_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (Uint, "uint"),
    (int, "int"),
    (float, "double"),
    (str, "string"),
    (bytes, "bytes"),
    (list, "list"),
    (dict, "map"),
    (Duration, "google.protobuf.Duration"),
    (Timestamp, "google.protobuf.Timestamp"),
    (Optional, "optional_type"),
    (Type, "type"),
    (type(None), "null_type"),
)


def kind(value: Any) -> str:
    """The name of a value's type."""
    return next((name for class_, name in _NAMES if isinstance(value, class_)), type(value).__name__.lower())


def is_number(value: Any) -> bool:
    """Whether it is an int, a Uint or a float."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(a: Any, b: Any) -> bool:
    """Numbers are equal by value, everything else only to its like."""
    if is_number(a) and is_number(b):
        return bool(a == b)
    if kind(a) != kind(b):
        return (a is None and b == NONE) or (b is None and a == NONE)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    return bool(a == b)


def contains(a: Any, b: Any) -> bool:
    """`a in b`. Failed."""
    if isinstance(b, dict):
        return not isinstance(a, list | dict) and a in b
    if isinstance(b, list):
        return any(equal(a, item) for item in b)
    raise overload("in")


def less(a: Any, b: Any) -> bool:
    """Failed for what has no order."""
    if is_number(a) and is_number(b):
        return bool(a < b)
    if kind(a) != kind(b) or not isinstance(a, str | bytes | bool | Duration | Timestamp):
        raise overload("<")
    return bool(a < b)


def need(name: str, value: Any, *classes: type) -> None:
    """A function's argument is of one of these. Failed."""
    if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
        raise overload(name)


def texts(name: str, *given: Any) -> None:
    """A function's arguments are texts. Failed."""
    for one in given:
        need(name, one, str)


def tried(make: Callable[[Any], Any]) -> Callable[[Any], bool]:
    """Whether something can be made of a text."""

    def fits(text: Any) -> bool:
        try:
            make(text)
        except Failed:
            return False
        return True

    return fits


def overload(name: str) -> Failed:
    """What is said when a function does not take such arguments."""
    return Failed(f"no such overload: {name}")


def _bounded(value: int, like: Any) -> int:
    if isinstance(like, Uint):
        if not 0 <= value < 1 << 64:
            raise Failed("unsigned integer overflow")
        return Uint(value)
    if not -(1 << 63) <= value < 1 << 63:
        raise Failed("integer overflow")
    return value


def arithmetic(sign: str, a: Any, b: Any) -> Any:
    """`a sign b` for + - * / %. Failed."""
    if isinstance(a, bool) or isinstance(b, bool):
        raise overload(sign)
    if sign in "+-" and isinstance(a, Duration | Timestamp):
        return _of_time(sign, a, b)
    if (sign == "+" and isinstance(a, Duration)) or (isinstance(b, Timestamp) and sign == "+"):
        return _of_time(sign, b, a)
    if kind(a) != kind(b):
        raise overload(sign)
    if sign == "+" and isinstance(a, str | bytes | list):
        return a + b
    if isinstance(a, float):
        return _float(sign, a, b)
    if isinstance(a, int):
        return _integer(sign, a, b)
    raise overload(sign)


def _integer(sign: str, a: int, b: int) -> int:
    if sign in "/%":
        if b == 0:
            raise Failed("division by zero" if sign == "/" else "modulus by zero")
        quotient = abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1)  # towards zero
        return _bounded(quotient if sign == "/" else int(a) - quotient * int(b), a)
    x, y = int(a), int(b)
    return _bounded({"+": x + y, "-": x - y, "*": x * y}[sign], a)


def _float(sign: str, a: float, b: float) -> float:
    if sign == "%":
        raise overload(sign)
    if sign == "/":
        return a / b if b else math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a)
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def _of_time(sign: str, a: Any, b: Any) -> Any:
    if not isinstance(b, Duration | Timestamp):
        raise overload(sign)
    nanos = a.nanos + b.nanos if sign == "+" else a.nanos - b.nanos
    if isinstance(a, Timestamp) and isinstance(b, Timestamp):
        if sign == "+":
            raise overload(sign)
        return Duration(_bounded(nanos, 0))
    if isinstance(b, Timestamp):
        if sign == "-":
            raise overload(sign)
        return Timestamp(nanos)
    return type(a)(_bounded(nanos, 0))


def negative(value: Any) -> Any:
    """Failed."""
    if isinstance(value, float):
        return -value
    if is_number(value) and not isinstance(value, Uint):
        return _bounded(-value, 0)
    raise overload("-")
