"""How a pod turns a name into queries: hosts(5), resolv.conf(5), search path and ndots. Pure: no socket."""

import ipaddress
from typing import NamedTuple

import dnslib


class ResolvConf(NamedTuple):
    """The parts of a resolv.conf a stub resolver acts upon."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1


class Reply(NamedTuple):
    """A server's answer: addresses of the asked family, or why there are none."""

    addresses: tuple[str, ...]
    rcode: str
    truncated: bool
    name: str


def parse(text: str) -> ResolvConf:
    """Read a resolv.conf. The last `search` or `domain` line wins; at most three nameservers count."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        match line.split("#")[0].split(";")[0].split():
            case ["nameserver", address, *_]:
                nameservers.append(address)
            case ["search" | "domain", *domains]:
                search = tuple(domain.rstrip(".") for domain in domains)
            case ["options", *options]:
                for option in options:
                    name, _, value = option.partition(":")
                    if name == "ndots" and value.isdigit():
                        ndots = min(int(value), 15)
    return ResolvConf(tuple(nameservers[:3]), search, ndots)


def listed(hosts: str, name: str, family: int) -> tuple[str, ...]:
    """The addresses of one family that a hosts(5) file gives to a name; asked before any server."""
    wanted = name.lower().rstrip(".")
    found = (line.split("#")[0].split() for line in hosts.splitlines())
    return tuple(
        words[0]
        for words in found
        if wanted in map(str.lower, words[1:]) and (":" in words[0]) == (family == 6)
    )


def candidates(name: str, conf: ResolvConf) -> tuple[str, ...]:
    """The full names to ask for, in order (resolv.conf(5)): enough dots means as given first."""
    if name.endswith("."):
        return (name.rstrip("."),)
    searched = tuple(f"{name}.{domain}" for domain in conf.search if domain)
    if name.count(".") >= conf.ndots:
        return (name, *searched)
    return (*searched, name)


def is_literal(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address and needs no resolving."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def query(name: str, family: int) -> bytes:
    """The wire form of an A (family 4) or AAAA (family 6) query; its id is random (RFC 5452)."""
    return dnslib.DNSRecord.question(name, "AAAA" if family == 6 else "A").pack()


def reply(data: bytes, asked: bytes, family: int) -> Reply | None:
    """Read a reply to `asked`, following its CNAMEs; None when it answers something else."""
    try:
        record = dnslib.DNSRecord.parse(data)
    except (dnslib.DNSError, ValueError, IndexError):
        return None
    if data[:2] != asked[:2] or not record.header.qr:
        return None
    wanted = dnslib.QTYPE.AAAA if family == 6 else dnslib.QTYPE.A
    addresses = tuple(str(rr.rdata) for rr in record.rr if rr.rtype == wanted)
    rcode = dnslib.RCODE.get(record.header.rcode)
    return Reply(addresses, rcode, bool(record.header.tc), str(record.q.qname).rstrip("."))
