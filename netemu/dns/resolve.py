"""From a question to an answer. Pure; knows the cluster's names and their rules, no message, no socket.

Kubernetes' DNS specification 1.1.0; where it leaves a choice, CoreDNS' kubernetes plugin (`pods insecure`).
Names are lower case and without a final dot throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from netemu.api import meta
from netemu.dns import cluster

VERSION = "1.1.0"
TTL = 5
VERSION_TTL = 28800  # as CoreDNS: the version changes with the program only
MOST_ALIASES = 8
REVERSE4, REVERSE6 = ".in-addr.arpa", ".ip6.arpa"


class Srv(NamedTuple):
    """RFC 2782: which of the targets comes first, and how often among equals."""

    priority: int
    weight: int
    port: int
    target: str


class Soa(NamedTuple):
    """Times in seconds; `minimum` is how long a negative answer may be kept (RFC 2308)."""

    server: str
    mailbox: str
    serial: int
    refresh: int = 7200
    retry: int = 1800
    expire: int = 86400
    minimum: int = TTL


class Record(NamedTuple):
    """One resource record of class IN; `data`: for SRV and SOA theirs, for all others a text."""

    name: str
    type: str
    data: str | Srv | Soa
    ttl: int = TTL


class Answer(NamedTuple):
    """`code` as RFC 1035 and 6895 name it. `follow`: an alias' target which other servers have to resolve."""

    code: str = "NOERROR"
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    follow: str = ""


class _Match(NamedTuple):
    """One address that a name stands for, and the name of whoever has it."""

    address: str
    port: int
    name: str


_REFUSED = Answer("REFUSED")


def resolve(known: cluster.Cluster, name: str, kind: str) -> Answer | None:
    """The answer; None when the name is not the cluster's, and other servers are to be asked."""
    if kind in {"AXFR", "IXFR"}:
        return _REFUSED
    if name.endswith((REVERSE4, REVERSE6)):
        return _reverse(known, name, kind)
    if name == known.zone:
        return _apex(known, kind)
    if not name.endswith("." + known.zone):
        return None
    labels = name[: -len(known.zone) - 1].split(".")
    match labels[-1]:
        case "svc":
            return _service(known, name, labels[-2::-1], kind)
        case "pod":
            return _pod(known, name, labels[-2::-1], kind)
        case "dns-version" if len(labels) == 1:
            found = (Record(name, "TXT", VERSION, VERSION_TTL),) if kind == "TXT" else ()
            return _told(known, found)
        case "dns" if labels in (["ns", "dns"], ["dns"]):
            addresses = _server_addresses(known) if len(labels) == 2 else ()
            return _told(known, _of_family(name, kind, addresses))
    return _missing(known)


def soa(known: cluster.Cluster) -> Record:
    """The start of the zone; its serial is the number of changes seen."""
    return Record(
        known.zone,
        "SOA",
        Soa(f"ns.dns.{known.zone}", f"hostmaster.{known.zone}", known.revision & 0xFFFFFFFF),
    )


def _apex(known: cluster.Cluster, kind: str) -> Answer:
    server = f"ns.dns.{known.zone}"
    if kind == "SOA":
        return Answer(answers=(soa(known),))
    if kind == "NS":
        addresses = _server_addresses(known)
        extra = (*_of_family(server, "A", addresses), *_of_family(server, "AAAA", addresses))
        return Answer(answers=(Record(known.zone, "NS", server),), additional=extra)
    return _told(known, ())


def _server_addresses(known: cluster.Cluster) -> tuple[str, ...]:
    service = known.services.get(meta.Key("kube-system", "kube-dns"))
    return service.addresses if service else ()


def _service(known: cluster.Cluster, name: str, path: list[str], kind: str) -> Answer:
    """`path` from the namespace down: namespace, service, then an endpoint, or protocol and port."""
    if not path:
        return _told(known, ())
    if path[0] not in known.namespaces or len(path) > 4:
        return _missing(known)
    if len(path) == 1:
        return _told(known, ())
    key = meta.Key(path[0], path[1])
    service = known.services.get(key)
    if service is None:
        return _missing(known)
    if service.external:
        return _alias(known, name, service.external, kind) if len(path) == 2 else _missing(known)
    found = list(_matches(known, key, service, path[2:]))
    if not found:
        return _missing(known)
    if kind == "SRV":
        return _located(name, found)
    return _told(known, _of_family(name, kind, dict.fromkeys(match.address for match in found)))


