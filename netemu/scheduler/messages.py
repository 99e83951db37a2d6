"""The sentence that tells why a pod is unscheduled, as upstream's FitError forms it. Knows counting and
commas.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from netemu.scheduler import framework

NO_NODES: Final = "no nodes available to schedule pods"


def unavailable(total: int, reasons: Mapping[str, int]) -> str:
    """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`"""
    # Sorted as whole strings, number first: upstream does the same.
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{total} nodes are available: {listed}." if listed else f"0/{total} nodes are available:"


def fit_error(
    total: int,
    rejections: Mapping[str, framework.Rejection],
    *,
    not_looked_at: str = "",
    by_pre_filter: str = "",
    post_filter: str = "",
) -> str:
    """The whole message.

    `not_looked_at`: the reason for nodes without a rejection of their own; `by_pre_filter`: the one reason
    of a plugin that refused all nodes at once; `post_filter`: what preemption has to add.
    """
    if total == 0:
        return NO_NODES
    if by_pre_filter:
        message = f"0/{total} nodes are available: {by_pre_filter}."
    else:
        reasons = Counter(reason for rejection in rejections.values() for reason in rejection.reasons)
        if not_looked_at and total > len(rejections):
            reasons[not_looked_at] += total - len(rejections)
        message = unavailable(total, reasons)
    return f"{message} {post_filter}" if post_filter else message
