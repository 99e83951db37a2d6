"""One rule, one pod's program of rules, one decision: what policy says to a connection. Pure.

Knows tiers and their order: Admin, NetworkPolicy (final for the pods it selects), Baseline, then everything
is allowed (network-policy-api.sigs.k8s.io/api-overview). Whom policies select, `policies` knows.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from netemu.model import peers

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

    def matches(self, mask: int, what: "Arrival") -> bool:
        """Whether it speaks of a peer with that mask and of that port."""
        if not self.mask & mask:
            return False
        if not self.ports:
            return True
        return any(entry.has(what.protocol, what.port, what.named) for entry in self.ports)

    def __str__(self) -> str:
        whom = " or ".join(peer.text for peer in self.peers) if self.peers else "anybody"
        if not self.mask:
            whom = "nobody"
        what = f": {', '.join(map(str, self.ports))}" if self.ports else ""
        return f"{self.label} ({'from' if self.field == 'ingress' else 'to'} {whom}{what})"


class Program(NamedTuple):
    """What holds for a pod in one direction. Tiers in their order: admin, NetworkPolicy, baseline.

    `isolating` are the NetworkPolicies that select the pod in this direction; `rules` is the union of theirs.
    """

    admin: tuple[Rule, ...] = ()
    isolating: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    baseline: tuple[Rule, ...] = ()

    def near(self, mask: int) -> "Program":
        """The same program without the rules that do not speak of such a peer."""
        tiers = (self.admin, self.rules, self.baseline)
        admin, allowing, baseline = (tuple([r for r in tier if r.mask & mask]) for tier in tiers)
        return Program(admin, self.isolating, allowing, baseline)


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
    """What a connection is where it arrives, after Services. `named` are the named ports of the pod there."""

    protocol: str
    port: int
    named: Mapping[tuple[str, str], int] = {}


def decide(program: Program, mask: int, what: Arrival, exempt: Decision | None) -> Decision:
    """The first rule that speaks of it decides; `exempt` is what NetworkPolicy says without asking a rule."""
    passed = None
    for rule in program.admin:
        if rule.matches(mask, what):
            if rule.action == "Pass":
                passed = rule
                break
            return Decision(rule.action == "Accept", "cluster", rule)
    if program.isolating:
        if exempt is not None:
            return exempt
        for rule in program.rules:
            if rule.matches(mask, what):
                return Decision(True, "rule", rule, program.isolating, passed)
        return Decision(False, "isolated", None, program.isolating, passed)
    for rule in program.baseline:
        if rule.matches(mask, what):
            if rule.action == "Pass":
                return Decision(True, "default", None, (), rule)
            return Decision(rule.action == "Accept", "cluster", rule, (), passed)
    return exempt or Decision(True, "default", None, (), passed)
