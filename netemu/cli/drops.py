"""`netemu drops`: packets that policies dropped, on every node, and the policy that did it."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from netemu.cli import options, screen

_EXAMPLE = """
netemu drops
netemu drops web-0 -f
netemu drops -n shop --json
"""
Show = Callable[[dict[str, Any]], None]


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
    from netemu.lab import composition
    from netemu.netpol import drops

    lab = options.open_lab(name)
    wanted = f"{namespace or 'default'}/{pod}" if pod else ""
    found: list[dict[str, Any]] = []

    def show(drop: dict[str, Any]) -> None:
        ends = (drop["source"], drop["destination"])
        if wanted and wanted not in ends:
            return
        if namespace and not any(end.startswith(f"{namespace}/") for end in ends):
            return
        if not (follow or verbose or as_json):
            found.append(drop)
            return
        click.echo(json.dumps(drop) if as_json else drops.line(drop))
        sys.stdout.flush()

    _gather([lab.node_path(node, composition.DROPS_SOCKET) for node in lab.nodes], show, follow)
    if found:
        _tabulate(found)


def _tabulate(found: list[dict[str, Any]]) -> None:
    from netemu.netpol import drops

    paint = screen.painter(sys.stdout)
    rows = [[paint("faint", text) for text in ("LAST", "PACKETS", "FROM", "TO", "WHAT", "POLICY")]]
    for kind, count, last in drops.summary(found):
        rows.append([last[11:19], str(count), kind.source, kind.destination, kind.what, kind.blamed])
    for text in screen.folded(rows, width=screen.columns()):
        click.echo(text)


@options.blocking
async def _gather(paths: list[Path], show: Show, follow: bool) -> None:
    """What all nodes remember, in the order of time; then, to `follow`, what comes."""
    streams = [stream for path in paths if (stream := await _connect(path)) is not None]
    backlogs = await asyncio.gather(*(_backlog(reader) for reader, _ in streams))
    remembered = [drop for backlog in backlogs for drop in backlog]
    for drop in sorted(remembered, key=lambda drop: drop["time"]):
        show(drop)
    if follow:
        await asyncio.gather(*(_follow(reader, show) for reader, _ in streams))


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


async def _backlog(stream: asyncio.StreamReader) -> list[dict[str, Any]]:
    found = []
    while (line := await stream.readline()).strip():
        found.append(json.loads(line))
    return found


async def _follow(stream: asyncio.StreamReader, show: Show) -> None:
    while line := await stream.readline():
        show(json.loads(line))
