"""What the kubelet knows of one pod at one moment: the values its plan and its status are made from.

Pure data. Observed things are the runtime's; health is the probes'; problems and delays are remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from netemu.api import core
from netemu.wire import cri


class Health(NamedTuple):
    """What probes found of one container. Without a probe of a kind, its answer is yes once running."""

    started: bool = True
    ready: bool = True
    alive: bool = True


class Problem(NamedTuple):
    """Why a container (or, under the name "", the sandbox) could not be made; tried again at `retry_at`."""

    reason: str
    message: str
    retry_at: float


class View(NamedTuple):
    """One pod. `health` and `stopping` by container id, `problems` and `delays` (crash back-off, s) by name.

    `stopping` are those told to stop, with the moment at which they will be killed. `detached` are sandboxes
    that were stopped: their network is given back, which their state alone does not say. `last_words`:
    termination messages of containers that have ended, by id.
    """

    pod: core.Pod
    sandboxes: tuple[cri.Sandbox, ...] = ()
    containers: tuple[cri.Container, ...] = ()
    health: Mapping[str, Health] = {}
    problems: Mapping[str, Problem] = {}
    delays: Mapping[str, float] = {}
    stopping: Mapping[str, float] = {}
    detached: Collection[str] = ()
    last_words: Mapping[str, str] = {}


def sandbox(view: View) -> cri.Sandbox | None:
    """The newest sandbox, whatever its state."""
    return max(view.sandboxes, key=lambda s: (s.config.attempt, s.created_at), default=None)


def ready_sandbox(view: View) -> cri.Sandbox | None:
    """The newest sandbox if it lives."""
    newest = sandbox(view)
    return newest if newest is not None and newest.state == "READY" else None


def attempts(view: View, name: str) -> tuple[cri.Container, ...]:
    """All that is left of a container's runs, the last one last."""
    found = (c for c in view.containers if c.config.name == name)
    return tuple(sorted(found, key=lambda c: (c.config.attempt, c.created_at)))


def current(view: View, name: str) -> cri.Container | None:
    """The last run of a container, in any sandbox."""
    return (attempts(view, name) or (None,))[-1]


def is_sidecar(container: core.Container) -> bool:
    """An init container that goes on running beside the others (KEP-753)."""
    return container.restartPolicy == "Always"


def ephemeral(pod: core.Pod) -> tuple[core.Container, ...]:
    """The containers somebody added to look into the pod, as ordinary ones; each runs once (KEP-277)."""
    shared = set(core.Container.__struct_fields__) & set(core.EphemeralContainer.__struct_fields__)
    return tuple(
        core.Container(**{name: getattr(found, name) for name in shared})
        for found in pod.spec.ephemeralContainers
    )


def initialized(view: View) -> bool:
    """Whether the init containers have done their part in the present sandbox: the others may start."""
    home = sandbox(view)
    if home is None:
        return not view.pod.spec.initContainers
    if any(runs_in(view, c.name, home) for c in view.pod.spec.containers):
        return True
    return all(init_done(view, c, home) for c in view.pod.spec.initContainers)


def runs_in(view: View, name: str, home: cri.Sandbox) -> cri.Container | None:
    """The last run of a container in this sandbox."""
    last = current(view, name)
    return last if last is not None and last.sandbox_id == home.id else None


def init_done(view: View, container: core.Container, home: cri.Sandbox) -> bool:
    """A sidecar is done when it has started, any other when it has ended well."""
    last = runs_in(view, container.name, home)
    if last is None:
        return False
    if is_sidecar(container):
        return last.state == "RUNNING" and view.health.get(last.id, Health()).started
    return last.state == "EXITED" and last.exit_code == 0


def ended_at(exited: cri.Container) -> float:
    """When a run was over; one that could not be started was over when it was made."""
    return exited.finished_at or exited.created_at


def should_restart(policy: str, exited: cri.Container) -> bool:
    """Whether a pod's restart policy wants a container that has ended to run again."""
    return policy != "Never" and (policy != "OnFailure" or exited.exit_code != 0)


def over(view: View) -> bool:
    """Whether the pod has run its course: every container has ended and none will run again."""
    policy = view.pod.spec.restartPolicy or "Always"
    if init_failed(view):
        return True
    last = [current(view, c.name) for c in view.pod.spec.containers]
    return bool(last) and all(c and c.state == "EXITED" and not should_restart(policy, c) for c in last)


def init_failed(view: View) -> bool:
    """An init container failed in a pod that restarts nothing."""
    if view.pod.spec.restartPolicy != "Never":
        return False
    for container in view.pod.spec.initContainers:
        last = current(view, container.name)
        if last and not is_sidecar(container) and last.state == "EXITED" and last.exit_code != 0:
            return True
    return False
