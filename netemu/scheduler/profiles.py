"""The default profile: which plugins there are, in upstream's order, and what their scores weigh.

Left out: volumes, images' locality and device claims, which this cluster does not have.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from netemu.scheduler import framework
from netemu.scheduler.plugins import (
    balanced_allocation,
    default_preemption,
    inter_pod_affinity,
    node_affinity,
    node_name,
    node_ports,
    node_resources_fit,
    node_unschedulable,
    pod_topology_spread,
    scheduling_gates,
    taint_toleration,
)


class Row(NamedTuple):
    """A plugin and the weight of its score; 0 for plugins which do not score."""

    plugin: Any
    weight: int


_DEFAULT: Final = (
    Row(scheduling_gates.SchedulingGates(), 0),
    Row(node_unschedulable.NodeUnschedulable(), 0),
    Row(node_name.NodeName(), 0),
    Row(taint_toleration.TaintToleration(), 3),
    Row(node_affinity.NodeAffinity(), 2),
    Row(node_ports.NodePorts(), 0),
    Row(node_resources_fit.NodeResourcesFit(), 1),
    Row(pod_topology_spread.PodTopologySpread(), 2),
    Row(inter_pod_affinity.InterPodAffinity(), 2),
    Row(default_preemption.DefaultPreemption(), 0),
    Row(balanced_allocation.BalancedAllocation(), 1),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Plugins by extension point."""

    scheduler_name: str
    pre_enqueue: tuple[framework.PreEnqueue, ...]
    filters: tuple[framework.Filter, ...]
    post_filters: tuple[framework.PostFilter, ...]
    scores: tuple[tuple[framework.Score, int], ...]


def of(rows: tuple[Row, ...], scheduler_name: str) -> Profile:
    """Sort plugins by what they implement."""
    return Profile(
        scheduler_name,
        tuple(row.plugin for row in rows if isinstance(row.plugin, framework.PreEnqueue)),
        tuple(row.plugin for row in rows if isinstance(row.plugin, framework.Filter)),
        tuple(row.plugin for row in rows if isinstance(row.plugin, framework.PostFilter)),
        tuple((row.plugin, row.weight) for row in rows if isinstance(row.plugin, framework.Score)),
    )


DEFAULT: Final = of(_DEFAULT, "default-scheduler")
