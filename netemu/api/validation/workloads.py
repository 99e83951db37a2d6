"""Rules for Deployments and ReplicaSets."""

from __future__ import annotations

from netemu.api import apps, core, meta, names
from netemu.api.validation import metadata, pods
from netemu.api.validation.findings import (
    Findings,
    at_least,
    forbidden,
    invalid,
    named,
    required,
    unchanged,
    unsupported,
)


def deployment(found: apps.Deployment) -> Findings:
    spec = found.spec
    yield from at_least("spec.replicas", spec.replicas)
    yield from selector(spec.selector)
    yield from template(spec.template, spec.selector)
    yield from _strategy(spec.strategy, "spec.strategy")
    yield from at_least("spec.minReadySeconds", spec.minReadySeconds)
    yield from at_least("spec.revisionHistoryLimit", spec.revisionHistoryLimit)
    deadline = spec.progressDeadlineSeconds
    if deadline is not None:
        yield from at_least("spec.progressDeadlineSeconds", deadline)
        if deadline <= spec.minReadySeconds:
            yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def deployment_update(new: apps.Deployment, old: apps.Deployment) -> Findings:
    yield from deployment(new)
    yield from unchanged("spec.selector", new.spec.selector, old.spec.selector)


def replica_set(found: apps.ReplicaSet) -> Findings:
    spec = found.spec
    yield from at_least("spec.replicas", spec.replicas)
    yield from at_least("spec.minReadySeconds", spec.minReadySeconds)
    yield from selector(spec.selector)
    yield from template(spec.template, spec.selector)


def replica_set_update(new: apps.ReplicaSet, old: apps.ReplicaSet) -> Findings:
    yield from replica_set(new)
    yield from unchanged("spec.selector", new.spec.selector, old.spec.selector)


def selector(found: meta.LabelSelector | None) -> Findings:
    if found is None:
        yield required("spec.selector")
        return
    yield from metadata.selector(found, "spec.selector")
    if not found.matchLabels and not found.matchExpressions:
        yield invalid("spec.selector", found, "empty selector is invalid for deployment")


def template(found: core.PodTemplateSpec, chosen: meta.LabelSelector | None) -> Findings:
    labels = found.metadata.labels
    filled = chosen is not None and (chosen.matchLabels or chosen.matchExpressions)
    if chosen is not None and filled and not metadata.matches(chosen, labels):
        detail = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels, detail)
    yield from pods.template(found, "spec.template")
    if found.spec.restartPolicy not in ("Always", ""):
        yield unsupported("spec.template.spec.restartPolicy", found.spec.restartPolicy, ("Always",))
    if found.spec.activeDeadlineSeconds is not None:
        detail = "activeDeadlineSeconds in ReplicaSet is not Supported"
        yield forbidden("spec.template.spec.activeDeadlineSeconds", detail)


def _strategy(found: apps.DeploymentStrategy, path: str) -> Findings:
    if not found.type:
        yield required(f"{path}.type")
    rolling = found.rollingUpdate
    here = f"{path}.rollingUpdate"
    if found.type == "Recreate" and rolling is not None:
        yield forbidden(here, "may not be specified when strategy `type` is 'Recreate'")
    if found.type != "RollingUpdate":
        return
    if rolling is None:
        yield required(here, "this should be defaulted and never be nil")
        return
    yield from share(rolling.maxUnavailable, f"{here}.maxUnavailable", limited=True)
    yield from share(rolling.maxSurge, f"{here}.maxSurge")
    if _is_zero(rolling.maxUnavailable) and _is_zero(rolling.maxSurge):
        yield invalid(f"{here}.maxUnavailable", rolling.maxUnavailable, "may not be 0 when `maxSurge` is 0")


def share(value: int | str | None, path: str, *, limited: bool = False) -> Findings:
    """A number of pods or a percentage of them; `limited`: of at most all."""
    if isinstance(value, int):
        yield from at_least(path, value)
    elif isinstance(value, str):
        messages = names.percent(value)
        yield from named(path, value, messages)
        if limited and not messages and int(value[:-1]) > 100:
            yield invalid(path, value, "must not be greater than 100%")


def _is_zero(value: int | str | None) -> bool:
    return value in (None, 0) or (isinstance(value, str) and value.rstrip("%").strip("0") == "")
