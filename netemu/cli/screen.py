"""How netemu looks: colours only where they are wanted, aligned tables, one live line of progress.

Knows terminals; not what is shown on them.
"""

import itertools
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

import click

Paint = Callable[[str, str], str]  # (style, text) -> text
STYLES: dict[str, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "warn": {"fg": "yellow"},
    "head": {"bold": True},
    "faint": {"dim": True},
}


def coloured(stream: IO[str]) -> bool:
    """Colours go to terminals only, and never when NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painter(stream: IO[str]) -> Paint:
    """A function (style, text) -> text for that stream."""
    if not coloured(stream):
        return lambda _style, text: text
    return lambda style, text: click.style(text, **STYLES[style])


_GAP = 3  # columns between two of a table


def table(rows: Sequence[Sequence[str]], *, gap: int = _GAP, indent: int = 0, width: int = 0) -> list[str]:
    """Rows with aligned columns; the widths are of visible characters, colours not counted.

    The last column, if it is plain text, is cut where `width` ends (0: nowhere), or left out.
    """
    if not rows:
        return []
    count = max(len(row) for row in rows)
    sizes = [max((visible(row[n]) for row in rows if n < len(row)), default=0) for n in range(count)]
    lines = []
    for row in rows:
        cells = [cell + " " * (sizes[n] - visible(cell) + gap) for n, cell in enumerate(row[:-1])]
        lead = " " * indent + "".join(cells)
        room = width - visible(lead) if width else len(row[-1])
        cut = "\x1b" not in row[-1] and len(row[-1]) > room
        last = (clip(row[-1], room) if room >= _ROOM else "") if cut else row[-1]
        lines.append((lead + last).rstrip())
    return lines


def folded(rows: Sequence[Sequence[str]], *, width: int, indent: int = 0) -> list[str]:
    """As `table`, but columns that do not fit into `width` go on in further lines; only a long last one is
    cut."""
    return [line for lines in _folded(rows, width, indent, indent + 2 * _GAP) for line in lines if line]


def _folded(rows: Sequence[Sequence[str]], width: int, indent: int, below: int) -> list[list[str]]:
    """The lines of each row, the first one with `indent`, further ones with `below` blanks before it."""
    sizes = [max(map(visible, column)) for column in zip(*rows, strict=True)]
    if not any("\x1b" in row[-1] for row in rows[1:]):
        sizes[-1] = min(sizes[-1], _ENOUGH)
    ends = [indent + end - _GAP for end in itertools.accumulate(size + _GAP for size in sizes)]
    fit = max(1, sum(end <= width for end in ends)) if width else len(sizes)
    first = [[line] for line in table([row[:fit] for row in rows], indent=indent, width=width)]
    if fit == len(sizes):
        return first
    rest = _folded([row[fit:] for row in rows], width, below, below)
    return [lines + more for lines, more in zip(first, rest, strict=True)]


_ROOM = 12  # columns below which a cut text says nothing
_ENOUGH = 30  # columns in which a long one says something


def visible(text: str) -> int:
    """How many columns a text takes without its colours."""
    return len(click.unstyle(text))


def clip(text: str, width: int) -> str:
    """A text cut to a width, with an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def wrapped(text: str, width: int) -> list[str]:
    """A plain text in lines of a width (0: one line), broken between words; further ones stand deeper."""
    deeper = " " * (len(text) - len(text.lstrip()) + _GAP)
    room = max(width, 2 * _ROOM) if width else len(text) + 1
    return textwrap.wrap(
        text, room, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False
    ) or [text]


def columns() -> int:
    """Columns of the terminal; 0 when the output is none, so that nothing is cut there."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


_EVERY = 1.0


class Progress:
    """Says what goes on: one live line on a terminal, a line for each new step elsewhere, nothing if quiet.

    Elsewhere, a step that changes only in its details is told at most once a second. It writes to stderr, so
    that stdout holds only what was asked for. Call it with what is being done now.
    """

    def __init__(self, *, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.began = time.monotonic()
        self.said = ""
        self.shown_at = float("-inf")

    def __call__(self, doing: str) -> None:
        if self.quiet or doing == self.said:
            return
        now = time.monotonic()
        same_step = doing.partition(" ")[0] == self.said.partition(" ")[0]
        if not self.live and same_step and now - self.shown_at < _EVERY:
            return
        self.said, self.shown_at = doing, now
        line = f"{now - self.began:6.2f} s  {doing}"
        if self.live:
            columns = shutil.get_terminal_size().columns
            self.stream.write("\r\x1b[K" + clip(line, columns - 1))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def done(self) -> None:
        """Take the live line away."""
        if self.live and self.said and not self.quiet:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
        self.said = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.done()
