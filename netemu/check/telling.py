"""Verdicts as people read them and as JSON. Pure: text and values out of values."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from netemu.model import flows, verdicts, worlds
from netemu.model.verdicts import Outcome, Reason, Verdict

_WORDS: dict[verdicts.Word, str] = {verdicts.UNKNOWN: "undecided"}
_MOST_NAMED = 4


class Answer(NamedTuple):
    """A question with its answer. `shown` is how the target is called.

    `by_name` is what dialling its DNS name comes to, where that is something else.
    """

    flow: flows.Flow
    shown: str
    verdict: Verdict
    by_name: Verdict | None = None

    @property
    def ok(self) -> bool:
        """Whether it is delivered, whatever chance decides."""
        return self.verdict.words == {"ok"}


def lines(answer: Answer) -> Iterator[str]:
    """The verdict in one line for each way it may end, the steps that lead there, and what was overlooked."""
    verdict = answer.verdict
    headlines = tuple(_headlines(verdict))
    yield from headlines
    steps = [
        reason for reason in verdict.reasons if not any(line.endswith(f": {reason}") for line in headlines)
    ]
    for number, reason in enumerate(steps, 1):
        yield f"  {number}. {reason}"
    for reason in verdict.advice:
        yield f"  note: {reason}"
    if answer.by_name is not None:
        by_name = answer.by_name
        headline = next(_headlines(by_name))
        yield f"  by its name: {headline}"
        # Where the name leads elsewhere than to the Service, that is the reason.
        elsewhere = [reason for reason in by_name.reasons if reason.kind == "name"]
        if not any(reason.kind == "service" for reason in by_name.reasons):
            yield from (
                f"    because {reason}" for reason in elsewhere if not headline.endswith(f": {reason}")
            )
        for reason in by_name.advice:
            if reason not in verdict.advice:
                yield f"  note: {reason}"


def _headlines(verdict: Verdict) -> Iterator[str]:
    groups: dict[verdicts.Word, list[Outcome]] = {}
    for outcome in verdict.outcomes:
        groups.setdefault(outcome.word, []).append(outcome)
    open_ended = len(groups) > 1 and sum(o.probability for o in verdict.outcomes) > 1.001
    if open_ended and not any(o.endpoint for o in verdict.outcomes):  # nobody knows whether somebody listens
        words = " or ".join(_WORDS.get(word, word) for word in groups)
        yield f"{words}: {_last(verdict, verdict.outcomes[0])}"
        return
    for word, outcomes in groups.items():
        share = sum(outcome.probability for outcome in outcomes)
        part = f" for {share:.0%} of connections" if len(groups) > 1 and not open_ended else ""
        text = _answered(outcomes) if word == "ok" else _last(verdict, outcomes[0])
        yield f"{_WORDS.get(word, word)}{part}: {text}"


def _answered(outcomes: Sequence[Outcome]) -> str:
    """Who answers, and whom he sees."""
    names = dict.fromkeys(
        f"{o.namespace}/{o.endpoint}" if o.namespace else o.endpoint or "somebody" for o in outcomes
    )
    shown = [*names][:_MOST_NAMED]
    who = " or ".join(shown) + (f" or {len(names) - len(shown)} more" if len(names) > len(shown) else "")
    ports = {o.port for o in outcomes if o.port}
    where = f" on port {ports.pop()}" if len(ports) == 1 else ""
    seen = {next(iter(o.seen)) if len(o.seen) == 1 else "a node's address" for o in outcomes if o.seen}
    return f"{who} answers{where}" + (f", and sees {' or '.join(sorted(seen))}" if seen else "")


def _last(verdict: Verdict, outcome: Outcome) -> Reason | str:
    """What decided: the last step of the outcome."""
    steps = [reason for reason in (*verdict.because, *outcome.because) if reason.kind != verdicts.ADVICE]
    return steps[-1] if steps else "nothing is known"


def document(answer: Answer) -> dict[str, Any]:
    """The answer as JSON has it."""
    flow = answer.flow
    return {
        "from": party(flow.source),
        "to": answer.shown,
        "host": flow.host,
        "port": flow.port,
        "protocol": flow.protocol,
        "family": f"IPv{flow.family}",
        "ok": answer.ok,
        "outcomes": [_outcome(outcome) for outcome in answer.verdict.outcomes],
        "because": [_reason(reason) for reason in answer.verdict.reasons],
        "notes": [_reason(reason) for reason in answer.verdict.advice],
        "byName": next(_headlines(answer.by_name)) if answer.by_name is not None else None,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "outcome": _WORDS.get(outcome.word, outcome.word),
        "endpoint": outcome.endpoint,
        "namespace": outcome.namespace,
        "address": outcome.address,
        "port": outcome.port,
        "seen": sorted(outcome.seen),
        "probability": round(outcome.probability, 6),
        "because": [str(reason) for reason in outcome.because if reason.kind != verdicts.ADVICE],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {key: value for key, value in reason._asdict().items() if value not in ("", None)}


def party(who: worlds.Party) -> str:
    """A sender's full name."""
    return f"{who.namespace}/{who.name}" if who.kind == "pod" else who.name
