"""IP addresses and prefixes as the API takes them: what is wrong with one, and its family.

Stricter than Go's old parser: no leading zeros, no IPv4-mapped IPv6 (as newer releases ask of new objects).
"""

from __future__ import annotations

import functools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> IPv4Address | IPv6Address | None:
    """None: it is no address."""
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


@functools.lru_cache(maxsize=1024)
def parse_cidr(text: str) -> IPv4Network | IPv6Network | None:
    """Host bits are cut off. None: it is no prefix, or has no length."""
    head, slash, length = text.partition("/")
    if not slash or not length.isdecimal() or "%" in head:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def family(text: str) -> str:
    """ "IPv4", "IPv6", or "" if it is neither an address nor a prefix."""
    found = parse(text) or parse_cidr(text)
    return f"IPv{found.version}" if found else ""


def not_special(text: str) -> tuple[str, ...]:
    """Why an address cannot be that of an endpoint."""
    found = parse(text)
    if found is None:
        return (IP_MESSAGE,)
    why = []
    if found.is_unspecified:
        why.append(f"may not be unspecified ({text})")
    if found.is_loopback:
        why.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if found.is_link_local:
        why.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if found.is_multicast and found.version == 4 and str(found).startswith("224.0.0."):
        why.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    if found.is_multicast and found.version == 6 and str(found).startswith("ff02:"):
        why.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return tuple(why)
