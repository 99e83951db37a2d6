"""A pod's stub resolver: real UDP and TCP from its own namespace. Knows sockets; the rules are in names."""

import asyncio
import ipaddress
import socket
from typing import NamedTuple

from netemu.probe import names, questions, sockets


class Resolved(NamedTuple):
    """Addresses for a name, the full name that had them, and on failure what went wrong."""

    addresses: tuple[str, ...]
    name: str
    detail: str = ""


async def resolve(source: questions.Source, host: str, family: int, *, patience: float) -> Resolved:
    """Ask as the source's resolv.conf says: each candidate name in turn, each server in turn.

    An unanswered query is repeated to the next server after `patience` seconds; it goes on until the caller
    gives up. A server failure (SERVFAIL, REFUSED) of all servers ends the search, as in glibc.
    """
    if own := names.listed(source.hosts, host, family):
        return Resolved(own, host)
    conf = names.parse(source.resolv_conf)
    if not conf.nameservers:
        return Resolved((), "", "its resolv.conf names no server")
    said = ""
    for candidate in names.candidates(host, conf):
        reply = await _ask_servers(source, conf.nameservers, candidate, family, patience)
        if reply.addresses:
            return Resolved(reply.addresses, candidate)
        if reply.rcode not in ("NOERROR", "NXDOMAIN"):
            return Resolved(
                (), candidate, f"{reply.rcode} for {candidate} from {', '.join(conf.nameservers)}"
            )
        said = "no such name" if reply.rcode == "NXDOMAIN" else "the name has no such address"
    record = "AAAA" if family == 6 else "A"
    return Resolved((), host, f"{said} ({record} {host}, tried {len(names.candidates(host, conf))} names)")


async def _ask_servers(
    source: questions.Source, servers: tuple[str, ...], name: str, family: int, patience: float
) -> names.Reply:
    failed: names.Reply | None = None
    while True:
        for server in servers:
            reply = await _ask(source, server, name, family, patience)
            if reply is not None and reply.rcode in ("NOERROR", "NXDOMAIN"):
                return reply
            failed = reply or failed
        if failed is not None:
            return failed


async def _ask(
    source: questions.Source, server: str, name: str, family: int, patience: float
) -> names.Reply | None:
    asked = names.query(name, family)
    version = ipaddress.ip_address(server).version
    opened = sockets.open_in(source.netns, [sockets.Want(version, socket.SOCK_DGRAM)])
    loop = asyncio.get_running_loop()
    with sockets.closing(opened) as (sock,):
        try:
            async with asyncio.timeout(patience):
                await loop.sock_connect(sock, (server, 53))
                sock.send(asked)
                reply = None
                while reply is None:
                    reply = names.reply(await loop.sock_recv(sock, 65535), asked, family)
        except TimeoutError:
            return None
    if reply.truncated:
        return await _ask_by_tcp(source, server, asked, family)
    return reply


async def _ask_by_tcp(source: questions.Source, server: str, asked: bytes, family: int) -> names.Reply | None:
    version = ipaddress.ip_address(server).version
    opened = sockets.open_in(source.netns, [sockets.Want(version, socket.SOCK_STREAM)])
    loop = asyncio.get_running_loop()
    with sockets.closing(opened) as (sock,):
        await loop.sock_connect(sock, (server, 53))
        await loop.sock_sendall(sock, len(asked).to_bytes(2, "big") + asked)
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = await loop.sock_recv(sock, 65535)
            if not more:
                return None
            data += more
    return names.reply(data[2:], asked, family)
