"""One pod, one snapshot, one decision. Knows the order of the extension points; no clock, no client.

Where several nodes are best, the chance which the caller brings decides, as upstream does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from netemu.base import ids
from netemu.scheduler import framework, messages, nodes, pods, profiles, snapshots

_ALWAYS_ENOUGH: Final = 100  # minFeasibleNodesToFind


@dataclass(frozen=True, slots=True)
class Decision:
    """A node, or why there is none.

    `rejections` has every node that was looked at and refused; `plugins` who refused: what may change their
    minds makes a retry worth while.
    """

    node: str | None
    message: str = ""
    rejections: dict[str, framework.Rejection] = field(default_factory=dict)
    plugins: frozenset[str] = frozenset()
    scores: dict[str, int] = field(default_factory=dict)
    looked_at: int = 0


def plan(
    snapshot: snapshots.Snapshot,
    pod: pods.PodInfo,
    chance: ids.Chance,
    *,
    profile: profiles.Profile = profiles.DEFAULT,
    start: int = 0,
) -> Decision:
    """Choose a node for `pod`. `start`: where in the list of nodes to start, if there are many."""
    states: list[tuple[framework.Filter, Any]] = []
    only: frozenset[str] | None = None
    narrowing: list[str] = []
    for plugin in profile.filters:
        state = plugin.pre_filter(pod, snapshot)
        if state is framework.SKIP:
            continue
        if isinstance(state, framework.Rejection):
            return _refused_by_all(snapshot, pod, profile, state)
        if isinstance(state, framework.Only):
            only = state.nodes if only is None else only & state.nodes
            narrowing.append(plugin.name)
            state = state.state
        states.append((plugin, state))
    candidates = _candidates(snapshot, only, start)
    feasible, rejections = _filter(states, pod, candidates, enough(len(candidates)))
    looked_at = len(feasible) + len(rejections)
    if not feasible:
        return _none_left(snapshot, pod, profile, rejections, narrowing)
    if len(feasible) == 1:
        return Decision(feasible[0].name, rejections=rejections, looked_at=looked_at)
    scores = _score(profile, snapshot, pod, feasible)
    best = max(scores.values())
    ties = [name for name, score in scores.items() if score == best]
    return Decision(
        ties[chance.randrange(len(ties))], rejections=rejections, scores=scores, looked_at=looked_at
    )


def gated(pod: pods.PodInfo, profile: profiles.Profile = profiles.DEFAULT) -> framework.Rejection | None:
    """Why a pod may not be queued yet."""
    for plugin in profile.pre_enqueue:
        rejection = plugin.pre_enqueue(pod)
        if rejection is not None:
            return rejection
    return None


def enough(total: int) -> int:
    """How many feasible nodes to find before scoring: all of 100, then a falling share (50 % - n/125), at
    least 5 %.
    """
    if total < _ALWAYS_ENOUGH:
        return total
    return max(total * max(50 - total // 125, 5) // 100, _ALWAYS_ENOUGH)


def _candidates(
    snapshot: snapshots.Snapshot, only: frozenset[str] | None, start: int
) -> Sequence[nodes.NodeInfo]:
    if only is not None:
        return [node for name, node in snapshot.nodes.items() if name in only]
    every = list(snapshot.nodes.values())
    start = start % len(every) if every else 0
    return every[start:] + every[:start] if start else every


def _filter(
    states: Sequence[tuple[framework.Filter, Any]],
    pod: pods.PodInfo,
    candidates: Sequence[nodes.NodeInfo],
    limit: int,
) -> tuple[list[nodes.NodeInfo], dict[str, framework.Rejection]]:
    feasible: list[nodes.NodeInfo] = []
    rejections: dict[str, framework.Rejection] = {}
    for node in candidates:
        for plugin, state in states:
            rejection = plugin.filter(state, pod, node)
            if rejection is not None:
                rejections[node.name] = rejection
                break
        else:
            feasible.append(node)
            if len(feasible) >= limit:
                break
    return feasible, rejections


def _score(
    profile: profiles.Profile,
    snapshot: snapshots.Snapshot,
    pod: pods.PodInfo,
    feasible: Sequence[nodes.NodeInfo],
) -> dict[str, int]:
    totals = {node.name: 0 for node in feasible}
    for plugin, weight in profile.scores:
        state = plugin.pre_score(pod, snapshot, feasible)
        if state is framework.SKIP:
            continue
        raw = {node.name: plugin.score(state, pod, node) for node in feasible}
        for name, score in plugin.normalize(state, raw).items():
            totals[name] += score * weight
    return totals


def _none_left(
    snapshot: snapshots.Snapshot,
    pod: pods.PodInfo,
    profile: profiles.Profile,
    rejections: dict[str, framework.Rejection],
    narrowing: Sequence[str],
) -> Decision:
    total = len(snapshot.nodes)
    message = messages.fit_error(
        total,
        rejections,
        not_looked_at=f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(narrowing))}]"
        if narrowing
        else "",
        post_filter=" ".join(plugin.post_filter(pod, rejections, total) for plugin in profile.post_filters),
    )
    refusing = frozenset(rejection.plugin for rejection in rejections.values()) | frozenset(narrowing)
    return Decision(None, message, rejections, refusing, looked_at=len(rejections))


def _refused_by_all(
    snapshot: snapshots.Snapshot,
    pod: pods.PodInfo,
    profile: profiles.Profile,
    rejection: framework.Rejection,
) -> Decision:
    total = len(snapshot.nodes)
    rejections = dict.fromkeys(snapshot.nodes, rejection)
    message = messages.fit_error(
        total,
        {},
        by_pre_filter=", ".join(rejection.reasons),
        post_filter=" ".join(plugin.post_filter(pod, rejections, total) for plugin in profile.post_filters),
    )
    return Decision(None, message, rejections, frozenset((rejection.plugin,)))
