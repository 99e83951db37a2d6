"""The formats a schema may ask of texts (OpenAPI, go-openapi/strfmt), as far as structural schemas know them.

Formats that are not here are notes for people: nothing is checked. Pure.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from netemu.api import names, times

_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_MAC = re.compile(r"(?i)[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_DURATION = re.compile(
    r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|ms|s|m|h))+|0|\d+ *(?:ns|us|ms|s|m|h|d|w)[a-z]*"
)


def _date_time(text: str) -> bool:
    try:
        times.seconds(text)
    except times.Malformed:
        return False
    return True


def _date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _address(version: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return fits


def _cidr(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _byte(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _uri(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return bool(url.scheme) or text.startswith("/")


CHECKS: dict[str, Callable[[str], bool]] = {
    "byte": _byte,
    "cidr": _cidr,
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
    "email": lambda text: bool(_EMAIL.fullmatch(text)),
    "hostname": lambda text: not any(names.subdomain(text.rstrip(".").lower())),
    "ipv4": _address(4),
    "ipv6": _address(6),
    "mac": lambda text: bool(_MAC.fullmatch(text)),
    "uri": _uri,
    "uuid": lambda text: bool(_UUID.fullmatch(text)),
}
