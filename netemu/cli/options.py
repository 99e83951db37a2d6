"""What several commands have in common: their options, the lab they mean, the client to its API."""

import contextlib
import functools
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from netemu.cli import completing

if TYPE_CHECKING:
    from netemu.client import api
    from netemu.lab import handle

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT = "default"

lab = click.option(
    "--name",
    default=DEFAULT,
    show_default=True,
    metavar="LAB",
    envvar="NETEMU_LAB",
    show_envvar=True,
    help="The lab that is meant.",
    shell_complete=completing.labs,
)
json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Say nothing while it goes on.")
namespace = click.option(
    "--namespace", "-n", default="default", show_default=True, help="The Namespace that is meant."
)


def command(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command whose help ends with an example."""

    return click.command(name, click.Command, epilog=_epilog(example), **settings)


def group(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Group]:
    """A click group whose help ends with an example."""
    return click.group(name, click.Group, epilog=_epilog(example), **settings)


def _epilog(example: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in example.strip().splitlines())


def only_root(command: str) -> None:
    """Rejected for others: `command` changes the packet filter."""
    if os.geteuid() != 0:
        from netemu.base import errors

        raise errors.Rejected("only root may change the packet filter", hint=f"sudo netemu {command} …")


def writable(*paths: str | None) -> None:
    """Rejected when a report could not be written there, which is better known before the work than after."""
    from netemu.base import errors

    for path in paths:
        if path and path != "-":
            folder = os.path.dirname(path) or "."
            if os.path.isdir(path):
                raise errors.Rejected(f"{path} is a directory", hint="name a file")
            if not os.path.isdir(folder):
                raise errors.Rejected(f"{path}: there is no directory {folder}")
            if not os.access(path if os.path.exists(path) else folder, os.W_OK):
                raise errors.Rejected(f"{path}: may not be written")


def open_lab(name: str) -> "handle.Handle":
    """The lab of that name. Rejected when it is not up, with those that are."""
    from netemu.base import errors
    from netemu.lab import handle

    try:
        return handle.open(name)
    except errors.Rejected as error:
        others: list[str] = []
        with contextlib.suppress(errors.Rejected):  # somebody else's
            others = [entry.name for entry in handle.labs() if entry.state == "up"]
        if not others or name in others:
            raise
        hint = f"{error.hint}, or --name {others[0]}" + (
            f" ({', '.join(others)} are up)" if others[1:] else ""
        )
        raise errors.Rejected(error.message, hint=hint) from error


def client(lab: "handle.Handle") -> "api.Client":
    """A client to the API of a lab: an async context manager."""
    from netemu.client import connect

    return connect.from_kubeconfig(lab.kubeconfig)


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run a coroutine function to its end; the one exception of a task group comes out as itself."""

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> T:
        import asyncio

        try:
            return asyncio.run(function(*arguments, **named))
        except BaseExceptionGroup as group:
            raise single(group) from group

    return run


def single(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first exception in a group of groups: the others are its company."""
    first = group.exceptions[0]
    return single(first) if isinstance(first, BaseExceptionGroup) else first
