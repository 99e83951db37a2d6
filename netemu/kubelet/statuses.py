"""A pod's status, from what is known of it. Pure: (view, node, the time) -> PodStatus.

Reasons, messages and the phase rules are upstream's (pkg/kubelet: getPhase, status/generate.go).
Conditions that others own (readiness gates, PodScheduled) are carried over as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from netemu.api import codec, core
from netemu.base import times
from netemu.kubelet import plan, views
from netemu.wire import cri

SCHEME = "netemu://"


class Place(NamedTuple):
    """Where the pod runs: the node's addresses, the primary one first."""

    ips: tuple[str, ...]


def status(view: views.View, place: Place, now: float) -> core.PodStatus:
    """The status as it should be now; the same object as before if nothing changed but time."""
    pod, old = view.pod, view.pod.status
    mains = tuple(_container(view, c, initial=False) for c in pod.spec.containers)
    inits = tuple(_container(view, c, initial=True) for c in pod.spec.initContainers)
    looking = tuple(
        msgspec.structs.replace(_container(view, c, initial=False), ready=False, started=None)
        for c in views.ephemeral(pod)
    )
    phase, reason, message = _phase(view, now)
    home = views.ready_sandbox(view)
    ips = _ips(view, place)
    found = core.PodStatus(
        phase=phase,
        reason=reason,
        message=message,
        hostIP=place.ips[0] if place.ips else "",
        hostIPs=tuple(core.HostIP(ip=ip) for ip in place.ips),
        podIP=ips[0] if ips else "",
        podIPs=tuple(core.PodIP(ip=ip) for ip in ips),
        startTime=old.startTime or times.rfc3339(now),
        containerStatuses=mains,
        initContainerStatuses=inits,
        ephemeralContainerStatuses=looking,
        qosClass=old.qosClass or qos_class(pod),
    )
    flags = _conditions(view, found, connected=home is not None)
    return msgspec.structs.replace(
        old,
        **{name: getattr(found, name) for name in _OWNED},
        conditions=_merged(old.conditions, flags, times.rfc3339(now)),
    )


_OWNED = (
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "qosClass",
)


def _ips(view: views.View, place: Place) -> tuple[str, ...]:
    if view.pod.spec.hostNetwork:
        return place.ips if views.sandbox(view) else ()
    home = views.ready_sandbox(view)
    if home is None and (_finishing(view) or view.pod.status.phase in ("Succeeded", "Failed")):
        return tuple(ip.ip for ip in view.pod.status.podIPs)  # a finished pod keeps showing what it had
    return _primary_first(home.ips, place) if home is not None else ()


def _primary_first(ips: tuple[str, ...], place: Place) -> tuple[str, ...]:
    """The node's primary family comes first, whatever its network answered first (KEP-563)."""
    six = bool(place.ips) and ":" in place.ips[0]
    return tuple(sorted(ips, key=lambda ip: (":" in ip) != six))


# -- containers


def _container(view: views.View, spec: core.Container, *, initial: bool) -> core.ContainerStatus:
    runs = views.attempts(view, spec.name)
    last = runs[-1] if runs else None
    before = runs[-2] if len(runs) > 1 else None
    health = view.health.get(last.id, views.Health()) if last else views.Health()
    running = last is not None and last.state == "RUNNING"
    state, earlier = _states(view, spec, last, before)
    plain_init = initial and not views.is_sidecar(spec)
    if plain_init:
        ready = last is not None and last.state == "EXITED" and last.exit_code == 0
    else:
        ready = running and health.started and health.ready
    return core.ContainerStatus(
        name=spec.name,
        state=state,
        lastState=earlier,
        ready=ready,
        started=running and (plain_init or health.started),
        restartCount=last.config.attempt if last else 0,
        image=spec.image,
        imageID=last.image_id if last else "",
        containerID=SCHEME + last.id if last else "",
    )


