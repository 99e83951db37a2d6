"""`netemu verify`: hold everything in a lab against the model."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from netemu.cli import options, screen

_EXAMPLE = """
netemu verify
netemu verify --only pod --only service
netemu verify --json | jq '.flows[] | select(.ok | not)'
"""
KINDS = ("pod", "service", "node-port", "balancer", "name", "echo", "outside")


@options.command("verify", example=_EXAMPLE)
@click.option("--only", type=click.Choice(KINDS), multiple=True, help="Only flows to such targets.")
@click.option(
    "--within", default=5.0, show_default=True, metavar="SECONDS", help="How long agreement may take."
)
@click.option(
    "--spread/--no-spread",
    default=True,
    show_default=True,
    help="Connect so often that each endpoint of a Service must have answered.",
)
@click.option("--junit", metavar="FILE", help="Write a JUnit report ('-': stdout).")
@options.json
@options.quiet
@options.lab
def command(
    *,
    only: tuple[str, ...],
    within: float,
    spread: bool,
    junit: str | None,
    as_json: bool,
    quiet: bool,
    name: str,
) -> int:
    """Measure every flow of a lab and compare it with what the model says must happen.

    Every pod, node and the outside, to every pod, Service (by address, name, node port, load balancer), node
    and the outside, in every protocol and family; and Services so often that an endpoint left without
    connections is found (by mere chance one is left without them once in 10^9 times). Reports each difference
    with the model's reasons and the likely cause. Exit code 0: all agree; 1: something differs; 2: it cannot
    be done.
    """
    from netemu.cli import truth

    one_report(junit, as_json=as_json)
    with screen.Progress(quiet=quiet) as progress:
        results, shared, seconds = measure(
            name, lambda case: not only or case.kind in only, within, progress, spread=spread
        )
    every = (*results, *shared)
    if as_json:
        from netemu.verify import report

        found = report.document(results, lab=name, seconds=seconds, spread=shared)
        click.echo(json.dumps(found, indent=2))
    elif junit != "-":
        paint = screen.painter(sys.stdout)
        for line in truth.differences(every, paint):
            click.echo(line)
        if shared:
            click.echo(truth.shares(shared, paint))
        click.echo(f"{truth.summary(results, paint)} ({seconds:.2f} s)")
    write_junit(junit, "verify", every)
    return 0 if all(result.ok for result in every) else 1


@options.blocking
async def measure(
    lab_name: str, wanted: Callable[[Any], bool], within: float, progress: Any, *, spread: bool = False
) -> Any:
    """The results of the flows that are wanted, those of endpoints' shares, and how many seconds it took."""
    import asyncio

    from netemu.verify import measure as measuring

    lab = options.open_lab(lab_name)
    loop = asyncio.get_running_loop()
    async with options.client(lab) as client, measuring.metering(client, lab) as meter:
        progress("measuring every flow")
        began = loop.time()
        results = await meter.verify(within=within, wanted=wanted)
        if spread:
            progress("measuring who gets Services' connections")
        shared = await meter.spread(results, within=within) if spread else ()
        return results, shared, loop.time() - began


def one_report(junit: str | None, *, as_json: bool) -> None:
    """Rejected, before anything is measured, if stdout is to have two reports or a file cannot be written."""
    from netemu.base import errors

    if junit == "-" and as_json:
        raise errors.Rejected("stdout takes one report", hint="--junit FILE")
    options.writable(junit)


def write_junit(path: str | None, title: str, results: Any) -> None:
    """To a file or stdout; nowhere if there is no path. Rejected when it cannot be written."""
    if path:
        from netemu.verify import report

        write(path, report.junit(title, results))


def write(path: str, text: str) -> None:
    """A report to a file, or to stdout ("-"). Rejected when it cannot be written."""
    from netemu.base import errors

    try:
        with click.open_file(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise errors.Rejected(f"{path}: {error.strerror}") from error
