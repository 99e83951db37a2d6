"""Crafted packets and captures: what ordinary sockets cannot send. Knows raw sockets; scapy reads and writes.

scapy is imported when one of these is called: it costs 0.7 s. The sockets are ours, made inside a namespace;
its own would look at the routes of the process that imported it.
"""

import asyncio
import contextlib
import ipaddress
import os
import pathlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from netemu.kernel import netns
from netemu.probe import questions, sockets
from netemu.probe.questions import Outcome

_IPPROTO_SCTP = 132
_ETH_P_ALL = 0x0003


async def echo(source: questions.Source, address: str, *, deadline: float) -> questions.Answer:
    """An ICMP or ICMPv6 echo request; ok when its reply comes, unreachable when a router says so."""
    from scapy.layers.inet import ICMP
    from scapy.layers.inet6 import ICMPv6EchoRequest

    family = ipaddress.ip_address(address).version
    mark = os.urandom(16)
    number = int.from_bytes(mark[:2], "big")
    if family == 6:
        # The kernel fills in the checksum, for it knows the addresses (RFC 3542, 3.1).
        packet = bytes(ICMPv6EchoRequest(id=number, seq=1, data=mark, cksum=0))
        replies, errors, protocol = (129,), (1, 3), socket.IPPROTO_ICMPV6
    else:
        packet = bytes(ICMP(id=number, seq=1) / mark)
        replies, errors, protocol = (0,), (3, 11), socket.IPPROTO_ICMP

    def read(payload: bytes) -> Outcome | None:
        if mark not in payload:
            return None
        if payload[0] in replies:
            return Outcome.OK
        return Outcome.UNREACHABLE if payload[0] in errors else None

    want = sockets.Want(family, socket.SOCK_RAW, protocol)
    return await _exchange(source, address, want, packet, read, deadline=deadline)


async def sctp_init(
    source: questions.Source, address: str, port: int, *, deadline: float
) -> questions.Answer:
    """An SCTP INIT, for kernels without SCTP: ok for INIT ACK, refused for ABORT (RFC 9260, 5.1 and 8.4)."""
    from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkInit, SCTPChunkInitAck

    family = ipaddress.ip_address(address).version
    own = 32768 + int.from_bytes(os.urandom(2), "big") % 28000
    packet = bytes(
        SCTP(sport=own, dport=port) / SCTPChunkInit(init_tag=int.from_bytes(os.urandom(4), "big") or 1)
    )

    def read(payload: bytes) -> Outcome | None:
        found = SCTP(payload)
        if (found.sport, found.dport) != (port, own):
            return None
        if SCTPChunkInitAck in found:
            return Outcome.OK
        return Outcome.REFUSED if SCTPChunkAbort in found else None

    want = sockets.Want(family, socket.SOCK_RAW, _IPPROTO_SCTP)
    return await _exchange(source, address, want, packet, read, deadline=deadline)


@contextlib.asynccontextmanager
async def capturing(place: netns.Place, file: pathlib.Path, *, device: str = "") -> AsyncIterator[list[Any]]:
    """Capture what passes a namespace (one `device`, or all) into a pcap file and a list of scapy packets.

    Both are complete when the `async with` ends.
    """
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapWriter

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        sock.setblocking(False)
        if device:
            sock.bind((device, _ETH_P_ALL))
        return sock

    loop = asyncio.get_running_loop()
    packets: list[Any] = []
    sock = netns.call(place, make)
    with sockets.closing([sock]), PcapWriter(str(file)) as writer:

        def take() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packets.append(Ether(sock.recv(65535)))
                    writer.write(packets[-1])

        loop.add_reader(sock, take)
        try:
            yield packets
        finally:
            loop.remove_reader(sock)
            take()


async def _exchange(
    source: questions.Source,
    address: str,
    want: sockets.Want,
    packet: bytes,
    read: Any,
    *,
    deadline: float,
) -> questions.Answer:
    """Send one packet and wait for the one that `read` recognises."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = questions.Answer(Outcome.TIMEOUT, address=address)
    try:
        with sockets.closing(sockets.open_in(source.netns, [want])) as (sock,):
            sock.connect((address, 0))  # a raw socket's only chooses addresses: it does not wait
            answer = answer._replace(local=str(sock.getsockname()[0]))
            sock.send(packet)
            async with asyncio.timeout(deadline):
                outcome = None
                while outcome is None:
                    data = await loop.sock_recv(sock, 65535)
                    # Raw IPv4 sockets deliver the IP header, IPv6 ones do not (RFC 3542, 3).
                    outcome = read(data[(data[0] & 15) * 4 :] if want.family == 4 else data)
    except TimeoutError:
        return answer._replace(total_s=loop.time() - began, detail=f"no answer within {deadline:g} s")
    except OSError as error:
        return answer._replace(
            outcome=Outcome.UNREACHABLE, total_s=loop.time() - began, detail=error.strerror or str(error)
        )
    return answer._replace(outcome=outcome, total_s=loop.time() - began)
