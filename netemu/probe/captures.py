"""Captures: what passes a namespace, as a pcap file and as scapy packets.

scapy is imported when one is begun: it costs 0.7 s. The sockets are ours, made inside a namespace;
its own would look at the routes of the process that imported it.
"""

import asyncio
import contextlib
import pathlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from netemu.kernel import netns
from netemu.probe import sockets

_ETH_P_ALL = 0x0003


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
