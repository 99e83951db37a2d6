"""What the Kubernetes network model says must happen to one flow, and why. Pure.

Knows the order in which a packet meets names, Services, policies and pods; the rules of each are in the
modules of those names. Whether a process listens it knows only where a container declares the port.
"""

from collections.abc import Iterable
from typing import NamedTuple

from netemu.api import core
from netemu.model import advice, flows, names, policies, rules, sentences, services, verdicts, worlds
from netemu.model.verdicts import Outcome, Reason, Verdict

Flow = flows.Flow


def expect(world: worlds.World, flow: Flow) -> Verdict:
    """Judge a flow, with all reasons, in the order in which a packet meets them."""
    return of(world).expect(flow)


def explain(world: worlds.World, flow: Flow) -> Verdict:
    """As `expect`, and with advice: what somebody may have overlooked."""
    return of(world).explain(flow)


def of(world: worlds.World) -> "Model":
    """The model of a world: what it learns of policies and addresses serves every flow."""
    return world.derive(Model)


class Model:
    """Answers for one world. `judge`, `expect` and `explain` decide alike, and differ in what they tell."""

    def __init__(self, world: worlds.World) -> None:
        self.world = world
        self.policies = policies.Policies(world)
        self._targets: dict[tuple[worlds.Party, str, int, str], Target] = {}
        self._behind: dict[tuple[services.Endpoint, str], Target] = {}
        self.polices = bool(world.policies or world.cluster_policies) and world.settings.policed

    def target(self, owner: worlds.Party, address: str, port: int, protocol: str) -> "Target":
        """Who answers at an address of his own; found out once."""
        key = (owner, address, port, protocol)
        found = self._targets.get(key)
        if found is None:
            pod = self.world.pod(owner.name, owner.namespace) if owner.kind == "pod" else None
            known = pod is None or protocol == "ICMP" or (port, protocol) in worlds.declared(pod)
            found = self._targets[key] = self._target(owner, address, port, protocol, known)
        return found

    def behind(self, endpoint: services.Endpoint, protocol: str) -> "Target":
        """Who answers behind a Service: it chose him, so that he listens, whatever he declares."""
        key = (endpoint, protocol)
        found = self._behind.get(key)
        if found is None:
            owner = self.world.owner(endpoint.address)
            if owner is None or owner.kind != "pod":  # listed by hand, or a pod in a node's network
                known = self.world.pod(endpoint.name, endpoint.namespace)
                namespace = endpoint.namespace if known else ""
                owner = worlds.Party("outside", endpoint.name, namespace, endpoint.node)
            found = self._behind[key] = self._target(owner, endpoint.address, endpoint.port, protocol, True)
        return found

    def _target(self, owner: worlds.Party, address: str, port: int, protocol: str, known: bool) -> "Target":
        subject = self.policies.subject(owner.name, owner.namespace) if owner.kind == "pod" else None
        what = subject.arrival(protocol, port) if subject else rules.Arrival(protocol, port)
        entering = self.policies.answers("ingress", subject, what) if subject else rules.SILENT
        return Target(owner, address, port, subject, what, entering, known)

    def expect(self, flow: Flow) -> Verdict:
        """The outcomes and why."""
        return _Journey(self, flow, _REASONS).verdict()

    def explain(self, flow: Flow) -> Verdict:
        """The outcomes, why, and what may have been overlooked."""
        return _Journey(self, flow, _ADVICE).verdict()

    def judge(self, flow: Flow) -> Verdict:
        """The outcomes alone."""
        return _Journey(self, flow, _BARE).verdict()


_BARE, _REASONS, _ADVICE = range(3)  # how much a journey tells


class Target(NamedTuple):
    """Who answers to an address and port, and what policies see in him (no `subject`: he is nobody's).

    entering  what his ingress rules say to such a connection
    known     he listens, or nobody does: it is not left open whether a process has the port
    """

    owner: worlds.Party
    address: str
    port: int
    subject: policies.Subject | None
    what: rules.Arrival
    entering: rules.Answers
    known: bool


class Arriving(NamedTuple):
    """Where a connection arrives, after Services, and whom the target and policy see.

    left   egress of the sender was judged already, by the address that was dialled
    share  of the connections, by chance
    """

    target: Target
    seen: frozenset[str]
    policed: frozenset[str]
    left: bool = False
    share: float = 1.0


