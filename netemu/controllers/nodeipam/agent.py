"""The node IPAM loop: gives every node without pod subnets its own, once and for good."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from netemu.api import core
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import views
from netemu.controllers.nodeipam import plan
from netemu.reconcile import loops, recorders

_log = logging.getLogger("nodeipam")
_ALL: Final = "all nodes"  # subnets are handed out together, so that no two nodes get the same


class NodeIpam:
    """Assigns spec.podCIDR and spec.podCIDRs."""

    def __init__(
        self,
        client: api.Client,
        known: informers.Informers,
        clock: clock.Clock,
        events: recorders.Recorder,
        cluster: Sequence[plan.Network],
    ) -> None:
        self._client = client
        self._events = events
        self._cluster = tuple(cluster)
        self._loop = loops.Loop("nodeipam", self._reconcile, clock=clock)
        self._nodes = views.View(known.of(core.Node))
        self._reserved: dict[str, tuple[plan.Network, ...]] = {}
        self._exhausted: set[str] = set()
        self._nodes.subscribe(self._node_changed)

    async def run(self) -> None:
        await self._nodes.synced.wait()
        await self._loop.run()

    def _node_changed(self, change: informers.Change[core.Node]) -> None:
        if change.current is None:
            self._exhausted.discard(change.key.name)
            self._loop.enqueue(_ALL)  # what it had is free again
        elif not plan.subnets(change.current) and change.key.name not in self._exhausted:
            self._loop.enqueue(_ALL)

    async def _reconcile(self, _: str) -> float | None:
        nodes = {node.metadata.name: node for node in self._nodes.every()}
        planned = plan.plan(nodes.values(), self._cluster, self._reserved)
        for name in planned.exhausted:
            if name not in self._exhausted:
                self._exhausted.add(name)
                self._events.record(
                    nodes[name], "Normal", "CIDRNotAvailable", f"Node {name} status is now: CIDRNotAvailable"
                )
        for name, networks in planned.assign.items():
            self._exhausted.discard(name)
            await self._assign(nodes[name], networks)
        return None

    async def _assign(self, node: core.Node, networks: tuple[plan.Network, ...]) -> None:
        name = node.metadata.name
        cidrs = [str(network) for network in networks]
        self._reserved[name] = networks
        try:
            patched = await self._client.patch(
                core.Node,
                name,
                body={
                    "metadata": {"uid": node.metadata.uid},
                    "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
                },
            )
        except (api_errors.NotFound, api_errors.Conflict):
            del self._reserved[name]
            return
        self._nodes.wrote(patched)
        del self._reserved[name]
        _log.info("assigned pod subnets node=%s cidrs=%s", name, ",".join(cidrs))
