"""Messages in, messages out: over real sockets, too long ones, and whatever anybody may send."""

import asyncio
import errno
import socket
import struct

import dnslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.api import meta
from netemu.dns import answering, cluster, forward, messages, resolve, server, sockets

WEB = "web.shop.svc.cluster.local"


def small(endpoints=0):
    known = cluster.Cluster()
    known.namespace("shop", exists=True)
    port = (cluster.Port("http", "tcp", 80),)
    known.service(meta.Key("shop", "web"), cluster.Service(("10.96.0.20", "fd00:96::20"), port))
    known.service(meta.Key("shop", "out"), cluster.Service(external="example.com"))
    if endpoints:
        known.service(meta.Key("shop", "db"), cluster.Service((), port))
        members = tuple(cluster.Endpoint(f"10.244.1.{n}", f"10-244-1-{n}") for n in range(endpoints))
        known.slice(meta.Key("shop", "db-1"), None, cluster.Slice(meta.Key("shop", "db"), port, members))
    return known


@pytest.fixture
def answers():
    made = answering.Answers(small(endpoints=200))
    made.synced = True
    return made


def question(name, kind="A", **header):
    asked = dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, kind))
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=4711), q=asked)
    for field, value in header.items():
        setattr(record.header, field, value)
    return record


def asked(answers, record, **how):
    return dnslib.DNSRecord.parse(answers.reply(bytes(record.pack()), **how))


def test_an_answer_has_the_askers_number_and_his_spelling(answers):
    reply = asked(answers, question("WeB.Shop.svc.CLUSTER.local", id=0x1234))
    assert (reply.header.id, reply.header.qr, reply.header.aa, reply.header.rcode) == (0x1234, 1, 1, 0)
    assert str(reply.questions[0].qname) == str(reply.rr[0].rname) == "WeB.Shop.svc.CLUSTER.local."
    assert str(reply.rr[0].rdata) == "10.96.0.20"


def test_the_second_time_it_is_remembered_under_the_new_number(answers):
    first = asked(answers, question(WEB, id=1))
    second = asked(answers, question(WEB, id=2))
    assert answers.counts["remembered"] == 1
    assert second.header.id == 2
    assert [str(r) for r in first.rr] == [str(r) for r in second.rr]


def test_what_changed_is_forgotten_at_once(answers):
    asked(answers, question(WEB))
    answers._known.service(meta.Key("shop", "web"), cluster.Service(("10.96.0.77",)))
    assert asked(answers, question(WEB)).header.rcode == dnslib.RCODE.NXDOMAIN  # no port: nothing to answer
    answers._known.service(
        meta.Key("shop", "web"), cluster.Service(("10.96.0.77",), (cluster.Port("", "tcp", 1),))
    )
    assert str(asked(answers, question(WEB)).rr[0].rdata) == "10.96.0.77"


def test_until_everything_is_known_questions_fail(answers):
    answers.synced = False
    assert asked(answers, question(WEB)).header.rcode == dnslib.RCODE.SERVFAIL
    answers.synced = True
    assert asked(answers, question(WEB)).header.rcode == dnslib.RCODE.NOERROR


def test_other_names_are_refused_when_there_is_nobody_to_ask(answers):
    reply = asked(answers, question("example.com"))
    assert (reply.header.rcode, reply.header.aa) == (dnslib.RCODE.REFUSED, 0)


def test_addresses_take_turns_at_the_first_place(answers):
    firsts = {
        str(asked(answers, question("db.shop.svc.cluster.local"), tcp=True).rr[0].rdata) for _ in range(8)
    }
    assert len(firsts) == 8


def test_without_edns_512_bytes_are_the_limit(answers):
    data = answers.reply(bytes(question("db.shop.svc.cluster.local").pack()))
    reply = dnslib.DNSRecord.parse(data)
    assert len(data) <= 512
    assert reply.header.tc == 1
    assert len(reply.rr) == (512 - 12 - 31) // 16  # header, question; a record is a pointer and 14 bytes


