"""SCTP where the kernel has none: an INIT is answered by hand, and one is sent by hand.

Enough to tell reached from refused from silence (RFC 9260, 5.1); no data ever flows. Standard library only.
"""

import contextlib
import functools
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from netemu.runtime import eventloop
from netemu.runtime.programs import sockets
from netemu.wire import sctp

ANSWERED = "this kernel has no SCTP sockets (CONFIG_IP_SCTP): an INIT is answered, data is not"
_PORTS_KEPT = 28000


class Responder:
    """Accepts associations on one port, and refuses them on ports that no responder of this network has.

    The cookie says who accepts and whom he sees: "HOST NAME ADDRESS:PORT".
    """

    def __init__(self, port: int, loop: eventloop.EventLoop, name: str) -> None:
        self._port, self._name = port, name
        self._mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._mine.bind(_owner(port))  # names of this kind belong to the network namespace; OSError: taken
        self._raw = [found for found in (opened(socket.AF_INET), opened(socket.AF_INET6)) if found]
        for sock in self._raw:
            loop.readable(sock.fileno(), functools.partial(self._take, sock))

    def _take(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                got = receive(sock)
            except BlockingIOError:
                return
            if got.packet is None or got.packet.kind != sctp.INIT:
                continue
            if got.packet.port == self._port:
                cookie = f"{self._name} {sockets.text((got.peer, got.packet.source_port))}".encode()
                got.answer(sctp.init_ack(got.packet, _tag(), cookie))
            elif not owned(got.packet.port):
                got.answer(sctp.abort(got.packet))


class Received(NamedTuple):
    """A packet (None: not one of ours, or damaged), and how to answer from the address it was sent to."""

    packet: sctp.Packet | None
    peer: str
    answer: Callable[[bytes], None]


def receive(sock: socket.socket) -> Received:
    """The next packet of a socket made by `opened`. BlockingIOError when there is none."""
    data, ancillary, _, peer = sock.recvmsg(2048, 128)
    if sock.family == socket.AF_INET:
        # ipi_spec_dst is whom it was sent to: the answer must come from there.
        ancillary = [(socket.IPPROTO_IP, sockets.IP_PKTINFO, struct.pack("=I", 0) + data[16:20] + bytes(4))]
        data = data[(data[0] & 15) * 4 :]

    def answer(packet: bytes) -> None:
        with contextlib.suppress(OSError):
            sock.sendmsg([packet], sockets.answering(ancillary), 0, peer)

    return Received(sctp.parse(data), str(peer[0]).partition("%")[0], answer)


def knock(host: str, port: int, timeout: float | None) -> str:
    """Send an INIT and wait: the cookie of who accepts. ConnectionRefusedError, TimeoutError, OSError."""
    family, (address, _) = sockets.resolve(host, port)[0]
    own, tag = 32768 + _tag() % _PORTS_KEPT, _tag()
    deadline = None if timeout is None else time.monotonic() + timeout
    with socket.socket(family, socket.SOCK_RAW, sctp.PROTOCOL) as sock:
        sock.connect((address, 0))
        sock.send(sctp.init(own, port, tag))
        while True:
            sock.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            data = sock.recv(2048)
            said = sctp.parse(data[(data[0] & 15) * 4 :] if family == socket.AF_INET else data)
            if said is None or (said.source_port, said.port, said.tag) != (port, own, tag):
                continue
            if said.kind == sctp.INIT_ACK:
                return said.cookie.decode(errors="replace")
            if said.kind == sctp.ABORT:
                raise ConnectionRefusedError(111, "Connection refused")


def opened(family: socket.AddressFamily) -> socket.socket | None:
    """A raw socket that gets every SCTP packet of this network; None where there is no IPv6."""
    try:
        sock = socket.socket(family, socket.SOCK_RAW, sctp.PROTOCOL)
    except OSError:
        if family == socket.AF_INET6:
            return None
        raise
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.setblocking(False)
    return sock


def _tag() -> int:
    return int.from_bytes(os.urandom(4), "big") or 1


def _owner(port: int) -> str:
    return f"\0netemu/sctp/{port}"


def owned(port: int) -> bool:
    """Whether a responder of this network namespace accepts associations on the port."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        return sock.connect_ex(_owner(port)) == 0
