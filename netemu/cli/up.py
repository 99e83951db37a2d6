"""`netemu up`: a lab that stays."""

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from netemu.cli import options, screen

if TYPE_CHECKING:
    from netemu.lab import handle

_EXAMPLE = """
sudo netemu up --nodes 3
sudo netemu up --name blue -f lab.yaml
"""


@options.command("up", example=_EXAMPLE)
@options.lab
@click.option(
    "--nodes", type=click.IntRange(1, 250), help="Nodes in all, the control plane included [default: 3]."
)
@click.option("--file", "-f", "file", metavar="LAB.yaml", help="A lab description.")
@options.json
@options.quiet
def command(name: str, nodes: int | None, file: str | None, as_json: bool, quiet: bool) -> None:
    """Make a lab and leave it up: nodes, an API server, DNS. `netemu down` removes it."""
    from netemu.lab import config, up

    chosen = click.get_current_context().get_parameter_source("name") is not ParameterSource.DEFAULT
    name_or_file = name if chosen else None
    wanted = config.load(file, name=name_or_file, nodes=nodes) if file else config.default(name, nodes or 3)
    began = time.monotonic()
    with screen.Progress(quiet=quiet) as progress:
        lab = up.up(wanted, progress=progress)
    spent = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(_summary(lab, spent)))
    elif not quiet:
        flag = "" if lab.name == options.DEFAULT else f" --name {lab.name}"
        sudo, keeping = ("sudo ", "sudo -E ") if os.environ.get("SUDO_USER") else ("", "")
        click.echo(f"lab {lab.name} is up: {', '.join(lab.nodes)} ({spent:.2f} s)")
        click.echo(f"  {sudo}netemu get nodes{flag}")
        click.echo(f"  export KUBECONFIG={lab.kubeconfig}   # for {keeping}kubectl")


def _summary(lab: "handle.Handle", spent: float) -> dict[str, Any]:
    return {
        "name": lab.name,
        "nodes": list(lab.nodes),
        "kubeconfig": str(lab.kubeconfig),
        "seconds": round(spent, 3),
    }
