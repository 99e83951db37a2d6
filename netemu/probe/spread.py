"""How many requests show that every endpoint answers, and whether they did. Pure arithmetic."""

import math
from collections import Counter
from collections.abc import Iterable

from netemu.probe import questions


def requests_needed(endpoints: int, *, miss: float = 1e-6) -> int:
    """Requests after which a uniformly chosen endpoint is still unseen with probability below `miss`.

    A union bound: P(any of k unseen after n) <= k * (1 - 1/k)^n.
    """
    if endpoints <= 1:
        return 1
    return math.ceil(math.log(miss / endpoints) / math.log(1 - 1 / endpoints))


def tally(answers: Iterable[questions.Answer]) -> Counter[str]:
    """How often each endpoint answered."""
    return Counter(answer.endpoint for answer in answers if answer.outcome is questions.Outcome.OK)
