"""One rule, one pod's program of rules, one decision: what policy says to a connection. Pure.

Knows tiers and their order: Admin, NetworkPolicy (final for the pods it selects), Baseline, then everything
is allowed (network-policy-api.sigs.k8s.io/api-overview). Whom policies select, `policies` knows.
"""

import functools
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from netemu.model import memos, peers

Direction = Literal["ingress", "egress"]
Why = Literal["self", "own-node", "default", "rule", "isolated", "cluster"]


class Rule(NamedTuple):
    """One rule of a policy. `mask` has a bit for each peer it means; no ports means every port and protocol.

    action  Accept (all a NetworkPolicy can do), Deny or Pass
    label   how the rule is called: ingress[0], with its name if it has one
    """

    policy: str
    field: Direction
    number: int
    label: str
    mask: int
    peers: tuple[peers.Peer, ...]
    ports: tuple[peers.Ports, ...] = ()
    action: str = "Accept"

    def speaks_of(self, what: "Arrival") -> bool:
        """Whether it speaks of that port, whoever is at the other end."""
        return not self.ports or any(entry.has(what.protocol, what.port, what.names) for entry in self.ports)

    def __str__(self) -> str:
        whom = " or ".join(peer.text for peer in self.peers) if self.peers else "anybody"
        if not self.mask:
            whom = "nobody"
        what = f": {', '.join(map(str, self.ports))}" if self.ports else ""
        return f"{self.label} ({'from' if self.field == 'ingress' else 'to'} {whom}{what})"


@dataclass(frozen=True, eq=False)
class Program:
    """What holds for a pod in one direction. Tiers in their order: admin, NetworkPolicy, baseline.

    `isolating` are the NetworkPolicies that select the pod in this direction; `rules` is the union of theirs.
    """

    admin: tuple[Rule, ...] = ()
    isolating: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    baseline: tuple[Rule, ...] = ()

    @functools.cached_property
    def answers(self) -> Mapping["Arrival", "Answers"]:
        """What it says to a connection, for every mask, by what that is."""
        return memos.Memo(self._cut)

    def _cut(self, what: "Arrival") -> "Answers":
        if not (self.admin or self.isolating or self.baseline):
            return SILENT
        admin, isolated = tuple(_of_cluster(self.admin, what)), bool(self.isolating)
        otherwise = DEFAULT
        if isolated:
            allowing = [rule for rule in self.rules if rule.speaks_of(what)]
            then = tuple((rule.mask, Decision(True, "rule", rule, self.isolating)) for rule in allowing)
            otherwise = Decision(False, "isolated", None, self.isolating)
        else:
            then = tuple(_of_cluster(self.baseline, what))
        meant = functools.reduce(operator.or_, (mask for mask, _ in then), 0)
        return Answers(admin, isolated, then, meant, otherwise)


class Decision(NamedTuple):
    """What policy says to a flow in one direction, and by which rule; `passed` left it to the next tier."""

    allowed: bool
    why: Why
    rule: Rule | None = None
    isolating: tuple[str, ...] = ()
    passed: Rule | None = None


OWN_POD = Decision(True, "self")
OWN_NODE = Decision(True, "own-node")
DEFAULT = Decision(True, "default")


class Arrival(NamedTuple):
    """What a connection is where it arrives, after Services. `names` are the port's there."""

    protocol: str
    port: int
    names: tuple[str, ...] = ()


class Answers(NamedTuple):
    """A program's rules that speak of one port, in order: the mask of each, and what it decides.

    `then` is NetworkPolicy for a pod that is `isolated`, Baseline for another; `meant` has all bits of it.
    """

    admin: tuple[tuple[int, Decision], ...]
    isolated: bool
    then: tuple[tuple[int, Decision], ...]
    meant: int
    otherwise: Decision = DEFAULT


SILENT = Answers((), False, (), 0)  # of a program without any rules


def decide(answers: Answers, mask: int, exempt: Decision | None) -> Decision:
    """The first rule that speaks of it decides; `exempt` is what NetworkPolicy says without asking a rule."""
    if answers is SILENT:
        return DEFAULT
    admin, isolated, then, any_of_then, otherwise = answers
    passed = None
    for meant, decision in admin:
        if meant & mask:
            if decision.passed is None:
                return decision
            passed = decision.passed
            break
    if exempt is not None and isolated:
        return exempt
    found = exempt or otherwise
    if any_of_then & mask:
        for meant, decision in then:
            if meant & mask:
                found = decision
                break
    if passed is None or found.passed is not None or found is exempt:
        return found
    return found._replace(passed=passed)


def _of_cluster(tier: tuple[Rule, ...], what: Arrival) -> Iterator[tuple[int, Decision]]:
    """What the rules of ClusterNetworkPolicies decide; with Pass it is left to the next tier."""
    for rule in tier:
        if rule.speaks_of(what):
            if rule.action == "Pass":
                yield rule.mask, Decision(True, "default", None, (), rule)
            else:
                yield rule.mask, Decision(rule.action == "Accept", "cluster", rule)
