"""Packets that nftables' `log group` hands out: nfnetlink_log's messages, and who talks to whom in a packet.

Pure bytes (linux/netfilter/nfnetlink_log.h; RFC 791, RFC 8200). Opens no socket, decides nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

_PACKET, _CONFIG = 0x400, 0x401  # subsystem 4 (NFNL_SUBSYS_ULOG): NFULNL_MSG_PACKET and _CONFIG
_REQUEST, _ACK = 0x1, 0x4
_ERROR = 2
_COMMAND, _MODE, _TIMEOUT, _THRESHOLD = 1, 2, 4, 5  # NFULA_CFG_*
_BIND, _COPY_PACKET = 1, 2
_HEADER, _TIMESTAMP, _PAYLOAD, _PREFIX = 1, 3, 9, 10  # NFULA_*
_NETLINK = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp", 132: "sctp"}
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options


class Logged(NamedTuple):
    """One packet: the rule's prefix, when the kernel saw it (unix seconds; 0: it did not say), its bytes."""

    prefix: str
    at: float
    payload: bytes


class Flow(NamedTuple):
    """Who talks to whom in a packet. Ports are 0 where a protocol has none, or they were cut off."""

    protocol: str
    source: str
    source_port: int
    destination: str
    port: int


def bind(group: int, *, copied: int, patience: float) -> bytes:
    """Send packets of a group here: `copied` bytes of each, at most `patience` seconds after it."""
    attributes = (
        _attribute(_COMMAND, bytes([_BIND])),
        _attribute(_MODE, struct.pack("!IBx", copied, _COPY_PACKET)),
        _attribute(_TIMEOUT, struct.pack("!I", max(1, round(patience * 100)))),
        _attribute(_THRESHOLD, struct.pack("!I", 32)),
    )
    return b"".join(_config(group, attribute, number) for number, attribute in enumerate(attributes, 1))


def _config(group: int, attribute: bytes, number: int) -> bytes:
    body = struct.pack("!BBH", 0, 0, group) + attribute
    return _NETLINK.pack(_NETLINK.size + len(body), _CONFIG, _REQUEST | _ACK, number, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    head = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind)
    return head + value + b"\0" * (-len(value) % 4)


def refusals(data: bytes) -> Iterator[int]:
    """The kernel's answers to requests among the messages: 0, or an error number."""
    for kind, body in _messages(data):
        if kind == _ERROR:
            yield -struct.unpack_from("=i", body)[0]


def packets(data: bytes) -> Iterator[Logged]:
    """The packets among the messages."""
    for kind, body in _messages(data):
        if kind == _PACKET:
            found = dict(_attributes(body[4:]))
            at = 0.0
            if _TIMESTAMP in found:
                seconds, micros = struct.unpack("!QQ", found[_TIMESTAMP])
                at = seconds + micros / 1e6
            prefix = found.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
            yield Logged(prefix, at, found.get(_PAYLOAD, b""))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _NETLINK.size <= len(data):
        length, kind, _, _, _ = _NETLINK.unpack_from(data, at)
        if length < _NETLINK.size:
            return
        yield kind, data[at + _NETLINK.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def flow(packet: bytes) -> Flow | None:
    """None for what is no IP packet, or too short to tell."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return _flow(packet[9], packet[12:16], packet[16:20], packet[(packet[0] & 15) * 4 :])
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        following, rest = packet[6], packet[40:]
        while following in _EXTENSIONS and len(rest) >= 8:
            following, rest = rest[0], rest[8 + rest[1] * 8 :]
        return _flow(following, packet[8:24], packet[24:40], rest)
    return None


def _flow(number: int, source: bytes, destination: bytes, rest: bytes) -> Flow:
    protocol = PROTOCOLS.get(number, str(number))
    ports = (0, 0)
    if protocol in ("tcp", "udp", "sctp") and len(rest) >= 4:
        ports = struct.unpack_from("!HH", rest)
    return Flow(protocol, str(ip_address(source)), ports[0], str(ip_address(destination)), ports[1])
