"""Questions that ordinary sockets cannot put: SCTP where the kernel has none, and echo requests. Raw sockets.

As in `flows`: what is sent, how an answer is recognised; no clock, no loop. Packets are told apart by ports
and marks that each flow has of its own.
"""

import contextlib
import errno
import functools
import os
import select
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address

from netemu.kernel import netns
from netemu.probe import flows, identify, questions
from netemu.probe.questions import Outcome
from netemu.runtime.programs import associations
from netemu.wire import sctp


class Sctp(flows.Flow):
    """An INIT by hand. The look-alike's cookie says who answers and whom it saw."""

    def __init__(
        self, question: questions.Question, address: str, watch: flows.Watch, raw: "Raw", own_port: int
    ) -> None:
        super().__init__(question, address, watch)
        self._raw, self._own_port = raw, own_port
        self._tag = int.from_bytes(os.urandom(4), "big") or 1
        raw.sctp[(question.port, own_port)] = self

    def _send(self) -> None:
        packet = sctp.init(self._own_port, self.question.port, self._tag)
        self._raw.door(self.address, sctp.PROTOCOL).sendto(packet, (self.address, 0))

    def hear(self, said: sctp.Packet) -> None:
        """A packet between the two ports."""
        if said.tag != self._tag or self.outcome is not None:
            return
        if said.kind == sctp.ABORT:
            self.end(Outcome.REFUSED, identify.Identity(detail="ABORT"))
        if said.kind == sctp.INIT_ACK:
            name, _, seen = said.cookie.decode(errors="replace").partition(" ")
            known = identify.address(seen)
            self.end(Outcome.OK, identify.Identity(name, known) if known else None)

    def unreachable(self, *, port: bool, detail: str) -> None:
        """Somebody says so by ICMP; `port`: that nobody takes it there, else that no way leads there."""
        if self.outcome is None:
            self.end(Outcome.REFUSED if port else Outcome.UNREACHABLE, identify.Identity(detail=detail))


class Echo(flows.Flow):
    """An ICMP or ICMPv6 echo request."""

    def __init__(
        self, question: questions.Question, address: str, watch: flows.Watch, raw: "Raw", number: int
    ) -> None:
        super().__init__(question, address, watch)
        self._raw, self._number = raw, number
        self.mark = os.urandom(12)
        raw.echoes[self.mark] = self

    def _send(self) -> None:
        six = ":" in self.address
        body = struct.pack("!HH", self._number & 0xFFFF, 1) + self.mark
        head = struct.pack("!BBH", 128 if six else 8, 0, 0)
        if not six:  # for IPv6 the kernel fills it in: it knows the addresses (RFC 3542, 3.1)
            head = struct.pack("!BBH", 8, 0, _internet_checksum(head + body))
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        self._raw.door(self.address, protocol).sendto(head + body, (self.address, 0))


class Raw:
    """The raw sockets of one namespace, which all its crafted flows share.

    A kernel without SCTP says that it has none, but not while somebody hears raw packets. So whoever opens
    an association with this namespace meanwhile is refused by us, unless a look-alike here accepts it.
    """

    def __init__(self, place: str | int, watch: flows.Watch) -> None:
        self._place, self._watch = place, watch
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        self.sctp: dict[tuple[int, int], Sctp] = {}
        self.echoes: dict[bytes, Echo] = {}

    def door(self, address: str, protocol: int) -> socket.socket:
        """Of the address's family, and with it the one that hears what ICMP says about its packets."""
        family = ip_address(address).version
        if (family, protocol) not in self._sockets:
            errors = socket.IPPROTO_ICMPV6 if family == 6 else socket.IPPROTO_ICMP
            if protocol != errors and (family, errors) not in self._sockets:
                self._open(family, errors, self._icmp)
            self._open(family, protocol, self._icmp if protocol == errors else self._association)
        return self._sockets[family, protocol]

    def close(self) -> None:
        for sock in self._sockets.values():
            self._watch.drop(sock)
            sock.close()
        self._sockets.clear()

    def _open(self, family: int, protocol: int, hear: Callable[[socket.socket], None]) -> None:
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        if protocol == sctp.PROTOCOL:
            sock = associations.opened(kind)
            if sock is None:
                raise OSError(errno.EADDRNOTAVAIL, "no IPv6 here")
        else:
            sock = socket.socket(kind, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        self._sockets[family, protocol] = sock

        def take(_: int) -> None:
            with contextlib.suppress(OSError):  # none left; what errors there were, ICMP told us
                while True:
                    hear(sock)

        self._watch.add(sock, select.EPOLLIN, take)

    def _association(self, sock: socket.socket) -> None:
        got = associations.receive(sock)
        if got.packet is None:
            return
        flow = self.sctp.get((got.packet.source_port, got.packet.port))
        if flow is not None:
            flow.hear(got.packet)
        elif got.packet.kind == sctp.INIT and not _kernel_has_sctp():
            with netns.inside(self._place):
                accepted = associations.owned(got.packet.port)
            if not accepted:
                got.answer(sctp.abort(got.packet))

    def _icmp(self, sock: socket.socket) -> None:
        data, family = sock.recv(2048), 6 if sock.family == socket.AF_INET6 else 4
        if family == 4:  # raw IPv4 sockets deliver the IP header, IPv6 ones do not (RFC 3542, 3)
            data = data[(data[0] & 15) * 4 :]
        if len(data) < 8:
            return
        kind, code = data[0], data[1]
        if kind == (129 if family == 6 else 0):
            echo = self.echoes.get(data[8:20])
            if echo is not None and echo.outcome is None:
                echo.end(Outcome.OK)
            return
        meaning = _MEANINGS.get((family, kind, code)) or _MEANINGS.get((family, kind, None))
        if meaning is None:
            return
        port, detail = meaning
        protocol, payload = _embedded(family, data[8:])
        if protocol == sctp.PROTOCOL and len(payload) >= 4:
            own, there = struct.unpack_from("!HH", payload)
            if (flow := self.sctp.get((there, own))) is not None:
                flow.unreachable(port=port, detail=detail)
        elif protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
            found = self.echoes.get(payload[8:20])
            if found is not None and found.outcome is None:
                found.end(Outcome.REFUSED if port else Outcome.UNREACHABLE, identify.Identity(detail=detail))


@functools.cache
def _kernel_has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, sctp.PROTOCOL).close()
    except OSError:
        return False
    return True


# (family, type, code or None for any) -> does it say that nobody takes it there (else: that none goes there).
_MEANINGS: dict[tuple[int, int, int | None], tuple[bool, str]] = {
    (4, 3, 2): (True, "ICMP protocol unreachable"),
    (4, 3, 3): (True, "ICMP port unreachable"),
    (4, 3, None): (False, "ICMP destination unreachable"),
    (4, 11, None): (False, "ICMP time exceeded"),
    (6, 1, 4): (True, "ICMPv6 port unreachable"),
    (6, 4, 1): (True, "ICMPv6 unrecognised next header"),
    (6, 1, None): (False, "ICMPv6 destination unreachable"),
    (6, 3, None): (False, "ICMPv6 time exceeded"),
}


def _embedded(family: int, packet: bytes) -> tuple[int, bytes]:
    """Protocol and payload of the packet that an ICMP error is about."""
    if family == 6:
        return (packet[6], packet[40:]) if len(packet) > 40 else (0, b"")
    return (packet[9], packet[(packet[0] & 15) * 4 :]) if len(packet) > 20 else (0, b"")


def _internet_checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
