"""The pods of one node: CRI's verbs on sandboxes and containers. Knows what is running and what it waits for.

Does not know sockets. Every verb is quick; what has to wait calls `done` later. All of it can be read again
from the records, so a new shim goes on where the last one was killed.
"""

import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable

import msgspec

from netemu.base import errors
from netemu.kernel import forks, linux, process
from netemu.runtime import containers, elsewhere, endings, logs, output, records, rootfs, sandboxes, zygotes
from netemu.runtime.eventloop import EventLoop, Timer
from netemu.runtime.images import catalogue, commands
from netemu.wire import cri

log = logging.getLogger("shim")

Done = Callable[[object], None]
Failed = Callable[[Exception], None]


class NotFound(errors.NetemuError):
    """No such sandbox or container."""


class StartFailed(errors.NetemuError):
    """The container's program could not be started; it is EXITED with 128."""


class _Box:
    """A sandbox at work; without a pidfd its pause is gone."""

    def __init__(self, sandbox: cri.Sandbox, start_time: int, pidfd: int | None) -> None:
        self.sandbox, self.start_time, self.pidfd = sandbox, start_time, pidfd
        self.stopped: list[Callable[[], None]] = []


class _Tenant:
    """A container at work; with a pidfd it has a process."""

    def __init__(self, container: cri.Container, start_time: int = 0) -> None:
        self.container, self.start_time = container, start_time
        self.pidfd: int | None = None
        self.namespace = ""
        self.log: logs.Log | None = None
        self.streams: dict[int, str] = {}
        self.report: int | None = None
        self.started: tuple[Done, Failed] | None = None
        self.killer: Timer | None = None
        self.stopped: list[Callable[[], None]] = []


