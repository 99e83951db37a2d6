"""Rounds: what is proven about silence, and what crafted packets learn, between two namespaces."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.utils import rdpcap

from netemu.kernel import netns
from netemu.probe import captures, questions, rounds
from netemu.probe.questions import Outcome
from netemu.runtime import eventloop
from netemu.runtime.programs import associations
from netemu.wire import sctp

pytestmark = pytest.mark.root
ADDRESSES = ("10.1.0.2", "fd01::2")


def run(place, *argv, text=""):
    done = netns.call(
        place, lambda: subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cable():
    """10.1.0.1 and fd01::1 here, .2 there; 10.1.0.99 has a MAC that is nobody's."""
    here, there = netns.open_new(), netns.open_new()
    try:
        peer = f"/proc/{os.getpid()}/fd/{there}"
        run(here, *["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns"], peer)
        for place, host, other in ((here, 1, 2), (there, 2, 1)):
            run(place, *f"ip link set eth0 address 02:00:00:00:00:0{host}".split())
            for link in ("lo", "eth0"):
                run(place, *f"ip link set {link} up".split())
            run(place, *f"ip addr add 10.1.0.{host}/24 dev eth0".split())
            run(place, *f"ip addr add fd01::{host}/64 dev eth0 nodad".split())
            for address in (
                f"10.1.0.{other}",
                f"fd01::{other}",
            ):  # the machine's table of neighbours may be full
                run(place, *f"ip neigh add {address} lladdr 02:00:00:00:00:0{other} dev eth0".split())
        run(here, *["ip", "neigh", "add", "10.1.0.99", "lladdr", "02:00:00:00:00:99", "dev", "eth0"])
        yield here, there
    finally:
        os.close(here)
        os.close(there)


@contextlib.contextmanager
def filtered(place, *rules, hook="hook input"):
    """Rules for what comes in."""
    chain = f"table inet t {{ chain c {{ type filter {hook} priority 0; " + "".join(
        f"{rule}; " for rule in rules
    )
    run(place, "nft", "-f", "-", text=chain + "}; }")
    try:
        yield
    finally:
        run(place, "nft", "delete", "table", "inet", "t")


@contextlib.contextmanager
def served(place, port, *, late=0.0):
    """A process there with netexec's UDP and TCP (connections only) on a port, SCTP by hand; its pid."""
    ready, report = os.pipe()
    pid = os.fork()
    if not pid:
        with netns.inside(place):
            udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            udp.bind(("::", port))
            tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            loop = eventloop.EventLoop()
            responder = associations.Responder(port, loop, "far")

        def answer():
            data, peer = udp.recvfrom(100)
            time.sleep(late)  # the server's own slowness is what is tested
            udp.sendto(b"far" if data == b"hostname" else f"[{peer[0]}]:{peer[1]}".encode(), peer)

        loop.readable(udp.fileno(), answer)
        os.write(report, b"!")
        with contextlib.suppress(BaseException):
            loop.run()
        os._exit(int(bool((tcp, responder))))
    try:
        os.read(ready, 1)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(report)


def ask(place, host, port, protocol, *, identify=False):
    source = questions.Source("x", place)
    return questions.Question(source, host, port, protocol, 6 if ":" in host else 4, identify)


def every(place, port, **more):
    return [ask(place, host, port, kind, **more) for host in ADDRESSES for kind in ("TCP", "UDP", "SCTP")]


def outcomes(answers):
    return [answer.outcome for answer in answers]


def test_who_is_served_refused_and_dropped_in_one_round(cable):
    here, there = cable
    with (
        served(there, 80),
        filtered(there, "meta l4proto { tcp, udp, sctp } th dport 82 drop", "meta l4proto icmp drop"),
    ):
        asked = [q for port in (80, 81, 82) for q in every(here, port, identify=True)]
        asked += [ask(here, host, 0, "ICMP") for host in (*ADDRESSES, "10.9.9.9")]
        prober = rounds.Prober(deadline=20)
        answers = prober.measure(asked, controls=every(there, 80))
    assert outcomes(answers[:6]) == [Outcome.OK] * 6
    assert [(a.endpoint, a.seen) for a in answers[1:3]] == [("far", "10.1.0.1")] * 2
    assert [(a.endpoint, a.seen) for a in answers[4:6]] == [("far", "fd01::1")] * 2
    assert outcomes(answers[6:12]) == [Outcome.REFUSED] * 6  # RST, ICMP, ABORT
    assert outcomes(answers[12:18]) == [Outcome.TIMEOUT] * 6
    assert outcomes(answers[18:]) == [Outcome.TIMEOUT, Outcome.OK, Outcome.UNREACHABLE]
    assert prober.took < 10  # half the deadline: silence was proven, not waited out


def test_what_the_senders_own_rules_drop_and_what_they_refuse(cable):
    here, there = cable
    every_kind = "meta l4proto { tcp, udp, sctp } th dport"
    with filtered(here, f"{every_kind} 82 drop", f"{every_kind} 83 reject", hook="hook output"):
        asked = [q for port in (82, 83) for q in every(here, port, identify=True)]
        answers = rounds.Prober(deadline=20).measure(asked, controls=every(there, 80))
    assert outcomes(answers) == [Outcome.TIMEOUT] * 6 + [Outcome.REFUSED] * 6


