"""The runtime side of CNI: a configuration list from a directory, its plugins run as executables.

Knows the specification's order (ADD forward, DEL backward with the last result) and libcni's result cache.
Knows no plugin in particular. Executables run a few at a time: all of them wait for one kernel lock (RTNL).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from netemu.base import errors
from netemu.kernel import netns, process, rtnl
from netemu.wire import cni, cri, rtnetlink

IFNAME = "eth0"
SUFFIXES = (".conflist", ".conf", ".json")
_NONE = "cni plugin not initialized"


class NotReady(errors.Transient):
    """There is no usable configuration (yet)."""


class PluginFailed(errors.NetemuError):
    """A plugin answered with an error; `failure` has its code."""

    def __init__(self, plugin: str, command: str, failure: cni.Failure) -> None:
        super().__init__(f'plugin type="{plugin}" failed ({command.lower()}): {failure}')
        self.failure = failure


class Cni:
    """`conf_dir` is read at every use: what an administrator changes counts for the next pod."""

    def __init__(
        self,
        conf_dir: str = "/etc/cni/net.d",
        bin_dirs: Sequence[str] = ("/opt/cni/bin",),
        cache_dir: str = "/var/lib/cni",
        *,
        parallel: int = 4,
        timeout: float = 60.0,
    ) -> None:
        self._conf_dir = conf_dir
        self._path = ":".join(bin_dirs)
        self._bin_dirs = tuple(bin_dirs)
        self._results = os.path.join(cache_dir, "results")
        self._slots = asyncio.Semaphore(parallel)
        self._timeout = timeout
        self._read: tuple[tuple[str, int, int], cni.ConfigList] | None = None

    @property
    def conflist(self) -> str:
        """The network's name. NotReady."""
        return str(self.network().name)

    def network(self) -> cni.ConfigList:
        """The first usable configuration by file name. NotReady says why there is none."""
        problems = []
        for path in self._files():
            try:
                found = os.stat(path)
                stamp = (path, found.st_mtime_ns, found.st_ino)
                if self._read is not None and self._read[0] == stamp:
                    return self._read[1]
                with open(path, "rb") as file:
                    loaded = cni.config_list(file.read(), single=not path.endswith(".conflist"))
                for plugin in loaded.plugins:
                    self._executable(plugin["type"])
            except (cni.Failure, OSError) as problem:
                problems.append(f"{os.path.basename(path)}: {problem}")
                continue
            self._read = (stamp, loaded)
            return loaded
        raise NotReady(f"{_NONE}: {'; '.join(problems)}" if problems else _NONE)

    def _files(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = sorted(name for name in os.listdir(self._conf_dir) if name.endswith(SUFFIXES))
            return [os.path.join(self._conf_dir, name) for name in names]
        return []

    async def status(self) -> None:
        """Return when pods can be connected, asking the plugins where they can be asked (since 1.1.0)."""
        network = self.network()
        if network.version in ("1.1.0",):
            for plugin in network.plugins:
                await self._run("STATUS", network, plugin, None, _Attachment())

    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]:
        """ADD: the pod's addresses, the first one primary. Nothing remains after a failure."""
        network = self.network()
        about = _Attachment(sandbox)
        _loopback_up(sandbox.netns)
        result: dict[str, Any] | None = None
        try:
            for plugin in network.plugins:
                result = await self._run("ADD", network, plugin, result, about)
            ips = _addresses(result or {}, sandbox.netns)
            self._remember(network, about, result or {})
        except BaseException:
            with contextlib.suppress(errors.NetemuError, OSError):
                await self._delete(network, result, about)
            raise
        return ips

    async def detach(self, sandbox: cri.Sandbox) -> None:
        """DEL, with the configuration and result the pod was connected with. Fine when it never was."""
        about = _Attachment(sandbox)
        network, result = self._recall(sandbox.id) or (self.network(), None)
        await self._delete(network, result, about)
        for path in self._cached(sandbox.id):
            os.unlink(path)

    async def check(self, sandbox: cri.Sandbox) -> None:
        """CHECK: PluginFailed when the pod's network is not as ADD left it."""
        remembered = self._recall(sandbox.id)
        if remembered is None:
            raise errors.Rejected(f"sandbox {sandbox.id} is not connected to any network")
        network, result = remembered
        if network.disable_check or cni.VERSIONS.index(network.version) < cni.VERSIONS.index("0.4.0"):
            return
        for plugin in network.plugins:
            await self._run("CHECK", network, plugin, result, _Attachment(sandbox))

    async def _delete(
        self, network: cni.ConfigList, result: dict[str, Any] | None, about: _Attachment
    ) -> None:
        for plugin in reversed(network.plugins):
            await self._run("DEL", network, plugin, result, about)

    # -- one plugin

    def _executable(self, kind: str) -> str:
        for directory in self._bin_dirs:
            path = os.path.join(directory, kind)
            if "/" not in kind and os.access(path, os.X_OK):
                return path
        where = ", ".join(self._bin_dirs)
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'failed to find plugin "{kind}" in path [{where}]')

    async def _run(
        self,
        command: str,
        network: cni.ConfigList,
        plugin: Mapping[str, Any],
        previous: dict[str, Any] | None,
        about: _Attachment,
    ) -> dict[str, Any] | None:
        kind = plugin["type"]
        request = cni.request(network, dict(plugin), previous=previous, offers={})
        environment = about.environment() | {"CNI_COMMAND": command, "CNI_PATH": self._path}
        environment["PATH"] = os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        try:
            async with self._slots:
                done = await process.run(
                    [self._executable(kind)],
                    env=environment,
                    stdin=msgspec.json.encode(request),
                    timeout=self._timeout,
                )
        except cni.Failure as failure:
            raise PluginFailed(kind, command, failure) from None
        except TimeoutError:
            late = cni.Failure(cni.TRY_AGAIN, f"no answer within {self._timeout:g} s")
            raise PluginFailed(kind, command, late) from None
        except OSError as problem:
            raise PluginFailed(kind, command, cni.Failure(cni.IO_FAILURE, str(problem))) from None
        return _answer(kind, command, done)

    # -- libcni's cache: <cache>/results/<network>-<container>-<interface>

    def _remember(self, network: cni.ConfigList, about: _Attachment, result: dict[str, Any]) -> None:
        os.makedirs(self._results, mode=0o700, exist_ok=True)
        path = os.path.join(self._results, f"{network.name}-{about.container_id}-{IFNAME}")
        entry = {
            "kind": "cniCacheV1",
            "containerId": about.container_id,
            "config": base64.b64encode(network.text).decode(),
            "ifName": IFNAME,
            "networkName": network.name,
            "netns": about.netns,
            "cniArgs": [list(pair) for pair in about.arguments],
            "result": result,
        }
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(entry))

    def _recall(self, container_id: str) -> tuple[cni.ConfigList, dict[str, Any] | None] | None:
        for path in self._cached(container_id):
            with contextlib.suppress(msgspec.DecodeError, cni.Failure, KeyError, ValueError, OSError):
                with open(path, "rb") as file:
                    entry = msgspec.json.decode(file.read())
                text = base64.b64decode(entry["config"])
                single = b'"plugins"' not in text
                return cni.config_list(text, single=single), entry.get("result")
        return None

    def _cached(self, container_id: str) -> list[str]:
        try:
            names = os.listdir(self._results)
        except FileNotFoundError:
            return []
        end = f"-{container_id}-{IFNAME}"
        return [os.path.join(self._results, name) for name in names if name.endswith(end)]


