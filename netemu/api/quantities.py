"""Resource quantities ("500m", "1.5Gi", "2e3"): exact values and the one canonical spelling of each.

Source: the grammar and rules of k8s.io/apimachinery/pkg/api/resource. Precision ends at nano, rounded up.
"""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction
from typing import NamedTuple

MALFORMED = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_GRAMMAR = re.compile(
    r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]?|[eE][+-]?[0-9]{1,4})", re.ASCII
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {exponent: name for name, exponent in _DECIMAL.items()}
_BINARY_NAMES = {exponent: name for name, exponent in _BINARY.items()}
_NANO = 10**9


class Malformed(ValueError):
    """The text is no quantity."""


class _Parsed(NamedTuple):
    nanos: int
    suffix: str


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> _Parsed:
    match = _GRAMMAR.fullmatch(text)
    if not match or len(text) > 100:
        raise Malformed(MALFORMED)
    sign, digits, suffix = match.groups()
    whole, _, part = digits.partition(".")
    magnitude = int((whole + part) or "0") * _NANO
    if suffix in _BINARY:
        top, bottom = magnitude << _BINARY[suffix], 10 ** len(part)
    else:
        exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
        exponent -= len(part)
        if abs(exponent) > 120:
            raise Malformed(MALFORMED)
        top, bottom = magnitude * 10 ** max(exponent, 0), 10 ** max(-exponent, 0)
    nanos = -(-top // bottom)
    return _Parsed(-nanos if sign == "-" else nanos, suffix)


def parse(text: str) -> Fraction:
    """The exact value (units: cores, bytes, pieces). Raises `Malformed`."""
    return Fraction(_read(text).nanos, _NANO)


def milli(text: str) -> int:
    """The value in thousandths, rounded up: CPU in millicores."""
    return math.ceil(parse(text) * 1000)


def whole(text: str) -> int:
    """The value in units, rounded up: memory in bytes."""
    return math.ceil(parse(text))


def canonical(text: str) -> str:
    """The spelling Kubernetes would write: no fraction, the largest suffix that keeps the value exact."""
    nanos, suffix = _read(text)
    if nanos == 0:
        return "0"
    sign, size = ("-", -nanos) if nanos < 0 else ("", nanos)
    if suffix in _BINARY and size >= 1024 * _NANO:
        return sign + _binary(-(-size // _NANO))
    number, exponent = size, -9
    while number % 1000 == 0:
        number, exponent = number // 1000, exponent + 3
    if suffix[:1] in ("e", "E") and suffix != "E":
        return f"{sign}{number}e{exponent}" if exponent else f"{sign}{number}"
    if exponent > 18:
        number, exponent = number * 10 ** (exponent - 18), 18
    return f"{sign}{number}{_DECIMAL_NAMES[exponent]}"


def _binary(number: int) -> str:
    exponent = 0
    while number % 1024 == 0 and exponent < 60:
        number, exponent = number >> 10, exponent + 10
    return f"{number}{_BINARY_NAMES.get(exponent, '')}"


def total(texts: list[str]) -> str:
    """The sum, in the suffix family of the first."""
    if not texts:
        return "0"
    value = sum((parse(text) for text in texts), Fraction(0))
    nanos = math.ceil(value * _NANO)
    suffix = _read(texts[0]).suffix
    if suffix in _BINARY and nanos % _NANO == 0:
        return _binary(nanos // _NANO) if nanos >= 1024 * _NANO else canonical(str(nanos // _NANO))
    return canonical(f"{nanos}n")
