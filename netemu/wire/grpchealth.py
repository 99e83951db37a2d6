"""The gRPC health protocol as bytes: one question over HTTP/2, and its answer (grpc.health.v1.Health/Check).

Just enough of HTTP/2 (RFC 9113) to ask once: headers are sent as literals, those that come are not decoded,
for the answer is in DATA or there is none. No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_LIMIT = 1 << 20  # no honest answer is longer


class Status(IntEnum):
    """HealthCheckResponse.ServingStatus."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Frame(NamedTuple):
    """One of HTTP/2 (RFC 9113, 4.1); `kind` is its type."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def question(authority: str, service: str) -> bytes:
    """All that a client sends: preface, settings, and a Check for a service ("": the whole server)."""
    name = service.encode()
    message = (b"\x0a" + _varint(len(name)) + name) if name else b""
    body = b"\x00" + struct.pack(">I", len(message)) + message
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/1.33"),
    )
    headers = b"".join(b"\x00" + _text(key) + _text(value) for key, value in fields)
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, body)
    )


class Answer:
    """Takes bytes as they come. `status` is there once `done`; None then: it answered without one."""

    def __init__(self) -> None:
        self._pending = b""
        self._body = b""
        self.done = False
        self.status: Status | None = None

    def feed(self, data: bytes) -> bytes:
        """What has to be sent in return. ValueError for what is no HTTP/2."""
        self._pending += data
        reply = b""
        for frame in self._frames():
            reply += self._take(frame)
        return reply

    def _frames(self) -> Iterator[Frame]:
        while len(self._pending) >= 9:
            length = int.from_bytes(self._pending[:3], "big")
            if length > _LIMIT:
                raise ValueError("it does not speak HTTP/2")
            if len(self._pending) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._pending[3:9])
            yield Frame(kind, flags, stream & 0x7FFFFFFF, self._pending[9 : 9 + length])
            self._pending = self._pending[9 + length :]

    def _take(self, frame: Frame) -> bytes:
        if frame.kind == _SETTINGS and not frame.flags & _ACK:
            return _frame(_SETTINGS, _ACK, 0, b"")
        if frame.kind == _PING and not frame.flags & _ACK:
            return _frame(_PING, _ACK, 0, frame.payload)
        if frame.kind in (_GOAWAY, _RST_STREAM):
            self.done = True
        if frame.stream == 1 and frame.kind == _DATA:
            self._body += _unpadded(frame)
            self._read()
        if frame.stream == 1 and frame.kind in (_DATA, _HEADERS) and frame.flags & _END_STREAM:
            self.done = True
        return b""

    def _read(self) -> None:
        """One length-prefixed message: HealthCheckResponse {1: status}."""
        if len(self._body) < 5:
            return
        length = int.from_bytes(self._body[1:5], "big")
        message = self._body[5 : 5 + length]
        if len(message) < length:
            return
        if not message:
            self.status = Status.UNKNOWN
        elif message[0] == 0x08 and len(message) > 1 and message[1] in Status.__members__.values():
            self.status = Status(message[1])
        self.done = True


def _unpadded(frame: Frame) -> bytes:
    if not frame.flags & _PADDED:
        return frame.payload
    return frame.payload[1 : len(frame.payload) - frame.payload[0]]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: str) -> bytes:
    """A string as HPACK writes it without Huffman's code (RFC 7541, 5.2)."""
    data = value.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    return b"\x7f" + _varint(len(data) - 127) + data


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first: protobuf's integers, and the rest of HPACK's."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