class _Journey:
    """One flow on its way. Every method answers with what may become of it from there on."""

    __slots__ = ("family", "flow", "model", "source", "subject", "tells", "world")

    def __init__(self, model: Model, flow: Flow, tells: int) -> None:
        self.model = model
        self.world = model.world
        self.flow = flow
        self.source = source = flow.source
        self.subject = model.policies.subject(source.name, source.namespace) if source.kind == "pod" else None
        self.tells = tells
        self.family = flow.family

    def verdict(self) -> Verdict:
        host = self.flow.host
        if host in self.world.owners:
            return self._to_address(host)
        if address := worlds.literal(host):
            return self._to_address(address)
        return self._to_name(host)

    # --- names

    def _to_name(self, host: str) -> Verdict:
        answer = names.resolve(self.world, self.source, host, self.flow.family)
        asked = self._asks(answer.asked) if answer.asked else ()
        unheard = tuple(outcome for outcome in asked if outcome.word == "no-such-name")
        if unheard and len(unheard) == len(asked):
            return Verdict(unheard)
        if not answer.addresses:
            return verdicts.one("no-such-name", answer.because)
        found = [self._to_address(address) for address in answer.addresses]
        if len(found) == 1 and not unheard:
            return found[0]._replace(because=(answer.because, *found[0].because))
        outcomes = [
            outcome._replace(
                probability=outcome.probability / len(found), because=(*one.because, *outcome.because)
            )
            for one in found
            for outcome in one.outcomes
        ]
        return Verdict((*outcomes, *unheard), (answer.because,))

    def _asks(self, server: str) -> tuple[Outcome, ...]:
        """How the DNS query may end. One that is not answered means that there is no such name."""
        family = 6 if ":" in server else 4
        query = Flow(self.source, server, names.DNS_PORT, "UDP", family)
        verdict = _Journey(self.model, query, self.tells).verdict()
        return tuple(
            outcome
            if outcome.word in ("ok", verdicts.UNKNOWN)
            else Outcome("no-such-name", (_unasked(server), *verdict.because, *outcome.because))
            for outcome in verdict.outcomes
        )

    # --- addresses

    def _to_address(self, host: str) -> Verdict:
        source = self.source
        self.family = family = 6 if ":" in host else 4
        if host != self.flow.host or family != self.flow.family:
            self.flow = self.flow._replace(host=host, family=family)
        if host == "::1" or host.startswith("127."):
            return self._to_localhost()
        if source.addresses and not source.speaks(family):
            return verdicts.one("unreachable", Reason("route", f"{source} has no IPv{family} address"))
        owner = self.world.owner(host)
        if owner is None or owner.kind == "node":
            translation = services.translate(self.world, self.flow)
            if translation is not None:
                return self._through(translation)
        if owner is None:
            because = Reason("route", f"nobody here has the address {host}")
            return self._beyond((Outcome(verdicts.UNKNOWN, (because,)),))
        if owner.kind == "pod":
            return self._to_pod(owner)
        return self._to_node(owner) if owner.kind == "node" else self._to_outside(owner)

    def _to_localhost(self) -> Verdict:
        flow, pod = self.flow, self._pod(self.source)
        container = worlds.declares(pod, flow.port, flow.protocol) if pod is not None else ""
        if not container:
            return Verdict(_perhaps(flow, f"{self.source} declares no port {flow.port}/{flow.protocol}"))
        because = Reason("pod", f"containers of a pod share one loopback; container {container} has the port")
        seen = frozenset({flow.host})
        itself = self.model.target(self.source, flow.host, flow.port, flow.protocol)
        return Verdict(self._answers(Arriving(itself, seen, seen)), (because,))

    def _to_pod(self, owner: worlds.Party) -> Verdict:
        source, host, port, protocol, _ = self.flow
        if host in source.addresses:
            seen = frozenset({host})
            itself = self._answers(Arriving(self.model.target(source, host, port, protocol), seen, seen))
            return Verdict(itself, (Reason("default", "a pod always reaches itself"),))
        if source.kind == "outside":
            text = "pod addresses are known inside the cluster only"
            return verdicts.one("unreachable", Reason("route", text))
        because: tuple[Reason, ...] = ()
        if self.tells:
            because = (Reason("pod", "pods are reached by their own address"),)
            if source.node:
                text = "same node" if source.node == owner.node else f"{source.node} to {owner.node}"
                because += (Reason("route", text),)
        seen = self.world.seen(source, self.family)
        target = self.model.target(owner, host, port, protocol)
        return Verdict(self._policed(Arriving(target, seen, seen)), because)

    def _to_node(self, owner: worlds.Party) -> Verdict:
        """A node's own address: a pod in its network may declare the port."""
        flow = self.flow
        seen = self.world.seen(self.source, self.family)
        if flow.protocol == "ICMP":
            return self._beyond((Outcome("ok", (), owner.name, "", flow.host, 0, seen),))
        for pod in self.world.host_pods.get(owner.name, ()):
            if worlds.declares(pod, flow.port, flow.protocol):
                name, namespace = pod.metadata.name, pod.metadata.namespace
                because = (Reason("node", f"pod {namespace}/{name} is in the network of {owner.name}"),)
                return self._beyond((Outcome("ok", because, name, namespace, flow.host, flow.port, seen),))
        return self._beyond(
            _perhaps(flow, f"a process of {owner.name} itself, or nobody, has port {flow.port}")
        )

    def _to_outside(self, owner: worlds.Party) -> Verdict:
        flow, seen = self.flow, self.source.of_family(self.family)
        if self.source.kind != "outside":
            seen = self.world.node_addresses(self.source.node, self.family)
        found = self._beyond((Outcome("ok", (), owner.name, "", flow.host, flow.port, seen),))
        if self.source.kind != "pod" or "ok" not in found.words:
            return found
        text = "beyond the cluster pods are seen as their node (masqueraded)"
        return found._replace(because=(*found.because, Reason("source", text)))

    # --- Services

    def _through(self, translation: services.Translation) -> Verdict:
        """A Service's backends. Another node's translation comes after the sender's egress was judged."""
        left = bool(translation.at and self.source.node) and translation.at != self.source.node
        because = translation.because if self.tells else ()
        if left:
            dialled_as = rules.Arrival(self.flow.protocol, self.flow.port)
            allowed, dialled = self._egress(self.flow.host, dialled_as)
            if not allowed:
                return Verdict((Outcome("dropped", dialled),))
            because = (*dialled, *because)
        if not translation.backends:
            return Verdict((Outcome(translation.word),), because)
        outcomes: list[Outcome] = []
        for endpoint, share, seen, policed, astray in translation.backends:
            if astray:
                text = f"the answer of {endpoint.name} would not come back by {translation.at}"
                reason = (Reason("route", text, f"{endpoint.namespace}/{endpoint.name}"),)
                lost = Outcome("dropped", reason, address=endpoint.address, port=endpoint.port)
                outcomes.append(lost._replace(probability=share))
            else:
                target = self.model.behind(endpoint, self.flow.protocol)
                outcomes += self._policed(Arriving(target, seen, policed, left, share))
        return Verdict(tuple(outcomes), because)

    # --- policies

    def _beyond(self, outcomes: tuple[Outcome, ...]) -> Verdict:
        """To somebody who is no pod: the sender's egress alone is judged."""
        what = rules.Arrival(self.flow.protocol, self.flow.port)
        allowed, because = self._egress(self.flow.host, what)
        return Verdict(outcomes if allowed else (Outcome("dropped"),), because)

    def _policed(self, at: Arriving) -> tuple[Outcome, ...]:
        """What becomes of a connection that arrives there: egress, unless it has `left`, then ingress."""
        target = at.target
        because = _NO_REASONS
        if not at.left:
            allowed, because = self._egress(target.address, target.what)
            if not allowed:
                return (_dropped(at, because),)
        if target.subject is None:
            return _with(because, self._answers(at))
        outcomes: tuple[Outcome, ...] = ()
        for entered, reasons in self._ingress(target.subject, at):
            told = because + reasons
            outcomes += _with(told, self._answers(at)) if entered else (_dropped(at, told),)
        return outcomes

    def _egress(self, address: str, what: rules.Arrival) -> tuple[bool, tuple[Reason, ...]]:
        subject = self.subject
        if subject is None:
            return True, _NO_REASONS
        leaving = self.model.policies.answers("egress", subject, what)
        return self._decided("egress", subject, leaving, address, what)

    def _ingress(self, subject: policies.Subject, at: Arriving) -> Iterable[tuple[bool, tuple[Reason, ...]]]:
        """Each way in which it may be judged: the sender may have several addresses that policy can see."""
        _, _, _, _, what, entering, _ = at.target
        if len(at.policed) == 1:
            (address,) = at.policed
            return (self._decided("ingress", subject, entering, address, what),)
        ways: dict[bool, tuple[Reason, ...]] = {}
        for address in self._visible(at):
            ways.setdefault(*self._decided("ingress", subject, entering, address, what))
        return ways.items() if ways else ((True, _NO_REASONS),)

    def _decided(
        self,
        direction: rules.Direction,
        subject: policies.Subject,
        answers: rules.Answers,
        address: str,
        what: rules.Arrival,
    ) -> tuple[bool, tuple[Reason, ...]]:
        """What policy of one side says, with the other at that address."""
        place = self.model.policies.place(address)
        decision = rules.decide(answers, place.mask, subject.exempt.get(address))
        if not self.tells:
            return decision.allowed, _NO_REASONS
        return decision.allowed, self._told(decision, direction, subject, place, what)

    def _visible(self, at: Arriving) -> list[str]:
        """Of a node's addresses those that others see: with its gateways it speaks to its own pods alone."""
        kept = []
        for address in sorted(at.policed):
            owner = self.world.owner(address)
            node = owner.node if owner is not None and owner.kind == "node" else ""
            if not node or node == at.target.owner.node or address in self.world.uplinks(node, self.family):
                kept.append(address)
        return kept or sorted(at.policed)

    def _told(
        self,
        decision: rules.Decision,
        direction: rules.Direction,
        subject: policies.Subject,
        place: policies.Place,
        what: rules.Arrival,
    ) -> tuple[Reason, ...]:
        """The decision as a reason, if somebody wants to hear it and there are policies to speak of."""
        if not self.model.polices:
            return _NO_REASONS
        flow, sender = self.flow, self.source.of_family(self.family)
        case = advice.Case(
            self.world, direction, decision, subject, place, what, flow.host, flow.port, sender
        )
        said = sentences.of(
            decision, direction, case.whose, sentences.flow(what.protocol, what.port), case.other
        )
        return (said, *advice.of(case)) if self.tells == _ADVICE else (said,)

    # --- who answers

    def _answers(self, at: Arriving) -> tuple[Outcome, ...]:
        """What is met at an address that is reached."""
        owner, address, port, _, what, _, known = at.target
        if not known:
            return _perhaps(self.flow, f"no container declares port {port}/{what.protocol}")
        return (Outcome("ok", (), owner.name, owner.namespace, address, port, at.seen, at.share),)

    def _pod(self, party: worlds.Party) -> core.Pod | None:
        return self.world.pod(party.name, party.namespace) if party.kind == "pod" else None


_NO_REASONS: tuple[Reason, ...] = ()
_UNSEEN: frozenset[str] = frozenset()


def _with(because: tuple[Reason, ...], outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    if not because:
        return outcomes
    return tuple(outcome._replace(because=(*because, *outcome.because)) for outcome in outcomes)


def _dropped(at: Arriving, because: tuple[Reason, ...]) -> Outcome:
    return Outcome("dropped", because, "", "", at.target.address, at.target.port, _UNSEEN, at.share)


def _perhaps(flow: Flow, text: str) -> tuple[Outcome, ...]:
    """Somebody may listen, or nobody. A UDP server may keep silent as well, so there all is open."""
    because = (Reason("port", text),)
    if flow.protocol == "UDP":
        return (Outcome(verdicts.UNKNOWN, because),)
    return (Outcome("ok", because), Outcome("refused", because))


def _unasked(server: str) -> Reason:
    text = f"its questions to the cluster's DNS ({server}, udp/{names.DNS_PORT}) are not answered"
    return Reason("name", text)
