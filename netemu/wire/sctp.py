"""SCTP packets of one chunk, as bytes (RFC 9260): the opening of an association and its refusal. No I/O.

Standard library only, for it also runs in containers, in place of a kernel that has no SCTP sockets.
"""

import struct
from typing import NamedTuple

INIT, INIT_ACK, ABORT = 1, 2, 6
PROTOCOL = 132

_HEADER = struct.Struct("!HHI4s")  # ports, verification tag, checksum
_CHUNK = struct.Struct("!BBH")
_OPENING = struct.Struct("!IIHHI")  # initiate tag, window, streams out and in, first TSN (3.3.2)
_PARAMETER = struct.Struct("!HH")
_STATE_COOKIE = 7
_WINDOW, _STREAMS = 65536, 1


class Packet(NamedTuple):
    """A packet and its first chunk. `tag` is who receives it; `own_tag` and `cookie` are of an INIT (ACK)."""

    source_port: int
    port: int
    tag: int
    kind: int
    own_tag: int = 0
    cookie: bytes = b""


def init(source_port: int, port: int, own_tag: int) -> bytes:
    """The first packet of an association: its verification tag is 0 (8.5.1)."""
    return _packet(source_port, port, 0, INIT, _opening(own_tag))


def init_ack(asked: Packet, own_tag: int, cookie: bytes) -> bytes:
    """The answer of who would take the association; the cookie is opaque to who asked (3.3.3.1)."""
    padding = b"\0" * (-len(cookie) % 4)
    parameter = _PARAMETER.pack(_STATE_COOKIE, _PARAMETER.size + len(cookie)) + cookie + padding
    return _packet(asked.port, asked.source_port, asked.own_tag, INIT_ACK, _opening(own_tag) + parameter)


def abort(asked: Packet) -> bytes:
    """The answer of who has nobody on that port (8.4, rule 8; 5.1)."""
    return _packet(asked.port, asked.source_port, asked.own_tag, ABORT, b"")


def parse(data: bytes) -> Packet | None:
    """A packet with a right checksum; None for anything else."""
    if len(data) < _HEADER.size + _CHUNK.size:
        return None
    source_port, port, tag, checksum = _HEADER.unpack_from(data)
    if checksum != _checksum(data[:8] + b"\0\0\0\0" + data[12:]):
        return None
    kind, _, length = _CHUNK.unpack_from(data, _HEADER.size)
    body = data[_HEADER.size + _CHUNK.size : _HEADER.size + length]
    if kind not in (INIT, INIT_ACK):
        return Packet(source_port, port, tag, kind)
    if len(body) < _OPENING.size:
        return None
    (own_tag, *_) = _OPENING.unpack_from(body)
    return Packet(source_port, port, tag, kind, own_tag, _cookie(body[_OPENING.size :]))


def _cookie(parameters: bytes) -> bytes:
    while len(parameters) >= _PARAMETER.size:
        kind, length = _PARAMETER.unpack_from(parameters)
        if length < _PARAMETER.size:
            break
        if kind == _STATE_COOKIE:
            return parameters[_PARAMETER.size : length]
        parameters = parameters[(length + 3) & ~3 :]
    return b""


def _opening(own_tag: int) -> bytes:
    return _OPENING.pack(own_tag, _WINDOW, _STREAMS, _STREAMS, own_tag)


def _packet(source_port: int, port: int, tag: int, kind: int, body: bytes) -> bytes:
    chunk = _CHUNK.pack(kind, 0, _CHUNK.size + len(body)) + body
    bare = _HEADER.pack(source_port, port, tag, b"\0\0\0\0") + chunk
    return bare[:8] + _checksum(bare) + bare[12:]


def _table() -> tuple[int, ...]:
    """CRC32c's, reflected polynomial 0x82F63B78 (RFC 9260, appendix A)."""
    found = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


_CRC = _table()


def _checksum(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return struct.pack("<I", crc ^ 0xFFFFFFFF)
