"""A node's pod network: sandboxes connected to the network of its directory, and to those their pods name.

Composes configurations, lists, capabilities and further networks; the order of things is here, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.kubelet.cni import capabilities, configurations, lists, multus, ours, plugins, results
from netemu.wire import cni, conflists, cri

IFNAME = "eth0"
DIRECTORIES = ("/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni")  # the last one is Debian's
Definition = Callable[[str, str], Awaitable[str | None]]
_ASK_AGAIN = 10.0  # seconds
_log = logging.getLogger("cni")


class _Well(NamedTuple):
    """The list whose plugins said that they could serve, and how long that is believed (the loop's time)."""

    text: bytes = b""
    until: float = 0.0


async def _undefined(_namespace: str, _name: str) -> str | None:
    return None


class Cni:
    """`conf_dir` is read at every use: what an administrator changes counts for the next pod.

    `definition(namespace, name)` is the spec.config of a NetworkAttachmentDefinition, None if there is none.
    """

    def __init__(
        self,
        conf_dir: str = "/etc/cni/net.d",
        bin_dirs: Sequence[str] = DIRECTORIES,
        cache_dir: str = "/var/lib/cni",
        *,
        parallel: int = 4,
        timeout: float = 60.0,
        own: ours.Ours | None = None,
        definition: Definition = _undefined,
    ) -> None:
        asked = plugins.Plugins(bin_dirs, parallel=parallel, timeout=timeout, own=own)
        self._lists = lists.Lists(asked, results.Results(cache_dir))
        self._configurations = configurations.Configurations(conf_dir, self._lists.usable)
        self._definition = definition
        self._ranges: tuple[str, ...] = ()
        self._well = _Well()

    def network(self) -> conflists.ConfigList:
        """The pods' network. NotReady says why there is none."""
        return self._configurations.first()

    async def status(self) -> None:
        """Return when pods can be connected. The plugins are asked (since 1.1.0) when the list is a new one,
        and every ten seconds.
        """
        network, now = self.network(), asyncio.get_running_loop().time()
        if network.text == self._well.text and now < self._well.until:
            return
        await self._lists.status(await self._lists.settled(network), self._common())
        self._well = _Well(network.text, now + _ASK_AGAIN)

    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]:
        """ADD: the pod's addresses on its first interface. Nothing remains after a failure."""
        done: list[tuple[conflists.ConfigList, results.Attachment]] = []
        try:
            network, about = await self._lists.settled(self.network()), self._attachment(sandbox)
            further = [await self._further(sandbox, one) for one in _selections(sandbox)]
            found = await self._lists.add(network, about)
            done.append((network, about))
            for one in further:
                await self._lists.add(*one)
                done.append(one)
            return addresses(found, sandbox.netns)
        except BaseException as problem:
            for undone in reversed(done):
                with contextlib.suppress(errors.NetemuError, OSError):
                    await self._lists.delete(*undone)
            if isinstance(problem, errors.NetemuError | cni.Failure | OSError):
                text = f'failed to setup network for sandbox "{sandbox.id}": {problem}'
                raise errors.NetemuError(text) from problem
            raise

    async def detach(self, sandbox: cri.Sandbox) -> None:
        """DEL, with the configurations and results the pod was connected with. Fine when it never was."""
        kept = self._lists.results.of(sandbox.id)
        attached = [(entry.network, entry.attachment) for entry in kept]
        try:
            if not any(about.ifname == IFNAME for _, about in attached):
                with contextlib.suppress(configurations.NotReady):
                    network = await self._lists.settled(self.network())
                    attached.insert(0, (network, self._attachment(sandbox)))
            for network, about in reversed(attached):
                await self._lists.delete(network, about)
        except (errors.NetemuError, OSError) as problem:
            text = f'failed to destroy network for sandbox "{sandbox.id}": {problem}'
            raise errors.NetemuError(text) from problem

    async def _settled(self, network: conflists.ConfigList) -> conflists.ConfigList:
        """As it is when a plugin has gone meanwhile: what it says to GC is that it is not there."""
        try:
            return await self._lists.settled(network)
        except plugins.PluginFailed:
            return network

    def needs_namespace(self, sandbox: cri.Sandbox) -> bool:
        """Whether a plugin that connected it is not ours: DEL must do without, but may do more with it."""
        kept = self._lists.results.of(sandbox.id)
        return not kept or not all(self._lists.at_hand(entry.network) for entry in kept)

    async def check(self, sandbox: cri.Sandbox) -> None:
        """CHECK: PluginFailed when the pod's network is not as ADD left it."""
        kept = self._lists.results.of(sandbox.id)
        if not kept:
            raise errors.Rejected(f"sandbox {sandbox.id} is not connected to any network")
        for entry in kept:
            if entry.network.allows("CHECK"):
                await self._lists.check(entry.network, entry.attachment)

    async def collect(self, alive: Iterable[str]) -> None:
        """Give back what sandboxes other than these still hold (after a restart, before any is attached).

        Plugins are asked though no result is kept: whoever was killed before it was written left an address.
        """
        if not self._lists.results.begun():
            return
        kept, ids = self._lists.results.all(), set(alive)
        held = [conflists.Held(name, IFNAME) for name in ids]
        held += [
            conflists.Held(entry.attachment.container_id, entry.attachment.ifname)
            for entry in kept
            if entry.attachment.container_id in ids
        ]
        known = {network.name: network for network in self._configurations.every()}
        known |= {entry.network.name: entry.network for entry in kept if entry.network.name not in known}
        for network in known.values():
            for problem in await self._lists.collect(await self._settled(network), held, self._common()):
                _log.warning("GC of network %s: %s", network.name, problem)

    def assign(self, ranges: tuple[str, ...]) -> None:
        """The ranges of the node's pods, for plugins that declare the capability ipRanges."""
        self._ranges = ranges

    def report(self, sandbox: cri.Sandbox) -> dict[str, str]:
        """The annotation network-status of a connected pod that asked for networks."""
        if not sandbox.config.annotations.get(multus.NETWORKS):
            return {}
        kept = self._lists.results.of(sandbox.id)
        first = [entry for entry in kept if entry.attachment.ifname == IFNAME]
        titles = {one.interface: one.title for one in _selections(sandbox)}
        rest = {entry.attachment.ifname: entry for entry in kept if entry not in first}
        attached = [(entry.network.name, IFNAME, entry.result) for entry in first]
        attached += [(titles[name], name, rest[name].result) for name in titles if name in rest]
        return {multus.STATUS: multus.status(attached)}

    def _common(self) -> dict[str, Any]:
        """What is offered for any sandbox: the node's ranges, out of which plugins give addresses."""
        return capabilities.offers(cri.SandboxConfig("", "", ""), ranges=self._ranges)

    def _attachment(self, sandbox: cri.Sandbox) -> results.Attachment:
        offered = capabilities.offers(sandbox.config, cgroup=_cgroup(sandbox.pid), ranges=self._ranges)
        return results.Attachment(sandbox.id, sandbox.netns, IFNAME, _arguments(sandbox), offered)

    async def _further(
        self, sandbox: cri.Sandbox, chosen: multus.Selection
    ) -> tuple[conflists.ConfigList, results.Attachment]:
        config = await self._definition(chosen.namespace, chosen.name)
        if config and config.strip():
            network = multus.network(chosen, config)
        else:  # a definition without spec.config means a file of the node, as does a name without any
            found = self._configurations.named(chosen.name)
            if found is None:
                raise errors.Rejected(
                    f"cannot find a network-attachment-definition ({chosen.name}) "
                    f"in namespace ({chosen.namespace})"
                )
            network = multus.with_arguments(chosen, found)
        self._lists.usable(network)
        offered = {**capabilities.offers(sandbox.config), "portMappings": [], "bandwidth": {}}
        given: dict[str, Any] = {key: value for key, value in offered.items() if value}
        about = results.Attachment(
            sandbox.id,
            sandbox.netns,
            chosen.interface,
            (*_arguments(sandbox), *chosen.arguments),
            {**given, **chosen.capabilities},
        )
        return await self._lists.settled(network), about


