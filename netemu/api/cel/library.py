"""The functions expressions may call: CEL's own, and those Kubernetes adds. A table by name; all are pure.

A function gets its target (if it has one) before its arguments. Source: cel-spec langdef.md and
k8s.io/apiserver pkg/cel/library (lists, regex, urls, ip, cidr, quantity, sets).
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import itertools
import math
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from netemu.api import formats, names, quantities, re2
from netemu.api.cel import values
from netemu.api.cel.values import Duration, Failed, Optional, Timestamp, Type, Uint, overload

_MOST = 1 << 20  # characters of a text that is made


class Url(NamedTuple):
    parts: SplitResult


class Ip(NamedTuple):
    address: ipaddress.IPv4Address | ipaddress.IPv6Address


class Cidr(NamedTuple):
    network: ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Quantity(NamedTuple):
    amount: Fraction


class Format(NamedTuple):
    """A named format; `problems` says what is wrong with a text."""

    problems: Callable[[str], Iterable[str]]


def _need(name: str, value: Any, *classes: type) -> None:
    if not isinstance(value, classes) or (isinstance(value, bool) and bool not in classes):
        raise overload(name)


# --- every kind


def size(value: Any) -> int:
    _need("size", value, str, bytes, list, dict)
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
    _need("int", value, int)
    if not -(1 << 63) <= value < 1 << 63:
        raise Failed("integer overflow")
    return int(value)


def _uint(value: Any) -> Uint:
    number = int(value) if isinstance(value, Uint) else _int(value)
    if number < 0:
        raise Failed("unsigned integer overflow")
    return Uint(number)


def _double(value: Any) -> float:
    _need("double", value, int, float, str)
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
        return _moment(value).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Ip):
        return str(value.address)
    if isinstance(value, Cidr):
        return str(value.network)
    _need("string", value, str, int, float)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bytes(value: Any) -> bytes:
    _need("bytes", value, str, bytes)
    return value.encode() if isinstance(value, str) else bytes(value)


def _bool(value: Any) -> bool:
    if isinstance(value, str) and value in ("true", "t", "1", "TRUE", "True"):
        return True
    if isinstance(value, str) and value in ("false", "f", "0", "FALSE", "False"):
        return False
    _need("bool", value, bool)
    return bool(value)


_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")


def duration(text: Any) -> Duration:
    """As Go writes them: 1h30m. Failed."""
    if isinstance(text, Duration):
        return text
    _need("duration", text, str)
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
    _need("timestamp", text, str)
    found = _MOMENT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        zone = "+00:00" if found[4] in "Zz" else found[4]
        moment = datetime.datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError:
        raise Failed(f"type conversion error: invalid timestamp {text!r}") from None
    return Timestamp(int(moment.timestamp()) * 10**9 + int((found[3] or "").ljust(9, "0")))


def _moment(value: Timestamp) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(value.nanos // 10**9, datetime.UTC)


def _getter(
    of_time: Callable[[datetime.datetime], int], nanos: int = 0, within: int = 0
) -> Callable[..., int]:
    """`nanos`: how long one such part of a Duration is; `within`: it is counted modulo so many."""

    def get(value: Any, zone: str = "UTC") -> int:
        if isinstance(value, Duration) and nanos:
            return int(value.nanos / nanos) % within if within else int(value.nanos / nanos)
        _need("get", value, Timestamp)
        if zone != "UTC":
            raise Failed(f"unknown time zone {zone}")
        return of_time(_moment(value))

    return get


# --- texts


def _texts(name: str, *given: Any) -> None:
    for one in given:
        _need(name, one, str)


def _contains(text: Any, part: Any) -> bool:
    _texts("contains", text, part)
    return part in text


def _starts(text: Any, part: Any) -> bool:
    _texts("startsWith", text, part)
    return bool(text.startswith(part))


def _ends(text: Any, part: Any) -> bool:
    _texts("endsWith", text, part)
    return bool(text.endswith(part))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re2.compiled(text)
    except re.error as error:
        raise Failed(f"error parsing regexp: {error}") from None


def _matches(text: Any, pattern: Any) -> bool:
    _texts("matches", text, pattern)
    return _pattern(pattern).search(text) is not None


def _find(text: Any, pattern: Any) -> str:
    _texts("find", text, pattern)
    found = _pattern(pattern).search(text)
    return found[0] if found else ""


def _find_all(text: Any, pattern: Any, most: Any = -1) -> list[str]:
    _texts("findAll", text, pattern)
    found = [one[0] for one in _pattern(pattern).finditer(text)]
    return found if most < 0 else found[:most]


def _index(value: Any, what: Any, start: Any = 0) -> int:
    if isinstance(value, list):
        return next((n for n, one in enumerate(value) if values.equal(one, what)), -1)
    _texts("indexOf", value, what)
    return int(value.find(what, start))


def _last_index(value: Any, what: Any) -> int:
    if isinstance(value, list):
        return max((n for n, one in enumerate(value) if values.equal(one, what)), default=-1)
    _texts("lastIndexOf", value, what)
    return int(value.rfind(what))


def _char_at(text: Any, at: Any) -> str:
    _texts("charAt", text)
    if not 0 <= at <= len(text):
        raise Failed(f"index out of range: {at}")
    return str(text[at : at + 1])


def _substring(text: Any, begin: Any, end: Any = None) -> str:
    _texts("substring", text)
    end = len(text) if end is None else end
    if not 0 <= begin <= end <= len(text):
        raise Failed("index out of range")
    return str(text[begin:end])


def _replace(text: Any, old: Any, new: Any, most: Any = -1) -> str:
    _texts("replace", text, old, new)
    if len(text) * (len(new) + 1) > _MOST:
        raise Failed("text too long")
    return str(text.replace(old, new, most))


def _split(text: Any, by: Any, most: Any = -1) -> list[str]:
    _texts("split", text, by)
    if most == 0:
        return []
    if not by:
        return list(text) if most < 0 else [*text[: most - 1], text[most - 1 :]]
    return list(text.split(by, most - 1 if most > 0 else -1))


def _join(parts: Any, by: Any = "") -> str:
    _need("join", parts, list)
    _texts("join", by, *parts)
    return str(by.join(parts))


def _plain(name: str, change: Callable[[str], str]) -> Callable[[Any], str]:
    def apply(text: Any) -> str:
        _texts(name, text)
        return change(text)

    return apply


def _ascii(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(one) if one.isascii() else one for one in text)


# --- lists and sets


def _sorted(items: Any) -> bool:
    _need("isSorted", items, list)
    return not any(values.less(b, a) for a, b in itertools.pairwise(items))


def _sum(items: Any) -> Any:
    _need("sum", items, list)
    total: Any = items[0] if items else 0
    for one in items[1:]:
        total = values.arithmetic("+", total, one)
    return total


def _least(items: Any) -> Any:
    return _extreme("min", items, values.less)


def _greatest(items: Any) -> Any:
    return _extreme("max", items, lambda a, b: values.less(b, a))


def _extreme(name: str, items: Any, better: Callable[[Any, Any], bool]) -> Any:
    _need(name, items, list)
    if not items:
        raise Failed(f"{name} called on empty list")
    found = items[0]
    for one in items[1:]:
        found = one if better(one, found) else found
    return found


def _has_all(items: Any, wanted: Any) -> bool:
    _need("sets.contains", items, list)
    return all(values.contains(one, items) for one in wanted)


def _same_set(items: Any, others: Any) -> bool:
    return _has_all(items, others) and _has_all(others, items)


def _meet(items: Any, others: Any) -> bool:
    return any(values.contains(one, others) for one in items)


# --- URLs, addresses, quantities


def _tried(make: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def fits(text: Any) -> bool:
        try:
            make(text)
        except Failed:
            return False
        return True

    return fits


def url(text: Any) -> Url:
    _texts("url", text)
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  it is checked only when looked at
    except ValueError as error:
        raise Failed(f"URL parse error: {error}") from None
    if not (parts.scheme and parts.netloc) and not text.startswith("/"):
        raise Failed(f"URL parse error: invalid URI for request: {text!r}")
    return Url(parts)


def ip(text: Any) -> Ip:
    _texts("ip", text)
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise Failed(f"IP Address parse error: {error}") from None
    if getattr(address, "ipv4_mapped", None) is not None or "%" in text:
        raise Failed("IPv4-mapped IPv6 addresses and zones are not allowed")
    return Ip(address)


def cidr(text: Any) -> Cidr:
    _texts("cidr", text)
    try:
        if "/" not in text:
            raise ValueError("no prefix length")
        return Cidr(ipaddress.ip_interface(text))
    except ValueError as error:
        raise Failed(f"network address parse error: {error}") from None


def _contains_ip(range_: Any, address: Any) -> bool:
    _need("containsIP", range_, Cidr)
    found = ip(address).address if isinstance(address, str) else address.address
    return found.version == range_.network.version and found in range_.network.network


def _contains_cidr(range_: Any, other: Any) -> bool:
    _need("containsCIDR", range_, Cidr)
    found = cidr(other) if isinstance(other, str) else other
    own, inner = range_.network.network, found.network.network
    return own.version == inner.version and inner.subnet_of(own)


def _about_ip(name: str) -> Callable[[Any], bool]:
    def about(value: Any) -> bool:
        _need(name, value, Ip)
        return bool(getattr(value.address, name))

    return about


def quantity(text: Any) -> Quantity:
    _texts("quantity", text)
    try:
        return Quantity(Fraction(quantities.parse(text)))
    except quantities.Malformed as error:
        raise Failed(f"quantity parse error: {error}") from None


def _compared(test: Callable[[Fraction, Fraction], Any]) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        _need("quantity", a, Quantity)
        _need("quantity", b, Quantity)
        return test(a.amount, b.amount)

    return compare


def _counted(sign: int) -> Callable[[Any, Any], Quantity]:
    def count(a: Any, b: Any) -> Quantity:
        _need("quantity", a, Quantity)
        return Quantity(a.amount + sign * (b.amount if isinstance(b, Quantity) else Fraction(b)))

    return count


def _whole(value: Any) -> int:
    _need("asInteger", value, Quantity)
    if value.amount.denominator != 1:
        raise Failed("cannot convert value to integer")
    return int(value.amount)


def _in_format(format_: Any, text: Any) -> Optional:
    _need("validate", format_, Format)
    _texts("validate", text)
    wrong = list(format_.problems(text))
    return Optional(True, wrong) if wrong else values.NONE


def _checked(name: str) -> Callable[[], Format]:
    return lambda: Format(lambda text: () if formats.CHECKS[name](text) else (f"invalid {name}",))


def _named(rule: Callable[[str], Iterable[str]], *, prefix: bool = False) -> Callable[[], Format]:
    """`prefix`: what a name may begin with, so that it may end in a dash."""
    return lambda: Format(lambda text: rule(f"{text[:-1]}a" if prefix and text.endswith("-") else text))


# --- optional values


def _optional(name: str, value: Any) -> Optional:
    _need(name, value, Optional)
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


CALLS: dict[str, Callable[..., Any]] = {  # without a target
    "size": size,
    "int": _int,
    "uint": _uint,
    "double": _double,
    "string": _string,
    "bytes": _bytes,
    "bool": _bool,
    "dyn": lambda value: value,
    "type": lambda value: Type(values.kind(value)),
    "duration": duration,
    "timestamp": timestamp,
    "matches": _matches,
    "url": url,
    "isURL": _tried(url),
    "ip": ip,
    "isIP": _tried(ip),
    "ip.isCanonical": lambda text: str(ip(text).address) == text,
    "cidr": cidr,
    "isCIDR": _tried(cidr),
    "quantity": quantity,
    "isQuantity": _tried(quantity),
    "sets.contains": _has_all,
    "sets.equivalent": _same_set,
    "sets.intersects": _meet,
    "optional.of": lambda value: Optional(True, value),
    "optional.ofNonZeroValue": _non_zero,
    "optional.none": lambda: values.NONE,
    "format.dns1123Label": _named(names.label),
    "format.dns1123LabelPrefix": _named(names.label, prefix=True),
    "format.dns1123Subdomain": _named(names.subdomain),
    "format.dns1123SubdomainPrefix": _named(names.subdomain, prefix=True),
    "format.dns1035Label": _named(names.label_1035),
    "format.dns1035LabelPrefix": _named(names.label_1035, prefix=True),
    "format.qualifiedName": _named(names.qualified),
    "format.labelValue": _named(names.label_value),
    "format.uri": _checked("uri"),
    "format.uuid": _checked("uuid"),
    "format.byte": _checked("byte"),
    "format.date": _checked("date"),
    "format.datetime": _checked("datetime"),
    "base64.encode": lambda data: base64.b64encode(_bytes(data)).decode(),
    "math.greatest": lambda *given: _greatest(given[0] if isinstance(given[0], list) else list(given)),
    "math.least": lambda *given: _least(given[0] if isinstance(given[0], list) else list(given)),
}
MEMBERS: dict[str, Callable[..., Any]] = {  # with one
    "size": size,
    "contains": _contains,
    "startsWith": _starts,
    "endsWith": _ends,
    "matches": _matches,
    "find": _find,
    "findAll": _find_all,
    "indexOf": _index,
    "lastIndexOf": _last_index,
    "charAt": _char_at,
    "substring": _substring,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "lowerAscii": _plain("lowerAscii", lambda text: _ascii(text, str.lower)),
    "upperAscii": _plain("upperAscii", lambda text: _ascii(text, str.upper)),
    "trim": _plain("trim", str.strip),
    "reverse": _plain("reverse", lambda text: text[::-1]),
    "isSorted": _sorted,
    "sum": _sum,
    "min": _least,
    "max": _greatest,
    "getScheme": lambda u: u.parts.scheme,
    "getHost": lambda u: u.parts.netloc.rpartition("@")[2],
    "getHostname": lambda u: u.parts.hostname or "",
    "getPort": lambda u: "" if u.parts.port is None else str(u.parts.port),
    "getEscapedPath": lambda u: u.parts.path,
    "getQuery": lambda u: parse_qs(u.parts.query, keep_blank_values=True),
    "family": lambda value: value.address.version,
    "isUnspecified": _about_ip("is_unspecified"),
    "isLoopback": _about_ip("is_loopback"),
    "isLinkLocalMulticast": lambda v: (
        v.address.is_multicast and str(v.address).startswith(("224.0.0.", "ff02:"))
    ),
    "isLinkLocalUnicast": _about_ip("is_link_local"),
    "isGlobalUnicast": lambda v: (
        not (v.address.is_multicast or v.address.is_unspecified or v.address.is_loopback)
    ),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "ip": lambda value: Ip(value.network.ip),
    "masked": lambda value: Cidr(ipaddress.ip_interface(str(value.network.network))),
    "prefixLength": lambda value: value.network.network.prefixlen,
    "compareTo": _compared(lambda a, b: (a > b) - (a < b)),
    "isGreaterThan": _compared(lambda a, b: a > b),
    "isLessThan": _compared(lambda a, b: a < b),
    "add": _counted(1),
    "sub": _counted(-1),
    "sign": lambda value: (value.amount > 0) - (value.amount < 0),
    "isInteger": lambda value: value.amount.denominator == 1,
    "asInteger": _whole,
    "asApproximateFloat": lambda value: float(value.amount),
    "validate": _in_format,
    "hasValue": lambda value: _optional("hasValue", value).present,
    "value": _value,
    "orValue": _or_value,
    "or": _or,
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
TYPES = {
    name.rpartition(".")[2].lower() if "." not in name else name: Type(name)
    for name in (
        *("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"),
        *("google.protobuf.Duration", "google.protobuf.Timestamp"),
    )
}
SPACES = ("ip", "sets", "optional", "base64", "math", "format", "google", "google.protobuf")
