"""One question each, without waiting: what is sent, how an answer is recognised. Sockets; no clock, no loop.

A flow is sent from inside its namespace and heard wherever its descriptor is polled. Sending again asks anew:
whichever answer comes first counts. A flow that has an outcome may still be `learning` who answered.
"""

import contextlib
import errno
import functools
import itertools
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Protocol

from netemu.kernel import netns
from netemu.probe import identify, names, questions
from netemu.probe.questions import Outcome
from netemu.runtime.programs import associations
from netemu.wire import sctp

OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.EPIPE: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EADDRNOTAVAIL: Outcome.UNREACHABLE,  # no address of that family to send from
    errno.EACCES: Outcome.UNREACHABLE,  # ICMP administratively prohibited
    errno.ENOPROTOOPT: Outcome.UNREACHABLE,  # ICMP protocol unreachable
    errno.EPERM: Outcome.REFUSED,  # the sender's own firewall says no
}
DNS_PORT = 53
_SERVER_STATUS = names.query("kubernetes.default.svc.cluster.local", 4)  # any answer will do
_TCP, _UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
_RECVERR_4, _RECVERR_6 = (socket.IPPROTO_IP, 11), (socket.IPPROTO_IPV6, 25)  # linux/in.h, in6.h
_RECVERR = (_RECVERR_4, _RECVERR_6)


class Watch(Protocol):
    """Where a flow says which descriptor to poll for what, and what to call then (with the events)."""

    def add(self, sock: socket.socket, events: int, heard: Callable[[int], None]) -> None: ...

    def change(self, sock: socket.socket, events: int) -> None: ...

    def drop(self, sock: socket.socket) -> None: ...


class Flow:
    """What is common: the question, the answer so far, the sockets that it holds."""

    def __init__(self, question: questions.Question, address: str, watch: Watch) -> None:
        self.question, self.address, self.watch = question, address, watch
        self.outcome: Outcome | None = None
        self.identity = identify.Identity()
        self.local = ""
        self.learning = False
        self._sockets: list[socket.socket] = []

    def send(self) -> None:
        """Send (again). The calling thread is in the sender's namespace."""
        try:
            self._send()
        except PermissionError:
            return  # a rule for the sender's own output ended it; if it was to be refused, ICMP says so, too
        except OSError as error:
            self.fail(error)

    def _send(self) -> None:
        raise NotImplementedError

    def fail(self, error: OSError) -> None:
        """What an errno says about the network; any other is a bug, and raised."""
        outcome = OUTCOMES.get(error.errno or 0)
        if outcome is None:
            raise error
        self.end(outcome, identify.Identity(detail=os.strerror(error.errno or 0)))

    def end(self, outcome: Outcome, identity: identify.Identity | None = None) -> None:
        """The first outcome stays."""
        if self.outcome is None:
            self.outcome = outcome
            self.identity = identity or self.identity
        self.learning = False
        self.close()

    def close(self) -> None:
        for sock in self._sockets:
            self.watch.drop(sock)
            sock.close()
        self._sockets.clear()

    def _open(self, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        self._sockets.append(sock)
        return sock

    def _local_of(self, sock: socket.socket) -> None:
        self.local = str(sock.getsockname()[0]).partition("%")[0]


class Tcp(Flow):
    """A connection; and, on it, who is there."""

    def _send(self) -> None:
        sock = self._open(_TCP)
        # Our SYN is answered while we are still in connect(2); the kernel forgets what ICMP said until it
        # sends another one, a second later; its queue of errors does not.
        sock.setsockopt(*(_RECVERR_6 if ":" in self.address else _RECVERR_4), 1)
        code = sock.connect_ex((self.address, self.question.port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        events = select.EPOLLIN | select.EPOLLOUT
        self.watch.add(sock, events, lambda seen, sock=sock: self._connected(sock, seen))  # type: ignore[misc]

    def _connected(self, sock: socket.socket, events: int) -> None:
        if self.learning:
            if events & ~select.EPOLLOUT:
                self._hear(sock)
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or _queued_error(sock)
        if code:
            self.fail(OSError(code, os.strerror(code)))
            return
        if not events & select.EPOLLOUT:
            return
        self._local_of(sock)
        if not self.question.identify:
            self.end(Outcome.OK)
            return
        self.outcome, self.learning = Outcome.OK, True
        self._reader = identify.Reader()
        for other in [other for other in self._sockets if other is not sock]:
            self.watch.drop(other)
            self._sockets.remove(other)
            other.close()
        try:
            sock.send(identify.commands(self.question.host))
        except OSError:
            self._learnt()
            return
        self.watch.change(sock, select.EPOLLIN)

    def _hear(self, sock: socket.socket) -> None:
        try:
            self._reader.feed(sock.recv(65536))
        except BlockingIOError:
            return
        except OSError:
            self._reader.feed(b"")
        if self._reader.done:
            self._learnt()

    def _learnt(self) -> None:
        self.identity = self._reader.identity
        self.end(Outcome.OK)

    def close(self) -> None:
        if self.learning:
            self.identity = self._reader.identity
        super().close()


def _queued_error(sock: socket.socket) -> int:
    """The errno of an ICMP error about a connection (struct sock_extended_err); 0 when there is none."""
    try:
        _, ancillary, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return 0
    return next(
        (struct.unpack_from("=I", data)[0] for *kind, data in ancillary if tuple(kind) in _RECVERR), 0
    )


class Udp(Flow):
    """Datagrams from one port: to a DNS server a query, to others netexec's commands."""

    def __init__(
        self, question: questions.Question, address: str, watch: Watch, ports: Iterator[int]
    ) -> None:
        super().__init__(question, address, watch)
        self._ports = ports
        self._said: tuple[str, ...] = ()

    def _send(self) -> None:
        if not self._sockets:
            sock = self._open(_UDP)
            self._bind(sock)
            sock.connect((self.address, self.question.port))
            self._local_of(sock)
            self.watch.add(sock, select.EPOLLIN, lambda _, sock=sock: self._hear(sock))  # type: ignore[misc]
        self._said = ()
        for command in self._commands():
            self._sockets[0].send(command)

    def _bind(self, sock: socket.socket) -> None:
        """To the next port that nobody has."""
        for port in itertools.islice(self._ports, 1000):
            try:
                sock.bind(("", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return

    def _commands(self) -> tuple[bytes, ...]:
        if self.question.port == DNS_PORT:
            return (_SERVER_STATUS,)
        return (b"clientip", b"hostname") if self.question.identify else (b"hostname",)

    def _hear(self, sock: socket.socket) -> None:
        while self._sockets:
            try:
                data = sock.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(error)
                return
            self._said = (*self._said, data.decode(errors="replace").strip())
            self.outcome = Outcome.OK
            self.learning = len(self._said) < len(self._commands())
            if not self.learning:
                self.end(Outcome.OK)

    def close(self) -> None:
        seen = next((found for found in map(identify.address, self._said) if found), "")
        name = next((said for said in self._said if not identify.address(said)), "")
        if self.outcome is Outcome.OK and self.question.port != DNS_PORT:
            self.identity = identify.Identity(name, seen)
        super().close()


class Sctp(Flow):
    """An INIT by hand. The look-alike's cookie says who answers and whom it saw."""

    def __init__(
        self, question: questions.Question, address: str, watch: Watch, raw: "Raw", own_port: int
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


class Echo(Flow):
    """An ICMP or ICMPv6 echo request."""

    def __init__(
        self, question: questions.Question, address: str, watch: Watch, raw: "Raw", number: int
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

    def __init__(self, place: str | int, watch: Watch) -> None:
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
