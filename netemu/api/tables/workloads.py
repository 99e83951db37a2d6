"""Workloads without a network of their own to show: sets, jobs, autoscalers, budgets."""

from __future__ import annotations

from netemu.api import apps, autoscaling, autoscaling2, batch, core, policy, times
from netemu.api.tables.layout import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Cell,
    Table,
    age,
    containers,
    labels,
    number,
    selector,
    text,
    wide,
)

_TEMPLATE = (wide("Containers"), wide("Images"))
_SELECTED = (*_TEMPLATE, wide("Selector"))


def _stateful_set(found: apps.StatefulSet, now: float) -> tuple[Cell, ...]:
    ready = f"{found.status.readyReplicas}/{found.spec.replicas or 0}"
    return found.metadata.name, ready, age(found.metadata, now), *containers(found.spec.template)


STATEFUL_SET = Table((NAME, text("Ready"), AGE, *_TEMPLATE), _stateful_set)


def _daemon_set(found: apps.DaemonSet, now: float) -> tuple[Cell, ...]:
    spec, status = found.spec, found.status
    return (
        found.metadata.name,
        status.desiredNumberScheduled,
        status.currentNumberScheduled,
        status.numberReady,
        status.updatedNumberScheduled,
        status.numberAvailable,
        labels(spec.template.spec.nodeSelector),
        age(found.metadata, now),
        *containers(spec.template),
        selector(spec.selector),
    )


DAEMON_SET = Table(
    (
        NAME,
        number("Desired"),
        number("Current"),
        number("Ready"),
        number("Up-to-date"),
        number("Available"),
        text("Node Selector"),
        AGE,
        *_SELECTED,
    ),
    _daemon_set,
)


def _replication(found: core.ReplicationController, now: float) -> tuple[Cell, ...]:
    spec, status = found.spec, found.status
    template = spec.template or core.PodTemplateSpec()
    return (
        found.metadata.name,
        spec.replicas or 0,
        status.replicas,
        status.readyReplicas,
        age(found.metadata, now),
        *containers(template),
        labels(spec.selector),
    )


REPLICATION = Table(
    (NAME, number("Desired"), number("Current"), number("Ready"), AGE, *_SELECTED), _replication
)


def _revision(found: apps.ControllerRevision, now: float) -> tuple[Cell, ...]:
    owner = next((o for o in found.metadata.ownerReferences if o.controller), None)
    group = owner.apiVersion.rpartition("/")[0] if owner else ""
    shown = f"{owner.kind.lower()}{'.' if group else ''}{group}/{owner.name}" if owner else NONE
    return found.metadata.name, shown, found.revision, age(found.metadata, now)


REVISION = Table((NAME, text("Controller"), text("Revision"), AGE), _revision)


def _job(job: batch.Job, now: float) -> tuple[Cell, ...]:
    spec, status = job.spec, job.status
    done = status.succeeded
    if spec.completions is not None:
        completions = f"{done}/{spec.completions}"
    else:
        completions = f"{done}/1 of {spec.parallelism}" if (spec.parallelism or 0) > 1 else f"{done}/1"
    duration = ""
    if status.startTime:
        end = times.seconds(status.completionTime) if status.completionTime else now
        duration = times.duration(end - times.seconds(status.startTime))
    return (
        job.metadata.name,
        _job_status(job),
        completions,
        duration,
        age(job.metadata, now),
        *containers(spec.template),
        selector(spec.selector),
    )


def _job_status(job: batch.Job) -> str:
    true = {one.type for one in job.status.conditions if one.status == "True"}
    for type_ in ("Complete", "Failed"):
        if type_ in true:
            return type_
    if job.metadata.deletionTimestamp:
        return "Terminating"
    return next((t for t in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if t in true), "Running")


JOB = Table((NAME, text("Status"), text("Completions"), text("Duration"), AGE, *_SELECTED), _job)


