"""Packets that the packet filter of one namespace logs to a group. Standard library only.

Knows the socket; what the messages say, `wire.nflog` knows.
"""

import errno
import os
import socket
from typing import Protocol

from netemu.kernel import linux, netns
from netemu.wire import nflog

_NETLINK_NETFILTER = 12
_COPIED = 128  # bytes of each packet
_PATIENCE = 0.02  # seconds
_BUFFER = 1 << 20  # bytes; more packets than fit are lost, which a log may do


class Log(Protocol):
    """Packets as they are logged."""

    def fileno(self) -> int:
        """Readable when there are some."""
        ...

    def receive(self) -> list[nflog.Logged]:
        """Those there are; never waits."""
        ...


class NetlinkLog:
    """A group of the namespace `place` (None: the caller's). KernelError: somebody else has it."""

    def __init__(self, group: int, place: netns.Place | None = None) -> None:
        with netns.inside(place):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.send(nflog.bind(group, copied=_COPIED, patience=_PATIENCE))
        answered = 0
        while answered < 4:
            for code in nflog.refusals(self._socket.recv(1 << 16)):
                answered += 1
                if code:
                    self._socket.close()
                    raise linux.KernelError(f"log group {group}: {os.strerror(code)}", errno=code)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> list[nflog.Logged]:
        found: list[nflog.Logged] = []
        while True:
            try:
                found += nflog.packets(self._socket.recv(1 << 17))
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost
                    raise linux.KernelError(f"log group: {error.strerror}", errno=error.errno or 0) from None
