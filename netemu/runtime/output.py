"""The standard streams of a container, which outlive the shim: FIFOs that the container itself keeps open.

A container holds its own FIFOs for reading and writing, so it never gets SIGPIPE while no shim is there;
it waits when 64 KiB are full, until the next shim reads on. Terminals belong to the shim that made them.
"""

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import NamedTuple

STREAMS = ("stdout", "stderr")


class Stdio(NamedTuple):
    """What the child gets as 0, 1 and 2; the parent closes them after the fork."""

    stdin: int
    stdout: int
    stderr: int

    def close(self) -> None:
        for fd in set(self):
            os.close(fd)


def make_fifos(place: str, *, stdin: bool) -> None:
    for name in (*STREAMS, *(("stdin",) if stdin else ())):
        with contextlib.suppress(FileExistsError):
            os.mkfifo(f"{place}/{name}", 0o600)


def open_for_container(place: str, *, stdin: bool) -> Stdio:
    """Opening a FIFO both ways never waits, and keeps it alive."""
    source = f"{place}/stdin" if stdin else os.devnull
    return _stdio(place, os.open(source, os.O_RDWR | os.O_CLOEXEC))


def open_for_session(place: str) -> tuple[int, Stdio]:
    """The same with a stdin that can end, and its writing end: the only one there is."""
    reader = os.open(f"{place}/stdin", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        writer = open_stdin(place)
    except BaseException:
        os.close(reader)
        raise
    os.set_blocking(reader, True)
    return writer, _stdio(place, reader)


def open_stdin(place: str) -> int:
    """For writing to a container's stdin. ENXIO: it has closed it."""
    return os.open(f"{place}/stdin", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _stdio(place: str, source: int) -> Stdio:
    return Stdio(
        source,
        os.open(f"{place}/stdout", os.O_RDWR | os.O_CLOEXEC),
        os.open(f"{place}/stderr", os.O_RDWR | os.O_CLOEXEC),
    )


def open_for_shim(place: str, stream: str) -> int:
    return os.open(f"{place}/{stream}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def terminal() -> tuple[int, Stdio]:
    """A new terminal of 24 lines by 80: the shim's side (non-blocking) and the container's three."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(ours, False)
    return ours, Stdio(theirs, theirs, theirs)


def drain(fd: int, take: Callable[[bytes], None], *, most: int = 1 << 20) -> bool:
    """Read what is there, but not for ever. False at the end of the stream (a terminal's end is EIO)."""
    while most > 0:
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        take(data)
        most -= len(data)
    return True