def test_with_edns_more_fits_and_over_tcp_all_of_it(answers):
    record = question("db.shop.svc.cluster.local")
    record.add_ar(dnslib.EDNS0(udp_len=4096))
    data = answers.reply(bytes(record.pack()))
    assert 512 < len(data) <= 1232
    assert dnslib.DNSRecord.parse(data).header.tc == 1
    whole = asked(answers, record, tcp=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 200)
    assert [extra.rtype for extra in whole.ar] == [dnslib.QTYPE.OPT]


def test_who_sent_no_edns_gets_none(answers):
    assert asked(answers, question(WEB)).ar == []


def test_edns_of_another_version_is_a_bad_version(answers):
    record = question(WEB)
    record.add_ar(dnslib.EDNS0(version=1, udp_len=4096))
    reply = asked(answers, record)
    assert (reply.ar[0].ttl >> 24, reply.header.rcode) == (1, 0)  # BADVERS is 16: 1 << 4 | 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (struct.pack("!6H", 7, 0x0100, 0, 0, 0, 0), dnslib.RCODE.FORMERR),  # no question
        (struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\x05ab", dnslib.RCODE.FORMERR),  # cut off
        (struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", dnslib.RCODE.FORMERR),  # a loop
        (bytes(question(WEB, opcode=5).pack()), dnslib.RCODE.NOTIMP),  # UPDATE
        (bytes(question(WEB).pack())[:-2] + b"\0\3", dnslib.RCODE.REFUSED),  # class CHAOS
    ],
)
def test_what_is_no_proper_question_is_told_so(answers, data, code):
    reply = answers.reply(data)
    assert reply[:2] == data[:2]
    assert (reply[2] & 0x80, reply[3] & 0x0F) == (0x80, code)


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 11, bytes(question(WEB, qr=1).pack())])
def test_what_is_no_question_at_all_is_not_answered(answers, data):
    assert answers.reply(data) is None


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: bytes(question(WEB).pack())[:-4] + b))
@settings(max_examples=400, deadline=None)
def test_any_bytes_get_a_response_of_theirs_or_none(data):
    made = answering.Answers(small())
    made.synced = True
    reply = made.reply(data)
    if reply is not None:
        assert reply[:2] == data[:2]
        assert reply[2] & 0x80
        assert len(reply) <= 1232


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
@settings(max_examples=200, deadline=None)
def test_labels_of_any_bytes_are_no_names_of_ours(labels):
    name = b"".join(bytes([len(label)]) + label for label in (*labels, b"cluster", b"local")) + b"\0"
    made = answering.Answers(small())
    made.synced = True
    reply = made.reply(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + name + b"\0\1\0\1")
    assert reply[3] & 0x0F in (dnslib.RCODE.NXDOMAIN, dnslib.RCODE.NOERROR, dnslib.RCODE.FORMERR)


def test_a_dot_inside_a_label_does_not_divide_it(answers):
    data = bytes(question(WEB).pack()).replace(b"\x03web\x04shop", b"\x08web.shop")
    assert answers.reply(data)[3] & 0x0F == dnslib.RCODE.NXDOMAIN


