"""The gRPC health protocol: what goes over the wire, and what is made of what comes back (RFC 9113)."""

import struct

import pytest

from netemu.wire import grpchealth

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def frames(data):
    while data:
        length = int.from_bytes(data[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", data[3:9])
        yield kind, flags, stream, data[9 : 9 + length]
        data = data[9 + length :]


def test_the_question_is_a_preface_settings_headers_and_one_message():
    sent = grpchealth.question("10.0.0.1:50051", "liveness")
    assert sent.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    settings, headers, data = frames(sent[24:])
    assert settings == (4, 0, 0, b"")
    assert headers[:3] == (1, 4, 1)  # HEADERS, END_HEADERS
    assert b"\x05:path\x1c/grpc.health.v1.Health/Check" in headers[3]
    assert data == (0, 1, 1, b"\x00\x00\x00\x00\x0a\x0a\x08liveness")  # END_STREAM; field 1, 8 bytes
    assert list(frames(grpchealth.question("a", "")[24:]))[2][3] == b"\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (frame(0, 0, 1, b"\x00\x00\x00\x00\x02\x08\x01"), "SERVING"),
        (frame(0, 8, 1, b"\x03\x00\x00\x00\x00\x02\x08\x02\x00\x00\x00"), "NOT_SERVING"),  # padded
        (frame(0, 0, 1, b"\x00\x00\x00\x00\x00"), "UNKNOWN"),  # proto3 leaves zero out
        (frame(1, 5, 1, b"\x88"), None),  # trailers only: an error of gRPC's
        (frame(3, 0, 1, b"\x00\x00\x00\x01"), None),  # RST_STREAM
        (frame(7, 0, 0, b"\x00" * 8), None),  # GOAWAY
    ],
)
def test_answers_come_in_pieces_of_any_size(said, status):
    whole = SETTINGS + frame(6, 0, 0, b"12345678") + frame(1, 4, 1, b"\x88") + said
    for size in (1, 7, len(whole)):
        answer, sent = grpchealth.Answer(), b""
        for at in range(0, len(whole), size):
            sent += answer.feed(whole[at : at + size])
        assert answer.done
        assert (answer.status.name if answer.status is not None else None) == status
        assert sent == frame(4, 1, 0) + frame(6, 1, 0, b"12345678")  # settings and ping are acknowledged


def test_what_is_no_http2_is_refused():
    with pytest.raises(ValueError, match="HTTP/2"):
        grpchealth.Answer().feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
