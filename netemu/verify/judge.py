"""What was measured of a flow against what the model says of it; and where to look first. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from netemu.model import verdicts, worlds
from netemu.probe import questions, rounds
from netemu.probe.questions import Outcome
from netemu.scenario import judge as words
from netemu.verify import cases


class Result(NamedTuple):
    """One flow, judged. `wrong` and `cause` are "" where all agrees; `attempts`: how often measured."""

    case: cases.Case
    verdict: verdicts.Verdict
    answer: questions.Answer
    wrong: str = ""
    cause: str = ""
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether the measurement is one of the outcomes that the model allows."""
        return not self.wrong

    @property
    def measured(self) -> str:
        """One word, and who answered and was seen, where he said so."""
        answer = self.answer
        by = f" by {answer.endpoint}" if answer.endpoint else ""
        seen = f", seen as {answer.seen}" if answer.seen else ""
        return f"{word(answer)}{by}{seen}"

    @property
    def expected(self) -> str:
        """The words that the model allows; "?" where it leaves it open."""
        return " or ".join(sorted(one or "?" for one in self.verdict.words))


def word(answer: questions.Answer) -> str:
    """The model's word for what was measured; "no-source" when nobody could ask."""
    return words.WORDS[answer.outcome]


def judge(
    case: cases.Case,
    verdict: verdicts.Verdict,
    answer: questions.Answer,
    world: worlds.World,
    *,
    mute: bool = False,
) -> Result:
    """`mute`: the server does not answer to itself either, so that silence says nothing about the network."""
    if answer.outcome is Outcome.NO_SOURCE:
        return Result(
            case, verdict, answer, "the sender has no running network", f"{case.flow.source} has gone"
        )
    wrong = verdict.against(word(answer), pod_called(answer.endpoint, verdict, world), answer.seen)
    if wrong and mute and answer.outcome is Outcome.TIMEOUT and "ok" in verdict.words:
        wrong = ""
    return Result(case, verdict, answer, wrong, _cause(case, verdict, answer, world) if wrong else "")


def pod_called(hostname: str, verdict: verdicts.Verdict, world: worlds.World) -> str:
    """The pod whose host name it is: his own, the one he asked for, or, in the host's network, the node's."""
    if hostname in {outcome.endpoint for outcome in verdict.answerers}:
        return hostname
    for outcome in verdict.answerers:
        pod = world.pod(outcome.endpoint, outcome.namespace)
        if pod is not None and hostname:
            known = pod.spec.nodeName if pod.spec.hostNetwork else pod.spec.hostname
            if hostname == known:
                return outcome.endpoint
    return hostname


def _cause(case: cases.Case, verdict: verdicts.Verdict, answer: questions.Answer, world: worlds.World) -> str:
    """The first thing that would explain it."""
    if answer.outcome is Outcome.TIMEOUT and answer.detail == rounds.OVERFLOWED:
        return "the machine's table of neighbours is full: raise net.ipv4.neigh.default.gc_thresh3 (and ipv6)"
    unready = _unready(_concerned(case, verdict, world), world)
    policies = _policies(verdict)
    where = _nodes(case, verdict, world)
    match answer.outcome, verdict.outcome:
        case Outcome.OK, "dropped" if policies:
            return f"{policies} is not in force on {where}"
        case Outcome.OK, "dropped" | "refused" | "unreachable":
            return f"a rule that stops it is missing on {where}"
        case Outcome.OK, "ok":
            return "an address is translated where it must not be, or the wrong endpoint is chosen"
        case Outcome.DNS_FAILURE, _:
            return _dns(world)
    if unready:
        return unready
    match answer.outcome:
        case Outcome.REFUSED:
            port = f"{case.flow.port}/{case.flow.protocol}"
            return f"nothing listens on port {port}, or a rule on {where} rejects it"
        case Outcome.TIMEOUT:
            return f"a rule or a route on {where} loses it{f' (perhaps {policies})' if policies else ''}"
        case Outcome.UNREACHABLE:
            return f"no route to {case.flow.host} from {case.flow.source}, or a router on the way has none"
    return "it is as if another rule were in force"


def _policies(verdict: verdicts.Verdict) -> str:
    """The policies that the reasons name."""
    named = (reason.subject for reason in verdict.reasons if "policy" in reason.kind and reason.subject)
    found = tuple(dict.fromkeys(named))
    return f"policy {', '.join(found)}" if found else ""


def _concerned(case: cases.Case, verdict: verdicts.Verdict, world: worlds.World) -> Iterable[worlds.Party]:
    """The sender, whom it dialled, and who may answer."""
    yield case.flow.source
    if (owner := world.owner(case.flow.host)) is not None:
        yield owner
    for outcome in verdict.answerers:
        if (owner := world.owner(outcome.address)) is not None:
            yield owner


def _nodes(case: cases.Case, verdict: verdicts.Verdict, world: worlds.World) -> str:
    """The nodes that such a packet passes."""
    nodes = tuple(dict.fromkeys(party.node for party in _concerned(case, verdict, world) if party.node))
    return " or ".join(nodes) or "a node"


def _unready(parties: Iterable[worlds.Party], world: worlds.World) -> str:
    for party in parties:
        node = world.node(party.node)
        conditions = node.status.conditions if node is not None and node.status else ()
        if node is not None and not any(c.type == "Ready" and c.status == "True" for c in conditions):
            return f"node {party.node} is not Ready"
        pod = world.pod(party.name, party.namespace) if party.kind == "pod" else None
        if pod is not None and not worlds.is_ready(pod):
            return f"pod {party} is not Ready"
    return ""


def _dns(world: worlds.World) -> str:
    servers = [pod for pod in world.pods if pod.metadata.labels.get("k8s-app") == "kube-dns"]
    if not any(worlds.is_ready(pod) for pod in servers):
        return "no cluster DNS pod is Ready (label k8s-app=kube-dns in kube-system)"
    return "cluster DNS does not know the name, or does not get the query"