def _states(
    view: views.View, spec: core.Container, last: cri.Container | None, before: cri.Container | None
) -> tuple[core.ContainerState, core.ContainerState]:
    """(state, lastState) of a container."""
    earlier = _terminated(view, before) if before is not None else core.ContainerState()
    problem = view.problems.get(spec.name)
    if last is None or last.state == "CREATED":
        return _waiting(view, problem), earlier
    if last.state == "RUNNING":
        started = times.rfc3339(last.started_at)
        return core.ContainerState(running=core.ContainerStateRunning(startedAt=started)), earlier
    ended = _terminated(view, last)
    delay = view.delays.get(spec.name, 0.0)
    looping = delay and _will_restart(view, spec, last)
    if problem is not None and not looping and not _finishing(view):
        return _waiting(view, problem), ended
    if looping:
        message = (
            f"back-off {_duration(delay)} restarting failed container={spec.name} "
            f"pod={view.pod.metadata.name}_{view.pod.metadata.namespace}({view.pod.metadata.uid})"
        )
        waiting = core.ContainerStateWaiting(reason="CrashLoopBackOff", message=message)
        return core.ContainerState(waiting=waiting), ended
    return ended, earlier


def _finishing(view: views.View) -> bool:
    return view.pod.metadata.deletionTimestamp is not None or views.over(view)


def _will_restart(view: views.View, spec: core.Container, last: cri.Container) -> bool:
    if _finishing(view):
        return False
    if any(c.name == spec.name for c in view.pod.spec.ephemeralContainers):
        return False
    initial = any(c.name == spec.name for c in view.pod.spec.initContainers)
    policy = view.pod.spec.restartPolicy or "Always"
    if initial:
        policy = "Always" if views.is_sidecar(spec) else ("Never" if policy == "Never" else "OnFailure")
    return views.should_restart(policy, last)


def _waiting(view: views.View, problem: views.Problem | None) -> core.ContainerState:
    if problem is not None:
        reason, message = problem.reason, problem.message
    else:
        first = bool(view.pod.spec.initContainers) and not views.initialized(view)
        reason, message = ("PodInitializing" if first else "ContainerCreating"), ""
    return core.ContainerState(waiting=core.ContainerStateWaiting(reason=reason, message=message))


def _terminated(view: views.View, ended: cri.Container) -> core.ContainerState:
    return core.ContainerState(
        terminated=core.ContainerStateTerminated(
            exitCode=ended.exit_code,
            reason=ended.reason or ("Completed" if ended.exit_code == 0 else "Error"),
            message=view.last_words.get(ended.id) or ended.message,
            startedAt=times.rfc3339(ended.started_at or ended.created_at),
            finishedAt=times.rfc3339(views.ended_at(ended)),
            containerID=SCHEME + ended.id,
        )
    )


