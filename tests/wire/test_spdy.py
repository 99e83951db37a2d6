"""SPDY/3.1 frames: by the draft's layout, round trips, and bytes that are none."""

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.wire import spdy

IDS = st.integers(1, 0x7FFFFFFF)
WORDS = st.integers(0, 0x7FFFFFFF)
NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"], include_characters="-"), max_size=20)
HEADERS = st.dictionaries(NAMES, st.text(max_size=50), max_size=6)
FRAMES = st.one_of(
    st.builds(spdy.SynStream, IDS, HEADERS, st.booleans()),
    st.builds(spdy.SynReply, IDS, HEADERS, st.booleans()),
    st.builds(spdy.Headers, IDS, HEADERS, st.booleans()),
    st.builds(spdy.Reset, IDS, WORDS),
    st.builds(spdy.Settings, st.lists(st.tuples(WORDS, WORDS), max_size=4).map(tuple)),
    st.builds(spdy.Ping, WORDS),
    st.builds(spdy.GoAway, WORDS, WORDS),
    st.builds(spdy.Window, WORDS, WORDS),
    st.builds(spdy.Data, IDS, st.binary(max_size=300), st.booleans()),
)


def joined(frames: list[spdy.Frame]) -> list[spdy.Frame]:
    """Pieces of one data frame together again, and empty ones that say nothing left out."""
    found: list[spdy.Frame] = []
    for frame in frames:
        last = found[-1] if found else None
        if (
            isinstance(frame, spdy.Data)
            and isinstance(last, spdy.Data)
            and last.id == frame.id
            and not last.fin
        ):
            found[-1] = spdy.Data(frame.id, last.data + frame.data, frame.fin)
        else:
            found.append(frame)
    return found


def test_the_dictionary_is_the_one_everybody_has() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_a_stream_is_opened_as_the_draft_lays_it_out() -> None:
    encoded = spdy.Encoder().encode(spdy.SynStream(5, {"streamType": "data", "port": "80"}, fin=True))
    version, kind, word, stream, associated, priority = struct.unpack_from(">HHIIIH", encoded)
    assert (version, kind) == (0x8003, 1)
    assert (word >> 24, word & 0xFFFFFF) == (1, len(encoded) - 8)
    assert (stream, associated, priority) == (5, 0, 0)
    assert encoded[18:24][2:6] == bytes.fromhex("e3c6a7c2")  # zlib names the dictionary (RFC 1950 2.2)
    plain = zlib.decompressobj(zdict=spdy.DICTIONARY).decompress(encoded[18:])
    assert plain == b"\0\0\0\2\0\0\0\nstreamtype\0\0\0\4data\0\0\0\4port\0\0\0\x0280"


@given(st.lists(FRAMES, max_size=8), st.integers(1, 64))
def test_frames_survive_any_cuts(frames: list[spdy.Frame], step: int) -> None:
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    sent = b"".join(encoder.encode(frame) for frame in frames)
    found = [frame for at in range(0, len(sent), step) for frame in decoder.feed(sent[at : at + step])]
    assert joined(found) == joined(frames)


def test_data_longer_than_a_frame() -> None:
    data = bytes(1 << 24)
    frames = spdy.Decoder().feed(spdy.Encoder().encode(spdy.Data(1, data, fin=True)))
    assert joined(list(frames)) == [spdy.Data(1, data, fin=True)]


@pytest.mark.parametrize(
    "given",
    [
        struct.pack(">HHI", 0x8002, 6, 4) + bytes(4),  # SPDY/2
        struct.pack(">II", 0, 1) + b"x",  # data of stream 0
        struct.pack(">HHI", 0x8003, 1, 0xFFFFFF),
        struct.pack(">HHI", 0x8003, 1, 14) + struct.pack(">IIH", 1, 0, 0) + b"none",
        struct.pack(">HHI", 0x8003, 3, 8) + struct.pack(">II", 0, 1),
        struct.pack(">HHI", 0x8003, 6, 3) + bytes(3),
        struct.pack(">HHI", 0x8003, 4, 12) + struct.pack(">III", 2, 0, 0),
    ],
)
def test_what_breaks_the_protocol(given: bytes) -> None:
    with pytest.raises(spdy.Broken):
        spdy.Decoder().feed(given)


def test_headers_that_swell_are_refused() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY, spdy.DICTIONARY)
    bomb = deflate.compress(bytes(50_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">I", 1) + bomb
    with pytest.raises(spdy.Broken):
        spdy.Decoder().feed(struct.pack(">HHI", 0x8003, 2, len(body)) + body)


def test_control_frames_of_the_future_are_skipped() -> None:
    unknown = struct.pack(">HHI", 0x8003, 99, 3) + b"abc"
    assert spdy.Decoder().feed(unknown + spdy.Encoder().encode(spdy.Ping(7))) == (spdy.Ping(7),)


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_garbage_is_refused_and_nothing_else(pieces: list[bytes], framed: bool) -> None:
    decoder = spdy.Decoder()
    with contextlib.suppress(spdy.Broken):
        for piece in pieces:
            kind = piece[0] % 11 if piece else 1
            head = struct.pack(">HHI", 0x8003, kind, len(piece)) if framed else b""
            decoder.feed(head + piece)
