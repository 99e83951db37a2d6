"""The last drops of a node, and those who want to hear of more: JSON lines over a Unix socket.

Whoever connects gets what is remembered, an empty line, and then each drop as it comes. Knows no policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

REMEMBERED = 1000
_UNREAD = 1 << 20  # bytes; who does not read is left


class Board:
    """`counts`: drops that were logged, by direction and pod."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._held: deque[bytes] = deque(maxlen=REMEMBERED)
        self._listeners: set[asyncio.StreamWriter] = set()

    def put(self, drop: Mapping[str, Any]) -> None:
        """One more."""
        text = json.dumps(drop).encode() + b"\n"
        self._held.append(text)
        self.counts[drop["direction"], drop["pod"]] += 1
        for writer in tuple(self._listeners):
            if writer.transport.get_write_buffer_size() > _UNREAD:
                self._listeners.discard(writer)
                writer.close()
            else:
                writer.write(text)

    async def serve(self, path: str) -> asyncio.Server:
        """Listen at `path`; what an earlier process left there is replaced. OSError."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return await asyncio.start_unix_server(self._met, path)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(self._held) + b"\n")
        self._listeners.add(writer)
        try:
            await reader.read()  # until it goes
        except OSError:
            pass
        finally:
            self._listeners.discard(writer)
            writer.close()
