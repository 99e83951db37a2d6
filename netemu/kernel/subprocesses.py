"""Programs run from an event loop, watched by pidfd. Knows pipes and ends; no threads, no SIGCHLD.

asyncio's own watcher on Python 3.11 starts a thread for each child.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from netemu.kernel import process


async def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None, stdin: bytes, timeout: float | None
) -> process.Completed:
    """See process.run."""
    with _input(stdin) as source:
        child = subprocess.Popen(  # vfork and exec: about a millisecond
            argv,
            env=env,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            close_fds=True,
            start_new_session=True,
        )
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout, child.stderr:
        outputs = tuple(_Collected(pipe) for pipe in (child.stdout, child.stderr))
        pidfd = os.pidfd_open(child.pid)
        try:
            async with asyncio.timeout(timeout):
                await _ended(pidfd)
        except BaseException:
            _kill(child.pid)
            raise
        finally:
            os.close(pidfd)
            child.wait()
            for output in outputs:
                output.finish()
    return process.Completed(child.returncode, *(bytes(output.data) for output in outputs))


@contextlib.contextmanager
def _input(data: bytes) -> Iterator[int]:
    """A file in memory: no writer has to be kept going, and the program sees its end."""
    fd = os.memfd_create("stdin") if data else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if data:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(data)
            os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


async def _ended(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()

    def ended() -> None:
        if not end.done():
            end.set_result(None)

    loop.add_reader(pidfd, ended)
    try:
        await end
    finally:
        loop.remove_reader(pidfd)


def _kill(leader: int) -> None:
    """A program that was started as the leader of a session, with all it has started itself.

    Descendants in sessions of their own are found by their parents, as long as they have one.
    """
    descendants = process.descendants(leader)
    for pid in (leader, *descendants):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for pid in descendants:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class _Collected:
    """What came out of a pipe so far."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.data = bytearray()
        self._fd = pipe.fileno()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._read)

    def _read(self) -> bool:
        try:
            piece = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return False
        self.data += piece
        if not piece:
            self._loop.remove_reader(self._fd)
        return bool(piece)

    def finish(self) -> None:
        """Take what is left in the pipe; do not wait for others who may still hold its other end."""
        while self._read():
            pass
        self._loop.remove_reader(self._fd)
