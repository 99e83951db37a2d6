"""Commands run in a container for somebody who waits: with their output collected, or on his own terminal."""

import contextlib
import functools
import os
from collections.abc import Callable

from netemu.base import errors
from netemu.runtime import endings, output, tenants
from netemu.runtime.eventloop import EventLoop, Timer
from netemu.wire import cri

MOST_OUTPUT = 16 * 1024 * 1024  # as containerd


class TimedOut(errors.NetemuError):
    """The command ran longer than it was given, and was killed."""


class Execution:
    """One command from start to end; `done` gets its exit code, `failed` why there is none."""

    def __init__(
        self,
        loop: EventLoop,
        started: tuple[int, int],
        done: Callable[[int], None],
        failed: Callable[[Exception], None],
        timeout: float = 0.0,
    ) -> None:
        pid, self._report = started
        self._loop, self._done, self._failed = loop, done, failed
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._timed_out = False
        self._timer: Timer | None = loop.after(timeout, self._expire) if timeout > 0 else None
        self._timeout = timeout
        loop.readable(self._pidfd, self._ended)

    def kill(self) -> None:
        """Nobody waits any more. Fine when it is over."""
        if self._pidfd >= 0:
            endings.kill_tree(self._pid)

    def _expire(self) -> None:
        self._timed_out = True
        self.kill()

    def _ended(self) -> None:
        code = endings.of_child(self._pidfd)
        endings.reap(self._pidfd)
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if self._timer:
            self._timer.cancel()
        os.set_blocking(self._report, False)
        trouble = b""
        with contextlib.suppress(BlockingIOError):
            trouble = os.read(self._report, 4096)
        os.close(self._report)
        if trouble:
            self._failed(tenants.StartFailed(trouble.decode(errors="replace")))
        elif self._timed_out:
            self._failed(TimedOut(f"command timed out after {self._timeout:g} s"))
        else:
            self._done(137 if code is None else code)


class Collected:
    """stdin empty, stdout and stderr kept for the answer."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._pipes = [os.pipe(), os.pipe()]
        self._data = (bytearray(), bytearray())
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.stdio = output.Stdio(null, self._pipes[0][1], self._pipes[1][1])

    def watch(self) -> None:
        """After the fork."""
        self.stdio.close()
        for (ours, _), data in zip(self._pipes, self._data, strict=True):
            os.set_blocking(ours, False)
            self._loop.readable(ours, functools.partial(self._copy, ours, data))

    def result(self, code: int) -> cri.ExecResult:
        """What has come so far; whoever still holds the other ends is not waited for."""
        self.close()
        return cri.ExecResult(bytes(self._data[0]), bytes(self._data[1]), code)

    def close(self) -> None:
        for (ours, _), data in zip(self._pipes, self._data, strict=True):
            self._loop.forget(ours)
            output.drain(ours, functools.partial(_keep, data))
            os.close(ours)

    def _copy(self, fd: int, data: bytearray) -> None:
        if not output.drain(fd, functools.partial(_keep, data)):
            self._loop.forget(fd)


def _keep(data: bytearray, piece: bytes) -> None:
    data += piece[: MOST_OUTPUT - len(data)]
