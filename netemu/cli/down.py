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
        found = {each: down.down(each, progress) for each in names}
    if quiet:
        return
    for each, there in found.items():
        click.echo(f"lab {each} is gone" if there else f"there is no lab {each}")
    if not found:
        click.echo("there is no lab")
