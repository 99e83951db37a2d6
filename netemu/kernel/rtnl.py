"""A netlink route socket of the standard library: many messages in one send, every acknowledgement collected.

Knows sockets and errno; message layouts are wire.rtnetlink's. It belongs to the network namespace in which it
was opened. It imports little, for CNI executables start with it; kernel.network speaks through it as well.
"""

import _ctypes
import _socket  # socket.py pulls in selectors and enum: ten milliseconds, half of a CNI executable's life
import errno
import posix as os

from netemu.wire import netlink, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

_NETLINK_ROUTE = 0
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_RECEIVE = 1 << 16  # the kernel's datagrams are at most 32 KiB
_CLONE_NEWNET = 0x40000000


class RtnlError(OSError):
    """The kernel refused one message of a batch; `errno` is its reason, the text says which message."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")


class Inside:
    """This thread is in the network namespace of an open file for the length of a `with` block.

    kernel.netns has the same for everybody else; its imports would cost an executable ten milliseconds.
    """

    def __init__(self, netns: int) -> None:
        self._netns = netns
        self._home = -1

    def __enter__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._netns)
        except OSError:
            os.close(self._home)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            _setns(self._home)
        except OSError:
            os.abort()  # better dead than at work in somebody else's namespace
        os.close(self._home)


def bare(text: str) -> rtnetlink.Bare:
    """An address as text, without importing ipaddress. OSError when it is none."""
    family = rtnetlink.AF_INET6 if ":" in text else rtnetlink.AF_INET
    return rtnetlink.Bare(6 if ":" in text else 4, _socket.inet_pton(family, text))


def _setns(fd: int) -> None:
    if hasattr(os, "setns"):  # Python 3.12
        os.setns(fd, _CLONE_NEWNET)
        return
    if not _found:
        _found.append(_libc_setns())
    if _found[0](fd, _CLONE_NEWNET) != 0:
        code = _ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


_found: "list[Callable[[int, int], int]]" = []  # libc's setns, once it is needed


def _libc_setns() -> "Callable[[int, int], int]":
    """ctypes.CDLL(None, use_errno=True).setns, without the millisecond that importing all of ctypes takes."""

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = Int

    return Function(_ctypes.dlsym(_ctypes.dlopen("", 0), "setns"))


class Rtnl:
    """An open socket. Use as a context manager; single-threaded."""

    def __init__(self) -> None:
        self._socket = _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)  # no echo of the request in an error
        self._socket.bind((0, 0))
        self._buffer = memoryview(bytearray(_RECEIVE))
        self._next = 1

    def __enter__(self) -> "Rtnl":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, messages: "Sequence[bytes]") -> "list[tuple[int, list[netlink.Reply]]]":
        """Send all in one go; for each message its errno (0: done) and the data it was answered with.

        The kernel works through all of them, whatever happens to one. A dump must travel alone.
        """
        if not messages:
            return []
        first, self._next = self._next, self._next + len(messages)
        self._socket.send(netlink.number(messages, first))
        codes = [0] * len(messages)
        data: list[list[netlink.Reply]] = [[] for _ in messages]
        over = False
        while not over:
            size = self._socket.recv_into(self._buffer)
            for reply in netlink.replies(bytes(self._buffer[:size])):
                slot = reply.sequence - first
                if not 0 <= slot < len(messages):
                    continue  # the rest of an earlier conversation
                if reply.type in (netlink.ERROR, netlink.DONE):
                    codes[slot] = reply.error
                    over = slot == len(messages) - 1
                else:
                    data[slot].append(reply)
        return list(zip(codes, data, strict=True))

    def run(self, messages: "Sequence[bytes]", *, ignore: "Collection[int]" = ()) -> None:
        """Send all; RtnlError for the first that failed with an errno not in `ignore`."""
        for message, (code, _) in zip(messages, self.send(messages), strict=True):
            if code and code not in ignore:
                raise RtnlError(code, rtnetlink.kind(message))

    def link(self, name: str) -> "rtnetlink.Link | None":
        """One link by name, or None."""
        return self._one(rtnetlink.get_link(name))

    def by_index(self, index: int) -> "rtnetlink.Link | None":
        """One link by its number, or None."""
        return self._one(rtnetlink.get_link(index=index))

    def _one(self, request: bytes) -> "rtnetlink.Link | None":
        code, found = self.send([request])[0]
        if code == errno.ENODEV:
            return None
        if code:
            raise RtnlError(code, "get link")
        link = rtnetlink.parse(found[0])
        assert isinstance(link, rtnetlink.Link)
        return link

    def dump(self, request: bytes, parse: "Callable[[netlink.Reply], Any]" = rtnetlink.parse) -> "list[Any]":
        """All values a dump request answers with, read by `parse` (None: not one of them)."""
        code, found = self.send([request])[0]
        if code:
            raise RtnlError(code, rtnetlink.kind(request))
        return [value for value in map(parse, found) if value is not None]
