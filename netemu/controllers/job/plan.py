"""What pods a Job makes and deletes next, what it counts, when it has ended. Pure; times are unix seconds.

No result is lost: a pod carries a finalizer until its end is in the Job's status (KEP-2307): first its uid
among the uncounted, then the finalizer goes, then the count goes up.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from netemu.api import batch, core
from netemu.base import times
from netemu.controllers import readiness, templates

FINALIZER: Final = "batch.kubernetes.io/job-tracking"
INDEX: Final = "batch.kubernetes.io/job-completion-index"
_FINAL: Final = {"FailureTarget": "Failed", "SuccessCriteriaMet": "Complete"}
_BURST: Final = 500  # upstream's MaxPodCreateDeletePerSync
_FIRST_DELAY, _LAST_DELAY = 10.0, 600.0  # after failures, doubled each time


@dataclass(frozen=True, slots=True)
class Plan:
    """Pods to make (by completion index, or None) and delete; whose finalizer goes; the status to write.

    `again`: seconds until time alone changes something, or None.
    """

    status: batch.JobStatus
    create: tuple[int | None, ...] = ()
    delete: tuple[core.Pod, ...] = ()
    release: tuple[core.Pod, ...] = ()
    again: float | None = None


def plan(job: batch.Job, pods: Sequence[core.Pod], now: float) -> Plan:
    """`pods`: all it owns that still exist, in whatever state."""
    status, release = _count(job, pods)
    active = [pod for pod in pods if readiness.is_active(pod)]
    tracked = [pod for pod in pods if FINALIZER in pod.metadata.finalizers]
    if finished(job) is not None:
        return Plan(status, delete=tuple(active), release=tuple(tracked), again=_until_removal(job, now))
    failed = _uncounted(status.failed, status.uncountedTerminatedPods, "failed")
    status = _with(
        status,
        startTime=None if job.spec.suspend else status.startTime or times.rfc3339(now),
        active=len(active),
        ready=sum(1 for pod in active if readiness.is_ready(pod)),
        terminating=sum(1 for p in pods if p.metadata.deletionTimestamp and not readiness.is_terminal(p)),
    )
    missing = _missing(job, status, pods, active)
    if (ending := _ending(job, status, failed, missing, now)) is not None:
        # Final only when nothing runs and everything is counted: until then it is announced (KEP-3939).
        rest = status.uncountedTerminatedPods or batch.UncountedTerminatedPods()
        is_final = not (active or rest.succeeded or rest.failed)
        return Plan(_ended(status, ending, now, is_final=is_final), delete=tuple(active), release=release)
    if job.spec.suspend:
        return Plan(_suspended(_with(status, active=0), "True", now), delete=tuple(active), release=release)
    status = _suspended(status, "False", now) if _condition(status, "Suspended") else status
    surplus = len(active) - _parallelism(job)
    if surplus > 0:
        order = sorted(
            active, key=lambda pod: (readiness.is_ready(pod), pod.metadata.creationTimestamp or "")
        )
        return Plan(status, delete=tuple(order[:surplus]), release=release)
    waits = [wait for wait in (_delay(pods, failed, now), _deadline(job, status, now)) if wait]
    if missing and (delay := _delay(pods, failed, now)):
        return Plan(status, release=release, again=min(waits, default=delay))
    return Plan(status, tuple((missing or ())[:_BURST]), (), release, min(waits, default=None))


def pod(job: batch.Job, index: int | None) -> core.Pod:
    """One pod of the Job; of an Indexed one with its index as annotation, label, host name and variable."""
    template = job.spec.template
    spec = template.spec
    if index is None:
        return templates.pod(job, template, spec, finalizers=(FINALIZER,))
    name, mark = f"{job.metadata.name}-{index}", {INDEX: str(index)}
    spec = msgspec.structs.replace(
        spec,
        hostname=spec.hostname or name,
        containers=tuple(_numbered(container, index) for container in spec.containers),
        initContainers=tuple(_numbered(container, index) for container in spec.initContainers),
    )
    return templates.pod(
        job, template, spec, prefix=f"{name}-", labels=mark, annotations=mark, finalizers=(FINALIZER,)
    )


def finished(job: batch.Job) -> batch.JobCondition | None:
    """The condition that says it is over: Complete or Failed."""
    for kind in ("Complete", "Failed"):
        if found := _condition(job.status, kind):
            return found
    return None


def is_indexed(job: batch.Job) -> bool:
    """Each pod has a number, and each number must succeed once."""
    return job.spec.completionMode == "Indexed"


def ranges(numbers: Iterable[int]) -> str:
    """Indexes as text, e.g. `0,3-5`: two in a row are written with a comma, as Kubernetes does."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def numbers(text: str) -> frozenset[int]:
    """The inverse of `ranges`."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _count(job: batch.Job, pods: Sequence[core.Pod]) -> tuple[batch.JobStatus, tuple[core.Pod, ...]]:
    """The status with newly ended pods among the uncounted and released ones counted; pods to release."""
    status = job.status
    noted = status.uncountedTerminatedPods or batch.UncountedTerminatedPods()
    held = {pod.metadata.uid: pod for pod in pods if FINALIZER in pod.metadata.finalizers}
    succeeded = [uid for uid in noted.succeeded if uid in held]
    failed = [uid for uid in noted.failed if uid in held]
    done = set(numbers(status.completedIndexes))
    for uid, one in held.items():
        if not _has_ended(one) or uid in succeeded or uid in failed:
            continue
        index = _index(one)
        if one.status.phase == "Succeeded":
            if index is None or index not in done:
                succeeded.append(uid)
            done.update(() if index is None else (index,))
        else:
            failed.append(uid)
    status = _with(
        status,
        succeeded=status.succeeded + len(noted.succeeded) - sum(1 for u in noted.succeeded if u in held),
        failed=status.failed + len(noted.failed) - sum(1 for u in noted.failed if u in held),
        uncountedTerminatedPods=batch.UncountedTerminatedPods(tuple(succeeded), tuple(failed)),
        completedIndexes=ranges(done) if is_indexed(job) else "",
    )
    # Their finalizer goes once the status that names them is written.
    return status, tuple(held[uid] for uid in (*noted.succeeded, *noted.failed) if uid in held)


def _missing(
    job: batch.Job, status: batch.JobStatus, pods: Sequence[core.Pod], active: Sequence[core.Pod]
) -> list[int | None] | None:
    """What to make now: indexes or Nones; None when enough have succeeded."""
    succeeded = _uncounted(status.succeeded, status.uncountedTerminatedPods, "succeeded")
    leaving = [p for p in pods if p.metadata.deletionTimestamp and not readiness.is_terminal(p)]
    waiting = leaving if job.spec.podReplacementPolicy != "Failed" else []
    room = max(0, _parallelism(job) - len(active) - len(waiting))
    wanted = job.spec.completions
    if wanted is None:  # a work queue: the first success says that there is no more to do
        if succeeded:
            return None if not active else []
        return [None] * room
    if succeeded >= wanted:
        return None
    if not is_indexed(job):
        return [None] * min(room, wanted - succeeded - len(active))
    taken = numbers(status.completedIndexes) | {_index(pod) for pod in (*active, *waiting)}
    free = (index for index in range(wanted) if index not in taken)
    return list(itertools.islice(free, room))


def _ending(
    job: batch.Job, status: batch.JobStatus, failed: int, missing: Sequence[int | None] | None, now: float
) -> batch.JobCondition | None:
    """Why it ends now, as the condition that announces it; None when it goes on."""
    for kind in _FINAL:
        if announced := _condition(status, kind):
            return announced
    if missing is None:
        message = "Reached expected number of succeeded pods"
        return batch.JobCondition("SuccessCriteriaMet", reason="CompletionsReached", message=message)
    limit = 6 if job.spec.backoffLimit is None else job.spec.backoffLimit
    if failed > limit:
        message = "Job has reached the specified backoff limit"
        return batch.JobCondition("FailureTarget", reason="BackoffLimitExceeded", message=message)
    wait = _deadline(job, status, now)
    if wait is not None and wait <= 0:
        message = "Job was active longer than specified deadline"
        return batch.JobCondition("FailureTarget", reason="DeadlineExceeded", message=message)
    return None


def _deadline(job: batch.Job, status: batch.JobStatus, now: float) -> float | None:
    if job.spec.activeDeadlineSeconds is None or not status.startTime or job.spec.suspend:
        return None
    return readiness.seconds(status.startTime) + job.spec.activeDeadlineSeconds - now


def _delay(pods: Iterable[core.Pod], failed: int, now: float) -> float | None:
    """Seconds before the next attempt after the last failure; None when there is nothing to wait for."""
    ends = [_end(pod) for pod in pods if pod.status.phase == "Failed"]
    if not failed or not ends:
        return None
    due = max(ends) + min(_LAST_DELAY, _FIRST_DELAY * 2.0 ** min(failed - 1, 10))
    return due - now if due > now else None


def _end(pod: core.Pod) -> float:
    ends = (
        readiness.seconds(one.state.terminated.finishedAt)
        for one in pod.status.containerStatuses
        if one.state is not None and one.state.terminated is not None
    )
    return max(ends, default=0.0) or readiness.seconds(pod.metadata.creationTimestamp)


def _until_removal(job: batch.Job, now: float) -> float | None:
    ended = finished(job)
    if job.spec.ttlSecondsAfterFinished is None or ended is None:
        return None
    return max(0.0, readiness.seconds(ended.lastTransitionTime) + job.spec.ttlSecondsAfterFinished - now)


def _has_ended(pod: core.Pod) -> bool:
    """Over; or deleted for good before it was: nobody will say how it would have ended."""
    about = pod.metadata
    gone = bool(about.deletionTimestamp) and (not pod.spec.nodeName or about.deletionGracePeriodSeconds == 0)
    return gone or readiness.is_terminal(pod)


def _uncounted(counted: int, noted: batch.UncountedTerminatedPods | None, kind: str) -> int:
    return counted + (len(getattr(noted, kind)) if noted is not None else 0)


def _index(pod: core.Pod) -> int | None:
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else None


def _numbered(container: core.Container, index: int) -> core.Container:
    variable = core.EnvVar(name="JOB_COMPLETION_INDEX", value=str(index))
    return msgspec.structs.replace(container, env=(*container.env, variable))


def _parallelism(job: batch.Job) -> int:
    return 1 if job.spec.parallelism is None else job.spec.parallelism


def _condition(status: batch.JobStatus, kind: str) -> batch.JobCondition | None:
    return next((one for one in status.conditions if one.type == kind and one.status == "True"), None)


def _ended(
    status: batch.JobStatus, ending: batch.JobCondition, now: float, *, is_final: bool
) -> batch.JobStatus:
    """With the announcing condition, and when it is final with the one everybody waits for."""
    time = times.rfc3339(now)
    kinds = [ending.type, *([_FINAL[ending.type]] if is_final else [])]
    new = tuple(
        batch.JobCondition(kind, "True", time, time, ending.reason, ending.message)
        for kind in kinds
        if not _condition(status, kind)
    )
    done = time if "Complete" in kinds else None
    return _with(status, conditions=(*status.conditions, *new), completionTime=done)


def _suspended(status: batch.JobStatus, value: str, now: float) -> batch.JobStatus:
    before = next((one for one in status.conditions if one.type == "Suspended"), None)
    if before is not None and before.status == value:
        return status
    reason, message = {
        "True": ("JobSuspended", "Job suspended"),
        "False": ("JobResumed", "Job resumed"),
    }[value]
    time = times.rfc3339(now)
    others = tuple(one for one in status.conditions if one.type != "Suspended")
    mine = batch.JobCondition("Suspended", value, time, time, reason, message)
    return _with(status, conditions=(*others, mine))


def _with(status: batch.JobStatus, **fields: object) -> batch.JobStatus:
    return msgspec.structs.replace(status, **fields)