def _selections(sandbox: cri.Sandbox) -> tuple[multus.Selection, ...]:
    return multus.selections(sandbox.config.annotations, sandbox.config.namespace)


def _arguments(sandbox: cri.Sandbox) -> tuple[tuple[str, str], ...]:
    """Whom a call is about, as plugins are told: containerd's arguments."""
    config = sandbox.config
    return (
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", config.namespace),
        ("K8S_POD_NAME", config.name),
        ("K8S_POD_INFRA_CONTAINER_ID", sandbox.id),
        ("K8S_POD_UID", config.uid),
    )


def _cgroup(pid: int) -> str:
    """The control group of a sandbox's first process: of version 2, else that of its processor time."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            for line in file:
                number, kinds, path = line.rstrip("\n").split(":", 2)
                found |= dict.fromkeys(kinds.split(","), path) if kinds else {number: path}
    return found.get("0") or found.get("cpu") or ""


def addresses(result: dict[str, Any], netns: str) -> tuple[str, ...]:
    """The addresses on the pod's interface, as the result has them. NetemuError when there is none."""
    try:
        found = cni.result(result)
    except cni.Failure as failure:
        raise errors.NetemuError(f"cannot read the CNI result: {failure}") from None
    ours = conflists.addresses(found, IFNAME)
    if not ours:
        raise errors.NetemuError(f"failed to find network info for sandbox {os.path.basename(netns)}")
    return tuple(str(ip.address.ip) for ip in ours)
