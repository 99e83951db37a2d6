"""Planted faults tried on a lab: break, measure everything, mend. Knows the order, and how agents wait.

An agent that runs puts its tables right within seconds, so those of all nodes are stopped meanwhile.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from netemu.base import errors
from netemu.client import api
from netemu.kernel import firewall, netns, process
from netemu.kubeproxy import audit, options, walk
from netemu.kubeproxy import layout as services
from netemu.lab import handle
from netemu.model import worlds
from netemu.netpol import layout as policies
from netemu.verify import cases, fuzzing, measure, mutations, observing
from netemu.wire import listings

_STILL = 8.0  # seconds until agents may tell the API again that their nodes live
_SETTLED = 60.0
_RULES = 8  # one whole rule for so many elements

Progress = Callable[[str], None]


class Tried(NamedTuple):
    """A fault and whether verifying reported it; `example`: a flow that differed."""

    broken: mutations.Break
    reported: bool
    example: str = ""


class Score(NamedTuple):
    """What was tried. `possible`: faults that there could have been; `matter`: of them change an answer."""

    tried: tuple[Tried, ...]
    possible: int
    matter: int

    @property
    def meaningful(self) -> int:
        """Faults tried that change an answer of the model."""
        return sum(bool(one.broken.meaningful) for one in self.tried)

    @property
    def reported(self) -> int:
        """Those of them that were reported."""
        return sum(one.reported for one in self.tried if one.broken.meaningful)

    def lines(self) -> Iterator[str]:
        """The score as people read it, and what was missed."""
        for table in (mutations.POLICIES, mutations.SERVICES):
            own = [one for one in self.tried if one.broken.table == table and one.broken.meaningful]
            if own:
                seen = sum(one.reported for one in own)
                yield f"{table}: {seen} of {len(own)} faults reported ({100 * seen / len(own):.1f} %)"
        rules = [one for one in self.tried if one.broken.meaningful is None]
        if rules:
            seen = sum(one.reported for one in rules)
            yield f"whole rules gone: {seen} of {len(rules)} reported (not in the score)"
        for one in self.tried:
            if one.broken.meaningful and not one.reported:
                yield f"missed: {one.broken}"
        for one in self.tried:
            if one.broken.meaningful is False and one.reported:
                yield f"reported, though the walk sees no change: {one.broken}: {one.example}"
        share = 100 * self.reported / self.meaningful if self.meaningful else 100.0
        tried = f"{self.reported} of {self.meaningful} tried"
        possible = f"{self.possible} faults possible, {self.matter} change an answer"
        yield f"mutation score {share:.1f} % ({tried}; {possible})"


async def score(
    client: api.Client,
    lab: handle.Handle,
    meter: measure.Meter,
    dice: random.Random,
    *,
    most: int,
    seconds: float | None,
    progress: Progress,
) -> Score:
    """Try up to `most` faults that change an answer, and some of whole rules.

    Rejected when lab and model differ before any fault, or after one was mended.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds if seconds else float("inf")
    await _agree(meter, "before any fault was planted")
    world = await observing.world(client, lab)
    asked = cases.every(world, outside_port=measure.OUTSIDE_PORT, wanted=fuzzing.wanted)
    tables = {node: _tables(lab, node) for node in lab.nodes}
    found = list(mutations.breaks(tables, world, asked, _around(lab, world)))
    matter, rules = ([one for one in found if one.meaningful is kind] for kind in (True, None))
    for one in (matter, rules):
        dice.shuffle(one)
    chosen = [*matter[:most], *rules[: most // _RULES]]
    tried: list[Tried] = []
    while len(tried) < len(chosen) and loop.time() < end:
        awake = min(loop.time() + _STILL, end)
        with _still(lab):
            while len(tried) < len(chosen) and loop.time() < awake:
                broken = chosen[len(tried)]
                progress(f"fault {len(tried) + 1}: {broken}")
                tried.append(await _try(lab, meter, broken, asked, world))
        await _agree(meter, f"after the fault {tried[-1].broken} was mended")
    return Score(tuple(tried), len(found), len(matter))


async def _try(
    lab: handle.Handle,
    meter: measure.Meter,
    broken: mutations.Break,
    asked: Sequence[cases.Case],
    world: worlds.World,
) -> Tried:
    door = firewall.LibNftables(lab.netns(broken.node))
    for family in services.FAMILIES:
        with contextlib.suppress(firewall.FirewallError):  # no sticky Service, nobody to forget
            door.apply(f"flush map {family.table} affinity")  # who is remembered is not sent elsewhere
    door.apply(broken.apply)
    try:
        wrong = [result for result in await meter.measure(asked, world) if not result.ok]
    finally:
        door.apply(broken.undo)
    return Tried(broken, bool(wrong), f"{wrong[0].case}: {wrong[0].wrong}" if wrong else "")


async def _agree(meter: measure.Meter, when: str) -> None:
    results = await meter.verify(within=_SETTLED, wanted=fuzzing.wanted)
    wrong = next((result for result in results if not result.ok), None)
    if wrong is not None:
        raise errors.Rejected(f"lab and model differ {when}: {wrong.case}: {wrong.wrong}")


def _tables(lab: handle.Handle, node: str) -> mutations.Tables:
    """A node's, as they are now."""
    door = firewall.LibNftables(lab.netns(node))
    listing = listings.elements(door.list_json(f"list table {policies.TABLE}"))
    held = {of: {key: entry.value for key, entry in elements.items()} for of, elements in listing.items()}
    by_family = {f.name: walk.read(audit.contents(door.list_json, f, ())) for f in services.FAMILIES}
    return mutations.Tables(held, by_family)


def _around(lab: handle.Handle, world: worlds.World) -> dict[str, dict[str, services.Surroundings]]:
    ranges = lab.config.ranges
    chosen = options.Options(tuple(map(str, ranges.pods)), tuple(map(str, ranges.services)))
    return {node: options.surroundings(chosen, world.node(node)) for node in lab.nodes}


@contextlib.contextmanager
def _still(lab: handle.Handle) -> Iterator[None]:
    """The node agents of the lab stand still."""
    stopped: list[int] = []
    try:
        for pid in _agents(lab):
            stopped.append(os.pidfd_open(pid))
            process.kill(stopped[-1], signal.SIGSTOP)
        yield
    finally:
        for pidfd in stopped:
            process.kill(pidfd, signal.SIGCONT)
            os.close(pidfd)


def _agents(lab: handle.Handle) -> Iterator[int]:
    """Their pids here; the lab tells those inside its own pid namespace."""
    inside = {row["pid"] for row in lab.status()["components"] if str(row["name"]).startswith("agent-")}
    space = netns.identity(f"/proc/{lab.record.supervisor.pid}/ns/pid")
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if netns.identity(entry / "ns/pid") == space and _inner(entry) in inside:
                yield int(entry.name)


def _inner(entry: Path) -> int:
    """The pid of a process in its own pid namespace (NSpid of proc(5))."""
    lines = (entry / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])