def test_who_probes_himself_refuses_associations_like_anybody(cable):
    here, there = cable
    both = [ask(here, "10.1.0.2", 90, "SCTP"), ask(there, "10.1.0.1", 90, "SCTP")]
    both += [ask(here, "fd01::2", 90, "SCTP"), ask(there, "fd01::1", 90, "SCTP")]
    assert outcomes(rounds.Prober(deadline=20).measure(both)) == [Outcome.REFUSED] * 4


def test_refusals_are_not_rationed(cable):
    here, there = cable
    asked = [ask(here, host, 1000 + n, kind) for host in ADDRESSES for n in range(40) for kind in ("UDP",)]
    asked += [ask(here, host, 1000 + n, "SCTP") for host in ADDRESSES for n in range(40)]
    answers = rounds.Prober(deadline=20).measure(asked, controls=every(there, 80))
    assert set(outcomes(answers)) == {Outcome.REFUSED}


def test_a_slow_server_is_waited_for(cable):
    here, there = cable
    with served(there, 80, late=0.05):
        asked = [ask(here, "10.1.0.2", 80, "UDP")] * 5 + [ask(here, "10.1.0.99", 80, "UDP")]
        answers = rounds.Prober(deadline=30, quiet=0.01).measure(asked, controls=every(there, 80))
    assert outcomes(answers) == [Outcome.OK] * 5 + [Outcome.TIMEOUT]


def test_a_server_that_stands_still_proves_nothing_before_the_deadline(cable):
    here, there = cable
    with served(there, 80) as pid:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (pid, signal.SIGCONT)).start()
        answers = rounds.Prober(deadline=30, quiet=0.01).measure(
            [ask(here, "10.1.0.2", 80, "UDP")], controls=[ask(there, "10.1.0.2", 80, "UDP")]
        )
    assert outcomes(answers) == [Outcome.OK]


def test_without_controls_silence_lasts_as_long_as_the_deadline(cable):
    prober = rounds.Prober(deadline=0.2)
    answers = prober.measure([ask(cable[0], "10.1.0.99", 80, kind) for kind in ("TCP", "UDP", "SCTP")] * 200)
    assert set(outcomes(answers)) == {Outcome.TIMEOUT}
    assert prober.took >= 0.2


def test_a_namespace_that_is_gone_and_a_host_that_is_a_name(cable, tmp_path):
    gone = ask(str(tmp_path / "net"), "10.1.0.2", 80, "TCP")
    here = ask(cable[0], "10.1.0.2", 81, "TCP")
    assert outcomes(rounds.Prober().measure([gone, here])) == [Outcome.NO_SOURCE, Outcome.REFUSED]
    with pytest.raises(ValueError, match="resolve it first"):
        rounds.Prober().measure([here._replace(host="web")])


def test_no_flow_of_two_rounds_has_the_same_port(cable):
    here, there = cable
    prober, seen = rounds.Prober(), []
    sock = netns.call(there, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("10.1.0.2", 80))
    for _ in range(3):
        prober.deadline = 0.05
        prober.measure([ask(here, "10.1.0.2", 80, "UDP")] * 20)
        sock.setblocking(False)
        now = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                now.add(sock.recvfrom(10)[1][1])
        seen.append(now)
    sock.close()
    assert [len(ports) for ports in seen] == [20, 20, 20]
    assert len(set.union(*seen)) == 60


def test_what_scapy_reads_of_an_init_and_its_answers():
    packet = sctp.init(40000, 80, 7)
    read = SCTP(packet)
    assert (read.sport, read.dport, read.tag, read[SCTPChunkInit].init_tag) == (40000, 80, 0, 7)
    asked = sctp.parse(packet)
    for built in (packet, sctp.init_ack(asked, 9, b"who"), sctp.abort(asked)):
        again = SCTP(built)
        del again.chksum
        assert bytes(again) == built  # the checksum is scapy's, too
    assert sctp.parse(sctp.init_ack(asked, 9, b"who")) == sctp.Packet(80, 40000, 7, sctp.INIT_ACK, 9, b"who")
    assert sctp.parse(packet[:-1] + b"x") is None
    assert sctp.parse(b"") is None


def test_a_capture_shows_the_echo_and_its_reply(cable, tmp_path):
    here, there = cable
    file = tmp_path / "echo.pcap"

    async def story():
        async with captures.capturing(there, file, device="eth0") as seen:
            await asyncio.to_thread(rounds.Prober(deadline=5).measure, [ask(here, "10.1.0.2", 0, "ICMP")])
        return seen

    seen = asyncio.run(story())
    icmp = [(p[IP].src, p[IP].dst, p[ICMP].type) for p in seen if ICMP in p]
    assert icmp == [("10.1.0.1", "10.1.0.2", 8), ("10.1.0.2", "10.1.0.1", 0)]
    assert [bytes(p) for p in rdpcap(str(file))] == [bytes(p) for p in seen]