class Upstream(asyncio.DatagramProtocol):
    """Another name server: one address for everything, on UDP."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        query = dnslib.DNSRecord.parse(data)
        reply = query.reply()
        if str(query.questions[0].qname) != "nowhere.example.":
            reply.add_answer(dnslib.RR(query.questions[0].qname, rdata=dnslib.A("192.0.2.7"), ttl=300))
        else:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        self.transport.sendto(bytes(reply.pack()), peer)


def both():
    """Sockets of one port: UDP's free one may be somebody's of TCP."""
    while True:
        udp = sockets.bound(socket.SOCK_DGRAM, 0)
        try:
            return udp, sockets.bound(socket.SOCK_STREAM, udp.getsockname()[1])
        except OSError as problem:
            udp.close()
            if problem.errno != errno.EADDRINUSE:
                raise


async def running(answers, exchange):
    """`exchange` with the port of a server that answers over real sockets, UDP and TCP."""
    udp, tcp = both()
    port = udp.getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        datagrams = sockets.Datagrams(udp, answers, tasks)
        datagrams.start()
        listening = await asyncio.start_server(sockets.Streams(answers).serve, sock=tcp)
        try:
            await asyncio.to_thread(exchange, port)
        finally:
            datagrams.close()
            listening.close()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.3"), (socket.AF_INET6, "::1")])
def test_a_datagram_is_answered_from_the_address_it_was_sent_to(answers, family, address):
    seen = []

    def exchange(port):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.sendto(bytes(question(WEB, id=9).pack()), (address, port))
            seen.append(client.recvfrom(4096))

    asyncio.run(running(answers, exchange))
    ((data, peer),) = seen
    assert peer[0] == address
    assert str(dnslib.DNSRecord.parse(data).rr[0].rdata) == "10.96.0.20"


def test_a_tcp_connection_serves_several_questions(answers):
    replies = []

    def exchange(port):
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            for number in (1, 2):
                data = bytes(question("db.shop.svc.cluster.local", id=number).pack())
                client.sendall(struct.pack("!H", len(data)) + data)
            stream = client.makefile("rb")
            for _ in range(2):
                replies.append(dnslib.DNSRecord.parse(stream.read(int.from_bytes(stream.read(2), "big"))))

    asyncio.run(running(answers, exchange))
    assert [(r.header.id, len(r.rr)) for r in replies] == [(1, 200), (2, 200)]


@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("example.org", dnslib.RCODE.NOERROR, ["192.0.2.7"]),
        ("nowhere.example", dnslib.RCODE.NXDOMAIN, []),
        ("out.shop.svc.cluster.local", dnslib.RCODE.NOERROR, ["example.com.", "192.0.2.7"]),
    ],
)
def test_other_names_are_asked_of_other_servers(name, code, found):
    async def story():
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Upstream, local_addr=("127.0.0.1", 0)
        )
        made = answering.Answers(
            small(), (forward.Server("127.0.0.1", transport.get_extra_info("sockname")[1]),)
        )
        made.synced = True
        reply = dnslib.DNSRecord.parse(await made.reply(bytes(question(name, id=77).pack())))
        transport.close()
        return reply

    reply = asyncio.run(story())
    assert (reply.header.id, reply.header.rcode) == (77, code)
    assert [str(r.rdata) for r in reply.rr] == found


def test_when_no_other_server_answers_the_question_fails():
    async def story():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        made = answering.Answers(small(), (forward.Server("127.0.0.1", port),))
        made.synced = True
        return dnslib.DNSRecord.parse(await made.reply(bytes(question("example.org").pack())))

    assert asyncio.run(story()).header.rcode == dnslib.RCODE.SERVFAIL


def test_servers_of_resolv_conf_without_ourselves():
    servers = ("10.0.0.1", "::1", "127.0.0.53", "fe80::1%eth0", "10.9.9.9", "what", "10.0.0.1")
    text = "# comment\nsearch x\n" + "".join(f"nameserver {server}\n" for server in servers)
    assert forward.servers(text, own=("10.9.9.9",)) == (
        forward.Server("10.0.0.1"),
        forward.Server("fe80::1%eth0"),
    )


def test_flags():
    assert server.parse(
        ["-zone", "a.b", "--dns.port=5353", "-conf", "/x", "-upstream=1.1.1.1"]
    ) == server.Options("a.b", 5353, ("1.1.1.1",))
    with pytest.raises(ValueError, match="not defined"):
        server.parse(["-wat"])


def test_a_truncated_packing_never_loses_its_question(answers):
    query = messages.parse(bytes(question("db.shop.svc.cluster.local").pack()))
    answer = resolve.resolve(small(endpoints=200), query.name, "A")
    for limit in (60, 100, 512, 1232, 5000):
        data = messages.pack(query, answer, limit)
        reply = dnslib.DNSRecord.parse(data)
        assert len(data) <= limit
        assert len(reply.questions) == 1
        assert reply.header.tc == (len(reply.rr) < 200)
