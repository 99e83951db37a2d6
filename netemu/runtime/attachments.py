"""Who listens to a running container besides its log: pipes that get every byte written from now on.

A reader that is slow makes the container wait, as a terminal would; one that takes nothing for a while is cut
off. Knows pipes. Does not know containers.
"""

import os
from collections.abc import Callable

from netemu.base import errors
from netemu.runtime.eventloop import EventLoop

PATIENCE = 30.0  # seconds
_PIECE = 1 << 16


class Outlet:
    """One reader of one stream. Owns `fd`, the writing end of a pipe; `drained`: it has room."""

    def __init__(self, loop: EventLoop, fd: int, drained: Callable[[], None]) -> None:
        self._loop, self._fd, self._drained = loop, fd, drained
        self._pending = bytearray()
        self._ending = self._moved = self._timed = False
        os.set_blocking(fd, False)
        loop.readable(fd, self.close)  # never readable, but told when the reader is gone

    @property
    def open(self) -> bool:
        return self._fd >= 0

    @property
    def full(self) -> bool:
        return bool(self._pending)

    def write(self, data: bytes) -> None:
        if self.open:
            self._pending += data
            self._push()

    def finish(self) -> None:
        """The stream has ended: close once everything is read."""
        self._ending = True
        if not self._pending:
            self.close()

    def close(self) -> None:
        """The reader is gone, or is to be."""
        if self.open:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._pending.clear()
            self._drained()

    def _push(self) -> None:
        try:
            while self._pending:
                sent = os.write(self._fd, bytes(self._pending[:_PIECE]))
                del self._pending[:sent]
                self._moved = True
        except BlockingIOError:
            self._wait()
        except OSError:
            self.close()
            return
        self._loop.both(self._fd, self.close, self._push if self._pending else None)
        if not self._pending:
            if self._ending:
                self.close()
            else:
                self._drained()

    def _wait(self) -> None:
        if not self._timed:
            self._timed, self._moved = True, False
            self._loop.after(PATIENCE, self._look)

    def _look(self) -> None:
        self._timed = False
        if self._pending and not self._moved:
            self.close()
        elif self._pending:
            self._wait()


class Attachments:
    """The outlets of one container. `resume` is called when a stream may be read again."""

    def __init__(self, loop: EventLoop, resume: Callable[[], None]) -> None:
        self._loop, self._resume = loop, resume
        self._outlets: dict[str, list[Outlet]] = {}

    def add(self, stream: str, fd: int) -> None:
        """A copy of `fd`, a pipe's end, gets what is written to the stream from now on. Rejected."""
        own = os.dup(fd)
        try:
            outlet = Outlet(self._loop, own, self._resume)
        except OSError as refusal:
            os.close(own)
            raise errors.Rejected(f"cannot attach that descriptor: {refusal.strerror}") from None
        self._outlets.setdefault(stream, []).append(outlet)

    def write(self, stream: str, data: bytes) -> None:
        for outlet in self._of(stream):
            outlet.write(data)

    def full(self, stream: str) -> bool:
        """Whether somebody has not taken what came last."""
        return any(outlet.full for outlet in self._of(stream))

    def finish(self) -> None:
        for outlets in self._outlets.values():
            for outlet in outlets:
                outlet.finish()
        self._outlets.clear()

    def _of(self, stream: str) -> list[Outlet]:
        found = self._outlets.get(stream)
        if not found:
            return []
        found[:] = [outlet for outlet in found if outlet.open]
        return list(found)
