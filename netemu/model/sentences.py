"""Decisions of policy in words. Knows decisions and how to name things; decides nothing.

The sentences are those that `netemu explain` prints: which policy, which rule, which selector, which port.
"""

from netemu.model import rules, worlds
from netemu.model.verdicts import Reason

_CLUSTER = "ClusterNetworkPolicy"
TOWARDS = {"egress": "to", "ingress": "from"}


def of(decision: rules.Decision, direction: rules.Direction, whose: str, what: str, other: str) -> Reason:
    """The reason that a decision is.

    `whose` egress or ingress, `what` flow (tcp/5432), `other` who is at its other end.
    """
    side = f"{direction} of {whose}"
    passed = ""
    if (left := decision.passed) is not None:
        passed = f" ({_CLUSTER} {left.policy}, {left.label}, leaves it to the next tier)"
    match decision.why:
        case "self":
            return Reason("default", "policies never keep a pod from itself")
        case "own-node":
            return Reason("default", f"policies never part {whose} from the node it runs on")
        case "default":
            return Reason("default", f"no policy isolates {side}{passed}")
        case "isolated":
            names = ", ".join(decision.isolating)
            policies = "policy" if len(decision.isolating) == 1 else "policies"
            text = f"{side} is isolated by {policies} {names}{passed}; "
            text += f"no rule allows {what} {TOWARDS[direction]} {other}"
            return Reason("policy", text, decision.isolating[0], field=direction)
    rule = decision.rule
    assert rule is not None, decision
    if decision.why == "cluster":
        done = "accepted" if decision.allowed else "denied"
        text = f"{side} {TOWARDS[direction]} {other} is {done} by {_CLUSTER} {rule.policy}, {rule}{passed}"
        return Reason("cluster-policy", text, rule.policy, rule.number, direction)
    text = f"{side} is isolated; policy {rule.policy} allows it by {rule}{passed}"
    return Reason("policy", text, rule.policy, rule.number, direction)


def flow(protocol: str, port: int) -> str:
    """tcp/5432; icmp."""
    return protocol.lower() if protocol == "ICMP" else f"{protocol.lower()}/{port}"


def party(who: worlds.Party | None, address: str) -> str:
    """Somebody in a sentence about policy: pods with their Namespace, everybody else with the address."""
    if who is None:
        return address
    if who.kind == "pod":
        return f"{who.namespace}/{who.name}"
    return f"{address} ({who.name})" if who.name != address else address