class Pods:
    """`announce` hears of every change of state; of a sandbox's death by a Container of the sandbox's id."""

    def __init__(
        self, root: str, loop: EventLoop, hidden: tuple[str, ...], announce: Callable[[cri.Container], None]
    ) -> None:
        self._loop, self._announce = loop, announce
        self._pause = f"{root}/share/pause"
        self._template = rootfs.build(f"{root}/share", hidden)
        self._home = elsewhere.Home()
        self._forks, self._zygote = forks.Forks(), zygotes.Zygote()
        self._zygote.start()
        self._sandbox_records = records.Shelf(f"{root}/sandboxes", records.SandboxRecord)
        self._container_records = records.Shelf(f"{root}/containers", records.ContainerRecord)
        self._boxes: dict[str, _Box] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._adopt()

    # -- sandboxes

    def run_pod_sandbox(self, config: cri.SandboxConfig) -> cri.Sandbox:
        sandboxes.check(config)
        name = os.urandom(32).hex()
        pid, netns = sandboxes.make(config, name, self._pause, self._home)
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
        self._watch_box(box)
        return sandbox

    def attached_network(self, sandbox_id: str, ips: tuple[str, ...]) -> cri.Sandbox:
        box = self._box(sandbox_id)
        if box.pidfd is None:
            raise NotFound(f'the sandbox "{sandbox_id}" has died')
        box.sandbox = _replace(box.sandbox, ips=ips, state="READY")
        self._write_files(box)
        self._keep(box)
        return box.sandbox

    def stop_pod_sandbox(self, sandbox_id: str, done: Callable[[], None]) -> None:
        """Kill what is in it and let go of its namespaces. Stopping one that is not there is done at once."""
        box = self._boxes.get(sandbox_id)
        if box is None:
            done()
            return
        sandboxes.release_network(box.sandbox.netns)
        box.stopped.append(done)
        if box.pidfd is not None:
            process.kill(box.pidfd)
        self._maybe_stopped(box)

    def remove_pod_sandbox(self, sandbox_id: str, done: Callable[[], None]) -> None:
        def forget() -> None:
            for tenant in self._tenants_of(sandbox_id):
                self._forget_tenant(tenant)
            self._boxes.pop(sandbox_id, None)
            self._sandbox_records.remove(sandbox_id)
            done()

        self.stop_pod_sandbox(sandbox_id, forget)

    def list_pod_sandboxes(self) -> tuple[cri.Sandbox, ...]:
        return tuple(box.sandbox for box in self._boxes.values())

    # -- containers

    def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> cri.Container:
        """Rejected for what could never be started; ImageNotFound; NotFound for the sandbox."""
        self._box(sandbox_id)
        image = catalogue.find(config.image)
        commands.main(image, config, "", self._has)
        for mount in config.mounts:
            if not mount.container_path.startswith("/"):
                raise errors.Rejected(f'mount path "{mount.container_path}" must be absolute')
        name = os.urandom(32).hex()
        container = cri.Container(name, sandbox_id, config, created_at=time.time(), image_id=image.id)
        tenant = _Tenant(container)
        self._save(tenant)
        self._tenants[name] = tenant
        self._announce(container)
        return container

    def start_container(self, container_id: str, done: Done, failed: Failed) -> None:
        tenant = self._tenant(container_id)
        if tenant.container.state != "CREATED" or tenant.pidfd is not None:
            raise errors.Rejected(f'container "{container_id}" is in state {tenant.container.state}')
        box = self._living_box(tenant.container.sandbox_id)
        config = tenant.container.config
        place = self._container_records.place(container_id)
        tenant.log = logs.Log(_log_path(config, box.sandbox.config))
        if config.tty:
            ours, stdio = output.terminal()
            tenant.streams[ours] = "stdout"
        else:
            output.make_fifos(place, stdin=config.stdin)
            stdio = output.open_for_container(place, stdin=config.stdin)
            tenant.streams.update((output.open_for_shim(place, name), name) for name in output.STREAMS)
        try:
            pid, tenant.report = self._start(tenant, box, stdio)
        except (OSError, errors.NetemuError) as refusal:
            self._close_streams(tenant)
            why = containers.explain(refusal) if isinstance(refusal, OSError) else refusal.message
            self._change(tenant, reason="StartError", message=why)
            self._finish(tenant, 128)
            raise StartFailed(why) from None
        finally:
            stdio.close()
        tenant.started = (done, failed)
        self._loop.readable(tenant.report, lambda: self._reported(tenant))
        self._run(tenant, pid)

    def stop_container(self, container_id: str, timeout: float, done: Callable[[], None]) -> None:
        """Ask politely, then insist. One that does not run is stopped already; one that is not there, too."""
        tenant = self._tenants.get(container_id)
        if tenant is None or tenant.pidfd is None:
            done()
            return
        tenant.stopped.append(done)
        if timeout > 0:
            image = catalogue.find(tenant.container.config.image)
            process.kill(tenant.pidfd, signal.Signals[image.stop_signal])
        if tenant.killer:
            tenant.killer.cancel()
        tenant.killer = self._loop.after(max(timeout, 0.0), lambda: self._kill(tenant))

    def remove_container(self, container_id: str, done: Callable[[], None]) -> None:
        """A running one is killed first."""
        tenant = self._tenants.get(container_id)
        if tenant is None:
            done()
            return

        def forget() -> None:
            self._forget_tenant(tenant)
            done()

        self.stop_container(container_id, 0.0, forget)

    def list_containers(self) -> tuple[cri.Container, ...]:
        return tuple(tenant.container for tenant in self._tenants.values())

    def container_status(self, container_id: str) -> cri.Container:
        return self._tenant(container_id).container

    def reopen_container_log(self, container_id: str) -> None:
        tenant = self._tenant(container_id)
        if tenant.log:
            tenant.log.reopen()

    def execute(
        self, container_id: str, argv: tuple[str, ...], stdio: output.Stdio, *, terminal: bool
    ) -> tuple[int, int]:
        """Start another program in a running container: its pid, and the pipe that reports a failure."""
        tenant = self._tenant(container_id)
        if tenant.container.state != "RUNNING" or tenant.pidfd is None:
            raise errors.Rejected(f'container "{container_id}" is not running')
        box = self._living_box(tenant.container.sandbox_id)
        config = tenant.container.config
        image = catalogue.find(config.image)
        command = commands.later(image, config, _hostname(box.sandbox.config), argv, self._has)
        what = containers.Process(command, config.security, terminal)
        everything = elsewhere.POD | linux.CLONE_NEWNS
        return self._spawn(what, stdio, box, ((tenant.pidfd, everything),))

    # -- processes

    def _start(self, tenant: _Tenant, box: _Box, stdio: output.Stdio) -> tuple[int, int]:
        """Make the container's file system and, in it, its first process."""
        config = tenant.container.config
        image = catalogue.find(config.image)
        command = commands.main(image, config, _hostname(box.sandbox.config), self._has)
        what = containers.Process(command, config.security, config.tty)
        bindings = self._take(box, config)
        assert box.pidfd is not None
        try:
            with self._home.left():
                linux.setns(box.pidfd, elsewhere.POD | linux.CLONE_NEWPID)
                links = _links(image)
                rootfs.enter(self._template, bindings, links, config.security, terminal=config.tty)
                here = self._home.mounts_here()
            try:
                return self._spawn(what, stdio, box, ((here, linux.CLONE_NEWNS), (box.pidfd, elsewhere.POD)))
            finally:
                os.close(here)
        finally:
            for binding in bindings:
                os.close(binding.tree)

    def _spawn(
        self,
        what: containers.Process,
        stdio: output.Stdio,
        box: _Box,
        entrances: tuple[zygotes.Entrance, ...],
    ) -> tuple[int, int]:
        """A child there which becomes that process: its pid, and the pipe that reports failure."""
        assert box.pidfd is not None
        report, told = os.pipe()
        try:
            if zygotes.fits(what):
                with contextlib.suppress(zygotes.Refused):
                    return self._zygote.fork(what, stdio, told, entrances, box.pidfd), report
            with self._home.left():
                for fd, kind in ((box.pidfd, linux.CLONE_NEWPID), *entrances):
                    linux.setns(fd, kind)
                pid = self._forks.child()
                if pid == 0:
                    containers.become(what, stdio, told, self._forks)
            return pid, report
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(told)

    def _run(self, tenant: _Tenant, pid: int) -> None:
        """Its process is there: write that down before anything else can happen to it."""
        tenant.pidfd = os.pidfd_open(pid)
        tenant.start_time = process.start_time(pid)
        self._change(tenant, pid=pid)
        self._loop.readable(tenant.pidfd, lambda: self._ended(tenant))
        self._watch_streams(tenant)

    def _reported(self, tenant: _Tenant) -> None:
        """The child has executed its program (the pipe ends) or says why it cannot."""
        assert tenant.report is not None
        trouble = os.read(tenant.report, 4096).decode(errors="replace")
        self._loop.forget(tenant.report)
        os.close(tenant.report)
        tenant.report = None
        tenant.namespace = endings.mount_namespace(tenant.container.pid)
        done, failed = tenant.started or (_ignore, _ignore)
        tenant.started = None
        if trouble:
            self._change(tenant, reason="StartError", message=trouble)
            failed(StartFailed(trouble))
        else:
            self._change(tenant, state="RUNNING", started_at=time.time())
            self._announce(tenant.container)
            done(None)

    def _ended(self, tenant: _Tenant, patience: int = 20) -> None:
        """Its process is gone, or a zombie if it is our child."""
        assert tenant.pidfd is not None
        if tenant.report is not None:
            self._reported(tenant)
        code = endings.of_child(tenant.pidfd)
        if code is None:
            code = endings.of_stranger(tenant.pidfd)
            if code is None and patience:  # PID 1 of the lab has not reaped it yet
                self._loop.forget(tenant.pidfd)
                self._loop.after(0.005, lambda: self._ended(tenant, patience - 1))
                return
        self._loop.forget(tenant.pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(tenant.container.pid, signal.SIGKILL)
        endings.reap(tenant.pidfd)
        os.close(tenant.pidfd)
        tenant.pidfd = None
        box = self._boxes.get(tenant.container.sandbox_id)
        if box is not None and box.pidfd is not None:
            endings.kill_orphans(box.sandbox.pid, tenant.namespace)
        self._close_streams(tenant)
        self._finish(tenant, code)
        if box is not None:
            self._maybe_stopped(box)

    def _finish(self, tenant: _Tenant, code: int | None) -> None:
        if tenant.killer:
            tenant.killer.cancel()
        if tenant.container.reason == "StartError":
            tenant.started = None
            self._change(tenant, state="EXITED", exit_code=128, finished_at=time.time())
        elif code is None:
            why = "it ended while nobody could see its exit code"
            self._change(
                tenant,
                state="EXITED",
                exit_code=137,
                reason="ContainerStatusUnknown",
                message=why,
                finished_at=time.time(),
            )
        else:
            reason = "Error" if code else "Completed"
            self._change(tenant, state="EXITED", exit_code=code, reason=reason, finished_at=time.time())
        self._announce(tenant.container)
        waiting, tenant.stopped = tenant.stopped, []
        for done in waiting:
            done()

    def _kill(self, tenant: _Tenant) -> None:
        if tenant.pidfd is not None:
            process.kill(tenant.pidfd)

    def _pause_ended(self, box: _Box) -> None:
        """The whole pod dies with it; its containers are told one by one as they go."""
        assert box.pidfd is not None
        self._loop.forget(box.pidfd)
        endings.reap(box.pidfd)
        os.close(box.pidfd)
        box.pidfd = None
        sandboxes.release_network(box.sandbox.netns)
        box.sandbox = _replace(box.sandbox, state="NOTREADY", pid=0)
        self._keep(box)
        config = cri.ContainerConfig("POD", "pause", labels=box.sandbox.config.labels)
        died = cri.Container(
            box.sandbox.id, box.sandbox.id, config, "EXITED", exit_code=137, finished_at=time.time()
        )
        self._announce(died)
        self._maybe_stopped(box)

    def _maybe_stopped(self, box: _Box) -> None:
        if box.pidfd is None and all(tenant.pidfd is None for tenant in self._tenants_of(box.sandbox.id)):
            waiting, box.stopped = box.stopped, []
            for done in waiting:
                done()

    # -- streams

    def _watch_streams(self, tenant: _Tenant) -> None:
        for fd in tenant.streams:
            self._loop.readable(fd, lambda fd=fd: self._copy(tenant, fd))  # type: ignore[misc]

    def _copy(self, tenant: _Tenant, fd: int) -> None:
        if not output.drain(fd, lambda data: self._write(tenant, tenant.streams[fd], data)):
            self._loop.forget(fd)

    def _write(self, tenant: _Tenant, stream: str, data: bytes) -> None:
        try:
            if tenant.log:
                tenant.log.write(stream, data)
        except OSError as refusal:  # a full disk must not stop the pod
            log.warning("log lost container=%s error=%s", tenant.container.id[:12], refusal)

    def _close_streams(self, tenant: _Tenant) -> None:
        """What was written before the end is in the log before anybody hears of the end."""
        for fd, stream in tenant.streams.items():
            self._loop.forget(fd)
            output.drain(fd, lambda data, stream=stream: self._write(tenant, stream, data))  # type: ignore[misc]
            os.close(fd)
        tenant.streams.clear()
        if tenant.log:
            with contextlib.suppress(OSError):
                tenant.log.close()
            tenant.log = None

    # -- books

    def _adopt(self) -> None:
        """Take over what an earlier shim left running."""
        for record in self._sandbox_records.load():
            box = _Box(record.sandbox, record.start_time, _reopen(record.sandbox.pid, record.start_time))
            self._boxes[record.sandbox.id] = box
            if box.pidfd is not None:
                self._watch_box(box)
            elif record.sandbox.pid:
                sandboxes.release_network(record.sandbox.netns)
                box.sandbox = _replace(box.sandbox, state="NOTREADY", pid=0)
                self._keep(box)
        for kept in self._container_records.load():
            tenant = _Tenant(kept.container, kept.start_time)
            self._tenants[kept.container.id] = tenant
            if kept.container.pid and kept.container.state != "EXITED":
                self._adopt_container(tenant)

    def _adopt_container(self, tenant: _Tenant) -> None:
        container = tenant.container
        tenant.pidfd = _reopen(container.pid, tenant.start_time)
        if tenant.pidfd is None:
            self._finish(tenant, None)
            return
        box = self._boxes[container.sandbox_id]
        tenant.namespace = endings.mount_namespace(container.pid)
        tenant.log = logs.Log(_log_path(container.config, box.sandbox.config))
        if not container.config.tty:
            place = self._container_records.place(container.id)
            tenant.streams = {output.open_for_shim(place, name): name for name in output.STREAMS}
        if container.state == "CREATED":  # it was being started
            self._change(tenant, state="RUNNING", started_at=time.time())
        self._loop.readable(tenant.pidfd, lambda: self._ended(tenant))
        self._watch_streams(tenant)

    def _watch_box(self, box: _Box) -> None:
        assert box.pidfd is not None
        self._loop.readable(box.pidfd, lambda: self._pause_ended(box))

    def _write_files(self, box: _Box) -> None:
        place = self._sandbox_records.place(box.sandbox.id)
        for name, text in _files(box.sandbox):
            with open(
                f"{place}/{name}", "w", encoding="utf-8"
            ) as file:  # in place: containers have it mounted
                file.write(text)

    def _take(self, box: _Box, config: cri.ContainerConfig) -> list[rootfs.Binding]:
        """The container's volumes, and the pod's own files in /etc, from where they are on the node."""
        place = self._sandbox_records.place(box.sandbox.id)
        asked = {mount.container_path for mount in config.mounts}
        own = (
            cri.Mount(f"{place}/{name}", f"/etc/{name}")
            for name in ("hosts", "hostname", "resolv.conf")
            if f"/etc/{name}" not in asked
        )
        taken: list[rootfs.Binding] = []
        try:
            for mount in (*own, *config.mounts):
                taken.append(rootfs.take(mount.host_path, mount.container_path, readonly=mount.readonly))
        except BaseException:
            for binding in taken:
                os.close(binding.tree)
            raise
        return taken

    def _has(self, name: str) -> bool:
        """Whether the host's file system, as containers see it, has that program."""
        if "/" in name:
            return name.split("/")[1] not in rootfs.OWN and os.access(name, os.X_OK)
        return shutil.which(name, path=catalogue.PATH) is not None

    def _change(self, tenant: _Tenant, **fields: object) -> None:
        tenant.container = _replace(tenant.container, **fields)
        self._save(tenant)

    def _save(self, tenant: _Tenant) -> None:
        record = records.ContainerRecord(tenant.container, tenant.start_time)
        self._container_records.save(tenant.container.id, record)

    def _keep(self, box: _Box) -> None:
        self._sandbox_records.save(box.sandbox.id, records.SandboxRecord(box.sandbox, box.start_time))

    def _forget_tenant(self, tenant: _Tenant) -> None:
        self._tenants.pop(tenant.container.id, None)
        self._container_records.remove(tenant.container.id)

    def _tenants_of(self, sandbox_id: str) -> list[_Tenant]:
        return [tenant for tenant in self._tenants.values() if tenant.container.sandbox_id == sandbox_id]

    def _box(self, sandbox_id: str) -> _Box:
        try:
            return self._boxes[sandbox_id]
        except KeyError:
            raise NotFound(f'an error occurred when try to find sandbox "{sandbox_id}": not found') from None

    def _living_box(self, sandbox_id: str) -> _Box:
        box = self._box(sandbox_id)
        if box.pidfd is None:
            raise errors.Rejected(f'the sandbox "{sandbox_id}" is not running')
        return box

    def _tenant(self, container_id: str) -> _Tenant:
        try:
            return self._tenants[container_id]
        except KeyError:
            raise NotFound(f'could not find container "{container_id}": not found') from None


def _files(sandbox: cri.Sandbox) -> tuple[tuple[str, str], ...]:
    """The pod's own /etc files, with the addresses as far as they are known."""
    config = sandbox.config
    entries = "".join(f"{ip}\t{config.hostname}\n" for ip in sandbox.ips)
    return (
        ("hosts", (config.hosts or _node_file("/etc/hosts")).replace("@addresses\n", entries)),
        ("hostname", f"{_hostname(config)}\n"),
        ("resolv.conf", config.resolv_conf or _node_file("/etc/resolv.conf")),
    )


def _links(image: catalogue.Image) -> tuple[tuple[str, str], ...]:
    """The image's programs that stand in /, as files a shell can run."""
    names = (name for name, _ in image.programs if name.startswith("/") and name.count("/") == 1)
    return tuple((name, commands.APPLET_PATH + name) for name in names)


def _node_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _hostname(config: cri.SandboxConfig) -> str:
    return os.uname().nodename if config.host_network else config.hostname


def _log_path(config: cri.ContainerConfig, sandbox: cri.SandboxConfig) -> str:
    return os.path.join(sandbox.log_directory, config.log_path) if config.log_path else ""


def _reopen(pid: int, start_time: int) -> int | None:
    if not pid:
        return None
    return process.open_pidfd(process.Identity(pid, start_time, process.boot_id()))


def _replace(value, **fields: object):  # type: ignore[no-untyped-def]
    return msgspec.structs.replace(value, **fields)


def _ignore(_: object) -> None:
    pass
