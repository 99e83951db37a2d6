"""What becomes of a packet: a table's nft rules read one by one, as the kernel does. Pure.

Knows the words that the rules of netemu's own tables are made of, not what any rule is for; another word is a
bug. So it judges tables in which a rule is missing: other walks know the rules by heart, and read elements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netemu.kubeproxy import walk
from netemu.wire import nft

Chains = Mapping[str, Sequence[str]]  # name -> rules in their order
Elements = Mapping[str, Mapping[str, str]]  # set or map -> key -> value
_ON = "on"  # the verdict of a rule that leaves it to the next one


class Packet(NamedTuple):
    """One packet at one node. `link` is what it comes by ("": the node itself sends it), `own` the node's
    addresses; `state` and `status` are of its connection."""

    protocol: str
    source: str
    destination: str
    port: int = 0
    link: str = ""
    own: frozenset[str] = frozenset()
    state: str = "new"
    status: str = ""
    mark: int = 0
    priority: int = 0

    @property
    def family(self) -> str:
        return "ip6" if ":" in self.source else "ip"


class End(NamedTuple):
    """How it may leave a chain: accept, drop, reject, dnat, masquerade, or "" (no rule said any of it)."""

    verdict: str
    packet: Packet


class Table(NamedTuple):
    """Rules and elements. `spans`: of each set or map, the keys that are ranges in some part.

    `bases`: of each hook, types and names of its base chains in the order in which the kernel calls them.
    """

    bases: Mapping[str, tuple[tuple[str, str], ...]]
    chains: Chains
    elements: Elements
    spans: Mapping[str, tuple[str, ...]]

    def without(self, chains: Chains) -> Table:
        """The same with other rules in these chains."""
        return self._replace(chains={**self.chains, **chains})


def table(things: Iterable[nft.Thing], elements: Elements) -> Table:
    """Of planned chains and rules, and of elements, planned or listed."""
    bases: dict[str, tuple[tuple[str, str], ...]] = {}
    chains: dict[str, tuple[str, ...]] = {}
    everything = tuple(things)
    hooked = [(thing.hook, thing.name) for thing in everything if isinstance(thing, nft.Chain) and thing.hook]
    for hook, name in sorted(hooked, key=lambda one: one[0].priority):
        bases[hook.hook] = (*bases.get(hook.hook, ()), (hook.type, name))
    for rule in (thing for thing in everything if isinstance(thing, nft.Rule)):
        chains[rule.chain] = (*chains.get(rule.chain, ()), rule.text)
    held = {name: {_decimal(key): _decimal(of[key]) for key in of} for name, of in elements.items()}
    spans = {name: tuple(key for key in of if "-" in key or "/" in key) for name, of in held.items()}
    return Table(bases, chains, held, spans)


def at(of: Table, hook: str, packet: Packet) -> tuple[End, ...]:
    """All that may become of it at a hook. What one base chain accepts, the next one judges, too."""
    ends: tuple[End, ...] = (End("", packet),)
    for kind, chain in of.bases.get(hook, ()):
        found = (after for end in ends for after in _judged(of, kind, chain, end))
        ends = tuple(dict.fromkeys(found))
    return ends


def _judged(of: Table, kind: str, chain: str, end: End) -> Iterator[End]:
    translated = end.verdict in ("dnat", "masquerade")
    if end.verdict in ("drop", "reject") or (translated and kind == "nat"):
        yield end  # once translated, no other nat chain of the hook is asked
        return
    for after in through(of, chain, end.packet):
        passed = after.verdict in ("", "accept")
        yield after._replace(verdict=end.verdict) if passed else after


def through(of: Table, chain: str, packet: Packet) -> tuple[End, ...]:
    """All that may become of it there; more than one where a rule draws a number."""
    going, ended = [packet], list[End]()
    for text in of.chains.get(chain, ()):
        found = [end for one in going for end in _rule(of, text, one)]
        ended += [end for end in found if end.verdict != _ON]
        going = list(dict.fromkeys(end.packet for end in found if end.verdict == _ON))
        if not going:
            break
    return tuple(dict.fromkeys((*ended, *(End("", one) for one in going))))


@functools.lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip('"') for word in text.split())


def _rule(of: Table, text: str, packet: Packet) -> Iterator[End]:
    words = _words(text)
    draws = int(words[words.index("numgen") + 3]) if "numgen" in words else 1
    for drawn in range(draws):
        yield from _Rule(of, words, packet, drawn).read()


class _Rule:
    """One rule and one packet; what the rule writes stays written, even if a later match ends it."""

    def __init__(self, of: Table, words: tuple[str, ...], packet: Packet, drawn: int) -> None:
        self._of, self._words, self._packet, self._drawn = of, words, packet, drawn
        self._at = 0

    def read(self) -> tuple[End, ...]:
        while self._at < len(self._words):
            match self._rest():
                case ("accept" | "drop" | "reject" | "masquerade" as verdict, *_):
                    return (End(verdict, self._packet),)
                case ("goto" | "jump" as verb, chain, *_):
                    return self._verdict(f"{verb} {chain}")
                case ("limit" | "log", *_):
                    break  # whatever follows tells of the packet, and does nothing to it
                case ("update" | "add" | "delete", *_):
                    self._at = self._words.index("}", self._at) + 1
                case ("dnat", _, "to", *_):
                    self._at += 3
                    if (to := self._value()) is None:
                        break
                    host, _, port = to.rpartition(" . ")
                    sent = self._packet._replace(destination=host, port=int(port), status="dnat")
                    return (End("dnat", sent),)
                case ("meta", "mark" | "priority" as register, "set", *_):
                    self._at += 3
                    if (value := self._value()) is None:
                        break
                    self._packet = _written(self._packet, register, _number(value))
                case _:
                    if (ends := self._match()) is not None:
                        return ends
        return (End(_ON, self._packet),)

    def _match(self) -> tuple[End, ...] | None:
        """The end of the rule, if what is asked for is not so, or a map says what to do."""
        on = (End(_ON, self._packet),)
        value = self._value()
        if value is None:
            return on
        operator = self._take() if self._next() in ("!=", "==", ">=", "vmap") else "=="
        wanted = self._take()
        if operator == "vmap":
            verdict = self._find(wanted[1:], value)
            return on if verdict is None else self._verdict(verdict)
        if operator == ">=":
            return None if _number(value) >= _number(wanted) else on
        if wanted == "{":
            end = self._words.index("}", self._at)
            several = [word.rstrip(",") for word in self._words[self._at : end]]
            self._at = end + 1
            same = any(_covers(one, value) for one in several)
        elif wanted.startswith("@"):
            same = self._find(wanted[1:], value) is not None
        else:
            same = any(_same(one, value) for one in wanted.split(","))
        return None if same == (operator == "==") else on

    def _verdict(self, text: str) -> tuple[End, ...]:
        """`drop`, `goto chain`, `jump chain`: who comes back from a jump goes on with the next rule."""
        verb, _, chain = text.partition(" ")
        if not chain:
            return (End(verb, self._packet),)
        ends = through(self._of, chain, self._packet)
        if verb == "goto":
            return ends
        return tuple(end if end.verdict else End(_ON, end.packet) for end in ends)

    # --- values

    def _value(self) -> str | None:
        """Of fields joined by dots, looked up in a map if it says so. None: the packet has none of that."""
        parts = [self._field()]
        while self._next() == ".":
            self._at += 1
            parts.append(self._field())
        found = None if None in parts else nft.key(*parts)
        if self._next() == "map":
            self._at += 1
            name = self._take()[1:]
            found = None if found is None else self._find(name, found)
        return found

    def _field(self) -> str | None:
        packet = self._packet
        match self._rest():
            case ("jhash", *_):
                self._at = self._words.index("seed", self._at) + 2
                return _HASH
            case ("numgen", *_):
                self._at += 4
                return str(self._drawn)
            case ("meta", "mark" | "priority" as register, *_):
                self._at += 2
                number: int = getattr(packet, register)
                if (operate := _OPERATIONS.get(self._next())) is not None:
                    self._at += 1
                    number = operate(number, int(self._take(), 0))
                return str(number) if register == "mark" else _priority(number)
            case ("fib", end, "type", *_):
                self._at += 3
                return "local" if _local(packet, end) else "unicast"
            case (first, *rest):
                for words, read in _FIELDS.items():
                    if words == (first, *rest[: len(words) - 1]):
                        self._at += len(words)
                        return read(packet)
                self._at += 1
                if first.startswith("@") or not (first[0].isdigit() or _is_priority(first)):
                    raise ValueError(f"{first!r} is no word known here: {' '.join(self._words)}")
                return first
        raise ValueError(f"a value is missing: {' '.join(self._words)}")

    def _find(self, name: str, key: str) -> str | None:
        held = self._of.elements.get(name, {})
        found = held.get(key)
        if found is None:
            spans = self._of.spans.get(name, ())
            found = next((held[span] for span in spans if _covers(span, key)), None)
        return found

    def _rest(self) -> tuple[str, ...]:
        return self._words[self._at :]

    def _next(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _take(self) -> str:
        self._at += 1
        return self._words[self._at - 1]


def _of_family(family: str, field: str) -> Callable[[Packet], str | None]:
    return lambda packet: getattr(packet, field) if packet.family == family else None


def _port_of(protocol: str) -> Callable[[Packet], str | None]:
    return lambda packet: str(packet.port) if protocol in ("th", packet.protocol) else None


# An echo request's type (RFC 4443); a hash of a client, which has the bit that means "masquerade": some do.
_ECHO, _HASH = "128", str(0x6E65)
_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "&": int.__and__,
    "and": int.__and__,
    "or": int.__or__,
    "^": int.__xor__,
}
_FIELDS: Mapping[tuple[str, ...], Callable[[Packet], str | None]] = {
    ("ip", "saddr"): _of_family("ip", "source"),
    ("ip", "daddr"): _of_family("ip", "destination"),
    ("ip6", "saddr"): _of_family("ip6", "source"),
    ("ip6", "daddr"): _of_family("ip6", "destination"),
    ("@nh,96,96",): lambda packet: packet.source,
    ("meta", "l4proto"): lambda packet: packet.protocol,
    **{(protocol, "dport"): _port_of(protocol) for protocol in ("th", "tcp", "udp", "sctp")},
    ("icmpv6", "type"): lambda packet: _ECHO if packet.protocol == "ipv6-icmp" else None,
    ("ct", "state"): lambda packet: packet.state,
    ("ct", "status"): lambda packet: packet.status,
    ("iifname",): lambda packet: packet.link,
}


def _local(packet: Packet, end: str) -> bool:
    address = packet.source if end == "saddr" else packet.destination
    return address in packet.own or ip_address(address).is_loopback


def _written(packet: Packet, register: str, number: int) -> Packet:
    return packet._replace(mark=number) if register == "mark" else packet._replace(priority=number)


def _decimal(text: str) -> str:
    """Marks are planned as 0x4000 and listed as 16384."""
    return str(int(text, 16)) if text.startswith("0x") else text


def _priority(number: int) -> str:
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


def _is_priority(text: str) -> bool:
    return text == "none" or ":" in text


def _number(text: str) -> int:
    """Of a mark, or of a priority (`1b:2a`, none)."""
    if text == "none":
        return 0
    major, colon, minor = text.partition(":")
    return int(major, 16) << 16 | int(minor, 16) if colon else int(text, 0)


def _same(one: str, other: str) -> bool:
    """0x4000 is 16384; a literal range covers what is in it, `veth*` what begins so."""
    one = _decimal(one)
    return one == other or (one.endswith("*") and other.startswith(one[:-1])) or _covers(one, other)


def _covers(span: str, key: str) -> bool:
    """Whether a key with ranges in its parts holds this one."""
    pairs = zip(span.split(" . "), key.split(" . "), strict=True)
    return all(part == own or _part(part, own) for part, own in pairs)


def _part(span: str, own: str) -> bool:
    low, dash, high = span.partition("-")
    if dash and low.isdigit():
        return own.isdigit() and int(low) <= int(own) <= int(high)
    if not (dash or "/" in span):
        return False
    return walk.covers(span, own)
