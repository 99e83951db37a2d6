"""The scheduler's own picture of the cluster: what informers showed, plus pods it has placed but not yet seen
bound.

Changes are taken in one by one; a snapshot is a view, not a copy. Knows no queue and no client.
"""

from collections.abc import Mapping
from typing import Final

from netemu.api import apps, core
from netemu.scheduler import nodes, pods, snapshots

Key = tuple[str, str]
_TERMINAL: Final = ("Succeeded", "Failed")


class Cache:
    """Nodes with their pods, kept up to date incrementally. Implements the framework's Reserve."""

    def __init__(self) -> None:
        self._nodes: dict[str, nodes.NodeInfo] = {}
        self._placed: dict[Key, tuple[str, pods.PodInfo]] = {}
        self._elsewhere: dict[str, set[Key]] = {}  # pods of nodes which are not there (yet, or any more)
        self._assumed: dict[Key, str] = {}  # uid by key
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._services: dict[str, tuple[core.Service, ...]] = {}
        self._replica_sets: dict[Key, apps.ReplicaSet] = {}

    def snapshot(self) -> snapshots.Snapshot:
        return snapshots.Snapshot(self._nodes, self._namespaces, self._services, self._replica_sets)

    def is_assumed(self, key: Key) -> bool:
        """Placed by this scheduler, and the informer does not show it yet."""
        return key in self._assumed

    def reserve(self, pod: pods.PodInfo, node: str) -> None:
        self._assumed[pod.key] = pod.uid
        self._place(pod, node)

    def unreserve(self, pod: pods.PodInfo) -> None:
        if self._assumed.pop(pod.key, None) is not None:
            self._remove(pod.key)

    def pod_changed(self, key: Key, current: core.Pod | None) -> None:
        """What the informer says of a pod. An older view than our own assumption does not count."""
        if current is None or current.status.phase in _TERMINAL:
            self._assumed.pop(key, None)
            self._remove(key)
        elif current.spec.nodeName:
            self._assumed.pop(key, None)
            self._place(pods.of(current), current.spec.nodeName)
        elif self._assumed.get(key) != current.metadata.uid:
            self._assumed.pop(key, None)
            self._remove(key)

    def node_changed(self, name: str, current: core.Node | None) -> None:
        if current is None:
            gone = self._nodes.pop(name, None)
            if gone is not None and gone.placed:
                self._elsewhere[name] = set(gone.placed)
            return
        known = self._nodes.get(name)
        waiting = self._elsewhere.pop(name, set()) if known is None else ()
        on_it = known.placed.values() if known is not None else [self._placed[key][1] for key in waiting]
        self._nodes[name] = nodes.of(current, on_it)

    def namespace_changed(self, name: str, current: core.Namespace | None) -> None:
        if current is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = current.metadata.labels

    def service_changed(self, key: Key, current: core.Service | None) -> None:
        namespace, name = key
        others = tuple(s for s in self._services.get(namespace, ()) if s.metadata.name != name)
        self._services[namespace] = others if current is None else (*others, current)

    def replica_set_changed(self, key: Key, current: apps.ReplicaSet | None) -> None:
        if current is None:
            self._replica_sets.pop(key, None)
        else:
            self._replica_sets[key] = current

    def _place(self, pod: pods.PodInfo, node: str) -> None:
        placed = self._placed.get(pod.key)
        if placed is not None and placed[0] != node:
            self._remove(pod.key)
        self._placed[pod.key] = (node, pod)
        if node in self._nodes:
            self._nodes[node] = self._nodes[node].put(pod)
        else:
            self._elsewhere.setdefault(node, set()).add(pod.key)

    def _remove(self, key: Key) -> None:
        placed = self._placed.pop(key, None)
        if placed is None:
            return
        node = placed[0]
        if node in self._nodes:
            self._nodes[node] = self._nodes[node].drop(key)
        elif node in self._elsewhere:
            self._elsewhere[node].discard(key)
            if not self._elsewhere[node]:
                del self._elsewhere[node]
