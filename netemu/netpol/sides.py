"""What one pod is under in one direction, and what that opens to one peer. Pure.

The tiers in order: Admin, NetworkPolicy (final for the pods it selects), Baseline, and then everything is
allowed. The names of policies are not in it, so pods under the same rules have the same side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from netemu.netpol import policies, ports, terms

Match = tuple[terms.Term, ports.Ports]  # a term that matches an address, and at which ports
Signature = frozenset[Match]  # all terms that match an address
NOBODY: Signature = frozenset()


class Rule(NamedTuple):
    """One action for one sort of peer. `term` None: whoever. `opened` None: where the term matches."""

    action: str
    term: terms.Term | None
    opened: ports.Ports | None


_WHOEVER = frozenset({Rule(policies.ACCEPT, None, ports.ALL)})
Tier = tuple[tuple[Rule, ...], ...]  # in order; the rules of one entry are alternatives


@dataclass(frozen=True, slots=True)
class Side:
    """`isolated`: a NetworkPolicy selects the pod, so that only `allowed` is.

    `asked`: every term that some rule speaks of; `opened`: what is allowed, by term (None: to whoever).
    """

    admin: Tier = ()
    isolated: bool = False
    allowed: frozenset[Rule] = frozenset()
    baseline: Tier = ()
    asked: frozenset[terms.Term] = field(init=False, compare=False, repr=False)
    opened: Mapping[terms.Term | None, ports.Ports] = field(init=False, compare=False, repr=False)
    hashed: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        ordered = (rule for tier in (self.admin, self.baseline) for entry in tier for rule in entry)
        found = frozenset(rule.term for rule in (*ordered, *self.allowed) if rule.term is not None)
        object.__setattr__(self, "asked", found)
        opened: dict[terms.Term | None, ports.Ports] = {}
        for rule in self.allowed:
            opened[rule.term] = opened.get(rule.term, ports.NONE) | (rule.opened or ports.NONE)
        object.__setattr__(self, "opened", opened)
        values = (self.admin, self.isolated, self.allowed, self.baseline)
        object.__setattr__(self, "hashed", hash(values))

    def __hash__(self) -> int:
        return self.hashed

    def __bool__(self) -> bool:
        """Whether anything at all may be dropped."""
        return bool(self.admin or self.isolated or self.baseline)


def of(pod: terms.Pod, selecting: Iterable[policies.Policy], direction: str) -> Side:
    """What policies that select the pod make of it."""
    tiers: dict[str, list[policies.Policy]] = {}
    for policy in selecting:
        if policy.rules(direction) is not None:
            tiers.setdefault(policy.tier, []).append(policy)
    plain = tiers.get(policies.NETWORK_POLICY, ())
    return Side(
        _tier(pod, tiers.get(policies.ADMIN, ()), direction),
        bool(plain),
        frozenset(
            rule
            for policy in plain
            for one in policy.rules(direction) or ()
            for rule in resolved(pod, one, direction)
        ),
        _tier(pod, tiers.get(policies.BASELINE, ()), direction),
    )


def to_node(egress: Side) -> Side:
    """The same towards the pod's own node, from which no NetworkPolicy parts it; cluster policies may.

    "Traffic to and from the node where a Pod is running is always allowed" (the NetworkPolicy concept).
    """
    if egress.isolated:
        return Side(egress.admin, True, _WHOEVER) if egress.admin else Side()
    return egress


def _tier(pod: terms.Pod, given: Iterable[policies.Policy], direction: str) -> Tier:
    entries = (
        tuple(resolved(pod, rule, direction))
        for policy in sorted(given, key=lambda policy: policy.order)
        for rule in policy.rules(direction) or ()
    )
    return tuple(entry for entry in entries if entry)


def resolved(pod: terms.Pod, rule: policies.Rule, direction: str) -> Iterator[Rule]:
    """A name of a port is the destination's: this pod's own for ingress, the peer's for egress."""
    opened = rule.opened
    if rule.named and direction == policies.INGRESS:
        opened |= ports.union(pod.named(*name) for name in rule.named)
    if opened:
        if rule.peers is None:
            yield Rule(rule.action, None, opened)
        for term in rule.peers or ():
            yield Rule(rule.action, term, opened)
    if rule.named and direction == policies.EGRESS:
        if rule.peers is None:
            yield Rule(rule.action, policies.everywhere(rule.named), None)
        for term in rule.peers or ():
            yield Rule(rule.action, terms.Term(term.who, rule.named), None)


def decide(side: Side, signature: Signature, *, itself: bool = False) -> ports.Ports:
    """The ports at which a peer is let through. `itself`: it is the pod, which no NetworkPolicy stops."""
    allowed, rest = ports.NONE, ports.ALL
    matched = dict(signature) if side.admin or side.baseline else {}
    if side.admin:
        allowed, rest = _judge(side.admin, matched, ports.ALL)
    if side.isolated:
        return allowed | (rest if itself else rest & _allowed(side, signature))
    accepted, rest = _judge(side.baseline, matched, rest)
    return allowed | accepted | rest


def _allowed(side: Side, signature: Signature) -> ports.Ports:
    """What NetworkPolicies allow. A term with names says itself at which ports."""
    found = side.opened.get(None, ports.NONE)
    for term, where in signature:
        opened = side.opened.get(term)
        if opened is not None:
            found |= where if term.names else opened
    return found


def _judge(
    tier: Tier, matched: Mapping[terms.Term, ports.Ports], asked: ports.Ports
) -> tuple[ports.Ports, ports.Ports]:
    """What of `asked` a tier accepts, and what it leaves to the next one."""
    accepted = passed = ports.NONE
    for entry in tier:
        if not asked:
            break
        hit = asked & _opened(entry, matched)
        asked -= hit
        action = entry[0].action
        if action == policies.ACCEPT:
            accepted |= hit
        elif action == policies.PASS:
            passed |= hit
    return accepted, asked | passed


def _opened(rules: Iterable[Rule], matched: Mapping[terms.Term, ports.Ports]) -> ports.Ports:
    found = ports.NONE
    for rule in rules:
        where = ports.ALL if rule.term is None else matched.get(rule.term)
        if where is not None:
            found |= where if rule.opened is None else rule.opened
    return found
