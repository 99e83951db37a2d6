"""The pods of one node: CRI's verbs on sandboxes and containers. Knows what there is and what goes together.

Does not know sockets. Every verb is quick; what has to wait calls `done` later. All of it can be read again
from the records, so a new shim goes on where the last one was killed.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence

import msgspec

from netemu.base import errors
from netemu.kernel import process
from netemu.runtime import containers, endings, output, records, sandboxes, spawning
from netemu.runtime.eventloop import EventLoop
from netemu.runtime.images import catalogue
from netemu.runtime.tenants import StartFailed, Tenant
from netemu.wire import cri

Announce = Callable[[cri.Container], None]


class NotFound(errors.NetemuError):
    """No such sandbox or container."""


class _Box:
    """A sandbox at work; without a pidfd its pause is gone."""

    def __init__(self, sandbox: cri.Sandbox, start_time: int, pidfd: int | None) -> None:
        self.sandbox, self.start_time, self.pidfd = sandbox, start_time, pidfd
        self.stopped: list[Callable[[], None]] = []


class Pods:
    """`announce` hears of every change of state; of a sandbox's death by a Container of the sandbox's id."""

    def __init__(self, root: str, loop: EventLoop, hidden: tuple[str, ...], announce: Announce) -> None:
        self._loop, self._announce = loop, announce
        self._spawner = spawning.Spawner(f"{root}/share", hidden)
        self._sandbox_records = records.Shelf(f"{root}/sandboxes", records.SandboxRecord)
        self._container_records = records.Shelf(f"{root}/containers", records.ContainerRecord)
        self._boxes: dict[str, _Box] = {}
        self._tenants: dict[str, Tenant] = {}
        self._adopt()

    # -- sandboxes

    def run_pod_sandbox(self, config: cri.SandboxConfig) -> cri.Sandbox:
        sandboxes.check(config)
        name = os.urandom(32).hex()
        pid, netns = self._spawner.sandbox(config, name)
        pidfd = os.pidfd_open(pid)
        try:
            sandbox = cri.Sandbox(name, config, pid=pid, netns=netns, created_at=time.time())
            box = _Box(sandbox, process.start_time(pid), pidfd)
            self._keep(box)
            self._write_files(box)
        except BaseException:
            process.kill(pidfd)
            endings.reap(pidfd)
            os.close(pidfd)
            sandboxes.release_network(netns)
            self._sandbox_records.remove(name)
            raise
        self._boxes[name] = box
        self._watch(box, pidfd)
        return sandbox

    def attached_network(self, sandbox_id: str, ips: tuple[str, ...]) -> cri.Sandbox:
        box = self._living_box(sandbox_id)
        box.sandbox = msgspec.structs.replace(box.sandbox, ips=ips, state="READY")
        self._write_files(box)
        self._keep(box)
        return box.sandbox

    def stop_pod_sandbox(self, sandbox_id: str, done: Callable[[], None]) -> None:
        """Kill what is in it and let go of its namespaces. Stopping one that is not there is done at once."""
        box = self._boxes.get(sandbox_id)
        if box is None:
            done()
            return
        box.stopped.append(done)
        if box.pidfd is not None:
            sandboxes.release_network(box.sandbox.netns)
            process.kill(box.pidfd)
        self._maybe_stopped(box)

    def remove_pod_sandbox(self, sandbox_id: str, done: Callable[[], None]) -> None:
        def forget() -> None:
            for tenant in self._tenants_of(sandbox_id):
                self._forget(tenant)
            self._boxes.pop(sandbox_id, None)
            self._sandbox_records.remove(sandbox_id)
            done()

        self.stop_pod_sandbox(sandbox_id, forget)

    def list_pod_sandboxes(self) -> tuple[cri.Sandbox, ...]:
        return tuple(box.sandbox for box in self._boxes.values())

    # -- containers

    def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> cri.Container:
        """Rejected or ValueError for what could never be started; ImageNotFound; NotFound for the sandbox."""
        self._box(sandbox_id)
        image = spawning.check(config)
        name = os.urandom(32).hex()
        container = cri.Container(name, sandbox_id, config, created_at=time.time(), image_id=image.id)
        tenant = self._tenant_of(records.ContainerRecord(container))
        tenant.change()
        self._announce(container)
        return container

    def start_container(
        self, container_id: str, done: Callable[[object], None], failed: Callable[[Exception], None]
    ) -> None:
        tenant = self._tenant(container_id)
        if tenant.container.state != "CREATED" or tenant.pidfd is not None:
            raise errors.Rejected(f'container "{container_id}" is in state {tenant.container.state}')
        config = tenant.container.config
        box = self._living_box(tenant.container.sandbox_id)
        assert box.pidfd is not None
        files = self._sandbox_records.place(box.sandbox.id)
        try:
            stdio = tenant.open_streams(_log_path(config, box.sandbox.config))
            try:
                started = self._spawner.first(config, box.sandbox.config, files, box.pidfd, stdio)
            finally:
                stdio.close()
        except (OSError, errors.NetemuError) as refusal:
            why = containers.explain(refusal) if isinstance(refusal, OSError) else refusal.message
            tenant.fail(why)
            raise StartFailed(why) from None
        tenant.run(*started, done, failed)

    def stop_container(self, container_id: str, timeout: float, done: Callable[[], None]) -> None:
        """The image's stop signal, after `timeout` seconds SIGKILL. One that is not there is stopped."""
        tenant = self._tenants.get(container_id)
        if tenant is None:
            done()
            return
        image = catalogue.find(tenant.container.config.image)
        tenant.stop(signal.Signals[image.stop_signal], timeout, done)

    def remove_container(self, container_id: str, done: Callable[[], None]) -> None:
        """A running one is killed first."""

        def forget() -> None:
            if container_id in self._tenants:
                self._forget(self._tenants[container_id])
            done()

        self.stop_container(container_id, 0.0, forget)

    def list_containers(self) -> tuple[cri.Container, ...]:
        return tuple(tenant.container for tenant in self._tenants.values())

    def container_status(self, container_id: str) -> cri.Container:
        return self._tenant(container_id).container

    def reopen_container_log(self, container_id: str) -> None:
        self._tenant(container_id).reopen_log()

    def attach(self, container_id: str, outlets: Sequence[tuple[str, int]], *, stdin: bool) -> int | None:
        """Copy a running container's output to those pipes, too; the caller's way to its input, if any."""
        return self._tenant(container_id).attach(outlets, stdin=stdin)

    def execute(
        self, container_id: str, argv: tuple[str, ...], stdio: output.Stdio, *, terminal: bool
    ) -> spawning.Started:
        """Start another program in a running container."""
        tenant = self._tenant(container_id)
        if tenant.container.state != "RUNNING" or tenant.pidfd is None:
            raise errors.Rejected(f'container "{container_id}" is not running')
        box = self._living_box(tenant.container.sandbox_id)
        assert box.pidfd is not None
        return self._spawner.further(
            tenant.container.config,
            box.sandbox.config,
            argv,
            (box.pidfd, tenant.pidfd),
            stdio,
            terminal=terminal,
        )

    # -- ends

    def _watch(self, box: _Box, pidfd: int) -> None:
        self._loop.readable(pidfd, lambda: self._pause_ended(box, pidfd))

    def _pause_ended(self, box: _Box, pidfd: int) -> None:
        """The whole pod dies with it; its containers are told one by one as they go."""
        self._loop.forget(pidfd)
        endings.reap(pidfd)
        os.close(pidfd)
        box.pidfd = None
        self._release(box)
        config = cri.ContainerConfig("POD", "pause", labels=box.sandbox.config.labels)
        self._announce(
            cri.Container(
                box.sandbox.id, box.sandbox.id, config, "EXITED", exit_code=137, finished_at=time.time()
            )
        )
        self._maybe_stopped(box)

    def _release(self, box: _Box) -> None:
        sandboxes.release_network(box.sandbox.netns)
        box.sandbox = msgspec.structs.replace(box.sandbox, state="NOTREADY", pid=0)
        self._keep(box)

    def _tenant_ended(self, tenant: Tenant) -> None:
        box = self._boxes.get(tenant.container.sandbox_id)
        if box is not None:
            if box.pidfd is not None:
                tenant.kill_orphans(box.sandbox.pid)
            self._maybe_stopped(box)

    def _maybe_stopped(self, box: _Box) -> None:
        if box.pidfd is None and all(tenant.pidfd is None for tenant in self._tenants_of(box.sandbox.id)):
            waiting, box.stopped = box.stopped, []
            for done in waiting:
                done()

    # -- books

    def _adopt(self) -> None:
        """Take over what an earlier shim left running."""
        for record in self._sandbox_records.load():
            sandbox = record.sandbox
            box = _Box(sandbox, record.start_time, _reopen(sandbox.pid, record.start_time))
            self._boxes[sandbox.id] = box
            if box.pidfd is not None:
                self._watch(box, box.pidfd)
            elif sandbox.pid:
                self._release(box)
        for kept in self._container_records.load():
            container, tenant = kept.container, self._tenant_of(kept)
            if container.pid and container.state != "EXITED":
                config = self._boxes[container.sandbox_id].sandbox.config
                tenant.adopt(_reopen(container.pid, kept.start_time), _log_path(container.config, config))

    def _write_files(self, box: _Box) -> None:
        """The pod's own /etc files, with its addresses as far as they are known."""
        config, place = box.sandbox.config, self._sandbox_records.place(box.sandbox.id)
        files = (
            ("hosts", _hosts(config.hosts or _node_file("/etc/hosts"), box.sandbox.ips)),
            ("hostname", f"{spawning.hostname(config)}\n"),
            ("resolv.conf", config.resolv_conf or _node_file("/etc/resolv.conf")),
        )
        for name, text in files:
            with open(
                f"{place}/{name}", "w", encoding="utf-8"
            ) as file:  # in place: containers have it mounted
                file.write(text)

    def _keep(self, box: _Box) -> None:
        self._sandbox_records.save(box.sandbox.id, records.SandboxRecord(box.sandbox, box.start_time))

    def _tenant_of(self, record: records.ContainerRecord) -> Tenant:
        tenant = Tenant(record, self._container_records, self._loop, self._announce, self._tenant_ended)
        self._tenants[record.container.id] = tenant
        return tenant

    def _forget(self, tenant: Tenant) -> None:
        self._tenants.pop(tenant.container.id, None)
        self._container_records.remove(tenant.container.id)

    def _tenants_of(self, sandbox_id: str) -> list[Tenant]:
        return [tenant for tenant in self._tenants.values() if tenant.container.sandbox_id == sandbox_id]

    def _box(self, sandbox_id: str) -> _Box:
        try:
            return self._boxes[sandbox_id]
        except KeyError:
            raise NotFound(f'could not find sandbox "{sandbox_id}": not found') from None

    def _living_box(self, sandbox_id: str) -> _Box:
        box = self._box(sandbox_id)
        if box.pidfd is None:
            raise errors.Rejected(f'the sandbox "{sandbox_id}" is not running')
        return box

    def _tenant(self, container_id: str) -> Tenant:
        try:
            return self._tenants[container_id]
        except KeyError:
            raise NotFound(f'could not find container "{container_id}": not found') from None


def _hosts(text: str, ips: tuple[str, ...]) -> str:
    """With a line for each address in place of one that begins with @addresses."""
    lines = []
    for line in text.splitlines(keepends=True):
        mine = line.startswith("@addresses")
        lines += [line.replace("@addresses", ip, 1) for ip in ips] if mine else [line]
    return "".join(lines)


def _node_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _log_path(config: cri.ContainerConfig, pod: cri.SandboxConfig) -> str:
    return os.path.join(pod.log_directory, config.log_path) if config.log_path else ""


def _reopen(pid: int, start_time: int) -> int | None:
    """A pidfd of that very process, or None."""
    return process.open_pidfd(process.Identity(pid, start_time, process.boot_id())) if pid else None
