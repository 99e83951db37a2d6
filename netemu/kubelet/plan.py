"""What to do next for one pod. Pure: (what is known, the time) -> actions, and when to look again.

Level-triggered: called again after every action and every change, it says the same for the same view, and
nothing once all is as it should be. The order of things is that of upstream's computePodActions.
"""

from __future__ import annotations

from typing import NamedTuple

from netemu.api import core
from netemu.base import times
from netemu.kubelet import views
from netemu.wire import cri

FIRST_DELAY, LAST_DELAY = 10.0, 300.0  # CrashLoopBackOff
DEFAULT_GRACE = 30.0
FORCED_GRACE = 1.0  # for a pod the API no longer knows


class RunSandbox(NamedTuple):
    attempt: int


class StopSandbox(NamedTuple):
    id: str


class RemoveSandbox(NamedTuple):
    id: str


class StartContainer(NamedTuple):
    """`delay`: what the back-off will be if this run ends, too."""

    name: str
    sandbox_id: str
    attempt: int
    delay: float


class StopContainer(NamedTuple):
    """`because` is the message of the Killing event; `hook`: run preStop first."""

    id: str
    grace: float
    because: str
    hook: bool = True


class RemoveContainer(NamedTuple):
    id: str


Action = RunSandbox | StopSandbox | RemoveSandbox | StartContainer | StopContainer | RemoveContainer


