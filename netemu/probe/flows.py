"""One question each, without waiting: what is sent, how an answer is recognised. Sockets; no clock, no loop.

A flow is sent from inside its namespace and heard wherever its descriptor is polled. Sending again asks anew:
whichever answer comes first counts. A flow that has an outcome may still be `learning` who answered.
"""

import errno
import functools
import itertools
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Protocol

from netemu.probe import identify, names, questions
from netemu.probe.questions import Outcome

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
        self.watch.add(sock, events, functools.partial(self._connected, sock))

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
            self.watch.add(sock, select.EPOLLIN, functools.partial(self._hear, sock))
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

    def _hear(self, sock: socket.socket, _events: int) -> None:
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
