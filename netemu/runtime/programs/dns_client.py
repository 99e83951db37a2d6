"""DNS questions asked of one server over UDP, over TCP when the answer is cut. RFC 1035 on the wire."""

import ipaddress
import secrets
import socket
import struct
import time
from typing import NamedTuple

from netemu.runtime.programs import sockets

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


class Record(NamedTuple):
    """`ttl` in seconds; `text` is what dig shows of its data."""

    name: str
    type: str
    ttl: int
    text: str


class Answer(NamedTuple):
    """`code` is one of CODES."""

    code: str
    records: tuple[Record, ...]


class Settings(NamedTuple):
    """What resolv.conf says; the defaults are the resolver's (resolv.conf(5))."""

    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1


def settings(path: str = "/etc/resolv.conf") -> Settings:
    """Of a resolv.conf(5) file; the last `search` or `domain` counts."""

    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for keyword, words in sockets.nameservers(path):
        if keyword == "nameserver":
            servers += words[:1]
        elif keyword in ("search", "domain"):
            search = tuple(words)
        elif keyword == "options":
            ndots = next((int(word[6:]) for word in words if word.startswith("ndots:")), ndots)
    return Settings(tuple(servers) or ("127.0.0.1",), search, ndots)


def candidates(name: str, by: Settings) -> tuple[str, ...]:
    """The names to try in turn: the search list before or after the name itself, as ndots says."""
    if name.endswith("."):
        return (name.rstrip("."),)
    searched = tuple(f"{name}.{domain.rstrip('.')}" for domain in by.search)
    return (name, *searched) if name.count(".") >= by.ndots else (*searched, name)


def reverse(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer


def ask(server: str, port: int, name: str, kind: str, *, timeout: float = 5.0, tries: int = 2) -> Answer:
    """OSError when nobody answers; ValueError when what comes is no DNS."""
    number = secrets.randbelow(1 << 16)
    question = b"".join(
        bytes((len(label),)) + label for label in name.encode("ascii", "replace").split(b".") if label
    )
    query = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question + struct.pack(">xHH", TYPES[kind], 1)
    for attempt in range(tries):
        try:
            message = _by_udp(server, port, query, timeout)
            break
        except TimeoutError:
            if attempt == tries - 1:
                raise
    if message[2] & 2:
        message = _by_tcp(server, port, query, timeout)
    return decode(message)


def _by_udp(server: str, port: int, query: bytes, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    with sockets.connect(server, port, timeout, socket.SOCK_DGRAM) as sock:
        sock.send(query)
        while True:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            message = sock.recv(65535)
            if message[:2] == query[:2] and len(message) >= 12:
                return message


def _by_tcp(server: str, port: int, query: bytes, timeout: float) -> bytes:
    with sockets.connect(server, port, timeout) as sock:
        sock.sendall(struct.pack(">H", len(query)) + query)
        (length,) = struct.unpack(">H", sock.recv(2, socket.MSG_WAITALL))
        return sock.recv(length, socket.MSG_WAITALL)


def decode(message: bytes) -> Answer:
    """The answer section. ValueError when the message is cut or absurd."""
    try:
        _, flags, questions, answers, _, _ = struct.unpack_from(">6H", message)
        at = 12
        for _ in range(questions):
            at = _name(message, at)[1] + 4
        records = []
        for _ in range(answers):
            name, at = _name(message, at)
            kind, _, ttl, length = struct.unpack_from(">HHIH", message, at)
            text = _text(message, at + 10, length, NAMES.get(kind, ""))
            records.append(Record(name, NAMES.get(kind, f"TYPE{kind}"), ttl, text))
            at += 10 + length
    except (struct.error, IndexError, ipaddress.AddressValueError):
        raise ValueError("the answer is no DNS message") from None
    return Answer(CODES.get(flags & 15, str(flags & 15)), tuple(records))


def _name(message: bytes, at: int) -> tuple[str, int]:
    """A domain name, its compression followed, and where it ends."""
    labels, end, jumps = [], 0, 0
    while True:
        length = message[at]
        if length & 0xC0 == 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
            jumps += 1
            if jumps > 64:
                raise ValueError("the answer's names go in circles")
        elif length:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace"))
            at += 1 + length
        else:
            return ".".join(labels), end or at + 1


def _text(message: bytes, at: int, length: int, kind: str) -> str:
    content = message[at : at + length]
    if kind == "A":
        return str(ipaddress.IPv4Address(content))
    if kind == "AAAA":
        return str(ipaddress.IPv6Address(content))
    if kind in ("CNAME", "NS", "PTR"):
        return _name(message, at)[0]
    if kind == "MX":
        return f"{struct.unpack_from('>H', content)[0]} {_name(message, at + 2)[0]}"
    if kind == "SRV":
        return f"{' '.join(map(str, struct.unpack_from('>3H', content)))} {_name(message, at + 6)[0]}"
    if kind == "TXT":
        pieces, index = [], 0
        while index < length:
            pieces.append(content[index + 1 : index + 1 + content[index]].decode(errors="replace"))
            index += 1 + content[index]
        return " ".join(f'"{piece}"' for piece in pieces)
    return content.hex()
