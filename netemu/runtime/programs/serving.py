"""A small HTTP, TCP, UDP and SCTP server in one thread. Knows sockets; what is said is its callers'.

Standard library only. What blocks goes into a thread of its own.
"""

import contextlib
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable

from netemu.runtime import eventloop
from netemu.runtime.programs import conversations, sockets


class Server:
    """Everything one program serves. `run` ends with the exit code given to `exit`."""

    def __init__(self, name: str = "") -> None:
        self.loop = eventloop.EventLoop()
        self.name = name
        self._code = 0
        self._finished: list[Callable[[], None]] = []
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._kept: list[object] = []

    def http(
        self, port: int, handle: conversations.Handler, *, tls: ssl.SSLContext | None = None, host: str = ""
    ) -> None:
        listener = sockets.listen(port, host=host)
        self._accept(
            listener, lambda stream, peer: conversations.Conversation(self, stream, peer, handle, tls)
        )

    def tcp(
        self, port: int, talk: Callable[[socket.socket, sockets.Address], None], *, protocol: int = 0
    ) -> None:
        """`talk` gets each connection (blocking, in a thread of its own) and must not keep it."""

        def begin(stream: socket.socket, peer: sockets.Address) -> None:
            stream.setblocking(True)
            threading.Thread(target=_closing, args=(talk, stream, peer), daemon=True).start()

        self._accept(sockets.listen(port, protocol=protocol), begin)

    def sctp(self, port: int, talk: Callable[[socket.socket, sockets.Address], None]) -> str:
        """As `tcp`; where the kernel has no SCTP, INITs are answered by hand. Says what was done."""
        try:
            self.tcp(port, talk, protocol=sockets.SCTP)
        except OSError as refusal:
            if str(refusal.strerror) != sockets.NO_SCTP:
                raise
            from netemu.runtime.programs import associations

            self._kept.append(associations.Responder(port, self.loop, hostname()))
            return associations.ANSWERED
        return "Started SCTP server"

    def udp(
        self, port: int, answer: Callable[[bytes, sockets.Address], bytes | None], *, host: str = ""
    ) -> None:
        """`answer` gets each datagram; what it returns goes back, from the address that was asked."""
        sock = sockets.listen(port, socket.SOCK_DGRAM, host)
        _remember_destination(sock)

        def take() -> None:
            for _ in range(64):
                try:
                    data, ancillary, _, peer = sock.recvmsg(65536, 128)
                except (BlockingIOError, ConnectionError):
                    return
                reply = answer(data, sockets.plain(peer))
                if reply is not None:
                    with contextlib.suppress(OSError):
                        sock.sendmsg([reply], sockets.answering(ancillary), 0, peer)

        self.loop.readable(sock.fileno(), take)
        self._kept.append(sock)

    def _accept(
        self, listener: socket.socket, begin: Callable[[socket.socket, sockets.Address], object]
    ) -> None:
        def take() -> None:
            for _ in range(64):
                try:
                    stream, peer = listener.accept()
                except OSError:  # nobody there any more, or no descriptors: try again later
                    return
                stream.setblocking(False)
                begin(stream, sockets.plain(peer))

        self.loop.readable(listener.fileno(), take)
        self._kept.append(listener)

    def call_later(self, work: Callable[[], None]) -> None:
        """From another thread (after `button`): have `work` done in the server's."""
        self._finished.append(work)
        with contextlib.suppress(OSError):
            self.button().send(b"!")

    def button(self) -> socket.socket:
        """What wakes the loop; made when it is first needed, for most servers never need it."""
        if self._pair is None:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self.loop.readable(self._pair[0].fileno(), self._rung)
        return self._pair[1]

    def _rung(self) -> None:
        assert self._pair is not None
        with contextlib.suppress(BlockingIOError):
            self._pair[0].recv(4096)
        while self._finished:
            self._finished.pop(0)()

    def exit(self, code: int) -> None:
        self._code = code
        self.loop.stop()

    def exit_after(self, seconds: float, code: int) -> None:
        self.loop.after(seconds, lambda: self.exit(code))

    def on_signal(self, act: Callable[[], None]) -> None:
        """SIGTERM does `act` instead of ending the program."""
        signal.set_wakeup_fd(self.button().fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: act())

    def on_quit(self) -> None:
        """SIGQUIT and SIGWINCH, by which web servers are stopped, end the program with 0; SIGTERM, too."""
        signal.set_wakeup_fd(self.button().fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGWINCH):
            signal.signal(number, lambda *_: self.exit(0))

    def run(self) -> int:
        self.loop.run()
        return self._code


def _closing(
    talk: Callable[[socket.socket, sockets.Address], None], stream: socket.socket, peer: sockets.Address
) -> None:
    with stream, contextlib.suppress(OSError):
        talk(stream, peer)


def _remember_destination(sock: socket.socket) -> None:
    """Ask for the address a datagram was sent to: of several, the answer must come from that one."""
    sock.setsockopt(socket.IPPROTO_IP, sockets.IP_PKTINFO, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def hostname() -> str:
    return os.uname().nodename


def rehearse() -> None:
    """Open and close a server of each kind on this machine's loopback, for who is about to fork many."""
    server = Server()
    server.http(0, lambda _: conversations.Reply(), host="127.0.0.1")
    server.udp(0, lambda data, peer: None, host="127.0.0.1")
    server.exit_after(0, 0)
    server.run()
