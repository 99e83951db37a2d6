"""Which taints a pod puts up with. Knows the two operators; does not know what a taint leads to.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from collections.abc import Iterable

from netemu.api import core

REPELLING = ("NoSchedule", "NoExecute")


def tolerates(toleration: core.Toleration, taint: core.Taint) -> bool:
    """An empty effect means every effect; an empty key with Exists means every key."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == (taint.value or "")


def untolerated(
    tolerations: Iterable[core.Toleration], taints: Iterable[core.Taint], effects: tuple[str, ...] = REPELLING
) -> core.Taint | None:
    """The first taint with one of `effects` which no toleration covers."""
    accepted = tuple(tolerations)
    for taint in taints:
        if taint.effect in effects and not any(tolerates(one, taint) for one in accepted):
            return taint
    return None
