"""nftables as values: tables, chains, rules, sets, maps, elements; `str(transaction)` is the nft document.

Knows the grammar of nft(8) as version 1.0.6 and later read it; not the kernel, nor what any rule is for.
A transaction is applied whole or not at all; its commands run in the order given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

COMMENT_LIMIT = 127  # bytes; one more is the terminating zero of NFTNL_UDATA_COMMENT_MAXLEN


def quoted(comment: str) -> str:
    """A comment as nft reads it: in double quotes, so inner ones become apostrophes."""
    if len(comment) <= COMMENT_LIMIT and comment.isascii() and '"' not in comment and "\n" not in comment:
        return f'comment "{comment}"'  # nearly all of them
    text = comment.replace('"', "'").replace("\n", " ").encode()[:COMMENT_LIMIT].decode(errors="ignore")
    return f'comment "{text}"'


def key(*parts: object) -> str:
    """The concatenation of several fields, as in an element or a look-up: `10.96.0.1 . tcp . 80`."""
    return " . ".join(str(part) for part in parts)


class Table(NamedTuple):
    """A table of one family (`ip`, `ip6`, `inet`, `bridge`, `netdev`)."""

    family: str
    name: str
    comment: str = ""

    def __str__(self) -> str:
        return f"{self.family} {self.name}"

    @property
    def definition(self) -> str:
        return f"{self} {{ {quoted(self.comment)} ; }}" if self.comment else str(self)


class Hook(NamedTuple):
    """Where a base chain is called. Lower priorities run earlier (dstnat -100, filter 0, srcnat 100)."""

    type: str
    hook: str
    priority: int
    policy: str = "accept"

    def __str__(self) -> str:
        return f"type {self.type} hook {self.hook} priority {self.priority} ; policy {self.policy} ;"


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain (with a hook) or one that is jumped to."""

    name: str
    hook: Hook | None = None
    comment: str = ""

    noun = "chain"

    @property
    def body(self) -> str:
        hook = [str(self.hook)] if self.hook else []
        parts = hook + ([f"{quoted(self.comment)} ;"] if self.comment else [])
        return f" {{ {' '.join(parts)} }}" if parts else ""


@dataclass(frozen=True, slots=True)
class Set:
    """A named set of keys. `of` declares the key: `type ipv4_addr . inet_service`, or `typeof ip daddr`."""

    name: str
    of: str
    flags: tuple[str, ...] = ()
    size: int = 0
    timeout: str = ""
    comment: str = ""

    noun = "set"

    @property
    def declaration(self) -> str:
        return self.of

    @property
    def body(self) -> str:
        parts = [self.declaration]
        if self.flags:
            parts.append("flags " + ",".join(self.flags))
        if self.timeout:
            parts.append(f"timeout {self.timeout}")
        if self.size:
            parts.append(f"size {self.size}")
        if self.comment:
            parts.append(quoted(self.comment))
        return f" {{ {' ; '.join(parts)} ; }}"


@dataclass(frozen=True, slots=True)
class Map(Set):
    """A named map. `to` declares the value; `verdict` makes it a verdict map (its elements may jump)."""

    to: str = "verdict"

    noun = "map"

    @property
    def declaration(self) -> str:
        return f"{self.of} : {self.to}"


class Rule(NamedTuple):
    """One rule at the end of a chain."""

    chain: str
    text: str
    comment: str = ""

    def __str__(self) -> str:
        return f"{self.text} {quoted(self.comment)}" if self.comment else self.text


class Element(NamedTuple):
    """One element of the set or map named `of`; `value` is empty in a set."""

    of: str
    key: str
    value: str = ""
    comment: str = ""

    def __str__(self) -> str:
        head = f"{self.key} {quoted(self.comment)}" if self.comment else self.key
        return f"{head} : {self.value}" if self.value else head


Named = Chain | Set | Map
Thing = Table | Chain | Set | Map | Rule | Element


@dataclass(frozen=True, slots=True)
class Add:
    """Make it; an identical one that exists already is no error."""

    thing: Thing


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove it; it must exist. A table goes with all it holds; a chain or set must be unused."""

    thing: Table | Chain | Set | Map | Element


@dataclass(frozen=True, slots=True)
class Flush:
    """Remove all rules of a chain, all elements of a set or map."""

    thing: Chain | Set | Map


Command = Add | Delete | Flush


@dataclass(frozen=True, slots=True)
class Transaction:
    """Commands on one table, applied as one. An empty one is false."""

    table: Table
    commands: tuple[Command, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.commands)

    def __str__(self) -> str:
        return "".join(line + "\n" for line in _lines(self.table, self.commands))


def replacement(table: Table, things: Iterable[Thing]) -> Transaction:
    """Whatever the table held, afterwards it holds exactly `things`. (1.0.6 has no `destroy`.)"""
    bare = Table(table.family, table.name)
    return Transaction(table, (Add(bare), Delete(bare), Add(table), *(Add(thing) for thing in things)))


def removal(table: Table) -> Transaction:
    """The table is gone afterwards, whether it was there or not."""
    bare = Table(table.family, table.name)
    return Transaction(table, (Add(bare), Delete(bare)))


def _lines(table: Table, commands: Iterable[Command]) -> Iterator[str]:
    """One line a command; elements of one set that follow each other share a line."""
    for (verb, container), run in groupby(commands, _run):
        if container:
            elements = (command.thing for command in run)
            texts = (str(e) for e in elements) if verb is Add else (e.key for e in elements)  # type: ignore[union-attr]
            yield f"{verb.__name__.lower()} element {table} {container} {{ {', '.join(texts)} }}"
        else:
            yield from (_line(table, command) for command in run)


def _run(command: Command) -> tuple[type[Command], str]:
    thing = command.thing
    return type(command), thing.of if isinstance(thing, Element) else ""


def _line(table: Table, command: Command) -> str:
    verb, thing = type(command).__name__.lower(), command.thing
    if isinstance(thing, Table):
        return f"{verb} table {thing.definition if verb == 'add' else thing}"
    if isinstance(thing, Rule):
        return f"{verb} rule {table} {thing.chain} {thing}"
    assert not isinstance(thing, Element)
    return f"{verb} {thing.noun} {table} {thing.name}{thing.body if verb == 'add' else ''}"
