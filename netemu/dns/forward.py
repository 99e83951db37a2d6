"""Questions that are not the cluster's, put to other servers. Knows resolv.conf and messages as bytes.

As a stub resolver: each server in turn, over UDP, and over TCP when an answer did not fit (RFC 5966).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

PATIENCE = 2.0  # seconds for one server


class Server(NamedTuple):
    """A name server beyond the cluster; `address` of either family."""

    address: str
    port: int = 53


def servers(resolv_conf: str, own: Iterable[str] = ()) -> tuple[Server, ...]:
    """The name servers in a resolv.conf(5), without those that are we ourselves or nobody."""
    ours = set(own)
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ip_address(words[1].split("%")[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or str(address) in ours):
            found.append(Server(words[1]))
    return tuple(dict.fromkeys(found))


def read(path: Path = Path("/etc/resolv.conf"), own: Iterable[str] = ()) -> tuple[Server, ...]:
    """Those of the machine; none when it has no such file."""
    try:
        return servers(path.read_text(errors="replace"), own)
    except OSError:
        return ()


async def ask(upstreams: Iterable[Server], query: bytes) -> bytes | None:
    """The first answer to the query as it is, under its own number; None when nobody answers."""
    for server in upstreams:
        number = secrets.token_bytes(2)  # not the asker's: whoever guesses his must guess ours, too
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await _over_udp(server, number + query[2:])
                if answer[2] & 0x02:
                    answer = await _over_tcp(server, number + query[2:])
                return query[:2] + answer[2:]
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            continue
    return None


async def _over_udp(server: Server, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
        await loop.sock_connect(sock, (server.address, server.port))  # connected: only its answers come in
        await loop.sock_sendall(sock, query)
        while True:
            answer = await loop.sock_recv(sock, 65535)
            if _answers(answer, query):
                return answer


async def _over_tcp(server: Server, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(await reader.readexactly(2), "big")
        answer = await reader.readexactly(length)
    finally:
        writer.close()
    if not _answers(answer, query):
        raise ConnectionError("the answer is to another question")
    return answer


def _answers(answer: bytes, query: bytes) -> bool:
    """Whether it is a response with the query's number and question."""
    end = question_end(query)
    return (
        len(answer) >= 12
        and answer[:2] == query[:2]
        and bool(answer[2] & 0x80)
        and (answer[12:end].lower() == query[12:end].lower() or answer[4:6] == b"\0\0")
    )


def question_end(query: bytes) -> int:
    """Where the first question of a well-formed query ends: a name without compression, type and class."""
    at = 12
    while at < len(query) and query[at]:
        at += query[at] + 1
    return at + 5
