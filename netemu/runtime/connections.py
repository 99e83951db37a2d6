"""One client of the shim: frames in, frames out, descriptors that come with a frame. Knows no verbs."""

import array
import contextlib
import socket
from collections.abc import Callable

from netemu.runtime.eventloop import EventLoop
from netemu.wire import cri

_MOST_FDS = 3
_MOST_WAITING = 128 * 1024 * 1024


class Connection:
    """`take` gets each frame and the descriptors that came so far; `gone` is called once, when it is over."""

    def __init__(
        self,
        stream: socket.socket,
        loop: EventLoop,
        take: Callable[["Connection", bytes], None],
        gone: Callable[["Connection"], None],
    ) -> None:
        self._stream, self._loop, self._take, self._gone = stream, loop, take, gone
        self._frames = cri.Frames()
        self._waiting = bytearray()
        self.descriptors: list[int] = []
        self.open = True
        stream.setblocking(False)
        loop.readable(stream.fileno(), self._read)

    def send(self, frame: bytes) -> None:
        """Never waits: what the client does not take now is kept, up to a limit."""
        if not self.open:
            return
        self._waiting += frame
        self._write()
        if len(self._waiting) > _MOST_WAITING:
            self.close()

    def send_descriptor(self, frame: bytes, fd: int) -> None:
        """A frame with a descriptor, to a client for whom nothing else is waiting."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            sent = 0 if self._waiting else self._stream.sendmsg([frame], rights)
        except OSError:
            sent = 0
        if sent != len(frame):
            self.close()

    def close(self) -> None:
        if not self.open:
            return
        self.open = False
        self._loop.forget(self._stream.fileno())
        self._stream.close()
        self._close_descriptors()
        self._gone(self)

    def _close_descriptors(self) -> None:
        for fd in self.descriptors:
            with contextlib.suppress(OSError):
                socket.close(fd)
        self.descriptors = []

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._stream.recvmsg(
                1 << 16, socket.CMSG_SPACE(_MOST_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                self.descriptors.extend(fds)
        if not data:
            self.close()
            return
        try:
            for body in self._frames.feed(data):
                if self.open:
                    self._take(self, body)
                    self._close_descriptors()
        except ValueError:
            self.close()

    def _write(self) -> None:
        try:
            while self._waiting:
                sent = self._stream.send(self._waiting)
                del self._waiting[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.both(self._stream.fileno(), self._read, self._write if self._waiting else None)
