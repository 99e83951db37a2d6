"""When the node's part of the pod network is made: at the start, and as soon as nodes come, go or move.

Follows Nodes, applies what the pure modules say, tells the API where this node's tunnels end and that the
network is available. Decides nothing.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from netemu.api import core
from netemu.base import backoff, clock, errors
from netemu.client import api, informers
from netemu.kernel import firewall, linux, network
from netemu.kernel import operations as ops
from netemu.podnet import (
    backends,
    bird,
    conflists,
    flannel,
    masquerade,
    nodes,
    plan,
    routers,
    sysctls,
    wanted,
)

CONFIGURATION = "10-netemu.conflist"
LOOK_AGAIN = 10.0  # seconds between looks at the routes: a link that goes down takes its own along
PATIENCE = 5.0  # seconds: what is impossible that long is worth a line; a node that joins says things in turn
_log = logging.getLogger("podnet")


@dataclass(frozen=True, slots=True)
class Config:
    """Ranges of the cluster, of each family; how pods are connected; where CNI and flannel look for files.

    `own_list`: the node's CNI configuration is written here; otherwise somebody else has brought one.
    """

    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    settings: backends.Settings = field(default_factory=backends.Settings)
    cni_directory: str = "/etc/cni/net.d"
    subnet_file: str = flannel.SUBNET_FILE
    bird_file: str = bird.CONFIGURATION
    bird_control: str = bird.CONTROL
    own_list: bool = True

    @property
    def cluster(self) -> tuple[nodes.Network, ...]:
        return tuple(ip_network(text) for text in self.cluster_cidrs)

    @property
    def inside(self) -> tuple[nodes.Network, ...]:
        return (*self.cluster, *(ip_network(text) for text in self.service_cidrs))


class Podnet:
    """One node's part. `sync` makes the kernel what the nodes say; doing it twice changes nothing."""

    def __init__(
        self,
        node: str,
        net: network.Network,
        door: firewall.Firewall,
        clock: clock.Clock,
        config: Config,
    ) -> None:
        self.nodes: dict[str, nodes.Node] = {}
        self._node = node
        self._net = net
        self._door = door
        self._clock = clock
        self._config = config
        self._filtered: tuple[object, ...] = ()
        self._impossible: dict[str, float] = {}  # since when (monotonic)
        self._routed = ""  # what the node's BGP speaker is known to have read
        self._software = plan.software_checksums(platform.release())

    def prepare(self) -> None:
        """Sysctls, once. One that the kernel lacks is mentioned; what is not essential may be refused."""
        for row in sysctls.of(sysctls.NODE):
            try:
                self._net.apply([ops.SetSysctl(row.key, row.value)])
            except linux.KernelError as refusal:
                if not row.essential:
                    continue
                if refusal.errno not in (errno.ENOENT, errno.EROFS):
                    raise
                _log.warning("no sysctl %s (%s)", row.key, row.why)

    @property
    def available(self) -> bool:
        """Whether it is for netemu to say that pods can be connected: flannel's daemon says so itself."""
        return self._config.settings.backend not in (backends.NONE, backends.FLANNEL)

    def sync(self) -> wanted.Wanted:
        """What this node's part is now. Transient or KernelError: it is not all of that yet."""
        have = self._net.observe()
        want = wanted.plan(self.nodes.values(), self._node, self._config.settings, have)
        if not self.available:
            self._leave_to_others(want)
            return want
        changes = plan.plan(want, have, software_checksums=self._software)
        self._complain(changes.impossible)
        self._apply(changes.operations)
        machines = tuple(sorted(self.nodes.values()))
        concerns = (want.own, bool(want.ends), tuple((node.name, node.addresses) for node in machines))
        if concerns != self._filtered:
            port = flannel.PORT if want.ends else 0
            rules = masquerade.plan(want.own, machines, self._config.inside, tunnel_port=port)
            self._door.apply("".join(map(str, rules)))
            self._filtered = concerns
        if want.own:
            self._write(
                self._config.subnet_file, flannel.subnet_env(self._config.cluster, want.own, want.mtu)
            )
            self._route(want)
            self._configure(want)
        return want

    def _route(self, want: wanted.Wanted) -> None:
        """What the node's BGP speaker announces."""
        router = self._config.settings.router
        if router is None:
            return
        text = bird.config(router, want.own, self._config.cluster)
        self._write(self._config.bird_file, text)
        if text != self._routed and routers.reconfigure(self._config.bird_control):
            self._routed = text

    def _leave_to_others(self, want: wanted.Wanted) -> None:
        """flannel's daemon makes routes and rules; only the configuration that calls its plugin is ours."""
        if want.own and self._config.settings.backend == backends.FLANNEL:
            self._configure(want)

    def _complain(self, impossible: tuple[tuple[str, str], ...]) -> None:
        now = self._clock.monotonic()
        since = {what: self._impossible.get(what, now) for what, _ in impossible}
        for what, reason in impossible:
            if since[what] + PATIENCE <= now:
                _log.warning("no way to %s: %s", what, reason)
                since[what] = math.inf  # once
        self._impossible = since

    def _apply(self, operations: tuple[ops.Operation, ...]) -> None:
        """All that can be done is done; then the first refusal is raised."""
        refusals: list[linux.KernelError] = []
        for operation in operations:
            try:
                self._net.apply([operation])
            except linux.KernelError as refusal:
                refusals.append(refusal)
        if refusals:
            more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
            raise errors.Transient(f"{refusals[0].message}{more}") from refusals[0]

    def _configure(self, want: wanted.Wanted) -> None:
        if not self._config.own_list:
            return
        document = conflists.plan(want.own, self._config.settings, want.mtu)
        path = Path(self._config.cni_directory, CONFIGURATION)
        self._write(path, json.dumps(document, indent=2) + "\n")

    @staticmethod
    def _write(where: str | Path, text: str) -> None:
        path = Path(where)
        try:
            if not path.is_file() or path.read_text() != text:
                write(path, text)
        except OSError as failure:
            raise errors.Transient(f"cannot write {path}: {failure.strerror}") from failure


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
    podnet = Podnet(node_name, net, door, clock, config)
    held = informers.Informers(client, clock)
    wake = asyncio.Event()

    def changed(change: informers.Change[core.Node]) -> None:
        name = change.key.name
        now = nodes.parse(change.current) if change.current is not None else None
        if podnet.nodes.get(name) == now:
            return  # a heartbeat
        if now is None:
            del podnet.nodes[name]
        else:
            podnet.nodes[name] = now
        wake.set()

    found = held.of(core.Node)
    found.subscribe(changed)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held.run())
        podnet.prepare()
        await held.synced()
        tasks.create_task(_every(clock, LOOK_AGAIN, wake))
        await _keep(podnet, client, lambda: found.get(informers.Key("", node_name)), clock, wake)


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
            want = podnet.sync()
            if want.own and (node := own()) is not None:
                await announce(client, node, want.leases, clock.now(), available=podnet.available)
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


