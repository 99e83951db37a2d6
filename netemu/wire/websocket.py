"""WebSocket frames (RFC 6455) and the handshake's arithmetic. Sans I/O: bytes in, messages out.

A decoder is one direction of one connection; whatever breaks the protocol is `Broken`, with the code to close
with. Does not know what messages mean.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Final, NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1000, 1002, 1007, 1009
LIMIT: Final = 16 << 20  # bytes of one message
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DATA = (CONTINUATION, TEXT, BINARY)
_CONTROL = (CLOSE, PING, PONG)
_NEVER_SENT = (1004, 1005, 1006, 1015)  # RFC 6455 7.4.1


class Broken(ValueError):
    """The other side does not speak WebSocket. `code` is a close code (RFC 6455 7.4.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Message(NamedTuple):
    """A whole message, or a control frame: `opcode` is TEXT, BINARY, CLOSE, PING or PONG."""

    opcode: int
    data: bytes


def accept(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.strip().encode() + _GUID).digest()).decode()


def valid_key(key: str) -> bool:
    """Whether a Sec-WebSocket-Key is 16 bytes in base64."""
    try:
        return len(base64.b64decode(key.strip(), validate=True)) == 16
    except ValueError:
        return False


def encode(opcode: int, data: bytes, *, mask: bytes | None = None, last: bool = True) -> bytes:
    """One frame. A client's frames are masked with 4 bytes of chance, a server's never."""
    flag = 0x80 if mask is not None else 0
    first = opcode | (0x80 if last else 0)
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", first, flag | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, flag | 126, size)
    else:
        head = struct.pack(">BBQ", first, flag | 127, size)
    return head + data if mask is None else head + mask + _masked(data, mask)


def to_text(data: bytes) -> bytes:
    """A channel's message as the base64 subprotocols have it: the channel as a digit, then base64."""
    return bytes([data[0] + ord("0")]) + base64.b64encode(data[1:])


def from_text(text: bytes) -> bytes:
    """The reverse of `to_text`. Broken."""
    channel = text[:1]
    try:
        if not channel.isdigit():
            raise ValueError("no channel")
        return bytes([int(channel)]) + base64.b64decode(text[1:], validate=True)
    except ValueError as error:
        raise Broken(NOT_UTF8, f"a message is no channel and base64: {error}") from None


def close(code: int = NORMAL, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """A close frame."""
    return encode(CLOSE, struct.pack(">H", code) + reason.encode()[:123], mask=mask)


def close_code(data: bytes) -> int:
    """The code in a close frame; 1005 when it gives none."""
    return int(struct.unpack_from(">H", data)[0]) if len(data) >= 2 else 1005


def _masked(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class _Head(NamedTuple):
    opcode: int
    last: bool
    length: int
    mask: bytes
    size: int  # of the head itself


class Decoder:
    """One direction. `masked`: whether it is the client's, whose frames must be masked."""

    def __init__(self, *, masked: bool, limit: int = LIMIT) -> None:
        self._masked, self._limit = masked, limit
        self._pending = bytearray()
        self._parts: list[bytes] = []
        self._size = 0
        self._opcode: int | None = None
        self._closed = False

    def feed(self, data: bytes) -> tuple[Message, ...]:
        """What is complete now. Nothing comes after CLOSE. Broken."""
        if self._closed:
            return ()
        self._pending += data
        found: list[Message] = []
        while not self._closed and (head := self._head()) is not None:
            end = head.size + head.length
            if len(self._pending) < end:
                break
            payload = bytes(memoryview(self._pending)[head.size : end])
            del self._pending[:end]
            message = self._take(head, _masked(payload, head.mask) if self._masked else payload)
            if message is not None:
                found.append(message)
        return tuple(found)

    def _head(self) -> _Head | None:
        pending = self._pending
        if len(pending) < 2:
            return None
        first, second = pending[0], pending[1]
        opcode, last, length, at = first & 0xF, bool(first & 0x80), second & 0x7F, 2
        self._check(first, opcode, last, length, second)
        if length >= 126:
            form, at = (">H", 4) if length == 126 else (">Q", 10)
            if len(pending) < at:
                return None
            (length,) = struct.unpack_from(form, pending, 2)
        if self._size + length > self._limit:
            raise Broken(TOO_BIG, f"a message of more than {self._limit} bytes")
        if not self._masked:
            return _Head(opcode, last, length, b"", at)
        if len(pending) < at + 4:
            return None
        return _Head(opcode, last, length, bytes(pending[at : at + 4]), at + 4)

    def _check(self, first: int, opcode: int, last: bool, length: int, second: int) -> None:
        why = ""
        if first & 0x70:
            why = "reserved bits are set"
        elif opcode not in (*_DATA, *_CONTROL):
            why = f"unknown opcode {opcode:#x}"
        elif bool(second & 0x80) != self._masked:
            why = "frames must be masked" if self._masked else "frames must not be masked"
        elif opcode in _CONTROL and (not last or length > 125):
            why = "a control frame is cut or too long"
        elif opcode == CONTINUATION and self._opcode is None:
            why = "nothing to continue"
        elif opcode in (TEXT, BINARY) and self._opcode is not None:
            why = "the last message is not finished"
        if why:
            raise Broken(PROTOCOL_ERROR, why)

    def _take(self, head: _Head, data: bytes) -> Message | None:
        if head.opcode == CLOSE:
            self._closed = True
            _check_close(data)
        if head.opcode in _CONTROL:
            return Message(head.opcode, data)
        if head.opcode != CONTINUATION:
            self._opcode = head.opcode
        self._parts.append(data)
        self._size += len(data)
        if not head.last or self._opcode is None:
            return None
        message = Message(self._opcode, b"".join(self._parts))
        self._parts, self._size, self._opcode = [], 0, None
        if message.opcode == TEXT:
            _check_text(message.data)
        return message


def _check_text(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        raise Broken(NOT_UTF8, "text that is not UTF-8") from None


def _check_close(data: bytes) -> None:
    if len(data) == 1:
        raise Broken(PROTOCOL_ERROR, "half a close code")
    if data:
        code = close_code(data)
        if not 1000 <= code < 5000 or code in _NEVER_SENT:
            raise Broken(PROTOCOL_ERROR, f"close code {code}")
        _check_text(data[2:])
