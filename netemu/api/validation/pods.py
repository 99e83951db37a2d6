"""Rules for pods and pod templates, and for what of a pod may still change."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from netemu.api import addresses, core, fields, names
from netemu.api.validation import containers, metadata, placement, volumes
from netemu.api.validation.findings import (
    FieldError,
    Findings,
    forbidden,
    invalid,
    named,
    required,
    within,
)

SECONDS_LIMIT = 2**31 - 1
MAX_NAMESERVERS, MAX_SEARCHES, MAX_SEARCH_LENGTH = 3, 32, 2048

FROZEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check(pod: core.Pod) -> Findings:
    yield from spec(pod.spec, "spec")
    if pod.spec.nodeName and pod.spec.schedulingGates:
        yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def check_create(pod: core.Pod) -> Findings:
    yield from check(pod)
    if pod.spec.ephemeralContainers:
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")


def template(found: core.PodTemplateSpec, path: str) -> Findings:
    yield from metadata.labels(found.metadata.labels, f"{path}.labels")
    yield from spec(found.spec, f"{path}.spec")
    if found.spec.ephemeralContainers:
        yield forbidden(
            f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


def spec(found: core.PodSpec, path: str) -> Findings:
    yield from volumes.check(found.volumes, f"{path}.volumes")
    yield from _containers(found, path)
    if not found.restartPolicy:
        yield required(f"{path}.restartPolicy")
    if not found.dnsPolicy:
        yield required(f"{path}.dnsPolicy")
    if found.terminationGracePeriodSeconds is None:
        yield required(f"{path}.terminationGracePeriodSeconds")
    yield from within(f"{path}.activeDeadlineSeconds", found.activeDeadlineSeconds, 1, SECONDS_LIMIT)
    yield from metadata.labels(found.nodeSelector, f"{path}.nodeSelector")
    yield from _names(found, path)
    yield from placement.affinity(found.affinity, f"{path}.affinity")
    yield from placement.tolerations(found.tolerations, f"{path}.tolerations")
    yield from placement.spreading(found.topologySpreadConstraints, f"{path}.topologySpreadConstraints")
    yield from _dns(found, path)
    yield from _hosts(found.hostAliases, f"{path}.hostAliases")
    if found.hostNetwork:
        yield from _host_ports(found, path)
    if found.securityContext is not None:
        yield from _security(found.securityContext, f"{path}.securityContext")
    for name, amount in found.overhead.items():
        yield from containers.not_negative(amount, f"{path}.overhead[{name}]")
    for index, readiness in enumerate(found.readinessGates):
        here = f"{path}.readinessGates[{index}].conditionType"
        yield from named(here, readiness.conditionType, names.qualified(readiness.conditionType))
    for index, gate in enumerate(found.schedulingGates):
        yield from named(f"{path}.schedulingGates[{index}]", gate.name, names.qualified(gate.name))


def every_container(found: core.PodSpec, path: str) -> Iterator[tuple[str, containers.Container]]:
    """All containers of a pod with their paths."""
    for name in ("containers", "initContainers", "ephemeralContainers"):
        for index, container in enumerate(getattr(found, name)):
            yield f"{path}.{name}[{index}]", container


def _containers(found: core.PodSpec, path: str) -> Findings:
    known = frozenset(volume.name for volume in found.volumes)
    if not found.containers:
        yield required(f"{path}.containers")
    for here, container in every_container(found, path):
        init = here.startswith(f"{path}.initContainers")
        yield from containers.check(container, here, volumes=known, init=init)
        if isinstance(container, core.EphemeralContainer):
            yield from _ephemeral(container, here, found)
    yield from containers.unique_names(every_container(found, path))
    yield from containers.unique_host_ports(
        (here, container)
        for here, container in every_container(found, path)
        if container.restartPolicy == "Always" or here.startswith(f"{path}.containers")
    )


def _ephemeral(container: core.EphemeralContainer, path: str, found: core.PodSpec) -> Findings:
    for name in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
        if getattr(container, name):
            yield forbidden(f"{path}.{name}", "cannot be set for an Ephemeral Container")
    target = container.targetContainerName
    if target and target not in {c.name for c in (*found.containers, *found.initContainers)}:
        yield FieldError(
            f"{path}.targetContainerName", "FieldValueNotFound", f'Not found: "{target}"', target
        )


def _names(found: core.PodSpec, path: str) -> Findings:
    for name, check_ in (
        ("serviceAccountName", names.subdomain),
        ("nodeName", names.subdomain),
        ("hostname", names.label),
        ("subdomain", names.label),
        ("runtimeClassName", names.subdomain),
        ("priorityClassName", names.subdomain),
        ("schedulerName", names.subdomain),
    ):
        text = getattr(found, name)
        if text:
            yield from named(f"{path}.{name}", text, check_(text))


def _dns(found: core.PodSpec, path: str) -> Findings:
    config = found.dnsConfig
    here = f"{path}.dnsConfig"
    if found.dnsPolicy == "None" and (config is None or not config.nameservers):
        yield required(
            f"{here}.nameservers" if config else here,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        )
    if config is None:
        return
    if len(config.nameservers) > MAX_NAMESERVERS:
        detail = f"must not have more than {MAX_NAMESERVERS} nameservers"
        yield invalid(f"{here}.nameservers", config.nameservers, detail)
    for index, server in enumerate(config.nameservers):
        if addresses.parse(server) is None:
            yield invalid(f"{here}.nameservers[{index}]", server, addresses.IP_MESSAGE)
    if len(config.searches) > MAX_SEARCHES:
        detail = f"must not have more than {MAX_SEARCHES} search paths"
        yield invalid(f"{here}.searches", config.searches, detail)
    if len(" ".join(config.searches)) > MAX_SEARCH_LENGTH:
        detail = (
            f"must not have more than {MAX_SEARCH_LENGTH} characters (including spaces) in the search list"
        )
        yield invalid(f"{here}.searches", config.searches, detail)
    for index, search in enumerate(config.searches):
        text = search if search == "." else search.removesuffix(".")
        if text != ".":
            relaxed = text.replace("_", "")  # an underscore is common in search paths, and allowed there
            yield from named(f"{here}.searches[{index}]", search, names.subdomain(relaxed))
    for index, option in enumerate(config.options):
        if not option.name:
            yield required(f"{here}.options[{index}]", "must not be empty")


def _hosts(aliases: tuple[core.HostAlias, ...], path: str) -> Findings:
    for index, alias in enumerate(aliases):
        if addresses.parse(alias.ip) is None:
            yield invalid(f"{path}[{index}].ip", alias.ip, addresses.IP_MESSAGE)
        for place, hostname in enumerate(alias.hostnames):
            yield from named(f"{path}[{index}].hostnames[{place}]", hostname, names.subdomain(hostname))


def _host_ports(found: core.PodSpec, path: str) -> Findings:
    for here, container in every_container(found, path):
        for index, port in enumerate(container.ports):
            if port.hostPort != port.containerPort:
                yield invalid(
                    f"{here}.ports[{index}].containerPort",
                    port.containerPort,
                    "must match `hostPort` when `hostNetwork` is true",
                )


def _security(found: core.PodSecurityContext, path: str) -> Findings:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        yield from within(f"{path}.{name}", getattr(found, name), 0, SECONDS_LIMIT)
    for index, group in enumerate(found.supplementalGroups):
        yield from within(f"{path}.supplementalGroups[{index}]", group, 0, SECONDS_LIMIT)
    seen: set[str] = set()
    for index, sysctl in enumerate(found.sysctls):
        here = f"{path}.sysctls[{index}].name"
        if not sysctl.name:
            yield required(here)
        elif sysctl.name in seen:
            yield FieldError(here, "FieldValueDuplicate", f'Duplicate value: "{sysctl.name}"', sysctl.name)
        seen.add(sysctl.name)


# --- what may change ---


def check_update(new: core.Pod, old: core.Pod) -> Findings:
    yield from check(new)
    if len(new.spec.containers) != len(old.spec.containers):
        yield forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    if len(new.spec.initContainers) != len(old.spec.initContainers):
        yield forbidden("spec.initContainers", "pod updates may not add or remove containers")
        return
    yield from _deadline(new.spec.activeDeadlineSeconds, old.spec.activeDeadlineSeconds)
    yield from _only_removed(new.spec, old.spec)
    yield from _tolerations_added(new.spec.tolerations, old.spec.tolerations)
    yield from _rest_unchanged(new.spec, old.spec, gated=bool(old.spec.schedulingGates))


def check_ephemeral(new: core.Pod, old: core.Pod) -> Findings:
    """The `ephemeralcontainers` subresource: they may be added, never changed or removed."""
    yield from check(new)
    now = {container.name: container for container in new.spec.ephemeralContainers}
    for index, container in enumerate(old.spec.ephemeralContainers):
        there = now.get(container.name)
        if there is None:
            yield forbidden(
                "spec.ephemeralContainers",
                f'existing ephemeral containers "{container.name}" may not be removed',
            )
        elif there != container:
            yield forbidden(
                f"spec.ephemeralContainers[{index}]",
                f'existing ephemeral containers "{container.name}" may not be changed',
            )


def check_resize(new: core.Pod, old: core.Pod) -> Findings:
    """The `resize` subresource: nothing but resources."""
    yield from check(new)
    changed = changed_fields(_without_resources(new.spec), _without_resources(old.spec))
    if changed:
        yield forbidden("spec", f"only cpu and memory resources are mutable\nchanged: {', '.join(changed)}")


def _deadline(new: int | None, old: int | None) -> Findings:
    path = "spec.activeDeadlineSeconds"
    if new is not None and old is not None and new > old:
        yield invalid(path, new, "must be less than or equal to previous value")
    if new is None and old is not None:
        yield invalid(path, new, "must not update from a positive integer to nil value")


def _only_removed(new: core.PodSpec, old: core.PodSpec) -> Findings:
    before = set(old.schedulingGates)
    for gate in new.schedulingGates:
        if gate not in before:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            yield forbidden("spec.schedulingGates", detail)


def _tolerations_added(new: tuple[core.Toleration, ...], old: tuple[core.Toleration, ...]) -> Findings:
    def identity(toleration: core.Toleration) -> core.Toleration:
        return msgspec.structs.replace(toleration, tolerationSeconds=None)

    if not {identity(toleration) for toleration in old} <= {identity(toleration) for toleration in new}:
        yield forbidden(
            "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
        )


def _rest_unchanged(new: core.PodSpec, old: core.PodSpec, *, gated: bool) -> Findings:
    """Put the old values of whatever may change into the new spec: then nothing may differ."""
    fixed = msgspec.structs.replace(
        new,
        containers=_with_images_of(new.containers, old.containers),
        initContainers=_with_images_of(new.initContainers, old.initContainers),
        activeDeadlineSeconds=old.activeDeadlineSeconds,
        tolerations=old.tolerations,
        schedulingGates=old.schedulingGates,
    )
    if new.terminationGracePeriodSeconds == 1 and (old.terminationGracePeriodSeconds or 0) < 0:
        fixed = msgspec.structs.replace(
            fixed, terminationGracePeriodSeconds=old.terminationGracePeriodSeconds
        )
    if gated and old.nodeSelector.items() <= new.nodeSelector.items():
        fixed = msgspec.structs.replace(fixed, nodeSelector=old.nodeSelector)
    changed = changed_fields(fixed, old)
    if changed:
        yield forbidden("spec", f"{FROZEN}\nchanged: {', '.join(changed)}")


def _with_images_of(
    new: tuple[core.Container, ...], old: tuple[core.Container, ...]
) -> tuple[core.Container, ...]:
    return tuple(msgspec.structs.replace(a, image=b.image) for a, b in zip(new, old, strict=True))


def _without_resources(found: core.PodSpec) -> core.PodSpec:
    bare = tuple(
        msgspec.structs.replace(container, resources=core.ResourceRequirements())
        for container in found.containers
    )
    return msgspec.structs.replace(found, containers=bare, resources=None)


def changed_fields(new: fields.Record, old: fields.Record) -> list[str]:
    return [f"spec.{name}" for name in new.__struct_fields__ if getattr(new, name) != getattr(old, name)]
