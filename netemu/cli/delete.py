"""`netemu delete`: gone when it returns."""

from typing import TYPE_CHECKING, NamedTuple

import click

from netemu.cli import completing, options, screen

if TYPE_CHECKING:
    from netemu.api import kinds
    from netemu.client import api

_EXAMPLE = """
netemu delete pod web
netemu delete -f scenarios/01-quickstart/manifests/
netemu delete deployment/web --grace 0
"""


@options.command("delete", example=_EXAMPLE)
@click.argument("what", nargs=-1, shell_complete=completing.kinds)
@click.option(
    "--file", "-f", "files", multiple=True, metavar="FILE", help="Delete what a file or directory creates."
)
@options.namespace
@click.option("--selector", "-l", "labels", default="", help="All objects with these labels.")
@click.option(
    "--grace", type=click.IntRange(min=0), metavar="SECONDS", help="Instead of the objects' own grace."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when they are gone.")
@click.option("--timeout", default=60.0, show_default=True, metavar="SECONDS", help="How long to wait.")
@options.quiet
@options.lab
def command(
    *,
    what: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str,
    labels: str,
    grace: int | None,
    wait: bool,
    timeout: float,
    quiet: bool,
    name: str,
) -> int:
    """Delete objects by kind and name, KIND/NAME, labels or file, and wait until they are gone.

    What they own goes first: after `delete deployment web` none of its pods is left.
    """
    from netemu.base import errors
    from netemu.cli import resources
    from netemu.scenario import manifests

    if bool(what) == bool(files):
        raise errors.Rejected(
            "name either objects or -f FILE", hint="netemu delete pod web; netemu delete -f web.yaml"
        )
    theirs = resources.of_lab(name)
    if files:
        read = manifests.read(files, namespace=namespace, elsewhere=resources.lookup(theirs))
        wanted = [(m.kind, m.name, m.namespace) for m in reversed(read)]
    else:
        named = resources.parse(what, theirs)
        if not labels and any(not item.name for item in named):
            raise errors.Rejected("which? name the objects, or select them with -l KEY=VALUE")
        wanted = [(item.kind, item.name, namespace if item.kind.namespaced else "") for item in named]
    with screen.Progress(quiet=quiet) as progress:
        missing = _delete(
            name, wanted, labels=labels, grace=grace, timeout=timeout if wait else 0.0, progress=progress
        )
    return 1 if missing and not files else 0


@options.blocking
async def _delete(
    lab: str,
    wanted: "list[tuple[kinds.Kind, str, str]]",
    *,
    labels: str,
    grace: int | None,
    timeout: float,
    progress: screen.Progress,
) -> int:
    """Delete (kind, name or "" for all, namespace); how many of them were not there."""
    from netemu.client import errors

    missing = 0
    pending: list[_Doomed] = []
    async with options.client(options.open_lab(lab)) as client:
        for kind, name, namespace in wanted:
            names = [name] if name else [
                item.metadata.name for item in (await client.list(kind.type, namespace, labels=labels)).items
            ]  # fmt: skip
            for each in names:
                try:
                    uid = (await client.get(kind.type, each, namespace)).metadata.uid
                    await client.delete(kind.type, each, namespace, grace=grace, propagation="Foreground")
                except errors.NotFound as error:
                    missing += 1
                    click.echo(f"netemu: {error.message}", err=True)
                    continue
                pending.append(_Doomed(kind, each, namespace, uid))
        if timeout:
            await _wait(client, pending, timeout, progress)
        else:
            for one in pending:
                click.echo(f"{one} deletion requested")
    return missing


class _Doomed(NamedTuple):
    """An object whose deletion was asked for."""

    kind: "kinds.Kind"
    name: str
    namespace: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind.one}/{self.name}"


async def _wait(
    client: "api.Client", pending: list[_Doomed], timeout: float, progress: screen.Progress
) -> None:
    """Tell each one's end. Rejected when some are still there after `timeout` seconds."""
    import asyncio

    from netemu.base import errors

    left = list(pending)
    try:
        async with asyncio.timeout(timeout):
            while left:
                progress(f"waiting until {left[0]} is gone")
                await _gone(client, left[0])
                progress.done()
                click.echo(f"{left.pop(0)} deleted")
    except TimeoutError as error:
        raise errors.Rejected(
            f"still there after {timeout:g} s: {', '.join(map(str, left))}",
            hint="a finalizer or a pod's grace period may hold it",
        ) from error


async def _gone(client: "api.Client", one: _Doomed) -> None:
    """Return when the object of that uid is no more."""
    from netemu.client import errors

    fields = f"metadata.name={one.name}"
    while True:
        try:
            listing = await client.list(one.kind.type, one.namespace, fields=fields)
        except errors.NotFound:
            return  # the definition of its kind went, and it with that
        if not any(item.metadata.uid == one.uid for item in listing.items):
            return
        watch = client.watch(one.kind.type, one.namespace, revision=listing.revision, fields=fields)
        async for event in watch:
            if event.type == "DELETED":
                return
