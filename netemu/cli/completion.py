"""`netemu completion`: the shell finishes the words."""

import click

from netemu.cli import options

_EXAMPLE = """
source <(netemu completion bash)
netemu completion fish > ~/.config/fish/completions/netemu.fish
"""


@options.command("completion", example=_EXAMPLE)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script for SHELL that completes netemu's commands and options."""
    from click import shell_completion

    from netemu.cli import main

    found = shell_completion.get_completion_class(shell)
    assert found is not None
    click.echo(found(main.netemu, {}, "netemu", "_NETEMU_COMPLETE").source())
