"""Brings one pod's sandbox and containers up: volumes, environment, image, creation, start, postStart.

Does what a plan says and nothing else; what goes wrong comes back as a Problem to be remembered.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from netemu.api import core
from netemu.base import clock, errors
from netemu.kubelet import (
    ask,
    disk,
    downward,
    environments,
    etc,
    logs,
    observations,
    recipes,
    recorder,
    runtimes,
    supplies,
    volumes,
)
from netemu.wire import cri


@dataclass(frozen=True)
class NodeConfig:
    """What a node agent is told. `ips`: the node's addresses, the primary one first.

    `cpu` (cores) and `memory` (bytes) are taken from the machine when 0. Directories are paths on the node.
    """

    name: str
    ips: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[core.Taint, ...] = ()
    pods: int = 250
    cpu: int = 0
    memory: int = 0
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    root_directory: str = "/var/lib/kubelet"
    log_directory: str = "/var/log/pods"
    static_directory: str = "/etc/kubernetes/manifests"
    port: int = 10250
    version: str = "v1.33.1"


_MESSAGE = 4096  # bytes


class Failed(errors.NetemuError):
    """A container could not be brought up; `reason` is what its status shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Site:
    """What all pods of a node share. `gate` bounds how many requests to the API are under way at once:
    each more would be a connection with its own handshake and buffers."""

    node: NodeConfig
    runtime: runtimes.Runtime
    observed: observations.Observations
    supplies: supplies.Supplies
    recorder: recorder.Recorder
    clock: clock.Clock
    services: Callable[[], Iterable[core.Service]]
    allocatable: Mapping[str, str]
    gate: asyncio.Semaphore
    network: runtimes.Network | None = None

    def directory(self, uid: str) -> str:
        """A pod's own directory on the node."""
        return os.path.join(self.node.root_directory, "pods", uid)

    def remove(self, pod: core.Pod) -> None:
        """Nothing of the pod stays on the node."""
        disk.remove(self.directory(pod.metadata.uid))
        disk.remove(recipes.log_directory(self.node.log_directory, pod))

    def note(
        self, pod: core.Pod, reason: str, message: str, *, container: str = "", warning: bool = False
    ) -> None:
        """An event about a pod or one container of it."""
        self.recorder.note(recorder.pod(pod, container), reason, message, warning=warning)


async def sandbox(site: Site, pod: core.Pod, attempt: int) -> cri.Sandbox:
    """A connected sandbox. NetemuError when the runtime or the network cannot."""
    node = site.node
    resolver = etc.parse(_text("/etc/resolv.conf"))
    config = recipes.sandbox(
        pod,
        attempt,
        hostname=etc.hostname(pod, node.name, node.cluster_domain),
        hosts=etc.hosts(pod, _text("/etc/hosts") if pod.spec.hostNetwork else "", node.cluster_domain),
        resolv_conf=etc.resolv_conf(pod, resolver, node.cluster_dns, node.cluster_domain),
        logs=recipes.log_directory(node.log_directory, pod),
    )
    made = await site.runtime.run_pod_sandbox(config)
    site.observed.put_sandbox(made)
    return made


async def places(site: Site, pod: core.Pod, ips: tuple[str, ...], *, age: float) -> dict[str, str]:
    """Write the pod's volumes; where each is on the node. Failed names the volume."""
    found: dict[str, str] = {}
    for volume in pod.spec.volumes:
        try:
            found[volume.name] = await _place(site, pod, volume, ips, age=age)
        except errors.NetemuError as problem:
            text = f'MountVolume.SetUp failed for volume "{volume.name}" : {problem.message}'
            raise Failed("ContainerCreating", text) from None
        except OSError as problem:
            text = f'MountVolume.SetUp failed for volume "{volume.name}" : {problem}'
            raise Failed("ContainerCreating", text) from None
    return found


async def _place(site: Site, pod: core.Pod, volume: core.Volume, ips: tuple[str, ...], *, age: float) -> str:
    contents = await site.supplies.contents(pod.metadata.namespace, volumes.sources(volume), age=age)
    tokens = {token: await site.supplies.token(pod, token) for token in volumes.tokens(volume)}
    me = _self(site, pod, ips)
    wanted = volumes.realize(me, volume, site.directory(pod.metadata.uid), contents, tokens)
    if isinstance(wanted, volumes.HostPath):
        disk.check(wanted)
    else:
        disk.publish(wanted)
    return wanted.path


async def container(
    site: Site,
    pod: core.Pod,
    spec: core.Container,
    sandbox: cri.Sandbox,
    *,
    attempt: int,
    where: Mapping[str, str],
) -> cri.Container:
    """Pull, create, start, and run postStart. Failed says what the status shall say."""
    await _pull(site, pod, spec)
    try:
        config = await _configure(site, pod, spec, sandbox, attempt=attempt, where=where)
    except errors.NetemuError as problem:
        site.note(pod, "Failed", f"Error: {problem.message}", container=spec.name, warning=True)
        raise Failed("CreateContainerConfigError", problem.message) from None
    container_id = await _create(site, pod, spec, sandbox, config)
    site.note(pod, "Created", f"Created container: {spec.name}", container=spec.name)
    try:
        await site.runtime.start_container(container_id)
    except (errors.NetemuError, OSError) as problem:
        site.note(pod, "Failed", f"Error: {problem}", container=spec.name, warning=True)
        await look(site, container_id)
        raise Failed("RunContainerError", str(problem)) from None
    running = await look(site, container_id)
    site.note(pod, "Started", f"Started container {spec.name}", container=spec.name)
    if spec.lifecycle is not None and spec.lifecycle.postStart is not None:
        await _post_start(site, pod, spec, running, sandbox)
    return running


