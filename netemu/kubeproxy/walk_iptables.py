"""What becomes of a packet: a walk over kube-proxy's chains, as iptables-save tells them. Pure.

Rules are read one by one, as the kernel does, with probabilities where `statistic` draws. It knows the
matches and targets that kube-proxy writes; a rule with any other is passed over.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from ipaddress import ip_address
from typing import NamedTuple

from netemu.kubeproxy.walk import Chance, Fate, Packet, covers

Chains = Mapping[str, Mapping[str, Sequence[str]]]  # table -> chain -> rules, without their -A

_FLAGS = frozenset({"--rcheck", "--reap", "--set", "--rsource", "--random-fully"})
_VALUED = frozenset(
    {
        "-s", "-d", "-i", "-p", "-m", "-j", "--dport", "--mark", "--ctstate", "--src-type", "--dst-type",
        "--mode", "--probability", "--name", "--mask", "--seconds", "--comment", "--to-destination",
        "--set-xmark", "--or-mark", "--xor-mark", "--reject-with",
    }
)  # fmt: skip


_DECIDED = ("--dport", "-p", "-i", "--mark", "--ctstate", "-d", "-s", "--src-type", "--dst-type")
_NONE, _ALL = Fraction(0), Fraction(1)


class Term(NamedTuple):
    """One option of a rule: `! -s 10.0.0.0/8`."""

    option: str
    value: str = ""
    negated: bool = False


class Rule(NamedTuple):
    """Its terms, the cheapest to decide first, and the same by option."""

    terms: tuple[Term, ...]
    by: Mapping[str, Term]

    def value(self, option: str) -> str:
        return self.by[option].value if option in self.by else ""


class _End(NamedTuple):
    """How one branch leaves a chain: the share of packets, their mark, what became of them ("": goes on)."""

    share: Fraction
    mark: int
    verdict: str = ""
    to: str = ""


def read(saved: str) -> dict[str, dict[str, list[str]]]:
    """What iptables-save printed, or what iptables-restore is to read."""
    found: dict[str, dict[str, list[str]]] = {}
    table: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            table = found.setdefault(line[1:], {})
        elif line.startswith(":"):
            table.setdefault(line[1:].split(" ", 1)[0], [])
        elif line.startswith(("-A ", "-I ")):
            _, chain, rule = (*line.split(" ", 2), "")[:3]
            rules = table.setdefault(chain, [])
            rules.insert(len(rules) if line.startswith("-A") else 0, rule)
    return found


def fate(chains: Chains, packet: Packet, own: frozenset[str]) -> Fate:
    """What the chains of the packet's family do with it. `own` are the node's addresses."""
    walk = _Walk(chains, packet, own)
    ends = walk.through("nat", "PREROUTING" if packet.link else "OUTPUT", 0)
    sent = [end for end in ends if end.verdict == "DNAT"]
    if not sent:
        return walk.untranslated()
    chances: dict[tuple[str, int, bool], Fraction] = {}
    for end in sent:
        host, _, port = end.to.rpartition(":")
        host = host.strip("[]")
        delivered = host in own and bool(packet.link)  # to the node itself: no postrouting
        at = (host, int(port), not delivered and walk.masqueraded(end.mark))
        chances[at] = chances.get(at, Fraction(0)) + end.share
    found = tuple(Chance(*at[:2], "", share, at[2]) for at, share in sorted(chances.items()))
    return Fate("sent", walk.reason, found, walk.stays)


class _Walk:
    def __init__(self, chains: Chains, packet: Packet, own: frozenset[str]) -> None:
        self._chains, self._packet, self._own = chains, packet, own
        self.reason, self.stays = "", 0

    def untranslated(self) -> Fate:
        """What the filter does with a packet that still has its destination."""
        hooks = ["FORWARD"] if self._packet.link else ["OUTPUT"]
        if self._local(self._packet.destination):
            hooks = ["INPUT"] if self._packet.link else ["OUTPUT", "INPUT"]
        for hook in hooks:
            for end in self.through("filter", hook, 0):
                if end.verdict in ("REJECT", "DROP"):
                    return Fate({"REJECT": "refused", "DROP": "dropped"}[end.verdict], self.reason)
        return Fate("passed on", "it is no Service's")

    def masqueraded(self, mark: int) -> bool:
        """Whether a packet that leaves with this mark does so with the node's address."""
        return any(end.verdict == "MASQUERADE" for end in self.through("nat", "POSTROUTING", mark))

    def through(self, table: str, chain: str, mark: int) -> list[_End]:
        """All that may happen to a packet in that chain, and where it calls others."""
        live, ended = [_End(_ALL, mark)], list[_End]()
        for text in self._chains.get(table, {}).get(chain, ()):
            rule = parse(text)
            if rule is None:
                continue
            going = []
            for branch in live:
                share = self._matches(rule, branch.mark)
                if share < 1:
                    going.append(branch._replace(share=branch.share * (1 - share)))
                if share > 0:
                    for end in self._target(table, rule, branch._replace(share=branch.share * share)):
                        (ended if end.verdict else going).append(end)
            live = going
        return [*(e._replace(verdict="") if e.verdict == "RETURN" else e for e in ended), *live]

    def _target(self, table: str, rule: Rule, branch: _End) -> list[_End]:
        target = rule.value("-j")
        if target in ("DROP", "REJECT", "DNAT"):
            self.reason = rule.value("--comment").partition(" -> ")[0]
        if target in self._chains.get(table, {}):
            inner = self.through(table, target, branch.mark)
            return [end._replace(share=end.share * branch.share) for end in inner]
        if target == "MARK":
            return [branch._replace(mark=_marked(rule, branch.mark))]
        if not target:
            return [branch]
        return [branch._replace(verdict=target, to=rule.value("--to-destination"))]

    def _matches(self, rule: Rule, mark: int) -> Fraction:
        """The share of packets like this one that the rule is for."""
        for term in rule.terms:
            if self._holds(term, mark) == term.negated:
                return _NONE
        if "--rcheck" in rule.by:
            self.stays = int(rule.value("--seconds"))
            return _NONE  # who has been here before is not in the rules
        return _fraction(rule.value("--probability")) if "--probability" in rule.by else _ALL

    def _holds(self, term: Term, mark: int) -> bool:
        packet = self._packet
        match term.option:
            case "-s":
                return covers(term.value, packet.source)
            case "-d":
                return covers(term.value, packet.destination)
            case "-i":
                start, plus, _ = term.value.partition("+")
                return packet.link.startswith(start) if plus else packet.link == start
            case "-p":
                return term.value == packet.protocol
            case "--dport":
                return term.value == str(packet.port)
            case "--src-type":
                return self._local(packet.source)
            case "--dst-type":
                return self._local(packet.destination)
            case "--ctstate":
                return "NEW" in term.value.split(",")
            case "--mark":
                value, mask = (int(text, 0) for text in term.value.split("/"))
                return mark & mask == value
        raise AssertionError(term.option)

    def _local(self, address: str) -> bool:
        return address in self._own or ip_address(address).is_loopback