def _duration(seconds: float) -> str:
    """Go's way to write a duration: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


# -- the pod


def _phase(view: views.View, now: float) -> tuple[str, str, str]:
    """(phase, reason, message). Succeeded and Failed are final."""
    pod, old = view.pod, view.pod.status
    if old.phase in ("Succeeded", "Failed"):
        return old.phase, old.reason, old.message
    end = plan.deadline(pod)
    if end is not None and now >= end:
        return "Failed", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
    policy = pod.spec.restartPolicy or "Always"
    if views.init_failed(view):
        return "Failed", "", ""
    last = [views.current(view, c.name) for c in pod.spec.containers]
    known = [c for c in last if c is not None and c.state != "CREATED"]
    if len(known) < len(last):
        return "Pending", "", ""
    if any(c.state == "RUNNING" for c in known):
        return "Running", "", ""
    deleted = pod.metadata.deletionTimestamp is not None and views.ready_sandbox(view) is None
    if policy == "Always" and not deleted:
        return "Running", "", ""
    failed = [c for c in known if c.exit_code != 0]
    if not failed:
        return "Succeeded", "", ""
    return ("Running" if policy == "OnFailure" and not deleted else "Failed"), "", ""


def _conditions(view: views.View, found: core.PodStatus, *, connected: bool) -> tuple[core.PodCondition, ...]:
    """The conditions the kubelet owns, without their times."""
    spec, phase = view.pod.spec, found.phase
    sidecars = {c.name for c in spec.initContainers if views.is_sidecar(c)}
    waiting = [
        s.name
        for s in found.initContainerStatuses
        if not (bool(s.started) if s.name in sidecars else s.ready)
    ]
    watched = [s for s in found.initContainerStatuses if s.name in sidecars]
    unready = [s.name for s in (*watched, *found.containerStatuses) if not s.ready]
    initialized = not waiting or views.initialized(view) or phase == "Succeeded"
    containers = _readiness("ContainersReady", phase, unready)
    return (
        core.PodCondition(type="PodReadyToStartContainers", status=_word(connected)),
        _initialized(phase, initialized, waiting),
        _ready(view, containers),
        containers,
        core.PodCondition(type="PodScheduled", status="True"),
    )


def _initialized(phase: str, initialized: bool, waiting: Sequence[str]) -> core.PodCondition:
    if initialized:
        reason = "PodCompleted" if phase == "Succeeded" else ""
        return core.PodCondition(type="Initialized", status="True", reason=reason)
    return core.PodCondition(
        type="Initialized",
        status="False",
        reason="ContainersNotInitialized",
        message=f"containers with incomplete status: [{' '.join(waiting)}]",
    )


def _readiness(kind: str, phase: str, unready: Sequence[str]) -> core.PodCondition:
    if phase in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        return core.PodCondition(type=kind, status="False", reason=reason)
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return core.PodCondition(type=kind, status="False", reason="ContainersNotReady", message=message)
    return core.PodCondition(type=kind, status="True")


def _ready(view: views.View, containers: core.PodCondition) -> core.PodCondition:
    """Ready: all containers are, and every readiness gate is open (KEP-580)."""
    if containers.status != "True":
        return msgspec.structs.replace(containers, type="Ready")
    given = {c.type: c.status for c in view.pod.status.conditions}
    shut = []
    for gate in view.pod.spec.readinessGates:
        if gate.conditionType not in given:
            shut.append(
                f'corresponding condition of pod readiness gate "{gate.conditionType}" does not exist.'
            )
        elif given[gate.conditionType] != "True":
            shut.append(
                f'the status of pod readiness gate "{gate.conditionType}" is not "True", '
                f"but {given[gate.conditionType]}"
            )
    if shut:
        message = ", ".join(shut)
        return core.PodCondition(
            type="Ready", status="False", reason="ReadinessGatesNotReady", message=message
        )
    return core.PodCondition(type="Ready", status="True")


def _merged(
    old: Sequence[core.PodCondition], wanted: Sequence[core.PodCondition], now: str
) -> tuple[core.PodCondition, ...]:
    """Ours over what was there; a time changes only with its status."""
    known = {c.type: c for c in old}
    ours = []
    for condition in wanted:
        before = known.pop(condition.type, None)
        if condition.type == "PodScheduled" and before is not None:
            ours.append(before)
            continue
        when = before.lastTransitionTime if before and before.status == condition.status else now
        seen = before.observedGeneration if before else 0
        ours.append(
            msgspec.structs.replace(condition, lastTransitionTime=when or now, observedGeneration=seen)
        )
    return (*ours, *known.values())


def _word(yes: bool) -> str:
    return "True" if yes else "False"


def qos_class(pod: core.Pod) -> str:
    """Guaranteed, Burstable or BestEffort, by requests and limits of CPU and memory."""
    everything = (*pod.spec.initContainers, *pod.spec.containers)
    compute = ("cpu", "memory")
    asked = [
        (c.resources.requests, c.resources.limits)
        for c in everything
        if c.resources.requests or c.resources.limits
    ]
    if not any(name in table for pair in asked for table in pair for name in compute):
        return "BestEffort"
    for container in everything:
        limits, requests = container.resources.limits, container.resources.requests
        if any(name not in limits or requests.get(name, limits[name]) != limits[name] for name in compute):
            return "Burstable"
    return "Guaranteed"


# -- what to tell the API


def patch(before: codec.Document, document: codec.Document) -> codec.Document:
    """A strategic merge patch from the document of one status to that of another; {} if they are equal.

    Lists with merge keys would only grow, so addresses say `$patch: replace`.
    """
    found: codec.Document = {}
    for name in document.keys() | before.keys():
        if document.get(name) != before.get(name):
            found[name] = document.get(name)
    if "conditions" in found:
        known = {c["type"]: c for c in before.get("conditions") or ()}
        found["conditions"] = [c for c in document["conditions"] if known.get(c["type"]) != c]
    for name in ("podIPs", "hostIPs"):
        if before.get(name) and found.get(name):
            found[name] = [*document[name], {"$patch": "replace"}]
    return found
