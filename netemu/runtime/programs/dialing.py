"""Asking others: one HTTP request, one datagram, one SCTP message. Raises OSError in Go's words."""

import http.client
import socket
from collections.abc import Callable

from netemu.runtime.programs import sockets

TIMEOUT = 5.0
Dialer = Callable[[str, sockets.Address], str]


def by_http(request: str, address: sockets.Address) -> str:
    """The body of http://address/request, whatever its status."""
    url = f"http://{sockets.text(address)}/{request}"
    host, port = address
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"/{request}", headers={"Host": sockets.text(address)})
        return connection.getresponse().read().decode(errors="replace")
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        raise OSError(f'Get "{url}": {why}') from None
    except OSError as failure:
        verb = "dial tcp " + sockets.text(address) + ": connect"
        raise OSError(f'Get "{url}": {verb}: {sockets.reason(failure)}') from None
    except http.client.HTTPException as failure:
        raise OSError(f'Get "{url}": {failure or type(failure).__name__}') from None
    finally:
        connection.close()


def by_udp(request: str, address: sockets.Address) -> str:
    return _message(request, address, "udp", socket.SOCK_DGRAM, 0)


def by_sctp(request: str, address: sockets.Address) -> str:
    return _message(request, address, "sctp", socket.SOCK_STREAM, sockets.SCTP)


def _message(
    request: str, address: sockets.Address, name: str, kind: socket.SocketKind, protocol: int
) -> str:
    try:
        sock = sockets.connect(*address, TIMEOUT, kind, protocol)
    except OSError as failure:
        why = sockets.NO_SCTP if protocol and failure.errno == 93 else sockets.reason(failure)
        raise OSError(f"{name} dial failed. err:{why}") from None
    with sock:
        try:
            sock.send(request.encode())
        except OSError as failure:
            raise OSError(f"{name} connection write failed. err:{sockets.reason(failure)}") from None
        try:
            answer = sock.recv(2048)
        except OSError as failure:
            answer, why = b"", sockets.reason(failure)
        else:
            why = "<nil>"
    if not answer:
        raise OSError(f"reading from {name} connection failed. err:'{why}'")
    return answer.decode(errors="replace")


DIALERS: dict[str, Dialer] = {"http": by_http, "udp": by_udp, "sctp": by_sctp}
