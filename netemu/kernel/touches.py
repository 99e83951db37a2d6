"""Has anybody changed these tables of the packet filter? The kernel tells of each transaction what it was on.

Knows nfnetlink's headers (linux/netfilter/nf_tables.h) and that every message begins with its table's name;
not what was changed. Standard library only.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable

from netemu.kernel import linux, netns
from netemu.wire import nfnetlink

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 270, 1
_NFTABLES_GROUP = 7  # NFNLGRP_NFTABLES
_SO_RCVBUFFORCE = 33
_NEWGEN = 0x0A0F  # what ends each transaction
_HEADER = struct.Struct("=IH10xB3xH2x")  # struct nlmsghdr, struct nfgenmsg, the first attribute's header
_BUFFER = 16 << 20  # bytes; the tale of 10,000 Services loaded at once is 5 MB
_MANY = 2  # when the kernel could not tell all, it may have been others


class Touches:
    """Counts transactions on these tables (family, name) of the namespace `place` (None: the caller's)."""

    def __init__(self, tables: Iterable[tuple[str, str]], place: netns.Place | None = None) -> None:
        self._tables = {(nfnetlink.FAMILIES[family], name.encode() + b"\0") for family, name in tables}
        self._touched = False  # by the transaction that is being told of
        with netns.inside(place):
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)

    def close(self) -> None:
        self._socket.close()

    def count(self) -> int:
        """Transactions of anybody on these tables since it was last asked; 2 more when some went unheard.

        Those that have returned are counted. One thread at a time.
        """
        count = 0
        while True:
            try:
                count += self._heard(self._socket.recv(1 << 16))
            except BlockingIOError:
                return count
            except OSError as failure:
                if failure.errno != errno.ENOBUFS:
                    raise linux.KernelError(f"nftables: {os.strerror(failure.errno or 0)}") from failure
                count += _MANY

    def _heard(self, messages: bytes) -> int:
        """How many transactions on these tables end here. Of one of which that is known no more is read."""
        at = count = 0
        while at + _HEADER.size <= len(messages):
            length, kind, family, size = _HEADER.unpack_from(messages, at)
            if kind == _NEWGEN:
                count += self._touched
                self._touched = False
            elif self._touched:
                break  # the end of a transaction comes by itself
            elif (family, messages[at + 24 : at + 20 + size]) in self._tables:
                self._touched = True
            at += max(16, (length + 3) & ~3)
        return count
