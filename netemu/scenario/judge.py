"""What was measured against what the scenario and the model expect; and the likely cause. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from netemu.model import worlds
from netemu.probe import questions, spread
from netemu.probe.questions import Outcome
from netemu.scenario import plan, scenarios

WORDS = {
    Outcome.OK: "ok",
    Outcome.REFUSED: "refused",
    Outcome.TIMEOUT: "dropped",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.DNS_FAILURE: "no-such-name",
    Outcome.NO_SOURCE: "no-source",
}


class Result(NamedTuple):
    """One judged probe. `wrong` and `cause` are empty when all holds. `attempts`: how often measured.

    `foreseen`: what was measured is what the model says, and not what is wanted. Time changes nothing.
    """

    probe: plan.Probe
    answers: tuple[questions.Answer, ...]
    expected: str
    measured: str
    why: str
    wrong: str = ""
    cause: str = ""
    attempts: int = 1
    foreseen: bool = False

    @property
    def ok(self) -> bool:
        """Whether measured is what the scenario and the model expect."""
        return not self.wrong


def judge(probe: plan.Probe, answers: Sequence[questions.Answer], world: worlds.World) -> Result:
    """Compare. The worst answer speaks for a probe of several requests."""
    wrong = _wrong(probe, answers)
    return Result(
        probe,
        tuple(answers),
        expected=_expected(probe),
        measured=_measured(probe, answers),
        why=probe.verdict.text,
        wrong=wrong,
        cause=_cause(probe, answers, world) if wrong else "",
        foreseen=bool(wrong) and _foreseen(probe, answers),
    )


def _expected(probe: plan.Probe) -> str:
    if not probe.check.expect:
        return probe.verdict.outcome or "?"
    extra = {"unchanged": ", no NAT", "node": ", seen as its node"}.get(probe.check.source, "")
    everyone = f", all {len(probe.verdict.answerers)} answer" if probe.check.spread else ""
    return f"{probe.check.expect}{extra}{everyone}"


def _measured(probe: plan.Probe, answers: Sequence[questions.Answer]) -> str:
    worst = _worst(probe, answers)
    if worst.outcome is not Outcome.OK:
        return WORDS[worst.outcome]
    text = "ok"
    if worst.seen:
        text += f", seen as {worst.seen}" if worst.translated else ", no NAT"
    if probe.check.spread:
        counts = sorted(spread.tally(answers).values(), reverse=True)
        text += f", {len(counts)} answer ({'+'.join(map(str, counts))})"
    return text


def _worst(probe: plan.Probe, answers: Sequence[questions.Answer]) -> questions.Answer:
    expected = probe.check.expect or probe.verdict.outcome
    return next((answer for answer in answers if not _meets(WORDS[answer.outcome], expected)), answers[0])


def _meets(word: str, expected: str) -> bool:
    return word != "ok" if expected == scenarios.STOPPED else word == expected


def _wrong(probe: plan.Probe, answers: Sequence[questions.Answer]) -> str:
    """The first thing that does not hold, in words; "" when all does."""
    check, verdict = probe.check, probe.verdict
    for answer in answers:
        word = WORDS[answer.outcome]
        if check.expect and not _meets(word, check.expect):
            return f"{word} instead of {check.expect}{': ' + answer.detail if answer.detail else ''}"
        if contradiction := verdict.against(word):
            return contradiction
        if answer.outcome is not Outcome.OK or not check.identify:
            continue
        if check.source == "unchanged" and answer.seen != answer.local:
            return f"the server saw {answer.seen or 'nobody'}, the client is {answer.local}"
        if check.source == "node" and not answer.translated:
            return f"the server saw the client's own address {answer.seen}"
        if contradiction := verdict.against(word, answer.endpoint, answer.seen):
            return contradiction
    if check.spread:
        silent = {answerer.endpoint for answerer in verdict.answerers} - set(spread.tally(answers))
        if silent or not verdict.answerers:
            return f"{', '.join(sorted(silent)) or 'nobody'} never answered in {len(answers)} requests"
    return ""


def _foreseen(probe: plan.Probe, answers: Sequence[questions.Answer]) -> bool:
    wanted, verdict = probe.check.expect, probe.verdict
    if not wanted or not verdict.decided or any(_meets(word, wanted) for word in verdict.words):
        return False
    return not any(verdict.against(WORDS[answer.outcome]) for answer in answers)


def _cause(probe: plan.Probe, answers: Sequence[questions.Answer], world: worlds.World) -> str:
    """Where to look first."""
    unready = _unready(probe, world)
    outcome = _worst(probe, answers).outcome
    if unready and outcome is not Outcome.OK:
        return unready
    if outcome is not Outcome.OK and _foreseen(probe, answers) and probe.verdict.reasons:
        return f"the objects say so: {probe.verdict.reasons[-1]}"
    match outcome:
        case Outcome.DNS_FAILURE:
            return _dns_cause(world)
        case Outcome.REFUSED if probe.verdict.outcome == "refused":
            return str(probe.verdict.reasons[-1])
        case Outcome.REFUSED:
            return f"nothing listens on port {probe.target.port}/{probe.protocol}, or a rule rejects it"
        case Outcome.TIMEOUT:
            return "a packet or its answer is dropped on the way: a route, a rule, or the endpoint's node"
        case Outcome.UNREACHABLE:
            return f"no route to {probe.target.host} from {probe.sender}, or a router on the way has none"
        case Outcome.NO_SOURCE:
            return f"{probe.sender} has gone"
    if (probe.check.expect or probe.verdict.outcome) != "ok":
        return "nothing forbids it"
    return "an address is translated where it must not be, or the wrong endpoint was chosen"


def _dns_cause(world: worlds.World) -> str:
    servers = [pod for pod in world.pods if pod.metadata.labels.get("k8s-app") == "kube-dns"]
    if not servers:
        return "no cluster DNS pod is there (label k8s-app=kube-dns in kube-system)"
    if not any(worlds.is_ready(pod) for pod in servers):
        return f"cluster DNS is not ready: {', '.join(pod.metadata.name for pod in servers)}"
    return "cluster DNS is ready but does not know the name, or does not get the query"


def _unready(probe: plan.Probe, world: worlds.World) -> str:
    owner = probe.target.owner
    parties = [party for party in (probe.sender.party, owner) if party is not None]
    for node in world.nodes:
        ready = any(
            c.type == "Ready" and c.status == "True" for c in (node.status.conditions if node.status else ())
        )
        if not ready and any(party.node == node.metadata.name for party in parties):
            return f"node {node.metadata.name} is not Ready"
    for party in parties:
        pod = world.pod(party.name, party.namespace) if party.kind == "pod" else None
        if pod is not None and not worlds.is_ready(pod):
            return f"pod {party} is not Ready"
    return ""
