"""`netemu doctor`: what this machine offers, tried out, and what to do about what is missing."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from netemu.cli import options, screen

if TYPE_CHECKING:
    from netemu.lab import doctor

_EXAMPLE = """
sudo netemu doctor
sudo netemu doctor --json
"""


@options.command("doctor", example=_EXAMPLE)
@options.json
def command(as_json: bool) -> int:
    """Try what netemu needs of this machine, in namespaces of its own.

    Exit code 1: something that is needed is missing.
    """
    from netemu.lab import doctor

    checks = doctor.examine()
    bad = [check.name for check in checks if check.needed and not check.ok]
    if as_json:
        click.echo(json.dumps([check._asdict() for check in checks], indent=2))
        return 1 if bad else 0
    paint = screen.painter(sys.stdout)
    for line in screen.table([_row(check, paint) for check in checks]):
        click.echo(line)
    click.echo()
    click.echo(f"{len(bad)} missing: {', '.join(bad)}" if bad else "this machine can run netemu")
    return 1 if bad else 0


def _row(check: "doctor.Check", paint: Callable[[str, str], str]) -> list[str]:
    if check.ok:
        return [paint("good", "ok"), check.name, check.purpose, check.detail]
    mark = paint("bad", "missing") if check.needed else paint("warn", "absent")
    return [mark, check.name, check.purpose, ": ".join(filter(None, (check.detail, check.remedy)))]
