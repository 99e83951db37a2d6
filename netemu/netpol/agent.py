"""When policies are programmed: follows pods, namespaces, policies; programs what changed. Knows no nft.

The first change of a quiet time is programmed at once; what comes meanwhile or shortly after goes together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from netemu.api import clusterpolicies, core, meta, networking
from netemu.base import backoff, clock, errors
from netemu.client import api, informers
from netemu.client import errors as refusals
from netemu.kernel import firewall, linux, logged, touches
from netemu.netpol import admission, changes, layout, policies, policing, reporting, telling, terms

if TYPE_CHECKING:
    from netemu.netpol import drops

BREATHER = 0.01  # seconds between two transactions while changes keep coming
CHECK_INTERVAL = 5.0  # seconds between looks at whether the table is still ours
T = TypeVar("T", bound=meta.Object)
_OVER = ("Succeeded", "Failed")
_log = logging.getLogger("netpol")


class Options(NamedTuple):
    """What one may choose.

    guard    drop what comes from or goes to unknown addresses in the node's pod ranges, until the API knows a
             pod that has them: for runtimes that do not ask at the gate
    board    where to tell of drops: the path of a Unix socket ("": nowhere)
    metrics  address:port ("": none)
    loud     each drop is a line of the log, too
    """

    guard: bool = False
    board: str = ""
    metrics: str = ""
    loud: bool = False


class Doors(NamedTuple):
    """The namespace whose packets are filtered: its filter, who else changes it, and what it logs."""

    firewall: firewall.Firewall
    touches: policing.Touches
    log: logged.Log | None = None

    @classmethod
    def here(cls) -> Doors:
        """Those of the caller's namespace. Without drops where somebody else listens to them."""
        try:
            log: logged.Log | None = logged.NetlinkLog(layout.LOG_GROUP)
        except linux.KernelError as problem:
            _log.warning("drops are not told: %s", problem)
            log = None
        table = (layout.TABLE.family, layout.TABLE.name)
        return cls(firewall.LibNftables(), touches.Touches([table]), log)


async def run(
    client: api.Client,
    node_name: str,
    doors: Doors,
    clock: clock.Clock,
    *,
    gate: admission.Gate | None = None,
    options: Options | None = None,
) -> None:
    """Enforce policies on the pods of this node for ever. `gate` knows the node's sandboxes."""
    chosen = options or Options()
    enforcer = policing.Enforcer(node_name, doors.firewall, doors.touches, clock)
    loop = Loop(node_name, enforcer, gate or admission.Gate(), clock, chosen)
    held = informers.Informers(client, clock)
    await loop.gate.open()
    loop.listen(held)
    reporter = reporting.Reporter(client, node_name, clock)
    teller = telling.Teller(node_name, loop.known, clock, loud=chosen.loud)
    if doors.log is not None:
        teller.listen(doors.log)
    answered = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held.run())
        tasks.create_task(loop.follow_cluster(client, answered))
        if chosen.board:
            await teller.board.serve(chosen.board)
        if chosen.metrics:
            await teller.serve_metrics(chosen.metrics, enforcer.metrics)
        await held.synced()  # nothing is programmed from half of the objects
        await answered.wait()
        if chosen.loud:
            loop.announce()
        tasks.create_task(loop.watch_over())
        tasks.create_task(reporter.run())
        await loop.program(reporter)


