"""agnhost connect: can that port be reached? Silence and 0, or one word a test can look for and 1.

UNKNOWN (bad arguments), TIMEOUT, DNS, REFUSED, OTHER (no route, reset ...).
"""

import errno
import socket
import sys

from netemu.runtime.programs import flags, sockets

FLAGS = {
    "timeout": flags.Duration(0),
    "protocol": "tcp",
    "udp-data": "hostname",
    "sctp-data": "hostname",
}


def main(arguments: list[str]) -> int:
    values, rest = flags.parse(arguments, FLAGS)
    if len(rest) != 1:
        flags.fail(f"accepts 1 arg(s), received {len(rest)}")
    protocol, timeout = values["protocol"] or "tcp", float(values["timeout"]) or None
    if protocol not in ("tcp", "udp", "sctp"):
        return _say(f"Unsupported protocol: {protocol}")
    try:
        host, port = sockets.split(rest[0])
    except ValueError as problem:
        return _say(f"{'UNKNOWN' if protocol == 'tcp' else 'DNS'}: {problem}")
    try:
        sockets.resolve(host, port)
    except OSError as problem:
        return _say(f"DNS: {problem.strerror}")
    if protocol == "tcp":
        return _tcp(host, port, timeout)
    if protocol == "udp":
        return _udp(host, port, timeout, f"{values['udp-data']}\n".encode())
    return _sctp(host, port, timeout, f"{values['sctp-data']}\n".encode())


def _tcp(host: str, port: int, timeout: float | None) -> int:
    try:
        sockets.connect(host, port, timeout).close()
    except OSError as failure:
        if isinstance(failure, TimeoutError):
            return _say("TIMEOUT")
        if failure.errno == errno.ECONNREFUSED:
            return _say("REFUSED")
        return _say(f"OTHER: dial tcp {sockets.text((host, port))}: connect: {sockets.reason(failure)}")
    return 0


def _udp(host: str, port: int, timeout: float | None, data: bytes) -> int:
    try:
        with sockets.connect(host, port, timeout, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.send(data)
            answer = sock.recv(1024)
    except OSError as failure:
        about = f"read udp {sockets.text((host, port))}: {sockets.reason(failure)}"
        if isinstance(failure, TimeoutError):
            return _say(f"TIMEOUT: {about}")
        return _say(f"{'REFUSED' if failure.errno == errno.ECONNREFUSED else 'UNKNOWN'}: {about}")
    if not answer:
        return _say(
            "OTHER: No data received from the server. Cannot guarantee the server received the request."
        )
    return 0


def _sctp(host: str, port: int, timeout: float | None, data: bytes) -> int:
    try:
        try:
            with sockets.connect(host, port, timeout, socket.SOCK_STREAM, sockets.SCTP) as sock:
                sock.settimeout(timeout)
                sock.send(data)
                sock.recv(1024)
        except OSError as failure:
            if failure.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                raise
            from netemu.runtime.programs import associations

            associations.knock(host, port, timeout)  # no SCTP here: that it would be accepted is all to learn
    except TimeoutError:
        return _say("TIMEOUT")
    except OSError as failure:
        return _say(f"OTHER: {sockets.reason(failure)}")
    return 0


def _say(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return 1