@functools.lru_cache(maxsize=1 << 16)
def parse(text: str) -> Rule | None:
    """A rule's options; None when it has one that is not known."""
    terms = [term for term in _terms(text) if term is not None]
    if len(terms) < sum(1 for _ in _terms(text)):
        return None
    conditions = sorted((t for t in terms if t.option in _DECIDED), key=lambda t: _DECIDED.index(t.option))
    return Rule(tuple(conditions), {term.option: term for term in terms})


def _terms(text: str) -> Iterator[Term | None]:
    words, negated = iter(shlex.split(text)), False
    for word in words:
        if word == "!":
            negated = True
            continue
        if word in _VALUED:
            yield Term(word, next(words), negated)
        else:
            yield Term(word, "", negated) if word in _FLAGS else None
        negated = False


def _marked(rule: Rule, mark: int) -> int:
    for option in ("--or-mark", "--xor-mark", "--set-xmark"):
        if option not in rule.by:
            continue
        bits = [int(part, 0) for part in rule.value(option).split("/")]
        if option == "--or-mark":
            return mark | bits[0]
        if option == "--xor-mark":
            return mark ^ bits[0]
        if option == "--set-xmark":
            return mark & ~bits[1] ^ bits[0]
    return mark


def _fraction(text: str) -> Fraction:
    """0.3333333333 is meant to be a third: the kernel has 31 bits of it."""
    return Fraction(text).limit_denominator(100_000)
