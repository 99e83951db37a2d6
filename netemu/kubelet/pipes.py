"""Pipes and terminals read and written without blocking: our ends of what a command writes and reads.

Knows descriptors. Does not know who holds the other ends; whoever makes a Source or a Sink gives its
descriptor away.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios

PIECE = 1 << 15
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # ioctl_tty(2); termios has neither


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Source:
    """What is read. One reader at a time."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._finished = False
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next bytes; none at the end (a terminal's is EIO)."""
        while self._fd >= 0:
            try:
                return os.read(self._fd, PIECE)
            except BlockingIOError:
                if self._finished:
                    return b""
            except OSError:
                return b""
            self._waiting = self._loop.create_future()
            self._loop.add_reader(self._fd, _resolve, self._waiting)
            try:
                await self._waiting
            finally:
                self._loop.remove_reader(self._fd)
        return b""

    def finish(self) -> None:
        """Whoever wrote is gone: what is there now is all, whoever else may hold the other end."""
        self._finished = True
        if self._waiting is not None:
            _resolve(self._waiting)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Sink:
    """What is written to. One writer at a time."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()

    async def write(self, data: bytes) -> None:
        """Wait until it is taken. Nobody reads any more: it is thrown away."""
        while data and self._fd >= 0:
            try:
                data = data[os.write(self._fd, data) :]
                continue
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
            writable: asyncio.Future[None] = self._loop.create_future()
            self._loop.add_writer(self._fd, _resolve, writable)
            try:
                await writable
            finally:
                self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """The reader sees the end, if nobody else writes. Never while a `write` waits."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def terminal(ptmx: str) -> tuple[int, int]:
    """A new terminal of the file system of that multiplexer: its master's and its client's side.

    Where there is none (a container from before, a runtime elsewhere) it is one of our own.
    """
    try:
        ours = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return os.openpty()
    try:
        fcntl.ioctl(ours, _TIOCSPTLCK, struct.pack("i", 0))
        return ours, fcntl.ioctl(ours, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(ours)
        raise


def resize(terminal: int, columns: int, rows: int) -> None:
    """Give a terminal its size; whatever is no terminal has none."""
    size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