class Plan(NamedTuple):
    """`wake_at`: when, without any change, there is something to do. `done`: nothing is left of the pod."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    done: bool = False


def plan(view: views.View, now: float) -> Plan:
    """Bring a pod that shall live nearer to its wish."""
    dead_line = deadline(view.pod)
    if dead_line is not None and now >= dead_line:
        return _end(view, now, grace(view.pod), remove=False)
    if view.pod.status.phase in ("Succeeded", "Failed") or views.over(view):
        return _end(view, now, grace(view.pod), remove=False)
    home = views.sandbox(view)
    if home is None or home.state != "READY":
        found = _new_sandbox(view, home, now)
    elif not views.initialized(view):
        found = _initialize(view, home, now)
    else:
        found = _run(view, home, now)
    if home is not None and home.state == "READY":  # whoever looks into a pod need not wait for its start
        looking = [_container(view, c, home, "Never", now) for c in views.ephemeral(view.pod)]
        found = _together([found, *looking])
    old = _superfluous(view)
    moments = [m for m in (found.wake_at, dead_line) if m is not None]
    return Plan((*found.actions, *old), min(moments, default=None))


def end(view: views.View, now: float, *, force: bool = False) -> Plan:
    """Take everything of a pod away that is being deleted (`force`: that the API has forgotten already)."""
    wish = FORCED_GRACE if force else grace(view.pod)
    return _end(view, now, wish, remove=True)


def grace(pod: core.Pod) -> float:
    """Seconds between SIGTERM and SIGKILL."""
    about, spec = pod.metadata, pod.spec
    if about.deletionTimestamp and about.deletionGracePeriodSeconds is not None:
        return float(about.deletionGracePeriodSeconds)
    if spec.terminationGracePeriodSeconds is not None:
        return float(spec.terminationGracePeriodSeconds)
    return DEFAULT_GRACE


def deadline(pod: core.Pod) -> float | None:
    """The moment at which activeDeadlineSeconds have passed."""
    if pod.spec.activeDeadlineSeconds is None or not pod.status.startTime:
        return None
    return times.parse_rfc3339(pod.status.startTime) + pod.spec.activeDeadlineSeconds


def _new_sandbox(view: views.View, home: cri.Sandbox | None, now: float) -> Plan:
    if home is not None and (alive := _alive(view)):
        stops = tuple(
            StopContainer(c.id, 0.0, "Pod sandbox changed, it will be killed and re-created.", hook=False)
            for c in alive
            if c.id not in view.stopping
        )
        return Plan(stops)
    unneeded = _attached(view)
    problem = view.problems.get("")
    if problem is not None and now < problem.retry_at:
        return Plan(unneeded, problem.retry_at)
    attempt = 0 if home is None else home.config.attempt + 1
    return Plan((*unneeded, RunSandbox(attempt)))


def _initialize(view: views.View, home: cri.Sandbox, now: float) -> Plan:
    """One init container after the other; sidecars that have started are kept running."""
    found: list[Plan] = []
    policy = "Never" if view.pod.spec.restartPolicy == "Never" else "OnFailure"
    for container in view.pod.spec.initContainers:
        done = views.init_done(view, container, home)
        if views.is_sidecar(container):
            found.append(_container(view, container, home, "Always", now))
        elif not done:
            found.append(_container(view, container, home, policy, now, anew=True))
        if not done:
            break
    return _together(found)


def _run(view: views.View, home: cri.Sandbox, now: float) -> Plan:
    policy = view.pod.spec.restartPolicy or "Always"
    sidecars = [(c, "Always") for c in view.pod.spec.initContainers if views.is_sidecar(c)]
    wanted = (*sidecars, *((c, policy) for c in view.pod.spec.containers))
    return _together([_container(view, container, home, wish, now) for container, wish in wanted])


def _together(plans: list[Plan]) -> Plan:
    actions = tuple(action for plan in plans for action in plan.actions)
    return Plan(actions, min((p.wake_at for p in plans if p.wake_at is not None), default=None))


def _container(
    view: views.View,
    container: core.Container,
    home: cri.Sandbox,
    policy: str,
    now: float,
    *,
    anew: bool = False,
) -> Plan:
    """Start a container that should run, stop one that should not go on as it is.

    `anew`: it runs once in every sandbox, whatever became of it in the last one (init containers).
    """
    last = views.current(view, container.name)
    here = last if last is not None and last.sandbox_id == home.id else None
    if here is not None and here.state == "RUNNING":
        because = _unfit(view, container, here)
        if because and here.id not in view.stopping:
            return Plan((StopContainer(here.id, _probe_grace(view, container, here), because),))
        return Plan()
    problem = view.problems.get(container.name)
    if problem is not None and now < problem.retry_at:
        return Plan(wake_at=problem.retry_at)
    if here is not None and here.state == "CREATED":
        return Plan((RemoveContainer(here.id),))  # somebody died between creating and starting it
    if last is None:
        return Plan((StartContainer(container.name, home.id, 0, 0.0),))
    judged = here if anew else last
    if judged is not None and not views.should_restart(policy, judged):
        return Plan()
    delay = _back_off(view.delays.get(container.name, 0.0), last)
    if delay and (again := views.ended_at(last) + delay) > now:
        return Plan(wake_at=again)
    following = min(delay * 2, LAST_DELAY) if delay else FIRST_DELAY
    return Plan((StartContainer(container.name, home.id, last.config.attempt + 1, following),))


def _back_off(delay: float, last: cri.Container) -> float:
    """The wait before the next run; forgotten after it has run well for twice the longest wait."""
    ran = last.finished_at - last.started_at if last.started_at else 0.0
    return 0.0 if ran > 2 * LAST_DELAY else delay


def _unfit(view: views.View, container: core.Container, running: cri.Container) -> str:
    """Why a running container must be replaced; empty when it is fine."""
    if running.config.image != container.image:
        return f"Container {container.name} definition changed, will be restarted"
    health = view.health.get(running.id)
    if health is not None and not health.alive:
        kind = "liveness" if health.started else "startup"
        return f"Container {container.name} failed {kind} probe, will be restarted"
    return ""


def _probe_grace(view: views.View, container: core.Container, running: cri.Container) -> float:
    health = view.health.get(running.id)
    if health is not None and not health.alive:
        probe = container.livenessProbe if health.started else container.startupProbe
        if probe is not None and probe.terminationGracePeriodSeconds is not None:
            return float(probe.terminationGracePeriodSeconds)
    return grace(view.pod)


def _end(view: views.View, now: float, wish: float, *, remove: bool) -> Plan:
    """Containers, then sidecars one by one from the last, then the sandbox, then (`remove`) what is left."""
    sidecars = [c.name for c in view.pod.spec.initContainers if views.is_sidecar(c)]
    alive = _alive(view)
    ordinary = [c for c in alive if c.config.name not in sidecars]
    if ordinary:
        return _stop(view, ordinary, wish, now)
    for name in reversed(sidecars):
        last = [c for c in alive if c.config.name == name]
        if last:
            return _stop(view, last, wish, now)
    if attached := _attached(view):
        return Plan(attached)
    if not remove:
        return Plan()
    if view.sandboxes or view.containers:
        orphans = [c for c in view.containers if c.sandbox_id not in {s.id for s in view.sandboxes}]
        return Plan(
            (*(RemoveSandbox(s.id) for s in view.sandboxes), *(RemoveContainer(c.id) for c in orphans))
        )
    return Plan(done=True)


def _stop(view: views.View, which: list[cri.Container], wish: float, now: float) -> Plan:
    """Tell them to stop; those told already only when they are to be killed sooner than they were told."""
    sooner = [c for c in which if c.id not in view.stopping or view.stopping[c.id] > now + wish + 0.5]
    return Plan(
        tuple(
            StopContainer(c.id, wish, f"Stopping container {c.config.name}", hook=c.id not in view.stopping)
            for c in sooner
        )
    )


def _attached(view: views.View) -> tuple[Action, ...]:
    """Stop what still holds addresses: also a sandbox that died by itself."""
    return tuple(StopSandbox(s.id) for s in view.sandboxes if s.id not in view.detached)


def _alive(view: views.View) -> list[cri.Container]:
    return [c for c in view.containers if c.state == "RUNNING"]


def _superfluous(view: views.View) -> tuple[Action, ...]:
    """Of each container the last two runs are kept, for logs and counts, and so are their sandboxes."""
    names = dict.fromkeys(c.config.name for c in view.containers)
    old = [c for name in names for c in views.attempts(view, name)[:-2] if c.state == "EXITED"]
    newest = views.sandbox(view)
    needed = {c.sandbox_id for c in view.containers if c not in old} | {newest.id if newest else ""}
    dead = [s for s in view.sandboxes if s.state != "READY" and s.id in view.detached and s.id not in needed]
    return (*(RemoveContainer(c.id) for c in old), *(RemoveSandbox(s.id) for s in dead))
