"""What the Kubernetes network model says must happen to one flow, and why. Pure.

Knows the order in which a packet meets names, Services, policies and pods; the rules of each are in the
modules of those names. Whether a process listens it knows only where a container declares the port.
"""

from collections.abc import Iterable

from netemu.api import core
from netemu.model import (
    advice,
    endpoints,
    flows,
    memos,
    names,
    policies,
    rules,
    senders,
    sentences,
    services,
    targets,
    verdicts,
    worlds,
)
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
        self.services = services.of(world)
        self.targets = targets.Targets(world, self.policies)
        self.senders = memos.Memo(self._sender)
        self.polices = bool(world.policies or world.cluster_policies) and world.settings.policed

    def _sender(self, party: worlds.Party) -> tuple[senders.Sender, policies.Subject | None]:
        """Who sends, as Services and as policies know him."""
        subject = self.policies.subjects[party.name, party.namespace] if party.kind == "pod" else None
        return self.services.senders[party], subject

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
_NO_REASONS: tuple[Reason, ...] = ()
_UNSEEN: frozenset[str] = frozenset()
_Decided = tuple[bool, tuple[Reason, ...]]  # whether it may pass, and why


class _Journey:
    """One flow on its way. Every method answers with what may become of it from there on."""

    __slots__ = ("family", "flow", "model", "sender", "source", "subject", "tells", "world")

    def __init__(self, model: Model, flow: Flow, tells: int) -> None:
        self.model = model
        self.world = model.world
        self.flow = flow
        self.source = source = flow.source
        self.sender, self.subject = model.senders[source]
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
        if source.addresses and not self.sender.speaks[family]:
            return verdicts.one("unreachable", Reason("route", f"{source} has no IPv{family} address"))
        owner = self.world.owner(host)
        if owner is None or owner.kind == "node":
            at = (source if owner is None else owner).node
            translation = self.model.services.translate(self.sender, self.flow, at)
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
        itself = self.model.targets.at[self.source, flow.host, flow.port, flow.protocol]
        return Verdict(self._answers(itself, seen), (because,))

    def _to_pod(self, owner: worlds.Party) -> Verdict:
        source, host, port, protocol, _ = self.flow
        because: tuple[Reason, ...]
        if host in source.addresses:
            itself = self.model.targets.at[source, host, port, protocol]
            because = (Reason("default", "a pod always reaches itself"),)
            return Verdict(self._answers(itself, frozenset({host})), because)
        if source.kind == "outside":
            text = "pod addresses are known inside the cluster only"
            return verdicts.one("unreachable", Reason("route", text))
        because = _NO_REASONS
        if self.tells:
            because = (Reason("pod", "pods are reached by their own address"),)
            if source.node:
                text = "same node" if source.node == owner.node else f"{source.node} to {owner.node}"
                because += (Reason("route", text),)
        target = self.model.targets.at[owner, host, port, protocol]
        seen = self.sender.seen[self.family]
        return Verdict(self._policed(target, seen, seen), because)

    def _to_node(self, owner: worlds.Party) -> Verdict:
        """A node's own address: a pod in its network may declare the port."""
        flow = self.flow
        seen = self.sender.seen[self.family]
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
        flow, seen = self.flow, self.sender.speaks[self.family]
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
        behind, protocol, own = self.model.targets.behind, self.flow.protocol, self.sender.seen[self.family]
        outcomes: tuple[Outcome, ...] = ()
        for endpoint, share, seen, policed, astray in translation.backends:
            if astray:
                outcomes += (_astray(endpoint, share, translation.at),)
                continue
            outcomes += self._policed(
                behind[endpoint, protocol],
                own if seen is None else seen,
                own if policed is None else policed,
                share,
                left=left,
            )
        return Verdict(outcomes, because)

    # --- policies

    def _beyond(self, outcomes: tuple[Outcome, ...]) -> Verdict:
        """To somebody who is no pod: the sender's egress alone is judged."""
        what = rules.Arrival(self.flow.protocol, self.flow.port)
        allowed, because = self._egress(self.flow.host, what)
        return Verdict(outcomes if allowed else (Outcome("dropped"),), because)

    def _policed(
        self,
        target: targets.Target,
        seen: frozenset[str],
        policed: frozenset[str],
        share: float = 1.0,
        *,
        left: bool = False,
    ) -> tuple[Outcome, ...]:
        """What becomes of a connection that arrives there: egress, unless it has `left`, then ingress.

        `seen` and `policed` are the sender's addresses as the target and as policy see them.
        """
        because = _NO_REASONS
        if not left:
            allowed, because = self._egress(target.address, target.what)
            if not allowed:
                return (_dropped(target, share, because),)
        if target.subject is None:
            return self._answers(target, seen, share, because)
        outcomes: tuple[Outcome, ...] = ()
        for allowed, reasons in self._ingress(target.subject, target, policed):
            told = because + reasons
            outcomes += (
                self._answers(target, seen, share, told) if allowed else (_dropped(target, share, told),)
            )
        return outcomes

    def _egress(self, address: str, what: rules.Arrival) -> _Decided:
        subject = self.subject
        if subject is None:
            return True, _NO_REASONS
        return self._decided("egress", subject, subject.programs["egress"].answers[what], address, what)

    def _ingress(
        self, subject: policies.Subject, target: targets.Target, policed: frozenset[str]
    ) -> Iterable[_Decided]:
        """Each way in which it may be judged: the sender may have several addresses that policy can see."""
        what, entering = target.what, target.entering
        if len(policed) == 1:
            (address,) = policed
            return (self._decided("ingress", subject, entering, address, what),)
        ways: dict[bool, tuple[Reason, ...]] = {}
        for address in self._visible(policed, target.owner.node):
            ways.setdefault(*self._decided("ingress", subject, entering, address, what))
        return ways.items() if ways else ((True, _NO_REASONS),)

    def _decided(
        self,
        direction: rules.Direction,
        subject: policies.Subject,
        answers: rules.Answers,
        address: str,
        what: rules.Arrival,
    ) -> _Decided:
        """What policy of one side says, with the other at that address."""
        place = self.model.policies.places[address]
        decision = rules.decide(answers, place.mask, subject.exempt.get(address))
        if not self.tells:
            return decision.allowed, _NO_REASONS
        return decision.allowed, self._told(decision, direction, subject, place, what)

    def _visible(self, addresses: frozenset[str], at: str) -> list[str]:
        """Of a node's addresses those that others see: with its gateways it speaks to its own pods alone."""
        kept = []
        for address in sorted(addresses):
            owner = self.world.owner(address)
            node = owner.node if owner is not None and owner.kind == "node" else ""
            if not node or node == at or address in self.world.uplinks(node, self.family):
                kept.append(address)
        return kept or sorted(addresses)

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

    def _answers(
        self,
        target: targets.Target,
        seen: frozenset[str],
        share: float = 1.0,
        because: tuple[Reason, ...] = _NO_REASONS,
    ) -> tuple[Outcome, ...]:
        """What is met at an address that is reached."""
        owner, address, port, _, what, _, known = target
        if not known:
            return _perhaps(self.flow, f"no container declares port {port}/{what.protocol}", because)
        return (Outcome("ok", because, owner.name, owner.namespace, address, port, seen, share),)

    def _pod(self, party: worlds.Party) -> core.Pod | None:
        return self.world.pod(party.name, party.namespace) if party.kind == "pod" else None


def _dropped(target: targets.Target, share: float, because: tuple[Reason, ...]) -> Outcome:
    return Outcome("dropped", because, "", "", target.address, target.port, _UNSEEN, share)


def _astray(endpoint: endpoints.Endpoint, share: float, at: str) -> Outcome:
    text = f"the answer of {endpoint.name} would not come back by {at}"
    because = (Reason("route", text, f"{endpoint.namespace}/{endpoint.name}"),)
    return Outcome("dropped", because, address=endpoint.address, port=endpoint.port, probability=share)


def _perhaps(flow: Flow, text: str, because: tuple[Reason, ...] = _NO_REASONS) -> tuple[Outcome, ...]:
    """Somebody may listen, or nobody. A UDP server may keep silent as well, so there all is open."""
    because += (Reason("port", text),)
    if flow.protocol == "UDP":
        return (Outcome(verdicts.UNKNOWN, because),)
    return (Outcome("ok", because), Outcome("refused", because))


def _unasked(server: str) -> Reason:
    text = f"its questions to the cluster's DNS ({server}, udp/{names.DNS_PORT}) are not answered"
    return Reason("name", text)
