"""From a pod to what a runtime is asked for: sandbox and container configurations. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from netemu.api import core
from netemu.kubelet import environments, observations, views
from netemu.wire import cri

MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"


def sandbox(
    pod: core.Pod, attempt: int, *, hostname: str, hosts: str, resolv_conf: str, logs: str
) -> cri.SandboxConfig:
    """A pod's namespaces. `logs`: the directory of its log files."""
    about, context = pod.metadata, pod.spec.securityContext
    return cri.SandboxConfig(
        name=about.name,
        namespace=about.namespace,
        uid=about.uid,
        attempt=attempt,
        hostname=hostname,
        log_directory=logs,
        host_network=pod.spec.hostNetwork,
        labels={**about.labels, **_labels(pod)},
        annotations=dict(about.annotations),
        hosts=hosts,
        resolv_conf=resolv_conf,
        sysctls={s.name: s.value for s in context.sysctls} if context else {},
        port_mappings=() if pod.spec.hostNetwork else _port_mappings(pod),
    )


def _port_mappings(pod: core.Pod) -> tuple[cri.PortMapping, ...]:
    """The hostPorts of all containers but the init containers that end before the others begin."""
    lasting = [c for c in pod.spec.initContainers if views.is_sidecar(c)]
    return tuple(
        cri.PortMapping(port.containerPort, port.hostPort, _PROTOCOLS[port.protocol or "TCP"], port.hostIP)
        for one in (*lasting, *pod.spec.containers)
        for port in one.ports
        if port.hostPort
    )


_PROTOCOLS: Mapping[str, cri.Protocol] = {"TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"}


def container(
    pod: core.Pod,
    spec: core.Container,
    attempt: int,
    variables: tuple[tuple[str, str], ...],
    mounts: tuple[cri.Mount, ...],
) -> cri.ContainerConfig:
    """One run of a container. $(NAME) in command and args is replaced (as in env)."""
    table: Mapping[str, str] = dict(variables)
    return cri.ContainerConfig(
        name=spec.name,
        image=spec.image,
        attempt=attempt,
        command=tuple(environments.expand(word, table) for word in spec.command),
        args=tuple(environments.expand(word, table) for word in spec.args),
        env=variables,
        working_dir=spec.workingDir,
        mounts=mounts,
        stdin=spec.stdin,
        stdin_once=spec.stdinOnce,
        tty=spec.tty,
        labels={**_labels(pod), "io.kubernetes.container.name": spec.name},
        annotations={
            "io.kubernetes.container.restartCount": str(attempt),
            MESSAGE_POLICY: spec.terminationMessagePolicy or "File",
        },
        log_path=log_path(spec.name, attempt),
        security=_security(pod, spec),
    )


def log_directory(root: str, pod: core.Pod) -> str:
    """Where the logs of a pod's containers are."""
    about = pod.metadata
    return f"{root}/{about.namespace}_{about.name}_{about.uid}"


def message_file(directory: str, name: str, attempt: int) -> str:
    """Where one run of a container, in a pod of that directory, writes why it ended."""
    return f"{directory}/containers/{name}/{attempt}"


def log_path(name: str, attempt: int) -> str:
    """One run's log, below log_directory."""
    return f"{name}/{attempt}.log"


def _labels(pod: core.Pod) -> dict[str, str]:
    about = pod.metadata
    return {
        "io.kubernetes.pod.name": about.name,
        "io.kubernetes.pod.namespace": about.namespace,
        observations.UID: about.uid,
    }


def _security(pod: core.Pod, spec: core.Container) -> cri.Security:
    whole, own = pod.spec.securityContext or core.PodSecurityContext(), spec.securityContext
    groups = (*whole.supplementalGroups, *((whole.fsGroup,) if whole.fsGroup is not None else ()))
    if own is None:
        return cri.Security(
            run_as_user=whole.runAsUser, run_as_group=whole.runAsGroup, supplemental_groups=groups
        )
    capabilities = own.capabilities or core.Capabilities()
    return cri.Security(
        privileged=bool(own.privileged),
        add_capabilities=tuple(capabilities.add),
        drop_capabilities=tuple(capabilities.drop),
        run_as_user=whole.runAsUser if own.runAsUser is None else own.runAsUser,
        run_as_group=whole.runAsGroup if own.runAsGroup is None else own.runAsGroup,
        supplemental_groups=groups,
        readonly_root=bool(own.readOnlyRootFilesystem),
        no_new_privileges=own.allowPrivilegeEscalation is False,
    )
