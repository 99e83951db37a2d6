"""Container logs as CRI writes them: `<RFC 3339, nanoseconds> stdout|stderr F|P text`. Pure, but for tail.

F ends a line, P is a part of one. What a reader gets is the text, with or without times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from netemu.base import times

_BLOCK = 1 << 16


class Wish(NamedTuple):
    """What a reader wants. `tail`: the last so many lines (None: all); `since`: Unix seconds, 0.0: all."""

    follow: bool = False
    tail: int | None = None
    since: float = 0.0
    timestamps: bool = False
    limit: int | None = None


def select(lines: Iterator[bytes], wish: Wish) -> Iterator[bytes]:
    """The text a reader sees of CRI log lines (each with its line end)."""
    for line in lines:
        stamp, _, rest = line.partition(b" ")
        _stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if tag[:1] not in (b"F", b"P"):
            continue  # not written by a runtime
        if wish.since and _time(stamp) < wish.since:
            continue
        if tag.startswith(b"P"):
            text = text.removesuffix(b"\n")
        yield stamp + b" " + text if wish.timestamps else text


def _time(stamp: bytes) -> float:
    text = stamp.decode("ascii", "replace")
    head, dot, rest = text.partition(".")
    digits = rest.rstrip("Z")
    if dot and digits.isdigit():
        text = f"{head}.{digits[:6]}Z"
    try:
        return times.parse_rfc3339(text)
    except ValueError:
        return 0.0


def end(path: str, *, lines: int, size: int) -> str:
    """The text of the last lines of a log file, at most so many bytes; "" when there is none."""
    try:
        start = tail_offset(path, lines)
        with open(path, "rb") as file:
            file.seek(start)
            return b"".join(select(iter(file), Wish()))[-size:].decode(errors="replace")
    except OSError:
        return ""


def tail_offset(path: str, count: int) -> int:
    """Where the last `count` lines of a file begin, read from its end."""
    with open(path, "rb") as file:
        end = position = file.seek(0, os.SEEK_END)
        if count <= 0:
            return end
        found = 0
        while position > 0:
            start = max(0, position - _BLOCK)
            file.seek(start)
            block = file.read(position - start)
            # The line end at the very end of the file closes its last line; it does not begin another.
            at = len(block) - 1 if position == end else len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                found += 1
                if found == count:
                    return start + at + 1
            position = start
        return 0
