"""What somebody may have overlooked, beside a decision of policy: the classic mistakes, recognised. Pure.

Reads the same compiled rules that decided; decides nothing. Each finding is a Reason of kind `advice`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from netemu.api import core, selectors
from netemu.model import peers, policies, rules, sentences, worlds
from netemu.model.verdicts import ADVICE, Reason

_MOST = 3


class Case(NamedTuple):
    """A decision and what led to it. `host`, `port`: what was dialled; `sender`: his own addresses."""

    world: worlds.World
    direction: rules.Direction
    decision: rules.Decision
    subject: policies.Subject
    place: policies.Place
    what: rules.Arrival
    host: str
    port: int
    sender: frozenset[str]

    @property
    def whose(self) -> str:
        return sentences.party(self.subject.party, "")

    @property
    def other(self) -> str:
        return sentences.party(self.place.owner, self.place.address)

    @property
    def pod(self) -> core.Pod | None:
        """The pod at the other end, if it is one that selectors can mean."""
        owner = self.place.owner
        found = self.world.pod(owner.name, owner.namespace) if owner and owner.kind == "pod" else None
        return found if found is not None and not found.spec.hostNetwork else None

    @property
    def named(self) -> Mapping[tuple[str, str], int]:
        """The named ports of the pod where the connection arrives."""
        if self.direction == "ingress":
            return self.subject.named
        return policies.named_ports(self.pod) if self.pod is not None else {}


def of(case: Case) -> tuple[Reason, ...]:
    """The findings, the likeliest first; a few at most."""
    return tuple(dict.fromkeys(_findings(case)))[:_MOST]


def _findings(case: Case) -> Iterator[Reason]:
    if case.decision.why == "isolated":
        for rule in case.subject.programs[case.direction].rules:
            yield from _near(case, rule)
    elif case.decision.allowed:
        yield from _allowing(case)
        yield from _idle(case)


# --- why a rule that was near did not allow it


def _near(case: Case, rule: rules.Rule) -> Iterator[Reason]:
    if rule.mask & case.place.mask:
        yield from _other_port(case, rule)
    elif rule.speaks_of(case.what) or case.host != case.place.address:
        for index, peer in enumerate(rule.peers):
            where = f"{'from' if case.direction == 'ingress' else 'to'}[{index}]"
            yield from _other_peer(case, rule, peer, where)


def _other_port(case: Case, rule: rules.Rule) -> Iterator[Reason]:
    protocol, port = case.what.protocol, case.what.port
    said = sentences.flow(protocol, port)
    target = case.whose if case.direction == "ingress" else case.other
    for entry in rule.ports:
        if protocol == "ICMP":
            yield _says(rule, f"{rule.label} names ports: such a rule never allows ICMP")
        elif entry.name and (entry.name, protocol) not in case.named:
            known = ", ".join(f"{name} ({p.lower()}/{n})" for (name, p), n in case.named.items()) or "none"
            yield _says(
                rule,
                f"{rule.label} allows the port named {entry.name}, and {target} has none; its names: {known}",
            )
        elif entry.has(protocol, case.port) and case.port != port:
            yield _says(
                rule,
                f"{rule.label} allows {entry}, which is the Service's port; "
                f"policy sees the port of the pod behind it, {said}",
            )
        elif entry.protocol != protocol and entry._replace(protocol=protocol).has(
            protocol, port, case.what.names
        ):
            yield _says(rule, f"{rule.label} allows {entry}, and this is {protocol.lower()}")


def _other_peer(case: Case, rule: rules.Rule, peer: peers.Peer, where: str) -> Iterator[Reason]:
    label = f"{rule.field}[{rule.number}].{where}"
    if peer.block is not None:
        yield from _other_block(case, rule, peer, label)
    elif (pod := case.pod) is None:
        if peer.pods is not None:
            yield _says(
                rule,
                f"{label} means pods by labels; {case.other} is none that they can mean, only an ipBlock can",
            )
    elif peer.pods is not None:
        namespace, labels = pod.metadata.namespace, pod.metadata.labels
        in_space = (
            namespace == peer.namespace
            if peer.namespace
            else peer.namespaces.matches(case.world.namespace_labels.get(namespace, {}))
        )
        by_pod = peer.pods.matches(labels)
        if peer.namespace and by_pod:
            yield _says(
                rule,
                f"{label} has no namespaceSelector, so it means {peer.text} alone; "
                f"{case.other} is in Namespace {namespace}",
            )
        elif not peer.namespace and in_space != by_pod and not peer.pods.everything:
            missing = (
                f"the pod is not {peer.pods}"
                if in_space
                else f"Namespace {namespace} is not {peer.namespaces}"
            )
            yield _says(rule, f"{label} asks for both selectors ({peer.text}), and {missing}")


def _other_block(case: Case, rule: rules.Rule, peer: peers.Peer, label: str) -> Iterator[Reason]:
    place = case.place
    if case.direction == "egress" and case.host != place.address and peers.holds(peer, case.host):
        yield _says(
            rule,
            f"{label} allows {peer.text}, where the Service's address {case.host} is; policy sees the "
            "address behind it: select the pods instead",
        )
    if case.direction == "ingress" and place.owner is not None and place.owner.kind == "node":
        for address in sorted(case.sender - {place.address}):
            if peers.holds(peer, address):
                yield _says(
                    rule,
                    f"{label} allows {address}, and policy sees {case.other}: that node put its own address "
                    "on it (masquerade); externalTrafficPolicy: Local keeps the sender's",
                )


# --- why it is allowed although somebody wrote a policy


def _allowing(case: Case) -> Iterator[Reason]:
    rule = case.decision.rule
    if case.decision.why != "rule" or rule is None:
        return
    alone = [peer for peer in rule.peers if peer.pods is not None and peer.namespace]
    pod = case.pod
    for index, peer in enumerate(rule.peers):
        where = f"{rule.field}[{rule.number}].{'from' if rule.field == 'ingress' else 'to'}[{index}]"
        narrow = not any(peers.covers(peer, text) for text in case.world.settings.cluster_cidrs)
        if narrow and pod is not None and peers.holds(peer, case.place.address):
            yield _says(rule, f"{where} allows a pod by its address, which the next pod will not have")
        spaces = peer.pods is not None and not peer.namespace and peer.pods.everything
        if spaces and alone and pod is not None and peer.has_pod(*_facts(case, pod)):
            yield _says(
                rule,
                f"entries of one list are alternatives: {where} alone lets in {peer.text}; to ask for both, "
                "write both selectors in one entry",
            )


def _idle(case: Case) -> Iterator[Reason]:
    """Policies of the Namespace that look as if they should have had a say."""
    meta = case.subject.pod.metadata
    for policy in case.world.policies:
        if policy.metadata.namespace != meta.namespace:
            continue
        name = f"{policy.metadata.namespace}/{policy.metadata.name}"
        wanted = selectors.of(policy.spec.podSelector)
        listed = policy.spec.ingress if case.direction == "ingress" else policy.spec.egress
        if wanted.matches(meta.labels):
            if listed and case.direction not in policies.directions(policy):
                types = ", ".join(policy.spec.policyTypes)
                text = (
                    f"policy {name} has {case.direction} rules that are not in force: policyTypes are {types}"
                )
                yield Reason(ADVICE, text, name, field="policyTypes")
        elif not any(
            wanted.matches(pod.metadata.labels)
            for pod in case.world.pods
            if pod.metadata.namespace == meta.namespace
        ):
            yield Reason(ADVICE, f"policy {name} selects no pod at all ({wanted})", name, field="podSelector")


def _facts(case: Case, pod: core.Pod) -> tuple[str, dict[str, str], dict[str, str]]:
    namespace = pod.metadata.namespace
    return namespace, dict(case.world.namespace_labels.get(namespace, {})), pod.metadata.labels


def _says(rule: rules.Rule, text: str) -> Reason:
    return Reason(ADVICE, f"policy {rule.policy}: {text}", rule.policy, rule.number, rule.field)
