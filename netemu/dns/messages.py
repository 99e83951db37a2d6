"""DNS messages (RFC 1035, EDNS RFC 6891) by dnslib: queries in, responses out. No names are resolved here.

Bytes come from anybody: whatever they are, the outcome is a Query, or Garbage that says what to reply.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import dnslib

from netemu.dns import resolve

PLAIN_SIZE = 512  # bytes of a UDP message without EDNS
OUR_SIZE = 1232  # bytes that pass any path unfragmented (DNS flag day 2020)
MOST = 65535  # bytes of a message over TCP
HEADER = 12
_BAD_VERSION = 16
_UNSPEAKABLE = "\0"  # stands for a dot inside a label, so that no name of ours looks like it


class Query(NamedTuple):
    """One question. `name` is lower case without a final dot; `size` is what the asker takes over UDP."""

    name: str
    kind: str
    size: int
    record: Any


class Garbage(Exception):
    """No question that can be answered. `reply` is what to send back; empty: nothing."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__()
        self.reply = reply


def parse(data: bytes) -> Query:
    """A query. Garbage when it is none, or one that is refused whatever it asks."""
    if len(data) < HEADER or data[2] & 0x80:
        raise Garbage  # too short to answer, or an answer: replying could go round for ever
    try:
        record = dnslib.DNSRecord.parse(data)
    except Exception:  # dnslib raises several kinds, and anybody may send anything
        raise Garbage(_bare(data, dnslib.RCODE.FORMERR)) from None
    if record.header.opcode != dnslib.OPCODE.QUERY:
        raise Garbage(_bare(data, dnslib.RCODE.NOTIMP))
    if len(record.questions) != 1:
        raise Garbage(_bare(data, dnslib.RCODE.FORMERR))
    question = record.questions[0]
    size = PLAIN_SIZE
    for extra in record.ar:
        if extra.rtype == dnslib.QTYPE.OPT:
            size = max(PLAIN_SIZE, extra.rclass)
            if (extra.ttl >> 16) & 0xFF:
                raise Garbage(_bad_version(record))
    if question.qclass != dnslib.CLASS.IN:
        raise Garbage(pack(Query("", "", size, record), resolve.Answer("REFUSED"), size))
    name = ".".join(_label(label) for label in question.qname.label)
    return Query(name, str(dnslib.QTYPE.get(question.qtype)), size, record)


def _label(label: bytes) -> str:
    return label.decode("latin-1").lower().replace(".", _UNSPEAKABLE)


def pack(query: Query, answer: resolve.Answer, limit: int, *, authoritative: bool = True) -> bytes:
    """The response in at most `limit` bytes: what is additional goes first, then answers (marked: truncated).

    Names equal to the question's are spelled as in the question (resolvers check that: draft-vixie-dns0x20).
    """
    asked = query.record
    spelled = str(asked.questions[0].qname) if asked.questions else "."
    answers = [_record(r, query.name, spelled) for r in answer.answers]
    response = dnslib.DNSRecord(
        dnslib.DNSHeader(
            id=asked.header.id,
            bitmap=asked.header.bitmap & 0x0110,  # RD and CD come back
            qr=1,
            aa=int(authoritative),
            ra=1,
            rd=asked.header.rd,
            rcode=getattr(dnslib.RCODE, answer.code),
        ),
        questions=asked.questions,
        rr=answers,
        auth=[_record(r, query.name, spelled) for r in answer.authority],
        ar=[_record(r, query.name, spelled) for r in answer.additional] + _edns(asked),
    )
    data = bytes(response.pack())
    if len(data) <= limit:
        return data
    response.ar, response.auth = _edns(asked), []
    data = bytes(response.pack())
    low, high = 0, len(answers)
    if len(data) > limit:
        response.header.tc = 1
        while low < high:  # the largest number of answers that fits
            middle = (low + high + 1) // 2
            response.rr = answers[:middle]
            low, high = (middle, high) if len(response.pack()) <= limit else (low, middle - 1)
        response.rr = answers[:low]
        data = bytes(response.pack())
    return data


def _edns(asked: Any) -> list[Any]:
    """An OPT record for whoever sent one, and nobody else."""
    wanted = any(extra.rtype == dnslib.QTYPE.OPT for extra in asked.ar)
    return [dnslib.EDNS0(udp_len=OUR_SIZE)] if wanted else []


def _record(record: resolve.Record, name: str, spelled: str) -> Any:
    label = spelled if record.name == name else record.name
    return dnslib.RR(label, getattr(dnslib.QTYPE, record.type), ttl=record.ttl, rdata=_data(record))


def _data(record: resolve.Record) -> Any:
    data = record.data
    if isinstance(data, resolve.Srv):
        return dnslib.SRV(data.priority, data.weight, data.port, data.target)
    if isinstance(data, resolve.Soa):
        times = (data.serial, data.refresh, data.retry, data.expire, data.minimum)
        return dnslib.SOA(data.server, data.mailbox, times)
    return getattr(dnslib, record.type)(data)


def _bare(data: bytes, code: int) -> bytes:
    """A header only, with the asker's number: all that can be said to a message that makes no sense."""
    return data[:2] + bytes((0x80 | data[2] & 0x79, 0x80 | code)) + bytes(8)


def _bad_version(record: Any) -> bytes:
    """EDNS of a version that nobody has defined (RFC 6891 6.1.3): the upper bits of the code are in OPT."""
    response = dnslib.DNSRecord(
        dnslib.DNSHeader(id=record.header.id, qr=1, ra=1, rd=record.header.rd, rcode=_BAD_VERSION & 0xF),
        questions=record.questions,
        ar=[dnslib.EDNS0(udp_len=OUR_SIZE, ext_rcode=_BAD_VERSION >> 4)],
    )
    return bytes(response.pack())


def shortened(response: bytes) -> bytes:
    """The header and question of a response that does not fit, marked as truncated: ask again over TCP."""
    record = dnslib.DNSRecord.parse(response)
    return bytes(record.truncate().pack())


def joined(query: Query, answer: resolve.Answer, response: bytes, limit: int) -> bytes:
    """Our alias, and below it the records of another server's response to where it leads."""
    try:
        other = dnslib.DNSRecord.parse(response)
    except Exception:  # as in parse
        return pack(query, resolve.Answer("SERVFAIL"), limit)
    code = str(dnslib.RCODE.get(other.header.rcode))
    if code not in {"NOERROR", "NXDOMAIN"}:
        return pack(query, resolve.Answer("SERVFAIL"), limit)
    found = tuple(
        resolve.Record(str(rr.rname).rstrip(".").lower(), rr_type, str(rr.rdata).rstrip("."), min(rr.ttl, 30))
        for rr in other.rr
        if (rr_type := str(dnslib.QTYPE.get(rr.rtype))) in {"A", "AAAA", "CNAME"}
    )
    return pack(query, answer._replace(code=code, answers=(*answer.answers, *found)), limit)
