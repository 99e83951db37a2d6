"""`netemu status`: what is up, and what is left of what was."""

import json
import sys
from typing import Any

import click

from netemu.cli import options, screen

_EXAMPLE = """
sudo netemu status
sudo netemu status --name blue --json
"""


@options.command("status", example=_EXAMPLE)
@click.option("--name", metavar="LAB", envvar="NETEMU_LAB", help="Only this lab. Default: all.")
@options.json
def command(name: str | None, as_json: bool) -> int:
    """Show labs with their nodes and processes. Exit code 1: a lab is broken, or the one named is not up."""
    from netemu.lab import handle

    found = [entry for entry in handle.labs() if name in (None, entry.name)]
    shown = [_details(entry) for entry in found]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        for line in _lines(shown, name):
            click.echo(line)
    broken = any(entry["state"] != "up" for entry in shown)
    return 1 if broken or (name and not shown) else 0


def _details(entry: Any) -> dict[str, Any]:
    raise NotImplementedError(entry)


def _lines(shown: list[dict[str, Any]], name: str | None) -> list[str]:
    paint = screen.painter(sys.stdout)
    if not shown:
        return [f"lab {name} is not up" if name else "no lab is up, nothing is left of any"]
    return [paint("head", str(entry)) for entry in shown]
