"""Has anybody changed the packet filter? The kernel counts its transactions. Standard library only.

Knows one nfnetlink message (linux/netfilter/nf_tables.h, NFT_MSG_GETGEN); not what was changed.
"""

import os
import socket
import struct

from netemu.kernel import linux, netns

_NETLINK_NETFILTER = 12
_GETGEN, _NEWGEN = 0x0A10, 0x0A0F  # subsystem 10 (nftables), NFT_MSG_GETGEN and _NEWGEN
_REQUEST, _ERROR = 0x1, 2
_GENERATION_ID = 1  # NFTA_GEN_ID, big endian


class Generations:
    """The number of the ruleset of the namespace `place` (None: the caller's); any thread may ask."""

    def __init__(self, place: netns.Place | None = None) -> None:
        with netns.inside(place):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def current(self) -> int:
        """One more after each transaction of anybody. KernelError."""
        self._socket.send(struct.pack("=IHHIIBBH", 20, _GETGEN, _REQUEST, 0, 0, 0, 0, 0))
        answer = self._socket.recv(4096)
        _, kind = struct.unpack_from("=IH", answer)
        if kind == _ERROR:
            (code,) = struct.unpack_from("=i", answer, 16)
            raise linux.KernelError(f"nftables generation: {os.strerror(-code)}", errno=-code)
        at = 20
        while at + 4 <= len(answer):
            length, attribute = struct.unpack_from("=HH", answer, at)
            if attribute & 0x3FFF == _GENERATION_ID:
                return int.from_bytes(answer[at + 4 : at + 8], "big")
            at += max(4, (length + 3) & ~3)
        raise linux.KernelError("nftables generation: the kernel did not say")
