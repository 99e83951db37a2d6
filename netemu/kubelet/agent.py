"""The kubelet: presence of the node, a worker for each pod bound to it, a server for its logs.

Composition only. Pods that run survive this process: at its start they are taken up again from what the
runtime has, and what no pod of the API owns is ended.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence

from netemu.api import core, meta
from netemu.base import backoff, clock, errors
from netemu.client import api, informers
from netemu.http import server as http
from netemu.kubelet import (
    admission,
    launch,
    machine,
    nodes,
    observations,
    presence,
    recorder,
    runtimes,
    server,
    statics,
    supplies,
    tellings,
    workers,
)

NodeConfig = launch.NodeConfig
_REQUESTS = 4
_log = logging.getLogger("kubelet")


async def run(
    client: api.Client,
    node: launch.NodeConfig,
    runtime: runtimes.Runtime,
    clock: clock.Clock,
    tls: ssl.SSLContext | None = None,
    *,
    network: runtimes.Network | None = None,
    sockets: Sequence[socket.socket] | None = None,
    shared: informers.Informers | None = None,
) -> None:
    """Until cancelled.

    `network` decides whether the node is Ready (None: it always is). With `tls` (or `sockets`) the server
    listens on the node's port, or on those sockets. `shared` informers are run by whoever made them.
    """
    host = machine.observe()
    own = shared is None
    shared = shared or informers.Informers(client, clock)
    observed = observations.Observations(runtime, clock)
    events = recorder.Recorder(client, node.name, clock)
    services = shared.of(core.Service)
    own_node = shared.of(core.Node, fields=f"metadata.name={node.name}")
    pods = shared.of(core.Pod, fields=f"spec.nodeName={node.name}")
    gate = asyncio.Semaphore(_REQUESTS)
    site = launch.Site(
        node=node,
        runtime=runtime,
        observed=observed,
        supplies=supplies.Supplies(client, clock, gate),
        recorder=events,
        clock=clock,
        services=services.objects.values,
        allocatable=nodes.allocatable(node, host),
        gate=gate,
        network=network,
    )

    def this() -> core.Node:
        return own_node.get(informers.Key("", node.name)) or nodes.unknown(node, host)

    crew = Crew(client, site, this)
    fixed = statics.Statics(client, clock, node.static_directory, this, lambda: list(pods.objects.values()))
    here = presence.Presence(client, node, host, network, clock)
    answers = server.Server(node, observed, lambda: list(pods.objects.values()), clock, runtime)
    async with asyncio.TaskGroup() as tasks:
        if own:
            tasks.create_task(shared.run())
        tasks.create_task(here.run())
        tasks.create_task(events.run())
        own_node.subscribe(lambda change: _assign(network, change.current))
        tasks.create_task(
            _follow(observed, pods, services, crew, clock, own_node=own_node, network=network, fixed=fixed)
        )
        if tls is not None or sockets is not None:
            tasks.create_task(_serve(answers, sockets or [_listener(node.port)], tls))


async def _follow(
    observed: observations.Observations,
    pods: informers.Informer[core.Pod],
    services: informers.Informer[core.Service],
    crew: Crew,
    clock: clock.Clock,
    *,
    own_node: informers.Informer[core.Node],
    network: runtimes.Network | None,
    fixed: statics.Statics,
) -> None:
    """Take up what the runtime has, wait for the API's lists, then act on every change of either."""
    retry = backoff.Backoff(0.05, limit=5.0)
    while True:
        try:
            await observed.load()
            break
        except (errors.NetemuError, OSError) as problem:
            wait = retry.next()
            _log.warning("the container runtime does not answer: %s retry=%.3gs", problem, wait)
            await clock.sleep(wait)
    for informer in (services, pods, own_node):
        await informer.synced.wait()
    if network is not None:
        await _collect(network, observed)
    async with asyncio.TaskGroup() as tasks:
        crew.begin(tasks)
        if fixed.look():
            crew.fixed(fixed.pods)
        pods.subscribe(crew.changed)
        observed.subscribe(crew.stirred)
        crew.end_orphans()
        tasks.create_task(observed.run())
        tasks.create_task(fixed.run(crew.fixed))


async def _collect(network: runtimes.Network, observed: observations.Observations) -> None:
    """What an earlier agent left behind must not stop this one."""
    try:
        await network.collect(observed.sandbox_ids())
    except (errors.NetemuError, OSError) as problem:
        _log.warning("cannot collect what earlier pods have left: %s", problem)


def _assign(network: runtimes.Network | None, node: core.Node | None) -> None:
    if network is not None and node is not None:
        network.assign(node.spec.podCIDRs)


