"""`netemu run`: a scenario from nothing to a verdict."""

import random
import re
import sys
from typing import TYPE_CHECKING

import click

from netemu.cli import options, screen

if TYPE_CHECKING:
    from netemu.scenario import report

_LONGEST = 32  # of a lab's name
_EXAMPLE = """
sudo netemu run scenarios/01-quickstart/
sudo netemu run scenarios/01-quickstart/ -v --junit report.xml --json -
"""


@options.command("run", example=_EXAMPLE)
@click.argument("scenario", type=click.Path())
@click.option("--name", metavar="LAB", help="Call the lab so, instead of a name of its own.")
@click.option("--in", "inside", metavar="LAB", help="Run in this lab, which is up, and leave it up.")
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.option(
    "--timeout",
    default=1.5,
    show_default=True,
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="For all flows together, each time they are measured; more for a slow machine.",
)
@click.option("--verbose", "-v", is_flag=True, help="A row for each target.")
@click.option("--json", "json_file", metavar="FILE", help="Write the report as JSON (- is stdout).")
@click.option("--junit", "junit_file", metavar="FILE", help="Write the report as JUnit XML (- is stdout).")
@options.quiet
def command(
    *,
    scenario: str,
    name: str | None,
    inside: str | None,
    keep: bool,
    timeout: float,
    verbose: bool,
    json_file: str | None,
    junit_file: str | None,
    quiet: bool,
) -> int:
    """Make a lab, run a SCENARIO in it, report, and remove the lab.

    SCENARIO is a directory with a scenario.yaml, or such a file. Exit code 0: all holds; 1: an expectation
    failed; 2: bad input, or the lab could not be made.
    """
    from netemu.base import clock, ids
    from netemu.scenario import run, scenarios

    options.writable(json_file, junit_file)
    wanted = scenarios.load(scenario)
    time = clock.SystemClock()
    try:
        with screen.Progress(quiet=quiet) as progress:
            if inside:
                there = options.open_lab(inside)
                found = run.run_in(wanted, there, progress=progress, time=time, deadline=timeout)
            else:
                lab = name or called_after(wanted.name, ids.suffix(random.SystemRandom()))
                found = run.run(wanted, name=lab, keep=keep, progress=progress, time=time, deadline=timeout)
    except BaseExceptionGroup as group:
        raise options.single(group) from group
    deliver(found, json_file, junit_file, verbose=verbose)
    if keep and not inside and "-" not in (json_file, junit_file):
        click.echo(f"the lab stays up: netemu status --name {found.lab}")
    return 0 if found.ok else 1


def called_after(scenario: str, suffix: str) -> str:
    """A lab's name: what may stand in one of a scenario's, and the suffix."""
    words = "-".join(re.findall("[a-z0-9]+", scenario.lower()))
    return f"{words[: _LONGEST - len(suffix) - 1].strip('-') or 'lab'}-{suffix}"


def deliver(found: "report.Report", json_file: str | None, junit_file: str | None, *, verbose: bool) -> None:
    """Write a report to the files that were asked for; else, to people."""
    from netemu.cli import matrix
    from netemu.scenario import report

    for file, render in ((json_file, report.to_json), (junit_file, report.to_junit)):
        if file:
            _write(file, render(found))
    if "-" not in (json_file, junit_file):
        paint = screen.painter(sys.stdout)
        for line in matrix.lines(found, paint, verbose=verbose, width=screen.columns()):
            click.echo(line)


def _write(file: str, text: str) -> None:
    from netemu.base import errors

    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise errors.Rejected(f"cannot write {file}: {error.strerror}") from error
