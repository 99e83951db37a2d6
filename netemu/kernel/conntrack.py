"""Connections as the kernel tracks them in one namespace: list them, forget some. Standard library only.

Knows nfnetlink's conntrack messages (linux/netfilter/nfnetlink_conntrack.h). Decides nothing.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from netemu.kernel import linux, netns

TCP, UDP, SCTP = 6, 17, 132

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102  # subsystem 1 (ctnetlink), IPCTNL_MSG_CT_GET and _DELETE
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_TUPLE_ORIGINAL, _TUPLE_REPLY = 1, 2
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_PROTO_NUMBER, _PROTO_SOURCE, _PROTO_DESTINATION = 1, 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, V6_SRC; CTA_IP_V4_DST, V6_DST


class Flow(NamedTuple):
    """One tracked connection: where its client sent to, and who really answers (after destination NAT).

    Addresses are canonical texts; `original` identifies it for the kernel.
    """

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    answerer: str
    answerer_port: int
    original: bytes


class Conntrack(Protocol):
    """The connection table of a network namespace."""

    def flows(self, protocol: int) -> list[Flow]:
        """All connections of an IP protocol, of both families."""
        ...

    def forget(self, flows: Iterable[Flow]) -> int:
        """Remove these; how many there still were. Their next packet is a new connection."""
        ...


class ConntrackError(linux.KernelError):
    """The kernel refused."""


class NetlinkConntrack:
    """The kernel's table of the namespace `place` (None: the caller's), whichever thread uses it later."""

    def __init__(self, place: netns.Place | None = None) -> None:
        with netns.inside(place):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def flows(self, protocol: int) -> list[Flow]:
        # One walk for both families: the kernel goes through the buckets of all namespaces, 12 ms each time.
        # Most entries are of other protocols, which is told by their bytes without reading them.
        number = _ATTRIBUTE.pack(5, _PROTO_NUMBER) + bytes([protocol])
        bodies = (body for body in self._ask(_GET, _DUMP, socket.AF_UNSPEC, b"") if number in body)
        return [flow for flow in map(parse, bodies) if flow is not None and flow.protocol == protocol]

    def forget(self, flows: Iterable[Flow]) -> int:
        gone = 0
        for flow in flows:
            family = socket.AF_INET6 if ":" in flow.destination else socket.AF_INET
            attribute = _attribute(_TUPLE_ORIGINAL | _NESTED, flow.original)
            try:
                for _ in self._ask(_DELETE, _ACK, family, attribute):
                    pass
                gone += 1
            except FileNotFoundError:
                continue  # it ended meanwhile
            except OSError as error:
                raise ConntrackError(
                    f"cannot forget a connection to {flow.destination}: {error.strerror}"
                ) from error
        return gone

    def _ask(self, kind: int, flags: int, family: int, payload: bytes) -> Iterator[bytes]:
        """Bodies (after nfgenmsg) of the answers. OSError with the kernel's number."""
        self._sequence += 1
        body = struct.pack("=BBH", family, 0, 0) + payload
        self._socket.send(
            _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, self._sequence, 0) + body
        )
        while True:
            data = self._socket.recv(1 << 17)
            at = 0
            while at + _HEADER.size <= len(data):
                length, what, _, sequence, _ = _HEADER.unpack_from(data, at)
                message = data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if what == _DONE:
                    return
                if what == _ERROR:
                    (code,) = struct.unpack_from("=i", message)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield message[4:]


class FakeConntrack:
    """A table that a test fills; it forgets only what it has."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        self.table = set(flows)

    def flows(self, protocol: int) -> list[Flow]:
        return sorted(flow for flow in self.table if flow.protocol == protocol)

    def forget(self, flows: Iterable[Flow]) -> int:
        known = self.table & set(flows)
        self.table -= known
        return len(known)


def parse(body: bytes) -> Flow | None:
    """A conntrack entry's attributes. None for one without ports (ICMP and other strangers)."""
    outer = dict(attributes(body))
    original, reply = outer.get(_TUPLE_ORIGINAL), outer.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    sent, answered = _endpoints(original), _endpoints(reply)
    if sent is None or answered is None:
        return None
    return Flow(*sent, answered[1], answered[2], bytes(original))


def _endpoints(tuple_: bytes) -> tuple[int, str, int, str, int] | None:
    parts = dict(attributes(tuple_))
    ip, proto = dict(attributes(parts.get(_TUPLE_IP, b""))), dict(attributes(parts.get(_TUPLE_PROTO, b"")))
    if _PROTO_SOURCE not in proto or _PROTO_DESTINATION not in proto:
        return None
    source = next(ip[kind] for kind in _SOURCES if kind in ip)
    destination = next(ip[kind] for kind in _DESTINATIONS if kind in ip)
    return (
        proto[_PROTO_NUMBER][0],
        str(ip_address(source)),
        int.from_bytes(proto[_PROTO_SOURCE][:2], "big"),
        str(ip_address(destination)),
        int.from_bytes(proto[_PROTO_DESTINATION][:2], "big"),
    )


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type (without flags) and value of each netlink attribute."""
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    head = _ATTRIBUTE.pack(4 + len(value), kind)
    return head + value + b"\0" * (-len(value) % 4)
