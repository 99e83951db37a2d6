"""Which pods each Service selects, kept up to date change by change. Shared by all who make endpoints of
them.

Knows selectors and which facts of a pod matter to endpoints; does not know slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netemu.api import core
from netemu.client import informers
from netemu.controllers import readiness, views

Key = informers.Key


class Members:
    """Tells `changed(service key)` whenever the endpoints of a Service may be others than before."""

    def __init__(self, known: informers.Informers) -> None:
        self._services = known.of(core.Service)
        self._pods = views.View(known.of(core.Pod), views.by_namespace)
        self._nodes = known.of(core.Node)
        self._by_namespace: dict[str, dict[Key, dict[str, str]]] = {}  # selectors of Services
        self._members: dict[Key, dict[Key, core.Pod]] = {}
        self._handlers: list[Callable[[Key], None]] = []
        self._services.subscribe(self._service_changed)
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)

    async def synced(self) -> None:
        for informer in (self._services, self._pods, self._nodes):
            await informer.synced.wait()

    def subscribe(self, changed: Callable[[Key], None]) -> None:
        self._handlers.append(changed)
        for key in tuple(self._services.objects):
            changed(key)

    def service(self, key: Key) -> core.Service | None:
        return self._services.get(key)

    def pods(self, key: Key) -> list[core.Pod]:
        """The pods which a Service selects."""
        return list(self._members.get(key, {}).values())

    def count(self, key: Key) -> int:
        return len(self._members.get(key, ()))

    def node_labels(self) -> Mapping[str, Mapping[str, str]]:
        return {key.name: node.metadata.labels for key, node in self._nodes.objects.items()}

    def _tell(self, keys: Iterable[Key]) -> None:
        for key in keys:
            for handler in self._handlers:
                handler(key)

    def _service_changed(self, change: informers.Change[core.Service]) -> None:
        key, before, now = change
        selector = now.spec.selector if now is not None else {}
        if now is None or not selector:
            self._members.pop(key, None)
            self._by_namespace.get(key.namespace, {}).pop(key, None)
        elif before is None or before.spec.selector != selector:
            self._by_namespace.setdefault(key.namespace, {})[key] = selector
            self._members[key] = {
                informers.key(pod): pod
                for pod in self._pods.group(key.namespace)
                if selector.items() <= pod.metadata.labels.items()
            }
        self._tell((key,))

    def _pod_changed(self, change: informers.Change[core.Pod]) -> None:
        key, before, now = change
        touched = []
        same = before is not None and now is not None and _facts(before) == _facts(now)
        for service, selector in self._by_namespace.get(key.namespace, {}).items():
            members = self._members[service]
            was = key in members
            if now is not None and selector.items() <= now.metadata.labels.items():
                members[key] = now
                if not same or not was:
                    touched.append(service)
            elif was:
                del members[key]
                touched.append(service)
        self._tell(touched)

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        before, now = change.previous, change.current
        if before is not None and now is not None and before.metadata.labels == now.metadata.labels:
            return
        name = change.key.name
        self._tell(
            [
                service
                for service, members in self._members.items()
                if any(pod.spec.nodeName == name for pod in members.values())
            ]
        )


def _facts(pod: core.Pod) -> tuple[Any, ...]:
    return (
        pod.status.podIPs,
        pod.status.podIP,
        readiness.is_ready(pod),
        readiness.is_terminal(pod),
        bool(pod.metadata.deletionTimestamp),
        pod.spec.nodeName,
        pod.metadata.labels,
        pod.metadata.uid,
    )
