"""What one scheduling decision is made from. Knows where things are; not how they came to be known."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netemu.api import apps, core, meta, selectors
from netemu.scheduler import nodes, pods


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at one moment. The mappings are only looked at, never kept or changed."""

    nodes: Mapping[str, nodes.NodeInfo]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # labels by name
    services: Mapping[str, tuple[core.Service, ...]] = field(default_factory=dict)  # by namespace
    replica_sets: Mapping[tuple[str, str], apps.ReplicaSet] = field(default_factory=dict)

    def spreading_selector(self, pod: pods.PodInfo) -> tuple[selectors.Selector, ...]:
        """What makes other pods this one's siblings: its Services and its ReplicaSet, all of which must
        match.

        Empty when it has none. Upstream's helper.DefaultSelector.
        """
        found = [
            selectors.of(meta.LabelSelector(matchLabels=service.spec.selector))
            for service in self.services.get(pod.namespace, ())
            if service.spec.selector and service.spec.selector.items() <= pod.labels.items()
        ]
        for owner in pod.pod.metadata.ownerReferences:
            if owner.controller and owner.kind == "ReplicaSet":
                replica_set = self.replica_sets.get((pod.namespace, owner.name))
                if replica_set is not None and replica_set.metadata.uid == owner.uid:
                    found.append(selectors.of(replica_set.spec.selector))
        return tuple(found)
