"""Processes in pods: the first of a container, in a file system made for it, and further ones.

Knows how to get there (namespaces, mounts, a fork or the zygote); does not know what became of them.
"""

import contextlib
import os
import shutil
from collections.abc import Sequence

from netemu.kernel import forks, linux
from netemu.runtime import containers, elsewhere, output, rootfs, sandboxes, zygotes
from netemu.runtime.images import catalogue, commands
from netemu.wire import cri

Started = tuple[int, int]  # the pid, and the pipe that ends when the program runs, or says why it does not


class Spawner:
    """What a node needs once to start any number of processes."""

    def __init__(self, share: str, hidden: Sequence[str]) -> None:
        self._pause = f"{share}/pause"
        self._template = rootfs.build(share, hidden)
        self._home = elsewhere.Home()
        self._forks, self._zygote = forks.Forks(), zygotes.Zygote()
        self._zygote.start()

    def sandbox(self, config: cri.SandboxConfig, name: str) -> tuple[int, str]:
        """See sandboxes.make."""
        return sandboxes.make(config, name, self._pause, self._home)

    def first(
        self, config: cri.ContainerConfig, pod: cri.SandboxConfig, files: str, pause: int, stdio: output.Stdio
    ) -> Started:
        """A container's first process. `files`: where the pod's own /etc files are; `pause`: a pidfd."""
        image = catalogue.find(config.image)
        command = commands.main(image, config, hostname(pod), self._has)
        what = containers.Process(command, config.security, config.tty)
        with contextlib.ExitStack() as taken:
            bindings = _take(taken, files, config)
            with self._home.left():
                linux.setns(pause, elsewhere.POD | linux.CLONE_NEWPID)
                rootfs.enter(self._template, bindings, _links(image), config.security)
                here = self._home.mounts_here()
            taken.callback(os.close, here)
            return self._spawn(what, stdio, pause, ((here, linux.CLONE_NEWNS), (pause, elsewhere.POD)))

    def further(
        self,
        config: cri.ContainerConfig,
        pod: cri.SandboxConfig,
        argv: tuple[str, ...],
        pidfds: tuple[int, int],
        stdio: output.Stdio,
        *,
        terminal: bool,
    ) -> Started:
        """Another process in a running container; `pidfds` are those of pause and of its first process."""
        pause, target = pidfds
        command = commands.later(catalogue.find(config.image), config, hostname(pod), argv, self._has)
        what = containers.Process(command, config.security, terminal)
        return self._spawn(what, stdio, pause, ((target, elsewhere.POD | linux.CLONE_NEWNS),))

    def _spawn(
        self,
        what: containers.Process,
        stdio: output.Stdio,
        pause: int,
        entrances: tuple[zygotes.Entrance, ...],
    ) -> Started:
        """A child which enters those namespaces, and the pod's pid namespace, and becomes that process."""
        report, told = os.pipe()
        try:
            if zygotes.fits(what):
                with contextlib.suppress(zygotes.Refused):
                    return self._zygote.fork(what, stdio, told, entrances, pause), report
            with self._home.left():
                for fd, kind in ((pause, linux.CLONE_NEWPID), *entrances):
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

    @staticmethod
    def _has(name: str) -> bool:
        """Whether the host's file system, as containers see it, has that program."""
        if "/" in name:
            return name.split("/")[1] not in rootfs.OWN and os.access(name, os.X_OK)
        return shutil.which(name, path=catalogue.PATH) is not None


def hostname(pod: cri.SandboxConfig) -> str:
    return os.uname().nodename if pod.host_network else pod.hostname


def check(config: cri.ContainerConfig) -> catalogue.Image:
    """The image of what may be started. ImageNotFound, Rejected or ValueError for what never could."""
    image = catalogue.find(config.image)
    commands.main(image, config, "", lambda _: True)
    for mount in config.mounts:
        if not mount.container_path.startswith("/"):
            raise ValueError(f'mount path "{mount.container_path}" must be absolute')
    return image


def _take(stack: contextlib.ExitStack, files: str, config: cri.ContainerConfig) -> list[rootfs.Binding]:
    """The container's volumes, and the pod's own files in /etc, from where they are on the node."""
    asked = {mount.container_path for mount in config.mounts}
    names = (name for name in ("hosts", "hostname", "resolv.conf") if f"/etc/{name}" not in asked)
    own = (cri.Mount(f"{files}/{name}", f"/etc/{name}") for name in names)
    taken = []
    for mount in (*own, *config.mounts):
        taken.append(rootfs.take(mount.host_path, mount.container_path, readonly=mount.readonly))
        stack.callback(os.close, taken[-1].tree)
    return taken


def _links(image: catalogue.Image) -> tuple[tuple[str, str], ...]:
    """The image's programs that stand in /, as files a shell can run."""
    names = (name for name, _ in image.programs if name.startswith("/") and name.count("/") == 1)
    return tuple((name, commands.APPLET_PATH + name) for name in names)