async def announce(
    client: api.Client,
    node: core.Node,
    leases: tuple[flannel.Lease, ...],
    now: float,
    *,
    available: bool = True,
) -> None:
    """What others must know of this node, in one patch, if they do not yet: leases, and that pods connect.

    The condition is NetworkUnavailable=False. ApiError.
    """
    body: dict[str, object] = {}
    notes = _annotations(node.metadata.annotations, leases)
    if notes:
        body["metadata"] = {"annotations": notes}
    told = any(c.type == "NetworkUnavailable" and c.status == "False" for c in node.status.conditions)
    if available and not told:
        body["status"] = {"conditions": [_condition(now)]}
    if body:
        await client.patch(core.Node, node.metadata.name, body=body, how="strategic", subresource="status")


def _annotations(present: Mapping[str, str], leases: tuple[flannel.Lease, ...]) -> dict[str, str]:
    """Those that are missing or different."""
    if not leases:
        return {}
    said = flannel.notes(flannel.overwritten(lease, present) for lease in leases)
    return {key: value for key, value in said.items() if present.get(key) != value}


def _condition(now: float) -> dict[str, str]:
    return {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "RouteCreated",
        "message": "netemu has routes to the pods of every node",
        "lastHeartbeatTime": clock.rfc3339(now),
        "lastTransitionTime": clock.rfc3339(now),
    }
