"""The arithmetic of a rolling update: surge, unavailability, and who grows or shrinks by how many. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

from collections.abc import Sequence
from typing import Final

from netemu.api import apps

REVISION: Final = "deployment.kubernetes.io/revision"
HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAX: Final = "deployment.kubernetes.io/max-replicas"
HASH_LABEL: Final = "pod-template-hash"


def replicas(thing: apps.Deployment | apps.ReplicaSet) -> int:
    return 1 if thing.spec.replicas is None else thing.spec.replicas


def total(replica_sets: Sequence[apps.ReplicaSet]) -> int:
    return sum(replicas(one) for one in replica_sets)


def is_rolling(deployment: apps.Deployment) -> bool:
    return deployment.spec.strategy.type != "Recreate"


def fenceposts(deployment: apps.Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable): surge rounds up, unavailability down; zero twice would never move."""
    rolling = deployment.spec.strategy.rollingUpdate
    surge = rolling.maxSurge if rolling is not None and rolling.maxSurge is not None else "25%"
    unavailable = (
        rolling.maxUnavailable if rolling is not None and rolling.maxUnavailable is not None else "25%"
    )
    desired = replicas(deployment)
    up, down = _scaled(surge, desired, up=True), _scaled(unavailable, desired, up=False)
    return (up, 1) if up == 0 and down == 0 else (up, down)


def max_surge(deployment: apps.Deployment) -> int:
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: apps.Deployment) -> int:
    """Never more than there are replicas; none for Recreate."""
    if not is_rolling(deployment) or replicas(deployment) == 0:
        return 0
    return min(fenceposts(deployment)[1], replicas(deployment))


def _scaled(value: int | str, whole: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        return int(value)
    share = int(value[:-1]) * whole
    return -(-share // 100) if up else share // 100


def new_size(deployment: apps.Deployment, new: int, everything: int) -> int:
    """Replicas for the new ReplicaSet, which has `new` of the `everything` there are: as many as surge
    allows.
    """
    desired = replicas(deployment)
    if not is_rolling(deployment):
        return desired
    room = desired + max_surge(deployment) - everything
    return new if room <= 0 else new + min(room, desired - new)


def shrink(
    deployment: apps.Deployment, new: apps.ReplicaSet, old: Sequence[apps.ReplicaSet]
) -> dict[str, int]:
    """New sizes of old ReplicaSets, by name: first pods that are not available anyway, then as many as may be
    missing.
    """
    sizes = {one.metadata.name: replicas(one) for one in old}
    if not sum(sizes.values()):
        return {}
    least = replicas(deployment) - max_unavailable(deployment)
    new_unavailable = replicas(new) - new.status.availableReplicas
    room = sum(sizes.values()) + replicas(new) - least - new_unavailable
    if room <= 0:
        return {}
    by_age = sorted(old, key=lambda one: (one.metadata.creationTimestamp or "", one.metadata.name))
    for one in by_age:  # cleanupUnhealthyReplicas
        name = one.metadata.name
        cut = min(room, max(0, sizes[name] - one.status.availableReplicas))
        sizes[name] -= cut
        room -= cut
    # scaleDownOldReplicaSetsForRollingUpdate: what is available beyond the least.
    spare = sum(one.status.availableReplicas for one in (*old, new)) - least
    for one in by_age:
        name = one.metadata.name
        cut = max(0, min(spare, sizes[name]))
        sizes[name] -= cut
        spare -= cut
    return {
        one.metadata.name: sizes[one.metadata.name]
        for one in old
        if sizes[one.metadata.name] != replicas(one)
    }


def proportional(deployment: apps.Deployment, active: Sequence[apps.ReplicaSet]) -> dict[str, int]:
    """New sizes when a Deployment is scaled in the middle of a rollout: shared by present size, the rest to
    the largest.
    """
    desired = replicas(deployment)
    allowed = desired + max_surge(deployment) if desired > 0 else 0
    to_add = allowed - total(active)
    # Larger first; among equals the newer first when growing, the older first when shrinking.
    by_age = sorted(active, key=lambda one: (one.metadata.creationTimestamp or "", one.metadata.name))
    order = sorted(by_age[::-1] if to_add > 0 else by_age, key=lambda one: -replicas(one))
    sizes: dict[str, int] = {}
    added = 0
    for one in order:
        change = _share(deployment, one, to_add, added) if to_add else 0
        sizes[one.metadata.name] = replicas(one) + change
        added += change
    if order and to_add != added:
        first = order[0].metadata.name
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _share(deployment: apps.Deployment, one: apps.ReplicaSet, to_add: int, added: int) -> int:
    if replicas(one) == 0:
        return 0
    if replicas(deployment) == 0:
        return -replicas(one)
    # The size it had relative to the maximum when it was last sized, applied to today's maximum.
    allowed = replicas(deployment) + max_surge(deployment)
    before = _number(one.metadata.annotations.get(MAX), deployment.status.replicas)
    share = round_half_away(replicas(one) * allowed / before) - replicas(one) if before else 0
    left = to_add - added
    return min(share, left) if to_add > 0 else max(share, left)


def round_half_away(value: float) -> int:
    """Go's math.Round, for values that are not negative."""
    return int(value + 0.5)


def _number(text: str | None, otherwise: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        return otherwise
