"""The lab's control socket: one JSON request a line, one JSON answer a line. Does not know what is asked.

{"op": "status"}   {"op": "restart", "component": NAME}   {"op": "stop"}     -> {"ok": …} or {"error": "…"}
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from netemu.base import errors

_LONGEST = 1 << 16


def listen(path: str) -> socket.socket:
    """Mode 0600, replacing one that a dead supervisor left."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        with _short(path) as short:
            server.bind(short)
    finally:
        os.umask(mask)
    server.listen(16)
    return server


def ask(path: str, request: dict[str, Any], *, timeout: float = 5.0) -> dict[str, Any]:
    """Ask a living supervisor. Transient when it does not answer, Rejected when it refuses."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream, _short(path) as short:
            stream.settimeout(timeout)
            stream.connect(short)
            stream.sendall(json.dumps(request).encode() + b"\n")
            with stream.makefile("rb") as lines:
                answer = json.loads(lines.readline(1 << 20) or b"{}")
    except (OSError, ValueError) as failure:
        raise errors.Transient(f"the lab's supervisor does not answer: {failure}") from None
    if "ok" not in answer:
        raise errors.Rejected(answer.get("error", "the lab's supervisor hung up"))
    found: dict[str, Any] = answer["ok"]
    return found


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """A name of at most 107 bytes for a socket, however deep its directory lies (unix(7))."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


class Connection:
    """One client of the supervisor's, in its poll loop."""

    def __init__(self, stream: socket.socket, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        stream.setblocking(False)
        self.stream = stream
        self._answer = answer
        self._heard = b""

    def serve(self) -> bool:
        """Answer what has come in; False when the connection is to be closed."""
        try:
            piece = self.stream.recv(_LONGEST)
            *lines, self._heard = (self._heard + piece).split(b"\n")
            for line in lines:
                self.stream.sendall(json.dumps(self._reply(line)).encode() + b"\n")
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(piece) and len(self._heard) < _LONGEST

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return {"ok": self._answer(request if isinstance(request, dict) else {})}
        except ValueError:
            return {"error": "a request is one line of JSON"}
        except errors.NetemuError as refusal:
            return {"error": refusal.message}
