"""Answers made smaller for clients who take gzip. Large ones only; small ones are sent as they are."""

from __future__ import annotations

import asyncio
import zlib

from netemu.http import messages

SMALLEST = 128 << 10  # bytes; as k8s.io/apiserver responsewriters does
_LEVEL = 1  # the network is this machine's: time counts for more than size
_GZIP = 16 + zlib.MAX_WBITS


async def fit(request: messages.Request, answer: messages.Response) -> messages.Response:
    """The answer, or the same one compressed in a thread of its own."""
    body = answer.body
    if not isinstance(body, bytes) or len(body) < SMALLEST or answer.header("content-encoding"):
        return answer
    if not _taken(request.header("accept-encoding")):
        return answer
    packed = await asyncio.to_thread(_pack, body)
    headers = (*answer.headers, ("content-encoding", "gzip"), ("vary", "Accept-Encoding"))
    return messages.Response(answer.status, headers, packed)


def _taken(accepted: str) -> bool:
    """RFC 9110 12.5.3; a weight of zero refuses."""
    for element in accepted.lower().split(","):
        coding, _, weight = element.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _pack(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()
