"""`netemu explain`: what must happen to one flow, and why, from the objects alone."""

import json
import sys
from typing import Any

import click

from netemu.cli import options, screen

_EXAMPLE = """
netemu explain web-0 db:5432
netemu explain 'web-0 -> db:5432'           # quoted: > is the shell's
netemu explain -f manifests/ -n shop deploy/web svc/db
netemu explain outside worker-1:30080 --json
"""


@options.command("explain", example=_EXAMPLE)
@click.argument("flow", nargs=-1, metavar="FROM TO:PORT")
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    metavar="PATH",
    help="Judge these manifests (files, directories, - for stdin) instead of a lab. Repeatable.",
)
@click.option(
    "--protocol",
    "-p",
    type=click.Choice(["TCP", "UDP", "SCTP", "ICMP"], case_sensitive=False),
    help="Default: that of the target's port, else TCP.",
)
@click.option("--family", type=click.Choice(["IPv4", "IPv6"]), help="Default: the target's first.")
@options.namespace
@options.json
@options.lab
def command(
    *,
    flow: tuple[str, ...],
    files: tuple[str, ...],
    protocol: str | None,
    family: str | None,
    namespace: str,
    as_json: bool,
    name: str,
) -> int:
    """Say what must happen to a flow and why: by the network model, without sending a packet.

    FROM is a pod, a workload (deploy/web), a node, `outside` or an IP address; TO a Service, a pod, a
    workload, a node, `outside`, an IP address or a DNS name. Names are looked up in the Namespace -n; others
    are written NAMESPACE/NAME, kinds as kubectl does (svc/db, pod/db-0). Of a lab by default; with -f of
    manifests alone, without root: pods of workloads are then imagined. Exit code 0: delivered; 1: not, or not
    surely; 2: bad input.
    """
    from netemu.check import ask, telling

    sender, target = ends(flow)
    world, finder = _world(files, namespace, name)
    answer = ask.ask(
        world,
        finder,
        sender,
        target,
        protocol=protocol.upper() if protocol else None,
        family={"IPv4": 4, "IPv6": 6}[family] if family else None,
    )
    if as_json:
        click.echo(json.dumps(telling.document(answer), indent=2))
    else:
        paint = screen.painter(sys.stdout)
        for number, line in enumerate(telling.lines(answer)):
            for part in screen.wrapped(line, screen.columns()):
                click.echo(paint("good" if answer.ok else "bad", part) if number == 0 else part)
    return 0 if answer.ok else 1


def ends(words: tuple[str, ...]) -> tuple[str, str]:
    """The two ends of a flow as typed: two arguments, `A -> B` in one, or `A '->' B`. Rejected otherwise."""
    from netemu.base import errors

    if len(words) == 1 and "->" in words[0]:
        words = tuple(part.strip() for part in words[0].split("->"))
    elif len(words) == 3 and words[1] == "->":
        words = (words[0], words[2])
    if words and words[-1] == "-":
        raise errors.Rejected(
            "the shell took '> ...' for itself and wrote this to a file: quote the arrow",
            hint=f"netemu explain '{words[0]} -> TO:PORT', or: netemu explain {words[0]} TO:PORT",
        )
    if len(words) != 2 or not all(words):
        raise errors.Rejected("explain takes two ends: FROM TO:PORT", hint="netemu explain web-0 db:5432")
    return words[0], words[1]


def _world(files: tuple[str, ...], namespace: str, lab: str) -> tuple[Any, Any]:
    """The world of manifests or of a lab, and where to look names up."""
    from netemu.check import imagine, places

    if files:
        found = imagine.read(files, namespace=namespace)
        return found.world, places.Finder(found.world, namespace, found.workloads)
    world = _of_lab(lab)
    return world, places.Finder(world, namespace)


@options.blocking
async def _of_lab(name: str) -> Any:
    from netemu.base import clock
    from netemu.scenario import run, watching

    lab = options.open_lab(name)
    async with options.client(lab) as client, watching.watching(client, clock.SystemClock()) as watcher:
        return run.world_of(watcher.snapshot(), lab)
