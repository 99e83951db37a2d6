"""SPDY/3.1 frames, as far as Kubernetes' streams use them, with compressed headers. Sans I/O.

A coder is one direction of one connection, for the compression remembers. What breaks the protocol is
`Broken`. Draft: draft-mbelshe-httpbis-spdy-00 (SPDY/3), 2.6; 3.1 adds only window sizes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

VERSION: Final = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 0x01
PROTOCOL_ERROR, REFUSED, CANCEL = 1, 3, 5  # RST_STREAM status codes, 2.6.3
_MOST_CONTROL = 1 << 16  # bytes of a control frame
_MOST_HEADERS = 1 << 17  # bytes of headers, inflated
_ID = 0x7FFFFFFF
_MOST_DATA = (1 << 24) - 1

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges "
    "age allow authorization cache-control connection content-base content-encoding content-language "
    "content-length content-location content-md5 content-range content-type date etag expect expires from "
    "host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location "
    "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version "
    "HTTP/1.1 url public set-cookie keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
# 2.6.10.1; its Adler-32, which every zlib stream names, is e3c6a7c2.
DICTIONARY: Final = (
    b"".join(struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split())
    + _TAIL.encode()
)

Fields = Mapping[str, str]


class Broken(ValueError):
    """The other side does not speak SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """A stream is opened; `fin`: nothing will be sent on it from this side."""

    id: int
    headers: Fields = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class SynReply:
    """The stream is accepted."""

    id: int
    headers: Fields = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of a stream."""

    id: int
    headers: Fields = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """The stream is over, both ways."""

    id: int
    status: int = CANCEL


@dataclass(frozen=True, slots=True)
class Settings:
    """(id, value) pairs."""

    values: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is, when its id is of the other side's making."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No new streams."""

    last: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Room for so many bytes more; stream 0 is the connection."""

    id: int
    delta: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream. A decoder gives them as they come: long frames in several pieces."""

    id: int
    data: bytes = b""
    fin: bool = False


Frame = SynStream | SynReply | Headers | Reset | Settings | Ping | GoAway | Window | Data


class Encoder:
    """Frames as bytes, in the order in which they will be sent."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, 11, 5, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The bytes of one frame; long data in several."""
        match frame:
            case Data(number, data, fin):
                return b"".join(_data(number, data, fin))
            case SynStream(number, headers, fin):
                return _control(_SYN_STREAM, struct.pack(">IIH", number, 0, 0) + self._block(headers), fin)
            case SynReply(number, headers, fin):
                return _control(_SYN_REPLY, struct.pack(">I", number) + self._block(headers), fin)
            case Headers(number, headers, fin):
                return _control(_HEADERS, struct.pack(">I", number) + self._block(headers), fin)
            case Reset(number, status):
                return _control(_RST_STREAM, struct.pack(">II", number, status))
            case Ping(number):
                return _control(_PING, struct.pack(">I", number))
            case GoAway(last, status):
                return _control(_GOAWAY, struct.pack(">II", last, status))
            case Window(number, delta):
                return _control(_WINDOW, struct.pack(">II", number, delta))
            case Settings(values):
                pairs = b"".join(struct.pack(">II", key, value) for key, value in values)
                return _control(_SETTINGS, struct.pack(">I", len(values)) + pairs)

    def _block(self, headers: Fields) -> bytes:
        words = [word.encode() for pair in headers.items() for word in (pair[0].lower(), pair[1])]
        plain = struct.pack(">I", len(headers)) + b"".join(
            struct.pack(">I", len(word)) + word for word in words
        )
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, body: bytes, fin: bool = False) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, (_FIN << 24 if fin else 0) | len(body)) + body


def _data(number: int, data: bytes, fin: bool) -> Iterator[bytes]:
    while len(data) > _MOST_DATA:
        yield struct.pack(">II", number, _MOST_DATA) + data[:_MOST_DATA]
        data = data[_MOST_DATA:]
    yield struct.pack(">II", number, (_FIN << 24 if fin else 0) | len(data)) + data


