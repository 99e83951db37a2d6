"""A command in a running container on the caller's own terminal or pipes: exec as a person uses it.

The shim gets the descriptors themselves, so no byte passes through netemu, except where a terminal has to be
in between: then this process copies between the caller's and the container's.
"""

import array
import contextlib
import fcntl
import os
import select
import signal
import socket
import termios
import tty as ttys
from collections.abc import Iterator, Sequence

from netemu.base import errors
from netemu.wire import cri


def exec_interactive(
    socket_path: str,
    container_id: str,
    argv: Sequence[str],
    fds: tuple[int, int, int] = (0, 1, 2),
    tty: bool = False,
) -> int:
    """Run it to its end; the exit code. NetemuError when it cannot be started or the runtime is gone.

    With `tty` it gets a terminal of its own, as large as the caller's, which follows its changes.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        try:
            stream.connect(socket_path)
        except OSError as problem:
            raise errors.Transient(f"the runtime does not answer: {problem.strerror}") from None
        if not tty:
            _send(stream, cri.Exec(1, container_id, tuple(argv)), fds)
            return _wait(stream)
        ours, theirs = os.openpty()
        try:
            _same_size(fds[0], ours)
            _send(stream, cri.Exec(1, container_id, tuple(argv), True), (theirs, theirs, theirs))
            os.close(theirs)
            theirs = -1
            with _raw(fds[0]), _resizing(fds[0], ours):
                return _copy(stream, fds, ours)
        finally:
            os.close(ours)
            if theirs >= 0:
                os.close(theirs)


def _send(stream: socket.socket, request: cri.Exec, fds: Sequence[int]) -> None:
    """The descriptors come with the frame's first byte."""
    frame = cri.frame(request)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    sent = stream.sendmsg([frame], rights)
    stream.sendall(frame[sent:])


def _wait(stream: socket.socket) -> int:
    frames = cri.Frames()
    while True:
        data = stream.recv(1 << 16)
        if not data:
            raise errors.Transient("the runtime went away")
        for body in frames.feed(data):
            reply = cri.reply_of(body)
            if isinstance(reply, cri.Failure):
                raise errors.Rejected(reply.message)
            return cri.result_of(reply, int)


def _copy(stream: socket.socket, fds: tuple[int, int, int], ours: int) -> int:
    """Both ways until the command has ended and its terminal is empty."""
    sources = [fds[0], ours, stream.fileno()]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if fds[0] in ready:
            data = os.read(fds[0], 1 << 16)
            if data:
                os.write(ours, data)
            else:
                sources.remove(fds[0])
                os.write(ours, b"\x04")  # the end of a file that is a terminal
        if ours in ready and not _forward(ours, fds[1]):
            sources.remove(ours)
        if stream.fileno() in ready:
            while select.select([ours], [], [], 0)[0] and _forward(ours, fds[1]):
                pass
            return _wait(stream)


def _forward(source: int, target: int) -> bool:
    """False at the end: nobody has the terminal open any more (EIO)."""
    try:
        data = os.read(source, 1 << 16)
    except OSError:
        return False
    while data:
        data = data[os.write(target, data) :]
    return True


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Every key goes to the container, Control-C too."""
    try:
        before = termios.tcgetattr(fd)
    except (termios.error, OSError):
        yield  # no terminal
        return
    try:
        ttys.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is kept
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(fd: int, ours: int) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda *_: _same_size(fd, ours))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _same_size(fd: int, ours: int) -> None:
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, size)
