"""`netemu drops`: packets that policies dropped, on every node, and the policy that did it."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from netemu.cli import options, screen

_EXAMPLE = """
netemu drops
netemu drops web-0 -f
netemu drops -n shop --json
"""
_PAUSE = 0.1  # seconds between two tries to reach an agent that is away
Drop = dict[str, Any]
Show = Callable[[Drop], None]


@options.command("drops", example=_EXAMPLE)
@click.argument("pod", required=False)
@click.option("--namespace", "-n", help="Only of pods in this Namespace. Default: of all, or of the POD.")
@click.option("--follow", "-f", is_flag=True, help="Every packet, one a line, and go on as more comes.")
@click.option("--verbose", "-v", is_flag=True, help="Every packet, one a line, with the whole reason.")
@options.json
@options.lab
def command(
    *, pod: str | None, namespace: str | None, follow: bool, verbose: bool, as_json: bool, name: str
) -> None:
    """Show what network policies dropped lately: who could not reach whom, and because of which policy.

    POD: only what it sent or was sent. Each node tells of at most 100 packets a second and remembers the last
    thousand; its metrics count them all. With --json every packet is a document, one a line.
    """
    from netemu.base import errors
    from netemu.lab import composition, records
    from netemu.netpol import drops

    lab = options.open_lab(name)
    wanted = f"{namespace or 'default'}/{pod}" if pod else ""
    found: list[Drop] = []
    shown = 0

    def show(drop: Drop) -> None:
        ends = (drop["source"], drop["destination"])
        if wanted and wanted not in ends:
            return
        if namespace and not any(end.startswith(f"{namespace}/") for end in ends):
            return
        if not (follow or verbose or as_json):
            found.append(drop)
            return
        nonlocal shown
        shown += 1
        click.echo(json.dumps(drop) if as_json else drops.line(drop))
        sys.stdout.flush()

    def gone() -> bool:
        record = records.living(records.of(name))
        return record is None or record.supervisor != lab.record.supervisor

    tails = [Tail(node, lab.node_path(node, composition.DROPS_SOCKET)) for node in lab.nodes]
    _gather(tails, show, follow, gone)
    if found:
        _tabulate(found)
    elif not (follow or as_json or shown):
        whose = f" of {wanted}" if wanted else f" of Namespace {namespace}" if namespace else ""
        click.echo(f"no packet{whose} was dropped by a policy, as far as the nodes remember", err=True)
    if follow:
        raise errors.Rejected(f"lab '{name}' has gone")


def _tabulate(found: list[Drop]) -> None:
    from netemu.netpol import drops

    paint = screen.painter(sys.stdout)
    rows = [[paint("faint", text) for text in ("LAST", "PACKETS", "FROM", "TO", "WHAT", "POLICY")]]
    for kind, count, last in drops.summary(found):
        rows.append([last[11:19], str(count), kind.source, kind.destination, kind.what, kind.blamed])
    for text in screen.folded(rows, width=screen.columns()):
        click.echo(text)


class Tail:
    """What one node tells, from what it remembers on. Each drop once, though its agent comes and goes."""

    def __init__(self, node: str, path: Path) -> None:
        self.node, self._path = node, path
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._last = ""  # the time of the last one

    async def remembered(self) -> list[Drop] | None:
        """What has come since the last time that this was asked. None: its agent is away."""
        known, found = self._last, []
        self._stream = await _connect(self._path)
        if self._stream is None:
            return None
        while (drop := await self._next()) is not None:
            found.append(drop)
        return [drop for drop in found if drop["time"] > known]

    async def follow(self, show: Show, gone: Callable[[], bool]) -> None:
        """Show what comes, until the lab has gone. An agent that is away comes back soon."""
        while self._stream is not None or not gone():
            if self._stream is None:
                await asyncio.sleep(_PAUSE)
                for drop in await self.remembered() or ():
                    show(drop)
                if self._stream is not None:
                    click.echo(f"{self.node} tells of its drops again", err=True)
            elif (came := await self._next()) is not None:
                show(came)
            elif self._stream is None and not gone():
                click.echo(f"the agent of {self.node} is away", err=True)

    async def _next(self) -> Drop | None:
        """None after the last one that is remembered, and when the agent goes: then there is no stream."""
        assert self._stream is not None
        reader, writer = self._stream
        try:
            line = await reader.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):  # nothing, or half a line
            writer.close()
            self._stream = None
            return None
        drop: Drop | None = json.loads(line) if line.strip() else None
        self._last = max(self._last, drop["time"]) if drop else self._last
        return drop


@options.blocking
async def _gather(tails: Sequence[Tail], show: Show, follow: bool, gone: Callable[[], bool]) -> None:
    """What all nodes remember, in the order of time; then, to `follow`, what comes."""
    remembered = await asyncio.gather(*(tail.remembered() for tail in tails))
    for drop in sorted((drop for some in remembered for drop in some or ()), key=lambda drop: drop["time"]):
        show(drop)
    for tail, some in zip(tails, remembered, strict=True):
        if some is None:
            click.echo(f"the agent of {tail.node} is away: its drops are not among these", err=True)
    if follow:
        await asyncio.gather(*(tail.follow(show, gone) for tail in tails))


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """By a short name of the directory: a socket's path has at most 107 bytes. None: its agent is away."""
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        place = f"/proc/self/fd/{directory}/{path.name}"
        return await asyncio.open_unix_connection(place, limit=1 << 20)
    except OSError:
        return None
    finally:
        os.close(directory)
