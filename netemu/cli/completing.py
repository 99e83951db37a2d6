"""Words the shell may finish: labs, kinds, places, parts. Says nothing where it cannot know."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netemu.lab import handle

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completion(words: Callable[[click.Context], Iterable[str]]) -> Complete:
    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
        from netemu.base import errors

        try:
            return sorted(word for word in words(context) if word.startswith(begun))
        except (errors.NetemuError, OSError):
            return []  # nobody reads complaints in the middle of a line

    return complete


def _labs(_: click.Context) -> Iterable[str]:
    from netemu.lab import handle

    return (entry.name for entry in handle.labs())


def _kinds(context: click.Context) -> Iterable[str]:
    from netemu.base import errors
    from netemu.cli import resources

    try:
        return resources.plurals(resources.of_lab(_name(context)))
    except (errors.NetemuError, OSError):
        return resources.plurals()  # no lab: netemu's own


def _places(context: click.Context) -> Iterable[str]:
    return _lab(context).places


def _parts(context: click.Context) -> Iterable[str]:
    from netemu.cli import logs

    return logs.parts(_lab(context))


def _lab(context: click.Context) -> "handle.Handle":
    from netemu.lab import handle

    return handle.open(_name(context))


def _name(context: click.Context) -> str:
    return context.params.get("name") or "default"


labs = _completion(_labs)
kinds = _completion(_kinds)
places = _completion(_places)
parts = _completion(_parts)
