"""How many requests show that every endpoint answers, and whether they did. Pure arithmetic."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from netemu.probe import questions


def requests_needed(shares: Sequence[float], *, miss: float = 1e-6) -> int:
    """Requests after which any endpoint is still unseen with probability below `miss`.

    `shares`: of each endpoint, how probable it is that a request goes there. A union bound:
    P(any of k unseen after n) <= k * (1 - the smallest share)^n.
    """
    if len(shares) <= 1:
        return 1
    rarest = min(*shares, 1 / len(shares))  # no share is known where chance is not all that decides
    return math.ceil(math.log(miss / len(shares)) / math.log1p(-rarest))


def tally(answers: Iterable[questions.Answer]) -> Counter[str]:
    """How often each endpoint answered."""
    return Counter(answer.endpoint for answer in answers if answer.outcome is questions.Outcome.OK)