def _cron_job(found: batch.CronJob, now: float) -> tuple[Cell, ...]:
    spec, last = found.spec, found.status.lastScheduleTime
    return (
        found.metadata.name,
        spec.schedule,
        spec.timeZone or NONE,
        "True" if spec.suspend else "False",
        len(found.status.active),
        times.age(last, now) if last else NONE,
        age(found.metadata, now),
        *containers(spec.jobTemplate.spec.template),
        selector(spec.jobTemplate.spec.selector),
    )


CRON_JOB = Table(
    (
        NAME,
        text("Schedule"),
        text("Timezone"),
        text("Suspend"),
        number("Active"),
        text("Last Schedule"),
        AGE,
        *_SELECTED,
    ),
    _cron_job,
)


def _scaler(found: autoscaling2.HorizontalPodAutoscaler, now: float) -> tuple[Cell, ...]:
    spec = found.spec
    return (
        found.metadata.name,
        f"{spec.scaleTargetRef.kind}/{spec.scaleTargetRef.name}",
        ", ".join(_metric(spec, index, found) for index in range(min(2, len(spec.metrics))))
        + (f" + {len(spec.metrics) - 2} more..." if len(spec.metrics) > 2 else "")
        or NONE,
        UNSET if spec.minReplicas is None else str(spec.minReplicas),
        spec.maxReplicas,
        found.status.currentReplicas,
        age(found.metadata, now),
    )


def _metric(
    spec: autoscaling2.HorizontalPodAutoscalerSpec, index: int, found: autoscaling2.HorizontalPodAutoscaler
) -> str:
    metric = spec.metrics[index]
    have = found.status.currentMetrics[index] if len(found.status.currentMetrics) > index else None
    name, source, current = "", None, None
    for part in ("resource", "containerResource", "pods", "object", "external"):
        if getattr(metric, part) is not None:
            source = getattr(metric, part)
            current = getattr(have, part) if have is not None else None
            name = source.name if part == "resource" else ""
            break
    if source is None:
        return "<unknown type>"
    target, value = source.target, current.current if current is not None else None
    if target.averageUtilization is not None:
        used = value.averageUtilization if value else None
        shown = f"{UNKNOWN if used is None else f'{used}%'}/{target.averageUtilization}%"
    else:
        wanted = target.averageValue or target.value
        used_ = (value.averageValue or value.value) if value else None
        shown = f"{used_ or UNKNOWN}/{wanted or UNSET}"
    return f"{name}: {shown}" if name else shown


def _old_scaler(found: autoscaling.HorizontalPodAutoscaler, now: float) -> tuple[Cell, ...]:
    spec, used = found.spec, found.status.currentCPUUtilizationPercentage
    wanted = spec.targetCPUUtilizationPercentage
    shown = f"cpu: {UNKNOWN if used is None else f'{used}%'}/{UNSET if wanted is None else f'{wanted}%'}"
    return (
        found.metadata.name,
        f"{spec.scaleTargetRef.kind}/{spec.scaleTargetRef.name}",
        shown,
        UNSET if spec.minReplicas is None else str(spec.minReplicas),
        spec.maxReplicas,
        found.status.currentReplicas,
        age(found.metadata, now),
    )


_SCALER = (
    NAME,
    text("Reference"),
    text("Targets"),
    text("MinPods"),
    text("MaxPods"),
    text("Replicas"),
    AGE,
)
SCALER = Table(_SCALER, _scaler)
OLD_SCALER = Table(_SCALER, _old_scaler)


def _budget(found: policy.PodDisruptionBudget, now: float) -> tuple[Cell, ...]:
    spec = found.spec
    return (
        found.metadata.name,
        "N/A" if spec.minAvailable is None else str(spec.minAvailable),
        "N/A" if spec.maxUnavailable is None else str(spec.maxUnavailable),
        found.status.disruptionsAllowed,
        age(found.metadata, now),
    )


BUDGET = Table(
    (NAME, text("Min Available"), text("Max Unavailable"), number("Allowed Disruptions"), AGE), _budget
)


def _template(found: core.PodTemplate, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, *containers(found.template), labels(found.template.metadata.labels)


POD_TEMPLATE = Table((NAME, text("Containers"), text("Images"), text("Pod Labels")), _template)
