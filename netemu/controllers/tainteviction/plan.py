"""When a pod must leave a node because of NoExecute taints. Pure; times are unix seconds.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from collections.abc import Sequence

from netemu.api import core, tolerations
from netemu.controllers import readiness


def evict_at(pod: core.Pod, taints: Sequence[core.Taint], now: float) -> float | None:
    """The time at which the pod is deleted; None: it may stay.

    Untolerated: at once. Tolerated for some seconds: that long after the taint was added, the shortest
    counts.
    """
    executing = [taint for taint in taints if taint.effect == "NoExecute"]
    ends: list[float] = []
    for taint in executing:
        accepted = [one for one in pod.spec.tolerations if tolerations.tolerates(one, taint)]
        if not accepted:
            return now
        limited = [one.tolerationSeconds for one in accepted if one.tolerationSeconds is not None]
        if len(limited) < len(accepted):
            continue  # one of them has no limit
        since = readiness.seconds(taint.timeAdded) or now
        ends.append(since + max(0, min(limited)))
    return min(ends, default=None)