class _Attachment:
    """Whom a call is about, as plugins are told: containerd's arguments."""

    def __init__(self, sandbox: cri.Sandbox | None = None) -> None:
        self.container_id = sandbox.id if sandbox else ""
        self.netns = sandbox.netns if sandbox else ""
        config = sandbox.config if sandbox else cri.SandboxConfig("", "", "")
        self.arguments = (
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", config.namespace),
            ("K8S_POD_NAME", config.name),
            ("K8S_POD_INFRA_CONTAINER_ID", self.container_id),
            ("K8S_POD_UID", config.uid),
        )

    def environment(self) -> dict[str, str]:
        """All but the command and the path. A namespace that is gone is not named: DEL must work without."""
        if not self.container_id:
            return {}
        netns = self.netns if os.path.exists(self.netns) else ""
        return {
            "CNI_CONTAINERID": self.container_id,
            "CNI_NETNS": netns,
            "CNI_IFNAME": IFNAME,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in self.arguments),
        }


def _answer(kind: str, command: str, done: process.Completed) -> dict[str, Any] | None:
    """What a plugin printed: its result after ADD, its error after a failure."""
    document: Any = None
    if done.stdout.strip():
        with contextlib.suppress(msgspec.DecodeError):
            document = msgspec.json.decode(done.stdout)
    if done.code == 0 and command != "ADD":
        return None
    if not isinstance(document, dict):
        heard = (done.stderr or done.stdout)[-500:].decode(errors="replace").strip()
        text = f"netplugin failed with no error message (exit code {done.code})" if done.code else "no result"
        raise PluginFailed(kind, command, cni.Failure(cni.INTERNAL, text, heard))
    if done.code:
        raise PluginFailed(kind, command, cni.failure(document))
    return document


def _addresses(result: dict[str, Any], netns: str) -> tuple[str, ...]:
    """The addresses on the pod's interface, IPv4 first as kubelet reports them on an IPv4 cluster."""
    try:
        found = cni.result(result)
    except cni.Failure as failure:
        raise errors.NetemuError(f"cannot read the CNI result: {failure}") from None
    inside = {i for i, each in enumerate(found.interfaces) if each.name == IFNAME and each.sandbox}
    ours = [ip for ip in found.ips if ip.interface in inside]
    ours = ours or [ip for ip in found.ips if ip.interface is None]  # a plugin need not say whose they are
    if not ours:
        raise errors.NetemuError(f"failed to find network info for sandbox {netns}")
    return tuple(str(ip.address.ip) for ip in ours)


def _loopback_up(path: str) -> None:
    """As containerd's internal loopback: no plugin need be run for it."""

    def up() -> None:
        with rtnl.Rtnl() as socket:
            socket.run([rtnetlink.set_link("lo", up=True)])

    try:
        netns.call(path, up)
    except OSError as problem:
        raise errors.NetemuError(f"failed to set loopback up in {path}: {problem}") from None