class Decoder:
    """Bytes, cut anywhere, as frames."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._pending = bytearray()
        self._stream = 0  # of the data frame under way, and
        self._left = -1  # its bytes to come; -1: none under way
        self._fin = False

    def feed(self, data: bytes) -> tuple[Frame, ...]:
        """What is complete now. Broken; after it the decoder is of no use any more."""
        self._pending += data
        found: list[Frame] = []
        while (frame := self._next()) is not None:
            if frame is not _IGNORED:
                found.append(frame)
        return tuple(found)

    def _next(self) -> Frame | None:
        if self._left < 0:
            if len(self._pending) < 8:
                return None
            word, rest = struct.unpack_from(">II", self._pending)
            length = rest & 0xFFFFFF
            if word >> 31:
                return self._control(word, rest >> 24, length)
            if not word:
                raise Broken("data without a stream")
            del self._pending[:8]
            self._stream, self._left, self._fin = word, length, bool(rest >> 24 & _FIN)
        return self._piece()

    def _piece(self) -> Data | None:
        if self._left and not self._pending:
            return None
        data = bytes(self._pending[: self._left])
        del self._pending[: self._left]
        self._left -= len(data)
        whole = self._left == 0
        if whole:
            self._left = -1
        return Data(self._stream, data, whole and self._fin)

    def _control(self, word: int, flags: int, length: int) -> Frame | None:
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != VERSION:
            raise Broken(f"SPDY version {version}")
        if length > _MOST_CONTROL:
            raise Broken(f"a control frame of {length} bytes")
        if len(self._pending) < 8 + length:
            return None
        body = bytes(self._pending[8 : 8 + length])
        del self._pending[: 8 + length]
        try:
            return self._read(kind, body, bool(flags & _FIN))
        except (struct.error, zlib.error, UnicodeDecodeError) as problem:
            raise Broken(f"control frame {kind}: {problem}") from None

    def _read(self, kind: int, body: bytes, fin: bool) -> Frame:
        if kind == _SYN_STREAM:
            number, _associated, _priority = struct.unpack_from(">IIH", body)
            return SynStream(_stream(number), self._block(body[10:]), fin)
        if kind in (_SYN_REPLY, _HEADERS):
            number = _stream(struct.unpack_from(">I", body)[0])
            headers = self._block(body[4:])
            return SynReply(number, headers, fin) if kind == _SYN_REPLY else Headers(number, headers, fin)
        if kind == _RST_STREAM:
            number, status = struct.unpack(">II", body)
            return Reset(_stream(number), status)
        if kind == _PING:
            return Ping(struct.unpack(">I", body)[0])
        if kind == _GOAWAY:
            last, status = struct.unpack(">II", body)
            return GoAway(last & _ID, status)
        if kind == _WINDOW:
            number, delta = struct.unpack(">II", body)
            return Window(number & _ID, delta & _ID)
        if kind == _SETTINGS:
            (count,) = struct.unpack_from(">I", body)
            if len(body) != 4 + 8 * count:
                raise Broken("settings of a wrong length")
            return Settings(tuple((key, value) for key, value in struct.iter_unpack(">II", body[4:])))
        return _IGNORED  # 2.6: unknown control frames are ignored

    def _block(self, data: bytes) -> dict[str, str]:
        plain = self._inflate.decompress(data, _MOST_HEADERS)
        if self._inflate.unconsumed_tail:
            raise Broken(f"headers of more than {_MOST_HEADERS} bytes")
        (count,) = struct.unpack_from(">I", plain)
        words: list[str] = []
        at = 4
        for _ in range(2 * count):
            (length,) = struct.unpack_from(">I", plain, at)
            if len(plain) < at + 4 + length:
                raise Broken("headers are cut short")
            words.append(plain[at + 4 : at + 4 + length].decode())
            at += 4 + length
        if at != len(plain):
            raise Broken("something follows the headers")
        return dict(zip(words[::2], words[1::2], strict=True))


_IGNORED: Final = Settings()


def _stream(word: int) -> int:
    number = word & _ID
    if not number:
        raise Broken("stream 0")
    return number
