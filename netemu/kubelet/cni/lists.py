"""What libcni does: the commands of the specification, asked of all plugins of a list in the right order.

ADD forward, each with the result of the one before; CHECK forward and DEL backward with the last result,
which is kept on disk; GC never while an ADD or a DEL is under way (specification 1.1.0, section 3).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from typing import Any

from netemu.base import errors
from netemu.kubelet.cni import plugins, results
from netemu.wire import cni, conflists

Document = dict[str, Any]


class Lists:
    """Every method raises PluginFailed for what a plugin says, OSError for what the disk says."""

    def __init__(self, asked: plugins.Plugins, kept: results.Results) -> None:
        self._plugins = asked
        self.results = kept
        self._gate = _Gate()

    def usable(self, network: conflists.ConfigList) -> None:
        """Failure for a plugin that is not there."""
        for plugin in network.plugins:
            self._plugins.find(plugin["type"])

    def at_hand(self, network: conflists.ConfigList) -> bool:
        """Whether all its plugins are netemu's own, called without a process."""
        return all(self._plugins.at_hand(plugin["type"]) for plugin in network.plugins)

    async def add(self, network: conflists.ConfigList, about: results.Attachment) -> Document:
        """Connect; the last plugin's result, which is also on disk. After a failure nothing remains."""
        async with self._gate.shared():
            result: Document | None = None
            try:
                for plugin in network.plugins:
                    result = await self._ask("ADD", network, plugin, about, result)
                    assert result is not None
                    result = _converted(plugin["type"], result, network.version)
                assert result is not None
                self.results.save(results.Entry(network, about, result))
            except BaseException:
                await self._undo(network, about, result)
                raise
        return result

    async def delete(self, network: conflists.ConfigList, about: results.Attachment) -> None:
        """Disconnect. Stops at the first plugin that fails: whoever asks, asks again later."""
        async with self._gate.shared():
            await self._delete(network, about)

    async def _delete(self, network: conflists.ConfigList, about: results.Attachment) -> None:
        kept = self.results.load(network.name, about)
        previous = kept.result if kept else None
        for plugin in reversed(network.plugins):
            await self._ask("DEL", network, plugin, about, previous)
        self.results.remove(network.name, about)

    async def _undo(
        self, network: conflists.ConfigList, about: results.Attachment, previous: Document | None
    ) -> None:
        """A failed ADD is followed by DEL for every plugin, whatever another one says to it."""
        for plugin in reversed(network.plugins):
            with contextlib.suppress(errors.NetemuError, OSError):
                await self._ask("DEL", network, plugin, about, previous)
        with contextlib.suppress(OSError):
            self.results.remove(network.name, about)

    async def check(self, network: conflists.ConfigList, about: results.Attachment) -> None:
        """PluginFailed when it is not as ADD left it; Rejected when nothing was ever attached."""
        if not conflists.at_least(network.version, cni.SINCE["CHECK"]):
            raise errors.Rejected(f"configuration version {network.version} does not support CHECK command")
        if not network.allows("CHECK"):
            return
        kept = self.results.load(network.name, about)
        if kept is None:
            name = f"{about.container_id}/{about.ifname}"
            raise errors.Rejected(f"{name} is not attached to network {network.name}")
        for plugin in network.plugins:
            await self._ask("CHECK", network, plugin, about, kept.result)

    async def status(self, network: conflists.ConfigList, offers: Document | None = None) -> None:
        """PluginFailed when a plugin could not serve an ADD now. `offers`: capabilities of all containers."""
        if network.allows("STATUS"):
            for plugin in network.plugins:
                request = conflists.upkeep(network, plugin, offers=offers or {})
                await self._plugins.ask("STATUS", plugin["type"], request, {})

    async def collect(
        self,
        network: conflists.ConfigList,
        held: Iterable[conflists.Held],
        offers: Document | None = None,
    ) -> list[str]:
        """GC: DEL for attachments kept on disk that are not `held`, then GC for every plugin.

        A plugin's error does not stop the others; what went wrong is the answer.
        """
        if network.disable_gc:
            return []
        wanted, problems = sorted(set(held)), list[str]()
        async with self._gate.exclusive():
            for entry in self.results.all():
                about = entry.attachment
                stale = conflists.Held(about.container_id, about.ifname) not in wanted
                if entry.network.name == network.name and stale:
                    try:
                        await self._delete(entry.network, about)
                    except (errors.NetemuError, OSError) as problem:
                        what = f"{about.container_id} {about.ifname}"
                        problems.append(f"failed to delete stale attachment {what}: {problem}")
            if network.allows("GC"):
                for plugin in network.plugins:
                    try:
                        request = conflists.upkeep(network, plugin, wanted, offers=offers or {})
                        await self._plugins.ask("GC", plugin["type"], request, {})
                    except errors.NetemuError as problem:
                        problems.append(str(problem))
        return problems

    async def versions(self, network: conflists.ConfigList) -> dict[str, tuple[str, ...]]:
        """What each plugin says it supports, by type."""
        return {plugin["type"]: await self._plugins.versions(plugin["type"]) for plugin in network.plugins}

    async def settled(self, network: conflists.ConfigList) -> conflists.ConfigList:
        """The list in the highest version it offers that all its plugins know; as it is if there is none."""
        if len(network.versions) < 2:
            return network
        known = (await self.versions(network)).values()
        common = [one for one in network.versions if all(one in found for found in known if found)]
        return network._replace(version=common[-1]) if common else network

    async def _ask(
        self,
        command: str,
        network: conflists.ConfigList,
        plugin: Document,
        about: results.Attachment,
        previous: Document | None,
    ) -> Document | None:
        if command == "DEL":
            if not conflists.at_least(network.version, "0.4.0"):
                previous = None  # new in 0.4.0
            if not os.path.exists(about.netns):
                about = about._replace(netns="")  # gone: it is not named, DEL must work without
        if previous is not None:
            previous = _converted(plugin["type"], previous, network.version)
        request = conflists.request(network, plugin, previous=previous, offers=about.capabilities)
        return await self._plugins.ask(command, plugin["type"], request, about.parameters())


def _converted(kind: str, result: Document, version: str) -> Document:
    try:
        return conflists.in_version(result, version)
    except cni.Failure as failure:
        raise plugins.PluginFailed(kind, "ADD", failure) from None


class _Gate:
    """Many may be inside together, or one alone; whoever wants to be alone goes next."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        async with self._alone:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._alone:
            await self._empty.wait()
            yield