async def look(site: Site, container_id: str) -> cri.Container:
    """Ask the runtime how a container is, and remember it."""
    found = await site.runtime.container_status(container_id)
    site.observed.put_container(found)
    return found


async def _pull(site: Site, pod: core.Pod, spec: core.Container) -> None:
    try:
        await site.runtime.pull_image(spec.image)
    except (errors.NetemuError, OSError) as problem:
        text = f'Failed to pull image "{spec.image}": {problem}'
        site.note(pod, "Failed", text, container=spec.name, warning=True)
        site.note(pod, "Failed", "Error: ErrImagePull", container=spec.name, warning=True)
        raise Failed("ErrImagePull", str(problem)) from None
    text = f'Container image "{spec.image}" already present on machine'
    site.note(pod, "Pulled", text, container=spec.name)


async def _configure(
    site: Site,
    pod: core.Pod,
    spec: core.Container,
    sandbox: cri.Sandbox,
    *,
    attempt: int,
    where: Mapping[str, str],
) -> cri.ContainerConfig:
    namespace, links = pod.metadata.namespace, pod.spec.enableServiceLinks is not False
    wanted = environments.sources(spec)
    contents = await site.supplies.contents(namespace, wanted, age=supplies.FRESH)
    services = environments.service_variables(site.services(), namespace, links=links)
    ips = site.node.ips if pod.spec.hostNetwork else sandbox.ips
    variables = environments.compose(_self(site, pod, ips), spec, contents, services)
    mounts = volumes.mounts(spec, where, dict(variables))
    for mount in spec.volumeMounts:
        below = mount.subPath or environments.expand(mount.subPathExpr, dict(variables))
        if below:
            disk.prepare_subpath(where[mount.name], below)
    if spec.terminationMessagePath:
        file = recipes.message_file(site.directory(pod.metadata.uid), spec.name, attempt)
        disk.prepare_message(file)
        mounts = (*mounts, cri.Mount(file, spec.terminationMessagePath))
    return recipes.container(pod, spec, attempt, variables, mounts)


def last_words(site: Site, pod: core.Pod, ended: cri.Container) -> str:
    """A container's termination message: its file's, or for one that failed without any its log's end.

    At most 4096 bytes of the file, 2048 and 80 lines of the log (upstream's kuberuntime).
    """
    config = ended.config
    file = recipes.message_file(site.directory(pod.metadata.uid), config.name, config.attempt)
    said = _text(file, _MESSAGE).rstrip("\n")
    policy = config.annotations.get(recipes.MESSAGE_POLICY)
    if said or policy != "FallbackToLogsOnError" or ended.exit_code == 0:
        return said
    directory = recipes.log_directory(site.node.log_directory, pod)
    return logs.end(f"{directory}/{config.log_path}", lines=80, size=2048)


async def _create(
    site: Site, pod: core.Pod, spec: core.Container, sandbox: cri.Sandbox, config: cri.ContainerConfig
) -> str:
    try:
        return await site.runtime.create_container(sandbox.id, config)
    except (errors.NetemuError, OSError) as problem:
        site.note(pod, "Failed", f"Error: {problem}", container=spec.name, warning=True)
        raise Failed("CreateContainerError", str(problem)) from None


async def _post_start(
    site: Site, pod: core.Pod, spec: core.Container, running: cri.Container, sandbox: cri.Sandbox
) -> None:
    """A failed postStart kills the container; its restart is the plan's."""
    assert spec.lifecycle is not None
    assert spec.lifecycle.postStart is not None
    answer = await ask.ask(spec.lifecycle.postStart, target(site, pod, spec, running.id, sandbox.ips), 300.0)
    if not answer.well:
        site.note(
            pod,
            "FailedPostStartHook",
            f"PostStartHook failed: {answer.said}",
            container=spec.name,
            warning=True,
        )
        await site.runtime.stop_container(running.id, 0.0)
        await look(site, running.id)


def target(
    site: Site, pod: core.Pod, spec: core.Container, container_id: str, ips: tuple[str, ...]
) -> ask.Target:
    """A running container as probes and hooks reach it."""

    async def run(command: Iterable[str], timeout: float) -> cri.ExecResult:
        return await site.runtime.exec_sync(container_id, tuple(command), timeout)

    addresses = site.node.ips if pod.spec.hostNetwork else ips
    return ask.Target(spec, addresses[0] if addresses else "", run)


async def stop(
    site: Site, pod: core.Pod, running: cri.Container, grace: float, ips: tuple[str, ...], *, hook: bool
) -> None:
    """preStop within the grace, then SIGTERM, then SIGKILL. The runtime says when it is over."""
    specs = {c.name: c for c in (*pod.spec.initContainers, *pod.spec.containers)}
    spec = specs.get(running.config.name)
    if hook and spec is not None and spec.lifecycle is not None and spec.lifecycle.preStop and grace > 0:
        began = site.clock.monotonic()
        try:
            async with asyncio.timeout(grace):
                answer = await ask.ask(
                    spec.lifecycle.preStop, target(site, pod, spec, running.id, ips), grace
                )
        except TimeoutError:
            answer = ask.Answer(False, "grace period expired")
        if not answer.well:
            site.note(
                pod,
                "FailedPreStopHook",
                f"PreStopHook failed: {answer.said}",
                container=spec.name,
                warning=True,
            )
        grace = max(2.0, grace - (site.clock.monotonic() - began))
    await site.runtime.stop_container(running.id, grace)
    await look(site, running.id)


def _self(site: Site, pod: core.Pod, ips: tuple[str, ...]) -> downward.Self:
    return downward.Self(pod, ips, site.node.ips, site.allocatable)


def _text(path: str, size: int = -1) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""
