"""The expectations file of `netemu check`: who may reach whom. docs/policies.md is its manual.

Knows the format, as sentences and as fields; whether somebody named here exists is seen against a world.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from netemu.base import yamls
from netemu.scenario import documents, fields

FILE = "expectations.yaml"
MAY, MAY_NOT = "may", "may not"
WORDS = ("ok", "refused", "dropped", "unreachable", "no-such-name")
PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP")
GRAMMAR = (
    "WHO[, WHO ...] may reach WHOM[, WHOM ...] [on PORT[/PROTOCOL][, ...]]",
    "WHO may not reach WHOM [on PORT[/PROTOCOL]]",
    "nothing else may",
)

_SENTENCE = re.compile(
    r"(?P<who>.+?)\s+(?P<may>may not|may|must not|cannot|can)\s+reach\s+(?P<whom>.+?)"
    r"(?:\s+on\s+(?P<ports>[^ ].*))?"
)
_PORT = re.compile(r"(\d+)?/?(TCP|UDP|SCTP|ICMP|tcp|udp|sctp|icmp)?")


class Expectation(NamedTuple):
    """One expectation. `ports`: (number, protocol), None where the target says it; `defined` is file:line.

    `wanted`: may, may not, or one of WORDS.
    """

    text: str
    senders: tuple[str, ...]
    targets: tuple[str, ...]
    ports: tuple[tuple[int | None, str | None], ...]
    families: tuple[int, ...]
    wanted: str
    defined: str


class Expectations(NamedTuple):
    """The whole file. `nothing_else` is where it says so (file:line), "" if it does not."""

    namespace: str
    every: tuple[Expectation, ...]
    nothing_else: str


def load(path: pathlib.Path) -> Expectations:
    """Read the file. Rejected with file and line."""
    found = documents.read(str(path))
    if len(found) != 1:
        message = f"expectations are one YAML document, this file has {len(found)}"
        raise yamls.Document(None, str(path), {}).rejected((), message)
    return read(found[0])


def read(document: yamls.Document) -> Expectations:
    """Read it from a document: a list, or a mapping with `expect`, and perhaps `namespace`."""
    value = document.value
    path: yamls.Path = ()
    namespace, items = "default", value
    if isinstance(value, dict):
        top = fields.of(document, (), value).known({"namespace", "expect"})
        namespace, path, items = top.text("namespace", "default"), ("expect",), value.get("expect")
    if not isinstance(items, list) or not items:
        raise document.rejected(path, "expectations are a list: " + "; ".join(GRAMMAR))
    every: list[Expectation] = []
    nothing_else = ""
    for index, item in enumerate(items):
        here = (*path, index)
        if isinstance(item, str) and re.fullmatch(r"\s*(nothing|nobody) else( may( reach .+)?)?\s*", item):
            nothing_else = document.where(here)
        elif isinstance(item, str):
            every.append(_sentence(document, here, item))
        else:
            every.append(_fields(fields.of(document, here, item)))
    return Expectations(namespace, tuple(every), nothing_else)


def _sentence(document: yamls.Document, path: yamls.Path, text: str) -> Expectation:
    found = _SENTENCE.fullmatch(" ".join(text.split()))
    if found is None:
        raise document.rejected(path, f"'{text}' is not understood; write: {'; '.join(GRAMMAR)}")
    ports = []
    for word in _words(found["ports"] or "") or [""]:
        port = _PORT.fullmatch(word)
        if port is None or (port[1] and not 1 <= int(port[1]) <= 65535):
            raise document.rejected(path, f"'{word}' is not a port; write 8080 or 53/UDP")
        ports.append((int(port[1]) if port[1] else None, port[2].upper() if port[2] else None))
    wanted = MAY if found["may"] in ("may", "can") else MAY_NOT
    return Expectation(
        text.strip(),
        tuple(_words(found["who"])),
        tuple(_words(found["whom"])),
        tuple(ports),
        (4, 6),
        wanted,
        document.where(path),
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in re.split(r",| and (?=\S)", text) if word.strip()]


def _fields(item: fields.Fields) -> Expectation:
    item.known({"from", "to", "port", "protocol", "family", "expect"})
    senders, targets = item.several("from", str), item.several("to", str)
    protocols: tuple[str | None, ...] = item.several("protocol", fields.choice(*PROTOCOLS), ())
    port = int(item.number("port", low=1, high=65535)) if "port" in item.value else None
    names = item.several("family", fields.choice("IPv4", "IPv6"), ("IPv4", "IPv6"))
    (wanted,) = item.several("expect", fields.choice(MAY, MAY_NOT, *WORDS), (MAY,))
    ports = tuple((port, protocol) for protocol in protocols or (None,))
    shown = " ".join(_shown(port)) if port is not None or protocols else ""
    text = f"{', '.join(senders)} to {', '.join(targets)}{shown and ' on ' + shown}: {wanted}"
    families = tuple(6 if name == "IPv6" else 4 for name in names)
    return Expectation(text, senders, targets, ports, families, wanted, item.document.where(item.path))


def _shown(port: int | None) -> Iterator[str]:
    if port is not None:
        yield str(port)
