"""Where probes start from: pods, containers, nodes and outside of a running lab as network namespaces.

Knows the lab's handle and the nodes' runtimes; not what is asked.
"""

import asyncio
import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netemu.lab import handle
from netemu.model import worlds
from netemu.probe import questions, rationing
from netemu.runtime import local
from netemu.scenario import plan
from netemu.wire import cri

_SOCKET = "/run/netemu/runtime.sock"


class Placed(NamedTuple):
    """A pod's sandbox and its containers on one node."""

    sandbox: cri.Sandbox
    containers: tuple[cri.Container, ...]


async def find(lab: handle.Handle, senders: Iterable[plan.Sender]) -> dict[plan.Sender, questions.Source]:
    """A source for each sender. A pod without a running sandbox gets one that will answer `no-source`."""
    wanted = set(senders)
    nodes = sorted({sender.party.node for sender in wanted if sender.party.kind == "pod"})
    placed = dict(zip(nodes, await asyncio.gather(*(pods_on(lab, node) for node in nodes)), strict=True))
    return {sender: _source(lab, sender, placed.get(sender.party.node, {})) for sender in wanted}


async def pods_on(lab: handle.Handle, node: str) -> dict[tuple[str, str], Placed]:
    """The running pods of a node by (namespace, name), as its runtime has them."""
    with runtime_socket(lab, node) as path:
        runtime = local.LocalRuntime(path, _Observed())
        try:
            sandboxes = [
                sandbox for sandbox in await runtime.list_pod_sandboxes() if sandbox.state == "READY"
            ]
            containers = await runtime.list_containers()
        finally:
            await runtime.close()
    return {
        (sandbox.config.namespace, sandbox.config.name): Placed(
            sandbox, tuple(container for container in containers if container.sandbox_id == sandbox.id)
        )
        for sandbox in sandboxes
    }


@contextlib.contextmanager
def runtime_socket(lab: handle.Handle, node: str) -> Iterator[str]:
    """The runtime's socket of a node under a short name, valid in this process: unix(7) allows 107 bytes."""
    path = pathlib.Path(lab.node_path(node, _SOCKET))
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


async def unrationed(lab: handle.Handle) -> None:
    """From now on nodes and routers of the lab send every ICMP error: a refusal must not look like a drop."""
    await asyncio.to_thread(rationing.lift, [lab.netns(place) for place in lab.places])


class _Observed:
    """The network of a runtime that is only looked at."""

    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]:
        raise NotImplementedError(sandbox.id)

    async def detach(self, sandbox: cri.Sandbox) -> None:
        raise NotImplementedError(sandbox.id)

    def needs_namespace(self, sandbox: cri.Sandbox) -> bool:
        raise NotImplementedError(sandbox.id)


def _source(
    lab: handle.Handle, sender: plan.Sender, placed: dict[tuple[str, str], Placed]
) -> questions.Source:
    party = sender.party
    if party.kind == "outside":
        return questions.Source(str(sender), str(lab.netns("outside")))
    if party.kind == "node":
        text = _text(lab.node_path(party.name, "/etc/resolv.conf"))
        return questions.Source(str(sender), str(lab.netns(party.name)), text)
    found = placed.get((party.namespace, party.name))
    if found is None:
        return questions.Source(str(sender), "/nonexistent")
    running = {c.config.name: c.pid for c in found.containers if c.state == "RUNNING"}
    if sender.container:
        if sender.container not in running:
            return questions.Source(str(sender), "/nonexistent")
        running = {sender.container: running[sender.container]}
    # The container's own namespaces: that all containers of a pod share them is part of what is measured.
    pid = next(iter(running.values()), found.sandbox.pid)
    resolv_conf = (
        _text(lab.pid_path(pid, "root/etc/resolv.conf")) if running else found.sandbox.config.resolv_conf
    )
    hosts = _text(lab.pid_path(pid, "root/etc/hosts")) if running else ""
    return questions.Source(str(sender), str(lab.pid_path(pid, "ns/net")), resolv_conf, hosts)


def _text(path: str | pathlib.Path) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text(errors="replace")
    return ""


def party_of_outside(lab: handle.Handle) -> worlds.Party:
    """The client beyond the cluster, with the addresses the lab gave it."""
    return worlds.Party("outside", "outside", addresses=worlds.canonical(tuple(lab.addresses("outside"))))
