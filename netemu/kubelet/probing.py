"""The probers of one pod: one for each run of a container that has probes, none for what has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from netemu.api import core
from netemu.kubelet import launch, probes, statuses, views


class Probing:
    """`health` by container id is what a view shows; `changed` is called when it is another."""

    def __init__(self, pod: core.Pod, site: launch.Site, changed: Callable[[], None]) -> None:
        self._site = site
        self._changed = changed
        self._probers: dict[str, tuple[probes.Prober, asyncio.Task[None]]] = {}
        self.health: dict[str, views.Health] = _seed(pod)

    def follow(self, view: views.View, tasks: asyncio.TaskGroup, *, ending: bool) -> None:
        """Probe what runs, in `tasks`; nothing of a pod that is ending."""
        home = views.ready_sandbox(view)
        wanted = {
            c.id: c
            for c in view.containers
            if c.state == "RUNNING" and home is not None and c.sandbox_id == home.id and not ending
        }
        for container_id in self._probers.keys() - wanted.keys():
            self._probers.pop(container_id)[1].cancel()
        for container_id, running in wanted.items():
            spec = next((c for c in _all(view.pod) if c.name == running.config.name), None)
            if container_id in self._probers or spec is None or not _has_probes(spec):
                continue
            assert home is not None
            target = launch.target(self._site, view.pod, spec, container_id, home.ips)
            prober = probes.Prober(view.pod, target, self._site.clock, self._probed, self._unhealthy)
            if container_id in self.health:
                prober.health = self.health[container_id]
            self._probers[container_id] = (prober, tasks.create_task(prober.run()))
            self.health[container_id] = prober.health

    def forget(self) -> None:
        """The tasks they ran in have ended without them."""
        self._probers.clear()

    def stop(self) -> None:
        for _, task in self._probers.values():
            task.cancel()
        self._probers.clear()

    def _probed(self) -> None:
        for container_id, (prober, _) in self._probers.items():
            self.health[container_id] = prober.health
        self._changed()

    def _unhealthy(self, failure: probes.Failure) -> None:
        text = f"{failure.kind} probe failed: {failure.said}"
        self._site.note(failure.pod, "Unhealthy", text, container=failure.container.name, warning=True)


def _all(pod: core.Pod) -> tuple[core.Container, ...]:
    return (*pod.spec.initContainers, *pod.spec.containers)


def _has_probes(spec: core.Container) -> bool:
    return any((spec.livenessProbe, spec.readinessProbe, spec.startupProbe))


def _seed(pod: core.Pod) -> dict[str, views.Health]:
    """After a restart of the agent a pod that was ready is ready until a probe says otherwise."""
    found = {}
    probed = {spec.name for spec in _all(pod) if _has_probes(spec)}
    for one in (*pod.status.initContainerStatuses, *pod.status.containerStatuses):
        if one.name in probed and one.containerID.startswith(statuses.SCHEME):
            name = one.containerID.removeprefix(statuses.SCHEME)
            found[name] = views.Health(started=bool(one.started), ready=one.ready, alive=True)
    return found
