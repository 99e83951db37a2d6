"""`netemu status`: what is up, and what is left of what was."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import completing, options, screen

if TYPE_CHECKING:
    from netemu.lab import handle

_EXAMPLE = """
sudo netemu status
sudo netemu status --name blue --json
"""


@options.command("status", example=_EXAMPLE)
@click.option(
    "--name",
    metavar="LAB",
    envvar="NETEMU_LAB",
    show_envvar=True,
    help="Only this lab. Default: all.",
    shell_complete=completing.labs,
)
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


def _details(entry: "handle.Entry") -> dict[str, Any]:
    """What is known of a lab: the supervisor's words, if there is one that answers."""
    from netemu.base import errors
    from netemu.lab import handle

    shown: dict[str, Any] = {"name": entry.name, "state": entry.state, "nodes": [], "components": []}
    if entry.state != "up":
        return shown
    try:
        lab = handle.open(entry.name)
        said = lab.status()
    except errors.NetemuError as error:
        return {**shown, "state": "broken", "message": error.message}
    nodes = [{"name": node, "addresses": list(lab.addresses(node))} for node in lab.nodes]
    said = {key: value for key, value in said.items() if key != "marks"}
    said["state"] = "up" if said["state"] == "ready" else said["state"]
    return {**shown, **said, "nodes": nodes, "kubeconfig": str(lab.kubeconfig)}


def _lines(shown: list[dict[str, Any]], name: str | None) -> list[str]:
    paint = screen.painter(sys.stdout)
    if not shown:
        return [f"lab {name} is not up" if name else "no lab is up, and nothing is left of any"]
    lines: list[str] = []
    for lab in shown:
        if lines:
            lines.append("")
        lines.extend(_lab(lab, paint))
    return lines


def _lab(lab: dict[str, Any], paint: screen.Paint) -> list[str]:
    title = paint("head", f"lab {lab['name']}")
    match lab["state"]:
        case "remains":
            advice = f"netemu down --name {lab['name']} removes them"
            return [f"{title}  {paint('warn', 'remains of a crash')}: {advice}"]
        case "broken":
            return [f"{title}  {paint('bad', 'broken')}: {lab['message']}"]
    state = paint("good" if lab["state"] == "up" else "warn", lab["state"])
    where = f"https://127.0.0.1:{lab['api_port']}"
    head = f"{title}  {state} for {_length(lab['up_for'])}, API on {where}"
    nodes = screen.table([[node["name"], *node["addresses"]] for node in lab["nodes"]], indent=2)
    titles = [paint("faint", text) for text in ("COMPONENT", "STATE", "PID", "FOR", "RESTARTS")]
    rows = [titles, *(_component(row, paint) for row in lab["components"])]
    return [head, *nodes, *screen.table(rows, indent=2)]


def _component(row: dict[str, Any], paint: screen.Paint) -> list[str]:
    state = paint("good" if row["state"] == "running" else "bad", row["state"])
    restarts = f"{row['restarts']} ({row['last_end']})" if row["restarts"] else "0"
    return [row["name"], state, str(row["pid"]), _length(row["since"]), restarts]


def _length(seconds: float) -> str:
    from netemu.api import times

    return times.duration(seconds)
