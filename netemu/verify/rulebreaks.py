"""Whole rules gone or with another target, of nft and of iptables; and how packets fare then. Pure.

A rule is taken out by a document that writes its chain anew (nft), or by its number (iptables).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from netemu.kubeproxy import layout as services
from netemu.kubeproxy import walk, walk_iptables
from netemu.netpol import walk as policy_walk
from netemu.verify import rulewalk
from netemu.wire import nft

_ANSWERED = 40000  # the port of a client: no rule speaks of it


class Missing(NamedTuple):
    """A rule of nft's that is gone; `chains`: what its chain is then."""

    where: str
    apply: str
    undo: str
    chains: rulewalk.Chains


def missing(table: nft.Table, things: Iterable[nft.Thing]) -> Iterator[Missing]:
    """Each rule of each chain missing."""
    by_chain: dict[str, list[nft.Rule]] = {}
    for thing in things:
        if isinstance(thing, nft.Rule):
            by_chain.setdefault(thing.chain, []).append(thing)
    for name, every in by_chain.items():
        whole = _anew(table, name, every)
        for index, rule in enumerate(every):
            rest = [*every[:index], *every[index + 1 :]]
            chains = {name: tuple(other.text for other in rest)}
            yield Missing(f"{name}: {rule.text}", _anew(table, name, rest), whole, chains)


def _anew(table: nft.Table, name: str, rules: Iterable[nft.Rule]) -> str:
    return str(nft.Transaction(table, (nft.Flush(nft.Chain(name)), *map(nft.Add, rules))))


# --- policies


def passes(
    table: rulewalk.Table, node: str, packet: policy_walk.Packet, hook: str, back: Iterable[tuple[str, str]]
) -> bool:
    """Whether policies at this node let a packet through, and the answer to it if that comes by here."""
    here, there = str(packet.source), str(packet.destination)
    sent = rulewalk.Packet(packet.protocol, here, there, packet.port)
    answer = rulewalk.Packet(packet.protocol, there, here, _ANSWERED, state="established")
    return _accepted(table, sent, hook) and all(
        _accepted(table, answer, at) for where, at in back if where == node
    )


def _accepted(table: rulewalk.Table, packet: rulewalk.Packet, hook: str) -> bool:
    return all(end.verdict != "drop" for end in rulewalk.at(table, hook, packet))


# --- Services, nftables


class Fate(NamedTuple):
    """What becomes of a packet (sent, refused, dropped, passed on), who gets it, and if he sees the node."""

    verdict: str
    address: str = ""
    masqueraded: bool = False


def service_things(
    family: services.Family, around: services.Surroundings, held: walk.Held
) -> tuple[nft.Thing, ...]:
    """All that a table has which holds these elements: for each kind that there is, its chain."""
    shapes = [shape for key in held.get("kinds", ()) if (shape := services.led_to(int(key, 0)))]
    return (*services.frame(family, around), *services.chains(family, shapes, around))


def fates(table: rulewalk.Table, packet: walk.Packet, own: frozenset[str]) -> frozenset[Fate]:
    """All that may become of a packet, as it can be told from outside."""
    first = rulewalk.Packet(*packet, own=own)
    ends = rulewalk.at(table, "prerouting" if packet.link else "output", first)
    return frozenset(_fate(table, end) for end in ends)


def _fate(table: rulewalk.Table, end: rulewalk.End) -> Fate:
    """Of a packet that has been routed."""
    packet = end.packet
    ends: tuple[rulewalk.End, ...] = (end,)
    here = packet.destination in packet.own or ip_address(packet.destination).is_loopback
    if end.verdict not in _STOPPED and (here or packet.link):
        ends = rulewalk.at(table, "input" if here else "forward", packet)
    stopped = next((_STOPPED[one.verdict] for one in ends if one.verdict in _STOPPED), "")
    if stopped:
        return Fate(stopped)
    if packet.status != "dnat":
        # Nobody of the node's own has the port: what is passed on to it, it refuses.
        return Fate("refused" if packet.destination in packet.own else "passed on")
    leaving = () if here and packet.link else rulewalk.at(table, "postrouting", ends[0].packet)
    return Fate("sent", packet.destination, any(one.verdict == "masquerade" for one in leaving))


_STOPPED = {"drop": "dropped", "reject": "refused"}


# --- Services, iptables


class Changed(NamedTuple):
    """A rule of iptables' that is gone or leads elsewhere; `chains`: all of them then."""

    where: str
    what: str
    apply: str
    undo: str
    chains: walk_iptables.Chains


_TARGET = re.compile(r"-j (\S+)")
_DESTINATION = re.compile(r"--to-destination (\S+)")
_KIND = re.compile(r"KUBE-(SVC|SVL|EXT|FW|SEP)-")
# What a rule may do by mistake, where it does not lead to another chain of its kind.
_INSTEAD = {"REJECT": "DROP", "DROP": "ACCEPT", "MASQUERADE": "ACCEPT"}


def of_iptables(chains: walk_iptables.Chains) -> Iterator[Changed]:
    """Each rule of kube-proxy's gone, or with another target: of the same kind, if there is any."""
    for table, of in chains.items():
        for chain, rules in of.items():
            for index, rule in enumerate(rules):
                if "KUBE-" in f"{chain} {rule}":
                    yield from _changes(chains, table, chain, index)


def _changes(chains: walk_iptables.Chains, table: str, chain: str, index: int) -> Iterator[Changed]:
    rules = chains[table][chain]
    rule, number = rules[index], index + 1
    where = f"{table} {chain}: {rule}"
    rest = _with(chains, table, chain, (*rules[:index], *rules[index + 1 :]))
    gone, back = f"-D {chain} {number}", f"-I {chain} {number} {rule}"
    yield Changed(where, "gone", _restore(table, gone), _restore(table, back), rest)
    other = _elsewhere(chains[table], rule)
    if other is not None:
        now, was = f"-R {chain} {number} {other}", f"-R {chain} {number} {rule}"
        after = _with(chains, table, chain, (*rules[:index], other, *rules[index + 1 :]))
        yield Changed(
            where, f"now {other.partition(' -j ')[2]}", _restore(table, now), _restore(table, was), after
        )


def _elsewhere(chains: Mapping[str, Sequence[str]], rule: str) -> str | None:
    """The rule with another target; None where there is no other of that kind."""
    target = _TARGET.search(rule)
    if target is None:
        return None
    name, own = target[1], _DESTINATION.search(rule)
    if own is not None:
        every = (_DESTINATION.search(text) for of in chains.values() for text in of)
        others = sorted({one[1] for one in every if one} - {own[1]})
        return rule.replace(own[0], f"--to-destination {others[0]}") if others else None
    if name in _INSTEAD:
        return f"{rule[: target.start()]}-j {_INSTEAD[name]}"  # its options mean nothing to the other
    kind = _KIND.match(name)
    others = sorted(one for one in chains if kind and one.startswith(kind[0]) and one != name)
    return rule.replace(target[0], f"-j {others[0]}") if others else None


def _with(chains: walk_iptables.Chains, table: str, chain: str, rules: Sequence[str]) -> walk_iptables.Chains:
    return {**chains, table: {**chains[table], chain: rules}}


def _restore(table: str, command: str) -> str:
    return f"*{table}\n{command}\nCOMMIT\n"
