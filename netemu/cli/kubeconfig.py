"""`netemu kubeconfig`: how kubectl gets in."""

import pathlib

import click

from netemu.cli import options

_EXAMPLE = """
export KUBECONFIG=$(sudo netemu kubeconfig --path)
sudo netemu kubeconfig > lab.kubeconfig
"""


@options.command("kubeconfig", example=_EXAMPLE)
@click.option("--path", is_flag=True, help="Print where it is instead of what is in it.")
@options.lab
def command(path: bool, name: str) -> None:
    """Print the kubeconfig of a lab: the API's address, its CA, and an administrator's certificate."""
    file = pathlib.Path(options.open_lab(name).kubeconfig)
    if path:
        click.echo(str(file))
    else:
        click.echo(file.read_text(), nl=False)
