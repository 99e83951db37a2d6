"""Planted faults tried on a lab: break, measure everything, mend. Knows the order, and how agents wait.

An agent that runs puts its tables right within seconds, so those of all nodes are stopped meanwhile.
"""

import asyncio
import collections
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from netemu.api import coordination
from netemu.base import errors, times
from netemu.client import api
from netemu.kernel import firewall, netns, process
from netemu.kubelet import nodes
from netemu.kubeproxy import affinity, audit, options, walk, walk_iptables
from netemu.kubeproxy import layout as services
from netemu.lab import handle
from netemu.model import worlds
from netemu.netpol import layout as policies
from netemu.verify import cases, fuzzing, measure, mutations, observing
from netemu.wire import listings

_STILL = 8.0  # seconds until agents may tell the API again that their nodes live
_SETTLED = 60.0
_AT_ONCE = 8  # faults between two rests of the agents
_FRESH = 12.0  # seconds; a node is silent after 50
_PAUSE = 0.05

Progress = Callable[[str], None]


class Tried(NamedTuple):
    """A fault and whether verifying reported it; `example`: a flow that differed."""

    broken: mutations.Break
    reported: bool
    example: str = ""


class Score(NamedTuple):
    """Faults that were tried; each changes an answer. `possible`: all there could have been, `looked` at by
    walking: these many were, until enough of them changed something."""

    tried: tuple[Tried, ...]
    possible: int
    looked: int

    @property
    def reported(self) -> int:
        """Those that verifying reported."""
        return sum(one.reported for one in self.tried)

    def lines(self) -> Iterator[str]:
        """The score as people read it, by kind of fault, and what was missed."""
        kinds = dict.fromkeys((one.broken.of, one.broken.table) for one in self.tried)
        for kind in sorted(kinds):
            own = [one for one in self.tried if (one.broken.of, one.broken.table) == kind]
            seen = sum(one.reported for one in own)
            share = 100 * seen / len(own)
            yield f"{kind[0]} of {kind[1]}: {seen} of {len(own)} faults reported ({share:.1f} %)"
        for one in self.tried:
            if not one.reported:
                yield f"missed: {one.broken}"
        share = 100 * self.reported / len(self.tried) if self.tried else 100.0
        of = f"{self.reported} of {len(self.tried)} tried; {self.possible} possible, {self.looked} looked at"
        yield f"mutation score {share:.1f} % ({of})"


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
    """Try up to `most` faults that change an answer, of every kind alike.

    Rejected when lab and model differ before any fault, or after one was mended.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds if seconds else float("inf")
    await _agree(meter, "before any fault was planted")
    world = await observing.world(client, lab)
    asked = cases.every(world, outside_port=measure.OUTSIDE_PORT, wanted=fuzzing.wanted)
    tables = {node: await _tables(lab, node) for node in lab.nodes}
    found = _shuffled(mutations.breaks(tables, world, asked, _around(lab, world)), dice)
    progress(f"{len(found)} faults are possible")
    left, looked = iter(found), 0
    waiting, tried = collections.deque[mutations.Break](), list[Tried]()
    while len(tried) < most and loop.time() < end:
        while len(waiting) < min(_AT_ONCE, most - len(tried)) and (one := next(left, None)) is not None:
            looked += 1
            waiting.extend([one] if one.matters() else [])
        if not waiting:
            break
        awake = min(loop.time() + _STILL, end)
        with _still(lab):
            while waiting and loop.time() < awake:
                broken = waiting.popleft()
                progress(f"fault {len(tried) + 1}: {broken}")
                tried += await _try(lab, meter, broken, asked, world, known=tables[broken.node])
        await _caught_up(client)
        await _agree(meter, f"after the fault {broken} was mended")
    return Score(tuple(tried), len(found), looked)


def _shuffled(found: Iterable[mutations.Break], dice: random.Random) -> list[mutations.Break]:
    """By chance, but one of each kind in turn: there are a hundred elements for a rule."""
    kinds: dict[tuple[str, str], list[mutations.Break]] = {}
    for one in found:
        kinds.setdefault((one.table, one.of), []).append(one)
    for group in kinds.values():
        dice.shuffle(group)
    turns = itertools.zip_longest(*kinds.values())
    return [one for turn in turns for one in turn if one is not None]


async def _try(
    lab: handle.Handle,
    meter: measure.Meter,
    broken: mutations.Break,
    asked: Sequence[cases.Case],
    world: worlds.World,
    *,
    known: mutations.Tables,
) -> tuple[Tried, ...]:
    """What came of it; nothing, if an agent has changed meanwhile what was to be broken."""
    place = str(lab.netns(broken.node))
    if known.chains and await _chains(place) != known.chains:
        return ()  # rules go by their numbers, which are others' now
    _forget(place)
    try:
        await _apply(place, broken.tool, broken.apply)
    except (firewall.FirewallError, errors.Transient):
        return ()
    try:
        results = await meter.measure(asked, world)
        wrong = [result for result in results if not result.ok]
        if not wrong:  # perhaps an endpoint is missing, which only many connections can tell
            wrong = [result for result in await meter.spread(results, within=0.0) if not result.ok]
    finally:
        await _apply(place, broken.tool, broken.undo)
    return (Tried(broken, bool(wrong), f"{wrong[0].case}: {wrong[0].wrong}" if wrong else ""),)


async def _apply(place: str, tool: str, document: str) -> None:
    if tool == "nft":
        firewall.LibNftables(place).apply(document)
    else:
        await _iptables(place, f"{tool}-restore", "--noflush", document=document)


async def _iptables(place: str, *command: str, document: str = "") -> str:
    done = await process.run(("nsenter", f"--net={place}", *command), stdin=document.encode())
    if done.code:
        raise errors.Transient(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def _forget(place: str) -> None:
    """Which client had which backend: who is remembered is not sent elsewhere."""
    door = firewall.LibNftables(place)
    for family in services.FAMILIES:
        with contextlib.suppress(firewall.FirewallError):  # iptables keeps its own lists
            door.apply(f"flush map {family.table} {affinity.CLIENTS}")
    with netns.inside(place):
        for remembered in Path("/proc/thread-self/net/xt_recent").glob("*"):
            remembered.write_text("/")  # xt_recent: forget everybody


async def _caught_up(client: api.Client) -> None:
    """Wait until every node has said that it lives. Transient when one does not.

    Agents stand still most of the time: on a busy machine they might not get to it before they do so again,
    and a silent node's pods are nobody's endpoints.
    """
    try:
        async with asyncio.timeout(_SETTLED):
            while await _oldest(client) < time.time() - _FRESH:
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise errors.Transient("a node's agent does not wake up") from None


async def _oldest(client: api.Client) -> float:
    """When the node was last heard of that has been silent longest, in seconds since 1970."""
    leases = (await client.list(coordination.Lease, nodes.LEASE_NAMESPACE)).items
    return min(times.parse_rfc3339(lease.spec.renewTime or "") for lease in leases)


async def _agree(meter: measure.Meter, when: str) -> None:
    results = await meter.verify(within=_SETTLED, wanted=fuzzing.wanted)
    wrong = next((result for result in results if not result.ok), None)
    if wrong is not None:
        raise errors.Rejected(f"lab and model differ {when}: {wrong.case}: {wrong.wrong}")


async def _tables(lab: handle.Handle, node: str) -> mutations.Tables:
    """A node's, as they are now."""
    place = str(lab.netns(node))
    door = firewall.LibNftables(place)
    listing = listings.elements(door.list_json(f"list table {policies.TABLE}"))
    held = {of: {key: entry.value for key, entry in elements.items()} for of, elements in listing.items()}
    if lab.config.proxy.mode == "iptables":
        return mutations.Tables(held, chains=await _chains(place))
    by_family = {f.name: walk.read(audit.contents(door.list_json, f, ())) for f in services.FAMILIES}
    return mutations.Tables(held, by_family)


async def _chains(place: str) -> dict[str, walk_iptables.Chains]:
    """Of iptables, by family."""
    tools = {"ip": "iptables-save", "ip6": "ip6tables-save"}
    return {name: walk_iptables.read(await _iptables(place, tool)) for name, tool in tools.items()}


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
