"""Netlink messages as bytes, and back, whatever family speaks in them: headers, flags, attributes, batches.

Every request carries sequence number 0; `number` stamps a batch, so that all of a pod's messages travel in
one send. Layouts: linux/netlink.h. Standard library only, and little of it: CNI executables import this.
"""

import struct

from netemu.wire import records

TYPE_CHECKING = False  # typing costs ten milliseconds at the start of a CNI executable
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ERROR, DONE = 2, 3  # types of messages

# Flags of a message.
REQUEST, ACK = 0x1, 0x4
DUMP = 0x300  # ROOT | MATCH
REPLACE, EXCL, CREATE = 0x100, 0x200, 0x400

_HEADER = struct.Struct("=LHHLL")  # length, type, flags, sequence, port

# error: errno (0: acknowledged) of an ERROR message.
Reply = records.record("Reply", "type sequence error body")


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request with its header."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, 0, 0) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    length = len(payload) + 4
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def u32(kind: int, value: int) -> bytes:
    """An attribute that is a number."""
    return struct.pack("=HHI", 8, kind, value)


def text(kind: int, value: str) -> bytes:
    """An attribute that is a C string."""
    return attribute(kind, value.encode() + b"\0")


def split(data: bytes, offset: int) -> "Iterable[tuple[int, bytes]]":
    """Type (without flags) and value of each attribute from `offset` on."""
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def number(messages: "Sequence[bytes]", first: int) -> bytes:
    """One buffer of all messages, numbered from `first`; only the last one is acknowledged when it went well.

    The kernel works through them in order, whatever happens to one, and always answers a failure: with the
    last acknowledgement all is known.
    """
    out = bytearray()
    last = first + len(messages) - 1
    for sequence, message in enumerate(messages, first):
        start = len(out)
        out += message + b"\0" * (-len(message) % 4)
        flags = struct.unpack_from("=H", message, 6)[0]
        if sequence != last:
            flags &= ~ACK
        struct.pack_into("=HL", out, start + 6, flags, sequence)
    return bytes(out)


def replies(data: bytes) -> "Iterator[Reply]":
    """Split what was received into its messages. DONE has its dump error (0: fine)."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, what, _flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise ValueError(f"netlink message of {length} bytes does not fit in {len(data) - offset}")
        body = data[offset + _HEADER.size : offset + length]
        error = -struct.unpack_from("=i", body)[0] if what in (ERROR, DONE) and len(body) >= 4 else 0
        yield Reply(what, sequence, error, body)
        offset += (length + 3) & ~3
