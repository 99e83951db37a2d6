"""The extension points of the scheduling framework, in the order a pod passes them. Knows shapes only.

PreEnqueue -> (PreFilter -> Filter) per node -> PostFilter when none fits -> (PreScore -> Score ->
NormalizeScore). Reserve and Bind have no plugins: the agent does both.
https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from netemu.scheduler import nodes, pods, snapshots

MAX_NODE_SCORE: Final = 100


class Rejection(NamedTuple):
    """Why a plugin says no, in upstream's words. `resolvable`: removing other pods could make it a yes."""

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool = True


class Only(NamedTuple):
    """A PreFilter result: nothing but these nodes needs looking at."""

    nodes: frozenset[str]
    state: Any


class Skip:
    """A PreFilter or PreScore result: this plugin has nothing to say about this pod."""


SKIP: Final = Skip()


@runtime_checkable
class PreEnqueue(Protocol):
    """Says whether a pod may be queued at all."""

    name: str

    def pre_enqueue(self, pod: pods.PodInfo) -> Rejection | None: ...


@runtime_checkable
class Filter(Protocol):
    """Says which nodes a pod can run on. What pre_filter works out once is handed to every filter call."""

    name: str

    def pre_filter(self, pod: pods.PodInfo, snapshot: snapshots.Snapshot) -> Any:
        """A state for `filter`, or Only(nodes, state), or SKIP, or a Rejection by all nodes at once."""
        ...

    def filter(self, state: Any, pod: pods.PodInfo, node: nodes.NodeInfo) -> Rejection | None: ...


@runtime_checkable
class PostFilter(Protocol):
    """Called when no node is left. May explain, and later (preemption) make room."""

    name: str

    def post_filter(self, pod: pods.PodInfo, rejections: Mapping[str, Rejection], total: int) -> str: ...


@runtime_checkable
class Score(Protocol):
    """Ranks the nodes which are left: any integers first, 0 to MAX_NODE_SCORE after `normalize`."""

    name: str

    def pre_score(
        self, pod: pods.PodInfo, snapshot: snapshots.Snapshot, feasible: Sequence[nodes.NodeInfo]
    ) -> Any:
        """A state for `score`, or SKIP."""
        ...

    def score(self, state: Any, pod: pods.PodInfo, node: nodes.NodeInfo) -> int: ...

    def normalize(self, state: Any, scores: Mapping[str, int]) -> Mapping[str, int]: ...


def normalized(scores: Mapping[str, int], *, reverse: bool = False) -> Mapping[str, int]:
    """Upstream's DefaultNormalizeScore: the highest becomes 100 (or 0 when reversed)."""
    highest = max(scores.values(), default=0)
    if highest == 0:
        return dict.fromkeys(scores, MAX_NODE_SCORE) if reverse else scores
    if reverse:
        return {name: MAX_NODE_SCORE - MAX_NODE_SCORE * score // highest for name, score in scores.items()}
    return {name: MAX_NODE_SCORE * score // highest for name, score in scores.items()}