class Crew:
    """The workers, one for each pod there is or was."""

    def __init__(self, client: api.Client, site: launch.Site, node: Callable[[], core.Node]) -> None:
        self._client = client
        self._site = site
        self._node = node
        self._claims: dict[str, admission.Claim] = {}
        self._workers: dict[str, workers.Worker] = {}
        self._ended: set[str] = set()
        self._fixed: dict[str, core.Pod] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Workers run in this group."""
        self._tasks = tasks

    def changed(self, change: informers.Change[core.Pod]) -> None:
        """The API's pods on this node changed."""
        before, now = change.previous, change.current
        about = now or before
        if about is not None and statics.of_mirror(about):
            self._reflect(statics.of_mirror(about), now)
            return
        if before is not None and (now is None or now.metadata.uid != before.metadata.uid):
            self._forget(before.metadata.uid)
        if now is None or now.metadata.uid in self._ended:
            return
        if now.status.phase in ("Succeeded", "Failed"):
            self._claims.pop(now.metadata.uid, None)
        worker = self._workers.get(now.metadata.uid)
        if worker is not None:
            worker.update(now)
        else:
            self._hire(now)

    def fixed(self, pods: Mapping[str, core.Pod]) -> None:
        """These are the static pods now, by uid."""
        gone, self._fixed = self._fixed.keys() - pods.keys(), dict(pods)
        for uid in gone:
            self._forget(uid)
        for uid, pod in pods.items():
            if uid not in self._workers and uid not in self._ended:
                self._hire(pod)

    def _reflect(self, uid: str, mirror: core.Pod | None) -> None:
        """The mirror of a static pod changed: what runs does not, only where its status goes."""
        worker = self._workers.get(uid)
        if worker is not None and uid in self._fixed:
            worker.mirrored(mirror)

    def stirred(self, uid: str) -> None:
        """The runtime's possessions of a pod changed by themselves."""
        worker = self._workers.get(uid)
        if worker is not None:
            worker.wake()

    def end_orphans(self) -> None:
        """What the runtime has and the API does not know any more is ended."""
        for uid in self._site.observed.uids() - self._workers.keys():
            sandboxes, _ = self._site.observed.of(uid)
            if not sandboxes:
                continue
            config = sandboxes[0].config
            _log.info("ending a pod the API does not know pod=%s/%s", config.namespace, config.name)
            self._hire(orphan(config.namespace, config.name, uid)).forget()

    def _forget(self, uid: str) -> None:
        self._ended.discard(uid)
        self._claims.pop(uid, None)
        worker = self._workers.get(uid)
        if worker is not None:
            worker.forget()

    def _hire(self, pod: core.Pod) -> workers.Worker:
        assert self._tasks is not None
        fixed = pod.metadata.uid in self._fixed
        teller = (tellings.MirrorTeller if fixed else tellings.Teller)(self._client, self._site.gate)
        worker = workers.Worker(pod, teller, self._site, self._refusal(pod))
        self._workers[pod.metadata.uid] = worker
        self._tasks.create_task(self._run(pod.metadata.uid, worker))
        return worker

    def _refusal(self, pod: core.Pod) -> admission.Refusal | None:
        """Why the node does not take a pod that is new to it. What runs here already was taken once."""
        uid = pod.metadata.uid
        over = pod.status.phase in ("Succeeded", "Failed") or pod.metadata.deletionTimestamp is not None
        known = bool(self._site.observed.of(uid).sandboxes)
        refusal = None
        if not known and not over:
            others = tuple(self._claims.values())
            refusal = admission.refusal(pod, others, self._node(), self._site.allocatable)
        if refusal is None and not over:
            self._claims[uid] = admission.claim(pod)
        return refusal

    async def _run(self, uid: str, worker: workers.Worker) -> None:
        """A bug that one pod brings to light must not stop the others."""
        while True:
            try:
                await worker.run()
                break
            except Exception:
                _log.exception("pod worker failed uid=%s", uid)
                await self._site.clock.sleep(10.0)
        self._workers.pop(uid, None)
        self._claims.pop(uid, None)
        if not worker.gone:
            self._ended.add(uid)  # a finalizer may keep it in the API for a while


def orphan(namespace: str, name: str, uid: str) -> core.Pod:
    """What is known of a pod by its sandbox alone."""
    return core.Pod(metadata=meta.ObjectMeta(namespace=namespace, name=name, uid=uid))


def _listener(port: int) -> socket.socket:
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)


async def _serve(
    answers: server.Server, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None
) -> None:
    running = await http.serve(answers.handle, sockets, tls)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await running.close()
