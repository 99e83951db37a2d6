"""A netlink netfilter socket of the standard library: transactions on set elements, dumps, connections.

Knows sockets and errno; message layouts are wire.nfnetlink's. It belongs to the network namespace in which it
was opened. It imports little, for CNI executables start with it. Closing it after something was deleted takes
the kernel 10 ms: whoever is in a hurry lets somebody else do that.
"""

import _socket
import posix as os
import struct

from netemu.wire import netlink, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_RECEIVE = 1 << 17


class NfnlError(OSError):
    """The kernel refused one message; `errno` is its reason."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")


class Nfnl:
    """An open socket; single-threaded."""

    def __init__(self) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.bind((0, 0))
        self._next = 1

    def close(self) -> None:
        self._socket.close()

    def transact(self, messages: "Sequence[bytes]") -> list[int]:
        """One transaction of nf_tables; the errno of each message, all 0 when it was done.

        When one is not 0, nothing was done. OSError when the kernel refused the transaction as a whole.
        """
        if not messages:
            return []
        first, text = self._numbered(nfnetlink.batch(messages))
        self._socket.send(text)
        codes: dict[int, int] = {}
        while len(codes) < len(messages):
            for reply in netlink.replies(self._socket.recv(_RECEIVE)):
                slot = reply.sequence - first - 1
                if reply.type != netlink.ERROR or not -1 <= slot < len(messages):
                    continue
                if slot < 0 and reply.error:
                    raise NfnlError(reply.error, "nf_tables transaction")
                if slot >= 0:
                    codes[slot] = reply.error
        return [codes[slot] for slot in range(len(messages))]

    def ask(self, request: bytes) -> "Iterator[bytes]":
        """The bodies of all answers to a get or a dump. OSError with the kernel's number."""
        first, text = self._numbered([request])
        self._socket.send(text)
        while True:
            for reply in netlink.replies(self._socket.recv(_RECEIVE)):
                if reply.sequence != first:
                    continue
                if reply.error:
                    raise NfnlError(reply.error, "netfilter request")
                if reply.type in (netlink.ERROR, netlink.DONE):
                    return
                yield reply.body

    def _numbered(self, messages: "Sequence[bytes]") -> tuple[int, bytes]:
        """The first number, and all messages with theirs in one buffer."""
        first, self._next = self._next, self._next + len(messages)
        out = bytearray()
        for sequence, message in enumerate(messages, first):
            start = len(out)
            out += message + b"\0" * (-len(message) % 4)
            struct.pack_into("=L", out, start + 8, sequence)
        return first, bytes(out)