def _matches(
    known: cluster.Cluster, key: meta.Key, service: cluster.Service, path: list[str]
) -> Iterator[_Match]:
    """Addresses behind a Service's name, an endpoint's name below it, or `_port._protocol` below it."""
    name = f"{key.name}.{key.namespace}.svc.{known.zone}"
    hostname = path[0] if len(path) == 1 else ""
    protocol, port = (path[0].removeprefix("_"), path[1].removeprefix("_")) if len(path) == 2 else ("", "")
    if service.addresses and not hostname:
        ports = [p for p in service.ports if _is(p, port, protocol)]
        yield from (_Match(address, p.number, name) for p in ports for address in service.addresses)
        return
    for slice_ in known.slices(key):
        ports = [p for p in slice_.ports or (cluster.Port("", "", 0),) if _is(p, port, protocol)]
        for endpoint in slice_.endpoints:
            if hostname in ("", endpoint.hostname):
                for p in ports:
                    yield _Match(endpoint.address, p.number, f"{endpoint.hostname}.{name}")


def _is(port: cluster.Port, name: str, protocol: str) -> bool:
    return name in ("", port.name) and protocol in ("", port.protocol)


def _located(name: str, found: list[_Match]) -> Answer:
    """SRV: each target and port once, weighted alike, with the targets' addresses beside them (RFC 2782).

    As in CoreDNS a hundred is shared among all addresses: a target of both families shows half its share.
    """
    places = dict.fromkeys((match.name, match.port) for match in found)
    weight = max(1, 100 // len(found))
    records = tuple(Record(name, "SRV", Srv(0, weight, port, target)) for target, port in places)
    extra = dict.fromkeys(
        Record(match.name, "AAAA" if ":" in match.address else "A", match.address) for match in found
    )
    return Answer(answers=records, additional=tuple(extra))


def _pod(known: cluster.Cluster, name: str, path: list[str], kind: str) -> Answer:
    """`a-b-c-d.<namespace>.pod`: the address that it spells, whether or not a pod has it."""
    if not path:
        return _told(known, ())
    if path[0] not in known.namespaces or len(path) > 2:
        return _missing(known)
    if len(path) == 1:
        return _told(known, ())
    label = path[1]
    four = label.count("-") == 3 and "--" not in label
    try:
        address = str(ip_address(label.replace("-", "." if four else ":")))
    except ValueError:
        return _missing(known)
    return _told(known, _of_family(name, kind, (address,)))


def _alias(known: cluster.Cluster, name: str, target: str, kind: str) -> Answer:
    """ExternalName: the alias, and what it leads to as far as that is the cluster's own."""
    found = [Record(name, "CNAME", target)]
    if kind == "CNAME":
        return Answer(answers=tuple(found))
    for _ in range(MOST_ALIASES):
        target = str(found[-1].data)
        further = resolve(known, target, kind) if not _leads_on(known, target) else None
        if further is not None:
            return further._replace(answers=(*found, *further.answers))
        external = _leads_on(known, target)
        if not external:
            return Answer(answers=tuple(found), follow=target)
        found.append(Record(target, "CNAME", external))
    return Answer("SERVFAIL", tuple(found))


def _leads_on(known: cluster.Cluster, name: str) -> str:
    """The target of an ExternalName Service's name; empty when it is none."""
    labels = name.removesuffix(f".svc.{known.zone}").split(".")
    if len(labels) != 2 or not name.endswith(f".svc.{known.zone}"):
        return ""
    service = known.services.get(meta.Key(labels[1], labels[0]))
    return service.external if service else ""


def _reverse(known: cluster.Cluster, name: str, kind: str) -> Answer | None:
    address = address_of(name)
    names = known.names_of(address) if address else ()
    if not names:
        return None
    records = tuple(Record(name, "PTR", target) for target in names) if kind == "PTR" else ()
    return _told(known, records)


def address_of(name: str) -> str:
    """The address that a reverse name spells (RFC 1035 3.5, RFC 3596 2.5); empty when it is none."""
    if name.endswith(REVERSE4):
        parts = name.removesuffix(REVERSE4).split(".")
        if len(parts) != 4 or not all(part.isdecimal() and len(part) <= 3 for part in parts):
            return ""
        try:
            return str(ip_address(".".join(str(int(part)) for part in reversed(parts))))
        except ValueError:
            return ""
    digits = name.removesuffix(REVERSE6).split(".")
    if len(digits) != 32 or not all(len(d) == 1 and d in "0123456789abcdef" for d in digits):
        return ""
    return str(IPv6Address(int("".join(reversed(digits)), 16)))


def _of_family(name: str, kind: str, addresses: Iterable[str]) -> tuple[Record, ...]:
    """Address records of the type asked for."""
    if kind not in {"A", "AAAA"}:
        return ()
    return tuple(Record(name, kind, a) for a in addresses if (":" in a) == (kind == "AAAA"))


def _told(known: cluster.Cluster, records: tuple[Record, ...]) -> Answer:
    """The records; if there are none, that the name exists without any of the type (NODATA, RFC 2308)."""
    return Answer(answers=records) if records else Answer(authority=(soa(known),))


def _missing(known: cluster.Cluster) -> Answer:
    return Answer("NXDOMAIN", authority=(soa(known),))
