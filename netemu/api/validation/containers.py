"""Rules for containers: names, ports, environment, mounts, resources, probes."""

from __future__ import annotations

from collections.abc import Iterable

from netemu.api import core, names, quantities
from netemu.api.validation.findings import (
    Findings,
    at_least,
    duplicate,
    forbidden,
    invalid,
    named,
    not_found,
    one_of,
    required,
    unsupported,
    within,
)

Container = core.Container | core.EphemeralContainer

POD_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
CONTAINER_RESOURCES = tuple(
    f"{kind}.{resource}"
    for kind in ("limits", "requests")
    for resource in ("cpu", "ephemeral-storage", "memory")
)


def check(container: Container, path: str, *, volumes: frozenset[str], init: bool = False) -> Findings:
    """One container. `volumes`: the names of the pod's volumes."""
    yield from (
        named(f"{path}.name", container.name, names.label(container.name))
        if container.name
        else (required(f"{path}.name"),)
    )
    if not container.image:
        yield required(f"{path}.image")
    elif container.image.strip() != container.image:
        yield invalid(f"{path}.image", container.image, "must not have leading or trailing whitespace")
    yield from _ports(container.ports, f"{path}.ports")
    for index, variable in enumerate(container.env):
        yield from _variable(variable, f"{path}.env[{index}]")
    for index, source in enumerate(container.envFrom):
        yield from _variables_from(source, f"{path}.envFrom[{index}]")
    yield from _mounts(container, f"{path}.volumeMounts", volumes)
    yield from resources(container.resources, f"{path}.resources")
    yield from _probes(container, path, init=init)
    yield from _security(container, f"{path}.securityContext")
    if container.restartPolicy is not None:
        allowed = ("Always",) if init else ("Always", "Never", "OnFailure")
        yield from one_of(f"{path}.restartPolicy", container.restartPolicy, allowed)


def unique_names(containers: Iterable[tuple[str, Container]]) -> Findings:
    """`containers` as (path, container), over all lists of a pod."""
    seen: set[str] = set()
    for path, container in containers:
        if container.name and container.name in seen:
            yield duplicate(f"{path}.name", container.name)
        seen.add(container.name)


def unique_host_ports(containers: Iterable[tuple[str, Container]]) -> Findings:
    seen: set[str] = set()
    for path, container in containers:
        for index, port in enumerate(container.ports):
            if port.hostPort == 0:
                continue
            what = f"{port.protocol}/{port.hostIP or '0.0.0.0'}/{port.hostPort}"
            if what in seen:
                yield duplicate(f"{path}.ports[{index}].hostPort", what)
            seen.add(what)


def _ports(ports: tuple[core.ContainerPort, ...], path: str) -> Findings:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.name:
            yield from named(f"{here}.name", port.name, names.port_name(port.name))
            if port.name in seen:
                yield duplicate(f"{here}.name", port.name)
            seen.add(port.name)
        if port.containerPort == 0:
            yield required(f"{here}.containerPort")
        else:
            yield from named(f"{here}.containerPort", port.containerPort, names.port(port.containerPort))
        if port.hostPort:
            yield from named(f"{here}.hostPort", port.hostPort, names.port(port.hostPort))
        if not port.protocol:
            yield required(f"{here}.protocol")


# --- environment ---


def _variable(variable: core.EnvVar, path: str) -> Findings:
    if not variable.name:
        yield required(f"{path}.name")
    else:
        yield from named(f"{path}.name", variable.name, names.environment(variable.name))
    source = variable.valueFrom
    if source is None:
        return
    path = f"{path}.valueFrom"
    if variable.value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    chosen = [
        name
        for name in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
        if getattr(source, name) is not None
    ]
    if not chosen:
        yield invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
            "`secretKeyRef` or `fileKeyRef`",
        )
    elif len(chosen) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")
    if source.fieldRef:
        yield from _pod_field(source.fieldRef, f"{path}.fieldRef", POD_FIELDS)
    if source.resourceFieldRef:
        yield from _container_resource(source.resourceFieldRef, f"{path}.resourceFieldRef")
    for name in ("configMapKeyRef", "secretKeyRef"):
        reference = getattr(source, name)
        if reference is not None:
            yield from _key(reference, f"{path}.{name}")


def _pod_field(found: core.ObjectFieldSelector, path: str, allowed: tuple[str, ...]) -> Findings:
    """`metadata.labels['x']` names one label."""
    if not found.apiVersion:
        yield required(f"{path}.apiVersion")
    if not found.fieldPath:
        yield required(f"{path}.fieldPath")
        return
    field, bracket, key = found.fieldPath.partition("['")
    if bracket:
        if field not in ("metadata.labels", "metadata.annotations") or not key.endswith("']"):
            yield invalid(f"{path}.fieldPath", found.fieldPath, "does not support subscript")
        else:
            yield from named(path, key[:-2], names.qualified(key[:-2].lower()))
    elif field not in allowed or field in ("metadata.labels", "metadata.annotations"):
        single = (one for one in allowed if one not in ("metadata.labels", "metadata.annotations"))
        yield unsupported(f"{path}.fieldPath", field, sorted(single))


def _container_resource(found: core.ResourceFieldSelector, path: str) -> Findings:
    if not found.resource:
        yield required(f"{path}.resource")
    elif not found.resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        yield from one_of(f"{path}.resource", found.resource, CONTAINER_RESOURCES)


def _key(found: core.ConfigMapKeySelector | core.SecretKeySelector, path: str) -> Findings:
    if not found.name:
        yield required(f"{path}.name")
    else:
        yield from named(f"{path}.name", found.name, names.subdomain(found.name))
    if not found.key:
        yield required(f"{path}.key")
    else:
        yield from named(f"{path}.key", found.key, names.config_key(found.key))


