"""Questions asked for real: two namespaces, a cable, a server on one side."""

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time

import dnslib
import pytest

from netemu.kernel import netns
from netemu.probe import ask, listen, questions
from netemu.probe.questions import Outcome

pytestmark = pytest.mark.root


def ip(place, *arguments):
    done = netns.call(
        place, lambda: subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def cable():
    """10.1.0.1 and fd01::1 here, .2 there; 10.1.0.99 has a MAC that is nobody's; 10.2.0.0/16 has no route."""
    here, there = netns.open_new(), netns.open_new()
    try:
        ip(
            here,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            f"/proc/{os.getpid()}/fd/{there}",
        )
        for place, host in ((here, 1), (there, 2)):
            ip(place, "link", "set", "lo", "up")
            ip(place, "link", "set", "eth0", "up")
            ip(place, "addr", "add", f"10.1.0.{host}/24", "dev", "eth0")
            ip(place, "addr", "add", f"fd01::{host}/64", "dev", "eth0", "nodad")
        ip(here, "neigh", "add", "10.1.0.99", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
        yield here, there
    finally:
        os.close(here)
        os.close(there)


def put(*asked, deadline=5.0):
    return asyncio.run(ask.ask(asked, deadline=deadline))


async def against_server(there, *asked, port=8080, deadline=5.0):
    async with listen.listening(there, port, "far"):
        return await ask.ask(asked, deadline=deadline)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize(("host", "family", "own"), [("10.1.0.2", 4, "10.1.0.1"), ("fd01::2", 6, "fd01::1")])
def test_the_server_says_who_it_is_and_whom_it_saw(cable, protocol, host, family, own):
    here, there = cable
    question = questions.Question(questions.Source("here", here), host, 8080, protocol, family)
    (answer,) = asyncio.run(against_server(there, question))
    assert answer.outcome is Outcome.OK, answer
    assert (answer.endpoint, answer.seen, answer.local, answer.address) == ("far", own, own, host)
    assert not answer.translated


def test_an_address_changed_on_the_way_is_noticed(cable):
    here, there = cable
    rules = "table ip nat { chain post { type nat hook postrouting priority srcnat; snat to 10.1.0.77; }; }"
    ip(here, "addr", "add", "10.1.0.77/24", "dev", "eth0")
    done = netns.call(
        here,
        lambda: subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False),
    )
    assert done.returncode == 0, done.stderr
    question = questions.Question(questions.Source("here", here), "10.1.0.2", 8080)
    (answer,) = asyncio.run(against_server(there, question))
    assert (answer.local, answer.seen, answer.translated) == ("10.1.0.1", "10.1.0.77", True)


@pytest.mark.parametrize(
    ("host", "port", "protocol", "outcome"),
    [
        ("10.1.0.2", 81, "TCP", Outcome.REFUSED),
        ("10.1.0.2", 81, "UDP", Outcome.REFUSED),
        ("fd01::2", 81, "TCP", Outcome.REFUSED),
        ("10.1.0.99", 81, "TCP", Outcome.TIMEOUT),  # its MAC is nobody's
        ("10.1.0.99", 81, "UDP", Outcome.TIMEOUT),
        ("10.2.0.1", 81, "TCP", Outcome.UNREACHABLE),  # no route here
        ("fd02::1", 81, "UDP", Outcome.UNREACHABLE),
    ],
)
def test_how_a_flow_fails(cable, host, port, protocol, outcome):
    question = questions.Question(questions.Source("here", cable[0]), host, port, protocol)
    (answer,) = put(question, deadline=0.3 if outcome is Outcome.TIMEOUT else 30.0)
    assert answer.outcome is outcome, answer


@pytest.mark.parametrize(
    ("says", "detail"),
    [
        (b"", "connected, but nobody speaks HTTP there"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers HTTP 404, but is not netexec"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "answers HTTP, but is not netexec"),
    ],
)
def test_a_server_that_is_not_netexec_is_reached_but_has_no_name(cable, says, detail):
    here, there = cable
    listener = netns.call(there, lambda: socket.create_server(("10.1.0.2", 90)))
    kept = []

    def serve():
        connection, _ = listener.accept()
        kept.append(connection)
        connection.recv(65536)
        connection.sendall(says)

    threading.Thread(target=serve, daemon=True).start()
    (answer,) = put(questions.Question(questions.Source("here", here), "10.1.0.2", 90), deadline=1.5)
    listener.close()
    for connection in kept:
        connection.close()
    assert (answer.outcome, answer.endpoint, answer.detail) == (Outcome.OK, "", detail)


def test_dropped_questions_wait_together(cable):
    source = questions.Source("here", cable[0])
    began = time.monotonic()
    answers = put(*(questions.Question(source, "10.1.0.99", 1000 + n) for n in range(200)), deadline=0.5)
    assert {answer.outcome for answer in answers} == {Outcome.TIMEOUT}
    assert time.monotonic() - began < 5  # alone they would take 100 s


def test_a_namespace_that_is_gone(tmp_path):
    (answer,) = put(questions.Question(questions.Source("x", str(tmp_path / "net")), "10.1.0.2", 80))
    assert answer.outcome is Outcome.NO_SOURCE


class Server:
    """A DNS server on both transports of a namespace; what it answers is a function of the query."""

    def __init__(self, place, address, answer):
        self.answer = answer
        self.asked = []
        self.udp, self.tcp = netns.call(place, self.open, address)
        self.threads = [
            threading.Thread(target=work, daemon=True) for work in (self.serve_udp, self.serve_tcp)
        ]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def open(address):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        return udp, socket.create_server((address, 53))

    def reply(self, data, transport):
        query = dnslib.DNSRecord.parse(data)
        name = str(query.q.qname).rstrip(".")
        self.asked.append((transport, name, dnslib.QTYPE[query.q.qtype]))
        reply = query.reply()
        return self.answer(reply, name, transport)

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                data, sender = self.udp.recvfrom(65535)
                reply = self.reply(data, "UDP")
                if reply is not None:
                    self.udp.sendto(reply.pack(), sender)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                with connection:
                    packed = self.reply(connection.recv(65535)[2:], "TCP").pack()
                    connection.sendall(len(packed).to_bytes(2, "big") + packed)

    def close(self):
        self.udp.close()
        self.tcp.close()


RESOLV_CONF = "nameserver 10.1.0.2\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n"


@contextlib.contextmanager
def dns(place, answer, address="10.1.0.2"):
    server = Server(place, address, answer)
    try:
        yield server
    finally:
        server.close()


def only(known, record):
    def answer(reply, name, _transport):
        if name != known:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        elif dnslib.QTYPE[reply.q.qtype] == record.split()[0]:
            reply.add_answer(*dnslib.RR.fromZone(f"{name} 5 IN {record}"))
        return reply

    return answer


def test_a_name_is_resolved_along_the_search_path_of_the_source(cable):
    here, there = cable
    source = questions.Source("here", here, RESOLV_CONF)
    with dns(there, only("web.other.svc.cluster.local", "A 10.1.0.2")) as server:
        (answer,) = asyncio.run(against_server(there, questions.Question(source, "web.other", 8080)))
    assert (answer.outcome, answer.address, answer.name) == (
        Outcome.OK,
        "10.1.0.2",
        "web.other.svc.cluster.local",
    )
    assert [name for _, name, _ in server.asked] == [
        "web.other.shop.svc.cluster.local",
        "web.other.svc.cluster.local",
    ]


@pytest.mark.parametrize(
    ("host", "family", "says"),
    [("nobody", 4, "no such name"), ("web.shop.svc.cluster.local.", 6, "has no such address")],
)
def test_a_name_without_an_address_of_that_family(cable, host, family, says):
    here, there = cable
    source = questions.Source("here", here, RESOLV_CONF)
    with dns(there, only("web.shop.svc.cluster.local", "A 10.1.0.2")):
        (answer,) = put(questions.Question(source, host, 80, "TCP", family))
    assert answer.outcome is Outcome.DNS_FAILURE
    assert says in answer.detail


def test_a_truncated_reply_is_asked_for_again_by_tcp(cable):
    here, there = cable

    def answer(reply, name, transport):
        if transport == "UDP":
            reply.header.tc = 1
        else:
            reply.add_answer(*dnslib.RR.fromZone(f"{name} 5 IN A 10.1.0.2"))
        return reply

    source = questions.Source("here", here, RESOLV_CONF)
    with dns(there, answer) as server:
        (got,) = asyncio.run(against_server(there, questions.Question(source, "big", 8080)))
    assert got.outcome is Outcome.OK, got
    assert [transport for transport, _, _ in server.asked] == ["UDP", "TCP"]


def test_a_silent_first_server_does_not_hide_the_second(cable):
    here, there = cable
    source = questions.Source("here", here, "nameserver 10.1.0.99\nnameserver 10.1.0.2\n")
    with dns(there, only("web", "A 10.1.0.2")):
        (answer,) = asyncio.run(against_server(there, questions.Question(source, "web", 8080)))
    assert answer.outcome is Outcome.OK, answer


def test_nobody_answers_the_query(cable):
    source = questions.Source("here", cable[0], "nameserver 10.1.0.99\n")
    (answer,) = put(questions.Question(source, "web", 80), deadline=0.4)
    assert answer.outcome is Outcome.DNS_FAILURE
    assert "10.1.0.99" in answer.detail
