"""Runs a scenario: make a lab, apply, wait, measure, report, remove. Knows the order and who undoes what.

Synchronous outside, one event loop inside; whatever happens after `up`, `down` follows (unless kept).
"""

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Callable, Iterator

from netemu.base import clock
from netemu.client import api, connect
from netemu.lab import down, handle, up
from netemu.model import worlds
from netemu.podnet import backends
from netemu.probe import listen
from netemu.scenario import applying, manifests, measuring, ready, report, scenarios, sources, watching

Progress = Callable[[str], None]


class _Runner:
    """One run: what it says while it goes on, and how long each step took, in order."""

    def __init__(
        self, scenario: scenarios.Scenario, progress: Progress, time: clock.Clock, deadline: float
    ) -> None:
        self.scenario = scenario
        self.deadline = deadline
        self.progress = progress
        self.time = time
        self.wanted = manifests.read(scenario.manifests)  # before anything is made
        self.spent: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step."""
        began = self.time.monotonic()
        try:
            yield
        finally:
            self.spent.append((name, self.time.monotonic() - began))

    async def in_lab(self, lab: handle.Handle) -> report.Report:
        """Apply, wait, measure."""
        async with connect.from_kubeconfig(lab.kubeconfig) as client, contextlib.AsyncExitStack() as stack:
            for listener in self.scenario.listeners:
                name = listener.at.name or "outside"
                place = str(lab.netns(name))
                await stack.enter_async_context(listen.listening(place, listener.port, name))
            with self.step("apply"):
                await self._apply(client)
            async with watching.watching(client, self.time) as watcher:
                return await self._verify(watcher, lab)

    async def _apply(self, client: api.Client) -> None:
        for manifest in self.wanted:
            self.progress(f"applying {manifest}")
            await applying.apply(client, manifest)

    async def _verify(self, watcher: watching.Watcher, lab: handle.Handle) -> report.Report:
        applied = [ready.Applied(m.kind.kind, m.namespace, m.name) for m in self.wanted]
        with self.step("ready"):
            unready = await watcher.until_ready(
                (*ready.ALWAYS, *applied), timeout=self.scenario.ready_within, progress=self.progress
            )
        world = world_of(watcher.snapshot(), lab)
        with self.step("measure"):
            results, empty = await measuring.measure(
                self.scenario.checks, lab, world, progress=self.progress, deadline=self.deadline
            )
        return report.Report(self.scenario, lab.name, results, empty, unready)


def run(
    scenario: scenarios.Scenario,
    *,
    name: str,
    keep: bool,
    progress: Progress,
    time: clock.Clock,
    deadline: float = measuring.DEADLINE,
) -> report.Report:
    """The whole of it, in a new lab called `name`. Rejected: bad input, or the lab could not be made.

    All flows of an attempt have `deadline` seconds together; what is not answered then counts as dropped.
    """
    runner = _Runner(scenario, progress, time, deadline)
    with runner.step("up"):
        lab = up.up(dataclasses.replace(scenario.lab, name=name), progress=progress)
    try:
        found = asyncio.run(runner.in_lab(lab))
    finally:
        if not keep:
            with _undisturbed(progress), runner.step("down"):
                down.down(name, progress)
    return found._replace(seconds=tuple(runner.spent))


def run_in(
    scenario: scenarios.Scenario,
    lab: handle.Handle,
    *,
    progress: Progress,
    time: clock.Clock,
    deadline: float = measuring.DEADLINE,
) -> report.Report:
    """Run a scenario in a lab that is up, and leave the lab and the objects there. `deadline` as in `run`."""
    runner = _Runner(scenario, progress, time, deadline)
    found = asyncio.run(runner.in_lab(lab))
    return found._replace(seconds=tuple(runner.spent))


def world_of(snapshot: ready.Snapshot, lab: handle.Handle) -> worlds.World:
    """What the model judges by, from a snapshot of the cluster and the lab around it."""
    ranges, network = lab.config.ranges, lab.config.network
    near = network.direct_routing and network.segments == 1
    return worlds.World(
        snapshot.pods,
        snapshot.nodes,
        snapshot.services,
        snapshot.slices,
        sources.party_of_outside(lab),
        namespaces=snapshot.namespaces,
        policies=snapshot.policies,
        cluster_policies=snapshot.cluster_policies,
        settings=worlds.Settings(
            cluster_cidrs=tuple(map(str, ranges.pods)),
            service_cidrs=tuple(map(str, ranges.services)),
            masquerade_all=lab.config.proxy.masquerade_all,
            proxy_mode=lab.config.proxy.mode,
            tunnelled=network.backend in (backends.VXLAN, backends.FLANNEL) and not near,
        ),
    )


@contextlib.contextmanager
def _undisturbed(progress: Progress) -> Iterator[None]:
    """A second Control-C must not stop the clean-up half-way."""
    patient = {
        number: signal.signal(number, lambda *_: progress("still removing the lab, a moment"))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, before in patient.items():
            signal.signal(number, before)
