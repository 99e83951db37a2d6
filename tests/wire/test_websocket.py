"""WebSocket frames: RFC 6455's own examples, round trips, and bytes that are none."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.wire import websocket

MASK = b"\x37\xfa\x21\x3d"


def test_the_handshake_of_the_rfc() -> None:
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # 1.3
    assert websocket.valid_key("dGhlIHNhbXBsZSBub25jZQ==")
    assert not websocket.valid_key("short")


@pytest.mark.parametrize(
    ("encoded", "masked", "opcode", "data"),
    [  # 5.7
        ("810548656c6c6f", False, websocket.TEXT, b"Hello"),
        ("818537fa213d7f9f4d5158", True, websocket.TEXT, b"Hello"),
        ("010348656c80026c6f", False, websocket.TEXT, b"Hello"),
        ("890548656c6c6f", False, websocket.PING, b"Hello"),
        ("8a8537fa213d7f9f4d5158", True, websocket.PONG, b"Hello"),
        ("827e0100" + "00" * 256, False, websocket.BINARY, bytes(256)),
        ("827f0000000000010000" + "00" * 65536, False, websocket.BINARY, bytes(65536)),
    ],
)
def test_the_frames_of_the_rfc(encoded: str, masked: bool, opcode: int, data: bytes) -> None:
    found = websocket.Decoder(masked=masked).feed(bytes.fromhex(encoded))
    assert found == (websocket.Message(opcode, data),)
    if not encoded.startswith("01"):
        assert websocket.encode(opcode, data, mask=MASK if masked else None).hex() == encoded


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (websocket.encode(websocket.BINARY, b"plain"), websocket.PROTOCOL_ERROR),
        (b"\xc2\x80" + MASK, websocket.PROTOCOL_ERROR),  # a reserved bit
        (b"\x83\x80" + MASK, websocket.PROTOCOL_ERROR),  # an opcode of the future
        (websocket.encode(websocket.PING, b"", mask=MASK, last=False), websocket.PROTOCOL_ERROR),
        (websocket.encode(websocket.PING, bytes(126), mask=MASK), websocket.PROTOCOL_ERROR),
        (websocket.encode(websocket.CONTINUATION, b"", mask=MASK), websocket.PROTOCOL_ERROR),
        (websocket.encode(websocket.BINARY, b"", mask=MASK, last=False) * 2, websocket.PROTOCOL_ERROR),
        (websocket.encode(websocket.TEXT, b"\xff", mask=MASK), websocket.NOT_UTF8),
        (websocket.encode(websocket.CLOSE, b"\x03", mask=MASK), websocket.PROTOCOL_ERROR),
        (websocket.close(1005, mask=MASK), websocket.PROTOCOL_ERROR),
        (websocket.encode(websocket.BINARY, bytes(101), mask=MASK), websocket.TOO_BIG),
        (
            websocket.encode(websocket.BINARY, bytes(60), mask=MASK, last=False)
            + websocket.encode(websocket.CONTINUATION, bytes(60), mask=MASK),
            websocket.TOO_BIG,
        ),
        (b"\x82\xff" + struct.pack(">Q", 1 << 62) + MASK, websocket.TOO_BIG),
    ],
)
def test_what_breaks_the_protocol_has_a_close_code(frames: bytes, code: int) -> None:
    with pytest.raises(websocket.Broken) as caught:
        websocket.Decoder(masked=True, limit=100).feed(frames)
    assert caught.value.code == code


def test_nothing_comes_after_close() -> None:
    decoder = websocket.Decoder(masked=False)
    (message,) = decoder.feed(websocket.close(1000, "done") + websocket.encode(websocket.BINARY, b"late"))
    assert websocket.close_code(message.data) == 1000
    assert decoder.feed(websocket.encode(websocket.BINARY, b"later")) == ()


@given(
    st.lists(st.tuples(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.booleans()), max_size=6),
    st.binary(min_size=4, max_size=4),
    st.integers(1, 50),
)
def test_messages_survive_any_fragments_and_any_cuts(
    messages: list[tuple[list[bytes], bool]], mask: bytes, step: int
) -> None:
    sent, wanted = b"", []
    for parts, ping in messages:
        for index, part in enumerate(parts):
            opcode = websocket.CONTINUATION if index else websocket.BINARY
            sent += websocket.encode(opcode, part, mask=mask, last=index == len(parts) - 1)
            if ping:  # control frames come between fragments
                sent += websocket.encode(websocket.PING, b"?", mask=mask)
        wanted.append(b"".join(parts))
    decoder = websocket.Decoder(masked=True)
    found = [message for at in range(0, len(sent), step) for message in decoder.feed(sent[at : at + step])]
    assert [message.data for message in found if message.opcode == websocket.BINARY] == wanted


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_garbage_is_refused_and_nothing_else(pieces: list[bytes], masked: bool) -> None:
    decoder = websocket.Decoder(masked=masked)
    with contextlib.suppress(websocket.Broken):
        for piece in pieces:
            decoder.feed(piece)
