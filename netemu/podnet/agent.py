"""When the node's part of the pod network is made: at the start, and as soon as nodes come, go or move.

Follows Nodes, applies what plan says, then tells the API that the network is available. Decides nothing.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from netemu.api import core
from netemu.base import backoff, clock, errors
from netemu.client import api, informers
from netemu.kernel import firewall, linux, network, states
from netemu.kernel import operations as ops
from netemu.podnet import plan

CONFIGURATION = "10-netemu.conflist"
LOOK_AGAIN = 10.0  # seconds between looks at the routes: a link that goes down takes its own along
_log = logging.getLogger("podnet")


@dataclass(frozen=True, slots=True)
class Config:
    """Ranges of the cluster, either family; where CNI configurations lie; `mtu`: 0 means the kernel's."""

    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    cni_directory: str = "/etc/cni/net.d"
    mtu: int = 0

    @property
    def inside(self) -> tuple[plan.Network, ...]:
        return tuple(ip_network(text) for text in (*self.cluster_cidrs, *self.service_cidrs))


class Podnet:
    """One node's part. `sync` makes the kernel what the nodes say; doing it twice changes nothing."""

    def __init__(self, node: str, net: network.Network, door: firewall.Firewall, config: Config) -> None:
        self.nodes: dict[str, plan.Node] = {}
        self._node = node
        self._net = net
        self._door = door
        self._config = config
        self._filtered: plan.Wanted | None = None
        self._complained: set[plan.Route] = set()

    def prepare(self) -> None:
        """Sysctls, once. One that this kernel lacks is only mentioned."""
        for key, value, why in plan.SYSCTLS:
            try:
                self._net.apply([ops.SetSysctl(key, value)])
            except linux.KernelError as refusal:
                if refusal.errno not in (errno.ENOENT, errno.EROFS):
                    raise
                _log.warning("no sysctl %s (%s)", key, why)

    def sync(self) -> bool:
        """Whether this node has its subnets, and pods can be connected."""
        want = plan.wanted(self.nodes.values(), self._node)
        self._route(plan.plan(want, observed(self._net.observe())))
        if want._replace(routes=frozenset()) != self._filtered:
            self._door.apply("".join(map(str, plan.masquerade(want, self._config.inside))))
            self._filtered = want._replace(routes=frozenset())
        if want.own:
            self._configure(want)
        return bool(want.own)

    def _route(self, changes: plan.Changes) -> None:
        for route, reason in changes.impossible:
            if route not in self._complained:
                _log.warning("no route to %s via %s: %s", route.subnet, route.via, reason)
        self._complained = {route for route, _ in changes.impossible}
        self._net.apply(ops.DelRoute(r.subnet, r.via, protocol=plan.PROTOCOL) for r in changes.delete)
        self._net.apply(ops.AddRoute(r.subnet, r.via, protocol=plan.PROTOCOL) for r in changes.add)

    def _configure(self, want: plan.Wanted) -> None:
        text = json.dumps(plan.cni_configuration(want.own, mtu=self._config.mtu), indent=2) + "\n"
        path = Path(self._config.cni_directory, CONFIGURATION)
        try:
            if not path.is_file() or path.read_text() != text:
                write(path, text)
        except OSError as failure:
            raise errors.Transient(f"cannot write {path}: {failure.strerror}") from failure


def observed(state: states.State) -> plan.Observed:
    """What of the kernel's state concerns routes between nodes."""
    ours = {
        plan.Route(r.dst, r.via) for r in state.routes if r.protocol == plan.PROTOCOL and r.via is not None
    }
    foreign = {r.dst for r in state.routes if r.protocol != plan.PROTOCOL}
    return plan.Observed(
        frozenset(ours), frozenset(foreign), frozenset(a.ip.network for a in state.addresses)
    )


def write(path: Path, text: str) -> None:
    """The file is the old one or the new one, never half of it: a runtime may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is none that a runtime reads.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


async def run(  # noqa: PLR0917 (one of each door: the composition root names them all)
    client: api.Client,
    node_name: str,
    net: network.Network,
    door: firewall.Firewall,
    clock: clock.Clock,
    config: Config,
) -> None:
    """Keep this node's part of the pod network for ever."""
    podnet = Podnet(node_name, net, door, config)
    held = informers.Informers(client, clock)
    wake = asyncio.Event()

    def changed(change: informers.Change[core.Node]) -> None:
        name = change.key.name
        now = plan.parse(change.current) if change.current is not None else None
        if podnet.nodes.get(name) == now:
            return  # a heartbeat
        if now is None:
            del podnet.nodes[name]
        else:
            podnet.nodes[name] = now
        wake.set()

    nodes = held.of(core.Node)
    nodes.subscribe(changed)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held.run())
        podnet.prepare()
        await held.synced()
        tasks.create_task(_every(clock, LOOK_AGAIN, wake))
        await _keep(podnet, client, lambda: nodes.get(informers.Key("", node_name)), clock, wake)


async def _keep(
    podnet: Podnet,
    client: api.Client,
    own: Callable[[], core.Node | None],
    clock: clock.Clock,
    wake: asyncio.Event,
) -> None:
    retry = backoff.Backoff(0.05, limit=10.0)
    while True:
        wake.clear()
        try:
            if podnet.sync():
                await announce(client, own(), clock.now())
        except errors.NetemuError as error:
            wait = retry.next()
            _log.warning("pod network not as it should be: %s retry=%.3gs", error, wait)
            await clock.sleep(wait)
            continue
        retry.reset()
        await wake.wait()


async def _every(clock: clock.Clock, seconds: float, wake: asyncio.Event) -> None:
    while True:
        await clock.sleep(seconds)
        wake.set()


async def announce(client: api.Client, node: core.Node | None, now: float) -> None:
    """Node condition NetworkUnavailable=False, if it is not that already. ApiError."""
    if node is None or any(
        c.type == "NetworkUnavailable" and c.status == "False" for c in node.status.conditions
    ):
        return
    condition = {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "RouteCreated",
        "message": "netemu has routes to the pods of every node",
        "lastHeartbeatTime": clock.rfc3339(now),
        "lastTransitionTime": clock.rfc3339(now),
    }
    await client.patch(
        core.Node,
        node.metadata.name,
        body={"status": {"conditions": [condition]}},
        how="strategic",
        subresource="status",
    )
