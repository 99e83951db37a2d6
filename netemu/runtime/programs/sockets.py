"""Sockets as Go opens them: one for both address families, addresses as host:port. Standard library only."""

import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator

Address = tuple[str, int]
SCTP = 132
IP_PKTINFO = 8  # linux/in.h; not in Python 3.11
NO_SCTP = "this kernel has no SCTP sockets (CONFIG_IP_SCTP)"


class Unresolved(OSError):
    """A name without an address, in the words of Go's resolver."""


def listen(
    port: int, kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "", protocol: int = 0
) -> socket.socket:
    """Bound to every address of both families, or to `host` alone; IPv4 only where there is no IPv6."""
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as refusal:
        if refusal.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT) and protocol == SCTP:
            raise OSError(refusal.errno, NO_SCTP) from None
        if host or refusal.errno != errno.EAFNOSUPPORT:
            raise
        family = socket.AF_INET
        sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(host))
    try:
        sock.bind((host or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))
    except OSError as refusal:
        if host or refusal.errno != errno.EADDRNOTAVAIL:
            raise
        sock.close()
        return listen(port, kind, "0.0.0.0", protocol)  # IPv6 is disabled here
    if kind == socket.SOCK_STREAM:
        sock.listen(1024)
    sock.setblocking(False)
    return sock


def plain(address: tuple[object, ...]) -> Address:
    """Address and port of a socket address; IPv4 as IPv4 though it came through a socket for both."""
    host, port = str(address[0]), int(str(address[1]))
    return host.removeprefix("::ffff:") if "." in host else host, port


def answering(ancillary: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """What recvmsg told of a datagram's destination, for an answer from that address, by any link.

    By the link that it came by there may be no way back. Link-local addresses alone mean nothing without it.
    """
    found = {(level, kind): data for level, kind, data in ancillary}
    six = found.get((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO))
    if six is not None:
        anywhere = six if six[:2] == b"\xfe\x80" else six[:16] + bytes(4)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, anywhere)]
    four = found.get((socket.IPPROTO_IP, IP_PKTINFO))
    return [(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + four[4:])] if four is not None else []


def text(address: Address) -> str:
    """10.0.0.1:80, [fd00::1]:80."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(text_: str) -> Address:
    """net.SplitHostPort, the port by number or name. ValueError in its words ("missing port in address")."""
    if text_.startswith("["):
        host, bracket, rest = text_[1:].partition("]")
        if not bracket:
            raise ValueError(f"address {text_}: missing ']' in address")
        if not rest.startswith(":"):
            raise ValueError(f"address {text_}: missing port in address")
        port = rest[1:]
    else:
        host, colon, port = text_.rpartition(":")
        if not colon:
            raise ValueError(f"address {text_}: missing port in address")
        if ":" in host:
            raise ValueError(f"address {text_}: too many colons in address")
    if port.isdigit() and int(port) < 65536:
        return host, int(port)
    try:
        return host, socket.getservbyname(port)
    except OSError:
        raise ValueError(
            f"lookup tcp/{port}: unknown port" if not port.isdigit() else f"address {port}: invalid port"
        ) from None


def resolve(
    host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> list[tuple[socket.AddressFamily, Address]]:
    """Every address of a name, in the order to try them; "" is this host. Unresolved: there is none."""
    try:
        found = socket.getaddrinfo((host or "localhost").encode(), port, type=kind)
    except socket.gaierror as problem:
        missing = problem.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
        why = (
            "no such host"
            if missing
            else os.strerror(0)
            if not problem.strerror
            else problem.strerror.lower()
        )
        raise Unresolved(problem.errno, f"lookup {host}: {why}") from None
    return [(family, (str(where[0]), port)) for family, _, _, _, where in found]


def connect(
    host: str,
    port: int,
    timeout: float | None,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    protocol: int = 0,
) -> socket.socket:
    """To the first address that answers, within `timeout` seconds over all. OSError of the last one tried."""
    deadline = None if timeout is None else time.monotonic() + timeout
    last: OSError = Unresolved(socket.EAI_NONAME, f"lookup {host}: no such host")
    for family, address in resolve(host, port, kind if protocol != SCTP else socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            sock.connect(address)
            return sock
        except OSError as failure:
            sock.close()
            last = failure
    raise last


def reason(failure: OSError) -> str:
    """What Go would say after "connect: " or "read: "."""
    if isinstance(failure, TimeoutError):
        return "i/o timeout"
    return (os.strerror(failure.errno) if failure.errno else str(failure)).lower()


def nameservers(path: str = "/etc/resolv.conf") -> Iterator[tuple[str, list[str]]]:
    """The lines of resolv.conf as keyword and words, comments left out."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split("#")[0].split(";")[0].split()
            if words:
                yield words[0], words[1:]