class Loop:
    """What wakes the enforcer up, and who is told when it is done."""

    def __init__(
        self,
        node: str,
        enforcer: policing.Enforcer,
        gate: admission.Gate,
        time: clock.Clock,
        options: Options,
    ) -> None:
        self.gate = gate
        self._node, self._enforcer, self._clock, self._options = node, enforcer, time, options
        self._wake = asyncio.Event()
        self._pods: dict[terms.Key, core.Pod] = {}  # with those that are gone from the API but run here
        self._gone: set[terms.Key] = set()  # of those
        self._held: informers.Informers | None = None
        self._all: informers.Informer[core.Pod] | None = None  # followed from the first policy on
        self._fresh: set[terms.Key] | None = None  # pods that may have to be told of; None: any
        self._followed: list[informers.Informer[Any] | None] = [None, None]  # of both kinds of policies
        self._spaces: dict[str, core.Namespace] = {}
        self._nodes: dict[str, core.Node] = {}
        self._policies: dict[terms.Key, networking.NetworkPolicy] = {}
        self._cluster: dict[terms.Key, clusterpolicies.ClusterNetworkPolicy] = {}

    def listen(self, held: informers.Informers) -> None:
        self._held = held
        held.of(core.Namespace).subscribe(self._space)
        held.of(core.Node).subscribe(self._known)
        policies = held.of(networking.NetworkPolicy)
        policies.subscribe(self._policy)
        self._followed[0] = policies
        self.gate.changed = self._see

    def announce(self) -> None:
        """Say in the log what there is to enforce, and whether anybody knows this node."""
        counts = f"NetworkPolicies={len(self._policies)} ClusterNetworkPolicies={len(self._cluster)}"
        _log.info("enforcing policies on the pods of node %s %s", self._node, counts)
        if self._node not in self._nodes:
            known = ", ".join(sorted(self._nodes)) or "none"
            _log.warning("the API server has no such node node=%s known=%s", self._node, known)

    def _pod(self, change: informers.Change[core.Pod]) -> None:
        key = terms.Key(*change.key)
        if change.current is not None:
            self._pods[key] = change.current
            self._gone.discard(key)
        else:
            self._gone.add(key)
        self._see(key)

    def _see(self, key: terms.Key) -> None:
        """A pod that the API has forgotten stays under its policies as long as it runs here."""
        attached = self.gate.attached(key)
        if key in self._gone and not attached:
            self._gone.discard(key)
            self._pods.pop(key, None)
        pod = self._pods.get(key)
        self._enforcer.pending.pods[key] = parse(pod, attached) if pod is not None else None
        if self._fresh is not None:
            self._fresh.add(key)
        self._wake.set()

    def _space(self, change: informers.Change[core.Namespace]) -> None:
        name = change.key.name
        changes.put(self._spaces, name, change.current)
        labels = change.current.metadata.labels if change.current is not None else None
        self._enforcer.pending.spaces[name] = (
            {**labels, terms.NAME_LABEL: name} if labels is not None else None
        )
        self._fresh = None
        self._wake.set()

    def _known(self, change: informers.Change[core.Node]) -> None:
        name, node = change.key.name, change.current
        changes.put(self._nodes, name, node)
        known = None
        if node is not None:
            given = (a.address for a in node.status.addresses)
            known = terms.Node(name, node.metadata.labels, tuple(addresses(given)))
        if self._enforcer.book.state.nodes.get(name) != known:
            self._enforcer.pending.nodes[name] = known
            self._wake.set()
        if name == self._node and self._options.guard and node is not None:
            self._enforcer.guard(map(ip_network, node.spec.podCIDRs))
            self._wake.set()

    def _policy(self, change: informers.Change[networking.NetworkPolicy]) -> None:
        changes.put(self._policies, terms.Key(*change.key), change.current)
        self._put(change, policies.of_namespace)

    def _put(self, change: informers.Change[T], parse: Callable[[T], policies.Policy]) -> None:
        key = terms.Key(*change.key)
        try:
            parsed = parse(change.current) if change.current is not None else None
        except (ValueError, errors.Rejected) as problem:
            _log.warning("policy %s cannot be understood, and is as if it were not there: %s", key, problem)
            parsed = None
        self._enforcer.pending.policies[key] = parsed
        self._fresh = None
        self._wake.set()

    async def follow_cluster(self, client: api.Client, answered: asyncio.Event) -> None:
        """ClusterNetworkPolicies, for ever; a cluster may come to know the kind later, or never."""
        retry = backoff.Backoff(0.1, limit=10.0)
        while True:
            try:
                await client.list(clusterpolicies.ClusterNetworkPolicy)
                break
            except refusals.NotFound:
                answered.set()
            except refusals.ApiError as error:
                _log.warning("ClusterNetworkPolicies: %s", error)
            await self._clock.sleep(retry.next())
        informer = informers.Informer(client, clusterpolicies.ClusterNetworkPolicy, clock=self._clock)
        informer.subscribe(self._cluster_policy)
        self._followed[1] = informer
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informer.run())
            await informer.synced.wait()
            answered.set()

    def _cluster_policy(self, change: informers.Change[clusterpolicies.ClusterNetworkPolicy]) -> None:
        changes.put(self._cluster, terms.Key(*change.key), change.current)
        self._put(change, policies.of_cluster)

    def _policed(self) -> Iterator[core.Pod]:
        """Pods of this node that wait to hear that their policies are in force."""
        standings = self._enforcer.book.state.standings
        for key in standings if self._fresh is None else self._fresh & standings.keys():
            pod = self._pods.get(key)
            if pod is not None and reporting.wants(pod, policed=any(standings[key][1:])):
                yield pod
        self._fresh = set()

    def known(self, *pair: str) -> drops.Known:
        """What is known about who has these addresses, and about all that may part them."""
        from netemu.netpol import drops

        points = ((text, self._enforcer.book.state.at(ip_address(text))) for text in pair)
        pods = {text: point.pod.key for text, point in points if point is not None and point.pod is not None}
        return drops.Known(
            {text: self._pods[key] for text, key in pods.items() if key in self._pods},
            tuple(self._nodes.values()),
            tuple(self._spaces.values()),
            tuple(self._policies.values()),
            tuple(self._cluster.values()),
        )

    async def program(self, reporter: reporting.Reporter) -> None:
        """For ever: what is pending, at once after quiet, together while changes keep coming."""
        retry = backoff.Backoff(0.05, limit=10.0)
        while True:
            self._wake.clear()
            await self._know_pods()
            began = self._clock.monotonic()
            served = [one for one in self.gate.waiting() if self._has(one)]
            revisions = tuple(
                informer.revision if informer is not None else "" for informer in self._followed
            )
            try:
                count = await self._enforcer.sync() if self._enforcer.due else 0
            except errors.NetemuError as error:
                wait = retry.next()
                _log.warning("programming policies failed: %s retry=%.3gs", error, wait)
                await self._clock.sleep(wait)
                continue
            retry.reset()
            self.gate.let(served)
            reporter.programmed(revisions, self._policed())
            if count:
                took = self._clock.monotonic() - began
                _log.debug("programmed elements=%d seconds=%.4f", count, took)
                await self._clock.sleep(max(BREATHER, took))  # at most half of the time is spent programming
            await self._wake.wait()

    async def _know_pods(self) -> None:
        """Pods are followed from the first policy on: where there is none, nothing depends on them."""
        if self._all is None and (self._policies or self._cluster or self._options.guard):
            assert self._held is not None
            self._all = self._held.of(core.Pod)
            self._all.subscribe(self._pod)
        if self._all is not None:
            await self._all.synced.wait()

    def _has(self, attachment: admission.Attachment) -> bool:
        """Whether the pod of a sandbox is known: its labels say which policies are its own."""
        if self._all is None:
            return True
        pod = self._pods.get(attachment.pod)
        return pod is not None and pod.metadata.uid == attachment.uid

    async def watch_over(self) -> None:
        """For ever: whether somebody else changed our table."""
        while True:
            await self._clock.sleep(CHECK_INTERVAL)
            if not await self._enforcer.check():
                _log.warning("the policies' table was changed by somebody else: making it anew")
                self._enforcer.start_over()
                self._wake.set()


def parse(pod: core.Pod, attached: Iterable[admission.Attachment] = ()) -> terms.Pod | None:
    """A pod with addresses of its own, or None. What its sandboxes here have counts, until the API knows."""
    if pod.spec.hostNetwork:
        return None
    given = tuple(a for one in attached if one.uid == pod.metadata.uid for a in one.addresses)
    if not given:
        if pod.status.phase in _OVER:
            return None
        given = tuple(addresses(entry.ip for entry in pod.status.podIPs))
    return policies.pod(pod, given) if given else None


def addresses(texts: Iterable[str]) -> Iterable[terms.Address]:
    """Those of the texts that are addresses (a node's may be names)."""
    for text in texts:
        with contextlib.suppress(ValueError):
            yield ip_address(text)
