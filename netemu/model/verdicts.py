"""What the model answers with: a set of outcomes, each with the reasons that led to it. Values only.

A verdict with several outcomes means that any of them may be seen (another backend, or a process that may
not listen); UNKNOWN among them means that the model leaves it open.
"""

from typing import Literal, NamedTuple

Word = Literal["ok", "refused", "dropped", "unreachable", "no-such-name", ""]
UNKNOWN: Word = ""
ADVICE = "advice"


class Reason(NamedTuple):
    """One step of the argument, in the order in which a packet meets them.

    kind     what spoke: name, service, source, route, pod, node, policy, cluster-policy, default, port; and
             advice: no step, but what somebody may have overlooked
    text     the step as a sentence
    subject  the object it comes from, such as default/deny-all ("" when none)
    rule     the index of its rule, from 0, as in spec.egress[0] (None when none)
    field    the list the rule is in: ingress, egress, ports
    """

    kind: str
    text: str
    subject: str = ""
    rule: int | None = None
    field: str = ""

    def __str__(self) -> str:
        return self.text


class Outcome(NamedTuple):
    """One way in which a flow may end.

    endpoint, namespace  who answers ("" when nobody does, or nobody knows)
    address, port        where it was delivered to, after every translation of the destination
    seen                 the client addresses the endpoint may see (empty: not known)
    probability          the share of connections; of outcomes that chance does not decide (whether somebody
                         listens) each has the whole share
    """

    word: Word
    because: tuple[Reason, ...] = ()
    endpoint: str = ""
    namespace: str = ""
    address: str = ""
    port: int = 0
    seen: frozenset[str] = frozenset()
    probability: float = 1.0


class Verdict(NamedTuple):
    """Every way in which a flow may end. `because` are the steps that all outcomes share."""

    outcomes: tuple[Outcome, ...]
    because: tuple[Reason, ...] = ()

    @property
    def words(self) -> frozenset[Word]:
        """What may be seen."""
        return frozenset(outcome.word for outcome in self.outcomes)

    @property
    def outcome(self) -> Word:
        """The one word, if there is only one; else UNKNOWN."""
        words = self.words
        return next(iter(words)) if len(words) == 1 else UNKNOWN

    @property
    def decided(self) -> bool:
        """Whether the model excludes anything."""
        return UNKNOWN not in self.words

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """All steps, the shared ones first; each once."""
        return tuple(reason for reason in self._said() if reason.kind != ADVICE)

    @property
    def advice(self) -> tuple[Reason, ...]:
        """What somebody may have overlooked."""
        return tuple(reason for reason in self._said() if reason.kind == ADVICE)

    def _said(self) -> tuple[Reason, ...]:
        own = (reason for outcome in self.outcomes for reason in outcome.because)
        return tuple(dict.fromkeys((*self.because, *own)))

    @property
    def answerers(self) -> tuple[Outcome, ...]:
        """Those who may answer."""
        return tuple(outcome for outcome in self.outcomes if outcome.word == "ok" and outcome.endpoint)

    @property
    def text(self) -> str:
        """All steps in one line."""
        return "; ".join(map(str, self.reasons))

    def seen_by(self, endpoint: str) -> frozenset[str]:
        """The client addresses the endpoint of that name may see (empty: not known)."""
        return frozenset(
            a for outcome in self.answerers if outcome.endpoint == endpoint for a in outcome.seen
        )

    def against(self, word: str, endpoint: str = "", seen: str = "") -> str:
        """Why what was measured cannot be: "" if it is one of the outcomes.

        `word` as in Outcome; `endpoint` who said he answered, `seen` whom he saw ("" when it was not asked).
        """
        if not self.decided:
            return ""
        if word not in self.words:
            return f"{word}, but the model says {' or '.join(sorted(self.words))}"
        known = {outcome.endpoint for outcome in self.outcomes if outcome.word == "ok"}
        if word != "ok" or not endpoint or "" in known:
            return ""
        if endpoint not in known:
            return f"{endpoint} answered, which is none of {', '.join(sorted(known))}"
        allowed = self.seen_by(endpoint)
        if seen and allowed and seen not in allowed:
            return f"the server saw {seen}; the model says {' or '.join(sorted(allowed))}"
        return ""


def one(word: Word, *because: Reason) -> Verdict:
    """A verdict with a single outcome that nobody answers."""
    return Verdict((Outcome(word, because),))
