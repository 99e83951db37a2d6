"""Sockets born inside a namespace and used from outside it. Knows which namespace; not what is asked.

A socket stays in the network namespace it was made in, whichever thread drives it later.
"""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netemu.kernel import netns


class Want(NamedTuple):
    """One socket: its family (4 or 6), its type (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW) and protocol number."""

    family: int
    kind: int
    protocol: int = 0


def open_in(place: netns.Place, wants: Sequence[Want]) -> tuple[socket.socket, ...]:
    """Make non-blocking sockets in a network namespace, in one visit. OSError when there is no way in."""
    with netns.inside(place):
        return _open(wants)


@contextlib.contextmanager
def closing(opened: Sequence[socket.socket]) -> Iterator[Sequence[socket.socket]]:
    """Close them all at the end of a `with` block."""
    try:
        yield opened
    finally:
        for sock in opened:
            sock.close()


def _open(wants: Sequence[Want]) -> tuple[socket.socket, ...]:
    opened: list[socket.socket] = []
    try:
        for want in wants:
            family = socket.AF_INET6 if want.family == 6 else socket.AF_INET
            sock = socket.socket(family, want.kind, want.protocol)
            opened.append(sock)
            sock.setblocking(False)
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return tuple(opened)
