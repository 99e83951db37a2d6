"""The few DNS messages that readiness speaks, checked by another implementation of RFC 1035."""

import asyncio

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.api import codec, core
from netemu.client import api
from netemu.lab import config, readiness


class Api:
    """A node that has registered and is not Ready."""

    async def list(self, kind: type[core.Node]) -> api.Listing[core.Node]:
        document = {"metadata": {"name": "control-plane-1"}, "spec": {"podCIDRs": ["10.244.1.0/24"]}}
        return api.Listing((codec.convert(kind, document),), "7")


def test_where_somebody_else_brings_the_network_nobody_waits_for_it() -> None:
    said: list[str] = []
    marks: list[str] = []
    lab = config.parse({"nodes": 1, "network": {"backend": "none"}})
    asyncio.run(readiness.wait(Api(), lab, str, said.append, marks.append))  # type: ignore[arg-type]
    assert marks == ["control-plane-1 is registered"]
    assert said == ["registered: 1 nodes, Ready when somebody has brought their network"]


def test_a_question_as_others_read_it() -> None:
    parsed = dnslib.DNSRecord.parse(readiness.question(readiness.NAME, number=7))
    assert (parsed.header.id, parsed.header.rd, str(parsed.q.qname), parsed.q.qtype) == (
        7,
        1,
        "kubernetes.default.svc.cluster.local.",
        dnslib.QTYPE.A,
    )


def reply(*records: dnslib.RR, rcode: int = 0) -> bytes:
    asked = dnslib.DNSRecord.parse(readiness.question(readiness.NAME, number=7))
    answer = asked.reply()
    answer.header.rcode = rcode
    for record in records:
        answer.add_answer(record)
    packed: bytes = answer.pack()
    return packed


A = dnslib.RR(readiness.NAME, dnslib.QTYPE.A, rdata=dnslib.A("10.96.0.1"), ttl=5)
AAAA = dnslib.RR(readiness.NAME, dnslib.QTYPE.AAAA, rdata=dnslib.AAAA("fd00:96::1"), ttl=5)
ALIAS = dnslib.RR("x.example", dnslib.QTYPE.CNAME, rdata=dnslib.CNAME(readiness.NAME), ttl=5)


@pytest.mark.parametrize(
    ("message", "number", "found"),
    [
        (reply(A), 7, ("10.96.0.1",)),
        (reply(ALIAS, A), 7, ("10.96.0.1",)),
        (reply(AAAA), 7, ("fd00:96::1",)),
        (reply(A), 8, ()),
        (reply(A, rcode=3), 7, ()),
        (reply(), 7, ()),
        (readiness.question(readiness.NAME, number=7), 7, ()),
        (reply(A)[:-2], 7, ()),
        (b"", 7, ()),
    ],
)
def test_answers(message: bytes, number: int, found: tuple[str, ...]) -> None:
    assert readiness.answers(message, number) == found


@given(st.binary(max_size=100))
def test_any_bytes_are_some_answer_or_none(message: bytes) -> None:
    assert isinstance(readiness.answers(message, 0), tuple)
