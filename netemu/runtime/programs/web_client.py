"""One HTTP request as curl and wget make it: addresses tried in turn, redirects followed, TLS."""

import http.client
import socket
import ssl
import time
import urllib.parse
from typing import NamedTuple

from netemu.runtime.programs import sockets


class Ask(NamedTuple):
    """`timeout` counts for everything, `connecting` for the connection; both in seconds."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    timeout: float | None = None
    connecting: float | None = None
    family: socket.AddressFamily = socket.AF_UNSPEC
    insecure: bool = False
    resolve: tuple[tuple[str, int, str], ...] = ()


class Got(NamedTuple):
    """`peer` and `local` are addresses; times in seconds since the request began."""

    url: str
    status: int
    phrase: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: sockets.Address
    local: sockets.Address
    connected: float
    total: float

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class BadUrl(ValueError):
    """No URL, or of a scheme that is not spoken here."""


class NoConnection(OSError):
    """To none of the addresses; `peer` was the last one tried, `timed_out` whether for want of an answer."""

    def __init__(self, peer: sockets.Address, cause: OSError) -> None:
        super().__init__(cause.errno, sockets.reason(cause))
        self.peer, self.timed_out = peer, isinstance(cause, TimeoutError)


class BrokenOff(OSError):
    """Connected, but there was no whole answer; `timed_out` as above."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(getattr(cause, "errno", 0) or 0, str(cause) or type(cause).__name__)
        self.timed_out = isinstance(cause, TimeoutError)
        self.empty = isinstance(cause, http.client.RemoteDisconnected)
        self.tls = isinstance(cause, ssl.SSLError)


def split(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port, target. BadUrl."""
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise BadUrl(str(problem)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadUrl(f"unsupported or malformed URL {url}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), target


def fetch(ask: Ask) -> Got:
    """One exchange. Raises BadUrl, sockets.Unresolved, NoConnection or BrokenOff."""
    began = time.monotonic()
    scheme, host, port, target = split(ask.url)
    sock = _connect(ask, host, port, began)
    connected = time.monotonic() - began
    try:
        local = sockets.plain(sock.getsockname())
        peer = sockets.plain(sock.getpeername())
        sock.settimeout(_left(ask.timeout, began))
        if scheme == "https":
            sock = _context(ask.insecure).wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
        named = {name.lower() for name, _ in ask.headers}
        connection.putrequest(ask.method, target, skip_host="host" in named, skip_accept_encoding=True)
        for name, value in ask.headers:
            connection.putheader(name, value)
        if ask.body is not None and "content-length" not in named:
            connection.putheader("Content-Length", str(len(ask.body)))
        connection.endheaders(ask.body)
        answer = connection.getresponse()
        body = _body(answer, sock, ask.timeout, began)
        headers = tuple(answer.getheaders())
        return Got(
            ask.url,
            answer.status,
            answer.reason,
            headers,
            body,
            peer,
            local,
            connected,
            time.monotonic() - began,
        )
    except (OSError, http.client.HTTPException) as problem:
        raise BrokenOff(problem) from None
    finally:
        sock.close()


def _body(
    answer: http.client.HTTPResponse, sock: socket.socket, timeout: float | None, began: float
) -> bytes:
    pieces: list[bytes] = []
    while not answer.isclosed():  # it closes itself, and perhaps the socket, after the last byte
        sock.settimeout(_left(timeout, began))
        pieces.append(answer.read1(1 << 16))
        if not pieces[-1]:
            break
    return b"".join(pieces)


def _connect(ask: Ask, host: str, port: int, began: float) -> socket.socket:
    given = [address for name, at, address in ask.resolve if (name, at) == (host, port)]
    found = [pair for address in given for pair in sockets.resolve(address, port)] or sockets.resolve(
        host, port
    )
    wanted = [(f, a) for f, a in found if ask.family in (socket.AF_UNSPEC, f)]
    if not wanted:
        raise sockets.Unresolved(socket.EAI_NONAME, f"lookup {host}: no such host")
    last = NoConnection(wanted[0][1], TimeoutError())
    for family, address in wanted:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            limits = [t for t in (_left(ask.timeout, began), _left(ask.connecting, began)) if t is not None]
            sock.settimeout(min(limits, default=None))
            sock.connect(address)
            return sock
        except OSError as failure:
            sock.close()
            last = NoConnection(address, failure)
    raise last


def _left(timeout: float | None, began: float) -> float | None:
    return None if timeout is None else max(0.001, timeout - (time.monotonic() - began))


def _context(insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def follow(ask: Ask, most: int) -> tuple[Got, ...]:
    """Every answer up to the last, after at most `most` redirects; 301, 302 and 303 turn into GET."""
    if "://" not in ask.url:
        ask = ask._replace(url=f"http://{ask.url}")
    found = [fetch(ask)]
    while (
        len(found) <= most and found[-1].status in (301, 302, 303, 307, 308) and found[-1].header("Location")
    ):
        where = urllib.parse.urljoin(ask.url, found[-1].header("Location"))
        ask = ask._replace(url=where)
        if found[-1].status < 307:
            ask = ask._replace(method="HEAD" if ask.method == "HEAD" else "GET", body=None)
        found.append(fetch(ask))
    return tuple(found)