def _variables_from(source: core.EnvFromSource, path: str) -> Findings:
    if source.prefix:
        yield from named(f"{path}.prefix", source.prefix, names.environment(source.prefix))
    chosen = [(n, r) for n in ("configMapRef", "secretRef") if (r := getattr(source, n)) is not None]
    if not chosen:
        yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(chosen) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")
    for name, reference in chosen:
        if not reference.name:
            yield required(f"{path}.{name}.name")
        else:
            yield from named(f"{path}.{name}.name", reference.name, names.subdomain(reference.name))


# --- volumes and resources ---


def _mounts(container: Container, path: str, volumes: frozenset[str]) -> Findings:
    seen: set[str] = set()
    for index, mount in enumerate(container.volumeMounts):
        here = f"{path}[{index}]"
        if not mount.name:
            yield required(f"{here}.name")
        elif mount.name not in volumes:
            yield not_found(f"{here}.name", mount.name)
        if not mount.mountPath:
            yield required(f"{here}.mountPath")
        elif mount.mountPath in seen:
            yield invalid(f"{here}.mountPath", mount.mountPath, "must be unique")
        seen.add(mount.mountPath)
        if mount.subPath and mount.subPathExpr:
            yield invalid(
                f"{here}.subPathExpr", mount.subPathExpr, "subPathExpr and subPath are mutually exclusive"
            )
        for name in ("subPath", "subPathExpr"):
            yield from relative(getattr(mount, name), f"{here}.{name}")


def relative(text: str, path: str) -> Findings:
    """A path below a volume's root."""
    if text.startswith("/"):
        yield invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield invalid(path, text, "must not contain '..'")


def resources(found: core.ResourceRequirements, path: str) -> Findings:
    for kind, amounts in (("limits", found.limits), ("requests", found.requests)):
        for name, amount in amounts.items():
            here = f"{path}.{kind}"
            yield from _resource_name(name, here)
            yield from not_negative(amount, f"{here}[{name}]")
    for name, request in found.requests.items():
        limit = found.limits.get(name)
        if limit is not None and quantities.parse(request) > quantities.parse(limit):
            yield invalid(
                f"{path}.requests", request, f"must be less than or equal to {name} limit of {limit}"
            )


def _resource_name(name: str, path: str) -> Findings:
    yield from named(path, name, names.qualified(name))
    plain = ("cpu", "memory", "ephemeral-storage", "storage")
    if "/" not in name and name not in plain and not name.startswith("hugepages-"):
        yield invalid(path, name, "must be a standard resource type or fully qualified")
        yield invalid(path, name, "must be a standard resource for containers")


def not_negative(amount: str, path: str) -> Findings:
    if quantities.parse(amount) < 0:
        yield invalid(path, amount, "must be greater than or equal to 0")


# --- probes, lifecycle, security ---


def _probes(container: Container, path: str, *, init: bool) -> Findings:
    once = init and container.restartPolicy != "Always"
    why = "may not be set for init containers without restartPolicy=Always"
    if container.lifecycle is not None:
        if once:
            yield forbidden(f"{path}.lifecycle", why)
        for name in ("postStart", "preStop"):
            handler = getattr(container.lifecycle, name)
            if handler is not None:
                yield from _handler(handler, f"{path}.lifecycle.{name}")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe: core.Probe | None = getattr(container, name)
        if probe is None:
            continue
        here = f"{path}.{name}"
        if once:
            yield forbidden(here, why)
            continue
        yield from _probe(probe, here)
        if name != "readinessProbe" and probe.successThreshold not in (0, 1):
            yield invalid(f"{here}.successThreshold", probe.successThreshold, "must be 1")
        if name == "readinessProbe" and probe.terminationGracePeriodSeconds is not None:
            yield invalid(
                f"{here}.terminationGracePeriodSeconds",
                probe.terminationGracePeriodSeconds,
                "must not be set for readinessProbes",
            )


def _probe(probe: core.Probe, path: str) -> Findings:
    yield from _handler(probe, path)
    for name in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        yield from at_least(f"{path}.{name}", getattr(probe, name))
    grace = probe.terminationGracePeriodSeconds
    if grace is not None and grace <= 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _handler(handler: core.ProbeHandler | core.LifecycleHandler, path: str) -> Findings:
    actions = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
    chosen = [name for name in actions if getattr(handler, name, None) is not None]
    if not chosen:
        yield required(path, "must specify a handler type")
    for name in chosen[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    for name in chosen[:1]:
        yield from _action(getattr(handler, name), f"{path}.{name}")


def _action(action: object, path: str) -> Findings:
    match action:
        case core.ExecAction(command=()):
            yield required(f"{path}.command")
        case core.HTTPGetAction():
            if not action.path:
                yield required(f"{path}.path")
            yield from port_or_name(action.port, f"{path}.port")
            for index, header in enumerate(action.httpHeaders):
                yield from named(f"{path}.httpHeaders[{index}]", header.name, names.header(header.name))
        case core.TCPSocketAction():
            yield from port_or_name(action.port, f"{path}.port")
        case core.GRPCAction():
            yield from named(f"{path}.port", action.port, names.port(action.port))
        case core.SleepAction():
            yield from at_least(f"{path}.seconds", action.seconds)


def port_or_name(port: int | str, path: str) -> Findings:
    messages = names.port(port) if isinstance(port, int) else names.port_name(port)
    yield from named(path, port, messages)


def _security(container: Container, path: str) -> Findings:
    found = container.securityContext
    if found is None:
        return
    for name in ("runAsUser", "runAsGroup"):
        yield from within(f"{path}.{name}", getattr(found, name), 0, 2**31 - 1)
    if found.allowPrivilegeEscalation is False and found.privileged:
        yield invalid(path, found, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
