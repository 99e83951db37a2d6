"""Crafted packets and captures between two namespaces, on a kernel without SCTP."""

import asyncio
import os
import socket
import subprocess
import threading

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkInit, SCTPChunkInitAck
from scapy.utils import rdpcap

from netemu.kernel import netns
from netemu.probe import packets, questions
from netemu.probe.questions import Outcome

pytestmark = pytest.mark.root


def ip(place, *arguments):
    done = netns.call(
        place, lambda: subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def cable():
    here, there = netns.open_new(), netns.open_new()
    try:
        peer = f"/proc/{os.getpid()}/fd/{there}"
        ip(here, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer)
        for place, host in ((here, 1), (there, 2)):
            ip(place, "link", "set", "eth0", "up")
            ip(place, "addr", "add", f"10.1.0.{host}/24", "dev", "eth0")
            ip(place, "addr", "add", f"fd01::{host}/64", "dev", "eth0", "nodad")
        ip(here, "neigh", "add", "10.1.0.99", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
        yield here, there
    finally:
        os.close(here)
        os.close(there)


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("10.1.0.2", Outcome.OK),
        ("fd01::2", Outcome.OK),
        ("10.1.0.99", Outcome.TIMEOUT),
        ("10.9.9.9", Outcome.UNREACHABLE),
    ],
)
def test_echo(cable, address, outcome):
    answer = asyncio.run(packets.echo(questions.Source("here", cable[0]), address, deadline=0.5))
    assert answer.outcome is outcome, answer


def test_a_capture_shows_the_echo_and_its_reply(cable, tmp_path):
    here, there = cable
    file = tmp_path / "echo.pcap"

    async def run():
        async with packets.capturing(there, file, device="eth0") as seen:
            await packets.echo(questions.Source("here", here), "10.1.0.2", deadline=1)
        return seen

    seen = asyncio.run(run())
    icmp = [(p[IP].src, p[IP].dst, p[ICMP].type) for p in seen if ICMP in p]
    assert icmp == [("10.1.0.1", "10.1.0.2", 8), ("10.1.0.2", "10.1.0.1", 0)]
    assert [bytes(p) for p in rdpcap(str(file))] == [bytes(p) for p in seen]


def sctp_server(place, answer):
    """A peer that answers the first INIT with a chunk of its choice, on a raw socket."""
    sock = netns.call(place, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 132))

    def serve():
        data, (peer, _) = sock.recvfrom(65535)
        got = SCTP(data[20:])
        assert SCTPChunkInit in got
        reply = SCTP(sport=got.dport, dport=got.sport, tag=got[SCTPChunkInit].init_tag) / answer
        sock.sendto(bytes(reply), (peer, 0))
        sock.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("chunk", "outcome"), [(SCTPChunkInitAck(), Outcome.OK), (SCTPChunkAbort(), Outcome.REFUSED)]
)
def test_sctp_init(cable, chunk, outcome):
    here, there = cable
    thread = sctp_server(there, chunk)
    answer = asyncio.run(packets.sctp_init(questions.Source("here", here), "10.1.0.2", 5000, deadline=2))
    thread.join(2)
    assert answer.outcome is outcome, answer
