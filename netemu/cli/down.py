"""`netemu down`: nothing is left."""

import click

from netemu.cli import options, screen

_EXAMPLE = """
sudo netemu down
sudo netemu down --all
"""


@options.command("down", example=_EXAMPLE)
@options.lab
@click.option("--all", "every", is_flag=True, help="Remove every lab.")
@options.quiet
def command(name: str, every: bool, quiet: bool) -> None:
    """Remove a lab: its processes, namespaces and files; also what a crash left of one."""
    from netemu.lab import down, records

    names = list(records.names()) if every else [name]
    with screen.Progress(quiet=quiet) as progress:
        for each in names:
            down.down(each, progress)
    if not quiet:
        for each in names:
            click.echo(f"lab {each} is gone")
        if not names:
            click.echo("there is no lab")
