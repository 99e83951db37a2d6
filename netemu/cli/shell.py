"""`netemu shell`: on a node, or outside."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from netemu.cli import completing, options

if TYPE_CHECKING:
    from netemu.lab import handle

_EXAMPLE = """
sudo netemu shell worker-1
sudo netemu shell worker-1 -- nft list ruleset
sudo netemu shell outside -- curl -s http://172.18.0.3:30080/
"""


@options.command("shell", example=_EXAMPLE)
@click.argument("place", shell_complete=completing.places)
@click.argument("argv", nargs=-1, metavar="[-- CMD [ARG]...]")
@options.lab
def command(place: str, argv: tuple[str, ...], name: str) -> int:
    """Open a shell in PLACE: a node, `outside` (the client beyond the cluster) or `fabric` (what joins them).

    With a CMD, run that instead; its exit code is ours.
    """
    from netemu.base import errors

    lab = options.open_lab(name)
    if place not in lab.places:
        raise errors.Rejected(f"there is no '{place}' in lab {name}", hint=f"places: {', '.join(lab.places)}")
    return enter(lab, place, argv or (os.environ.get("SHELL", "/bin/sh"),))


def enter(lab: "handle.Handle", place: str, argv: Sequence[str]) -> int:
    """Run a program in the namespaces of a place and wait for it; its exit code, or 128 + signal."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return _wait(pid)
    try:
        lab.join(place)
        os.environ["PS1"] = f"{place}# "
        # A joined pid namespace is that of children: fork once more.
        child = os.fork()
        if child:
            os._exit(_wait(child))
        os.execvp(argv[0], list(argv))
    except FileNotFoundError:
        print(f"netemu: {argv[0]}: no such program", file=sys.stderr)
        os._exit(127)
    except OSError as error:
        print(f"netemu: {argv[0]}: {error.strerror}", file=sys.stderr)
        os._exit(126)
    finally:
        os._exit(126)


def _wait(pid: int) -> int:
    while True:
        try:
            _, status = os.waitpid(pid, 0)
        except KeyboardInterrupt:  # it is for the shell, which got it too
            continue
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code
