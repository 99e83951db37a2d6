"""The node's BGP speaker, told of its configuration. Knows BIRD's files and its control socket; no route."""

from __future__ import annotations

import socket

from netemu.base import errors

_PATIENCE = 2.0  # seconds; it answers in a millisecond


def reconfigure(control: str) -> bool:
    """Let a running BIRD read its file again; False: there is none, it will read it when it starts.

    Transient, with its words, when it refuses the file. The answers: doc/reply_codes in BIRD's sources.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(_PATIENCE)
        try:
            channel.connect(control)
            channel.sendall(b"configure\n")
            heard = b""
            while True:
                piece = channel.recv(4096)
                if not piece:
                    return False
                heard += piece
                for line in heard.decode(errors="replace").splitlines(keepends=True):
                    code, last = line[:4], line[4:5] == " " and line.endswith("\n")
                    if last and code in ("0003", "0004"):  # reconfigured; reconfiguring
                        return True
                    if last and code[:1] in ("8", "9"):
                        raise errors.Transient(f"BIRD refuses its configuration: {line[5:].strip()}")
        except OSError:
            return False
