"""URLs, IP addresses and CIDRs (k8s.io/apiserver pkg/cel/library urls.go, ip.go, cidr.go)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from netemu.api.cel import values
from netemu.api.cel.values import Cidr, Failed, Ip, Url


def url(text: Any) -> Url:
    """Absolute, or a path from the root. Failed."""
    values.texts("url", text)
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  it is checked only when looked at
    except ValueError as error:
        raise Failed(f"URL parse error: {error}") from None
    if not (parts.scheme and parts.netloc) and not text.startswith("/"):
        raise Failed(f"URL parse error: invalid URI for request: {text!r}")
    return Url(parts)


def ip(text: Any) -> Ip:
    """Of either family, without zone; no IPv4-mapped one. Failed."""
    values.texts("ip", text)
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise Failed(f"IP Address parse error: {error}") from None
    if getattr(address, "ipv4_mapped", None) is not None or "%" in text:
        raise Failed("IPv4-mapped IPv6 addresses and zones are not allowed")
    return Ip(address)


def cidr(text: Any) -> Cidr:
    """Of either family; bits of the host may be set. Failed."""
    values.texts("cidr", text)
    try:
        if "/" not in text:
            raise ValueError("no prefix length")
        return Cidr(ipaddress.ip_interface(text))
    except ValueError as error:
        raise Failed(f"network address parse error: {error}") from None


def _contains_ip(range_: Any, address: Any) -> bool:
    values.need("containsIP", range_, Cidr)
    found = ip(address).address if isinstance(address, str) else address.address
    return found.version == range_.network.version and found in range_.network.network


def _contains_cidr(range_: Any, other: Any) -> bool:
    values.need("containsCIDR", range_, Cidr)
    found = cidr(other) if isinstance(other, str) else other
    own, inner = range_.network.network, found.network.network
    return own.version == inner.version and inner.subnet_of(own)


def _about_ip(name: str) -> Callable[[Any], bool]:
    def about(value: Any) -> bool:
        values.need(name, value, Ip)
        return bool(getattr(value.address, name))

    return about


CALLS: dict[str, Callable[..., Any]] = {
    "url": url,
    "isURL": values.tried(url),
    "ip": ip,
    "isIP": values.tried(ip),
    "ip.isCanonical": lambda text: str(ip(text).address) == text,
    "cidr": cidr,
    "isCIDR": values.tried(cidr),
}
MEMBERS: dict[str, Callable[..., Any]] = {
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
}
