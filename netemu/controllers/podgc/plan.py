"""Which pods nobody will ever clean up: on nodes that are gone, ended long ago, or deleted before they had a
node. Pure.
"""

from collections.abc import Collection, Iterable
from typing import Final

from netemu.api import core
from netemu.controllers import readiness

MAX_TERMINATED: Final = 12500


def orphaned(pods: Iterable[core.Pod], nodes: Collection[str]) -> tuple[core.Pod, ...]:
    """Pods bound to a node there is no object of."""
    return tuple(pod for pod in pods if pod.spec.nodeName and pod.spec.nodeName not in nodes)


def never_placed(pods: Iterable[core.Pod]) -> tuple[core.Pod, ...]:
    """Pods on their way out which have no node, so no kubelet that could confirm it."""
    return tuple(pod for pod in pods if pod.metadata.deletionTimestamp and not pod.spec.nodeName)


def surplus(pods: Iterable[core.Pod], limit: int = MAX_TERMINATED) -> tuple[core.Pod, ...]:
    """Ended pods beyond the limit, the oldest first."""
    ended = [pod for pod in pods if readiness.is_terminal(pod)]
    if len(ended) <= limit:
        return ()
    ended.sort(key=lambda pod: (pod.metadata.creationTimestamp, pod.metadata.name))
    return tuple(ended[: len(ended) - limit])
