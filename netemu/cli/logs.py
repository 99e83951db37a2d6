"""`netemu logs`: what pods and netemu's own parts have said."""

import json
import pathlib
import sys
import time
from typing import TYPE_CHECKING

import click

from netemu.cli import completing, options

if TYPE_CHECKING:
    from netemu.client import api
    from netemu.lab import handle

_EXAMPLE = """
netemu logs web-7d9f8b6c5-x2k4q -f
netemu logs duo -c server --tail 20
netemu logs deployment/web
netemu logs --component agent-worker-1 -f
netemu logs --components
"""


@options.command("logs", example=_EXAMPLE)
@click.argument("pod", required=False)
@click.option("--container", "-c", help="The container, if there are several.")
@options.namespace
@click.option(
    "--component",
    metavar="PART",
    help="Instead of a pod: one of netemu's own parts.",
    shell_complete=completing.parts,
)
@click.option("--components", is_flag=True, help="List netemu's own parts that have logs.")
@options.json
@click.option("--follow", "-f", is_flag=True, help="Go on as more comes.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines.")
@click.option("--previous", "-p", is_flag=True, help="Of the container before the last restart.")
@click.option("--timestamps", is_flag=True, help="With the time of each line.")
@options.lab
def command(
    *,
    pod: str | None,
    container: str | None,
    namespace: str,
    component: str | None,
    components: bool,
    as_json: bool,
    follow: bool,
    tail: int | None,
    previous: bool,
    timestamps: bool,
    name: str,
) -> None:
    """Show the log of a POD (or of one pod of a KIND/NAME), or of one of netemu's own parts."""
    from netemu.base import errors

    if components and (pod or component):
        hint = f"netemu logs --component {pod or component}"
        raise errors.Rejected("--components lists netemu's own parts, and shows none", hint=hint)
    lab = options.open_lab(name)
    if components:
        names = sorted(parts(lab))
        click.echo(json.dumps(names) if as_json else "\n".join(names))
        return
    if component:
        found = parts(lab)
        if component not in found:
            raise errors.Rejected(
                f"there is no part '{component}'", hint=f"parts: {', '.join(sorted(found))}"
            )
        _show_file(found[component], follow=follow, tail=tail)
        return
    if not pod:
        raise errors.Rejected("of what? name a pod, or --component PART", hint="netemu logs --components")
    query = {
        "container": container,
        "follow": "true" if follow else None,
        "tailLines": None if tail is None else str(tail),
        "previous": "true" if previous else None,
        "timestamps": "true" if timestamps else None,
    }
    chosen = tuple((key, value) for key, value in query.items() if value is not None)
    _show_pod(lab, pod, namespace, chosen)


def parts(lab: "handle.Handle") -> dict[str, pathlib.Path]:
    """The log of each of netemu's own parts."""
    return {file.stem: file for file in (pathlib.Path(lab.directory) / "log").glob("*.log")}


def _show_file(path: pathlib.Path, *, follow: bool, tail: int | None) -> None:
    with path.open("rb") as file:
        lines = file.readlines()
        out = sys.stdout.buffer
        out.writelines(lines if tail is None else lines[len(lines) - min(tail, len(lines)) :])
        out.flush()
        while follow:
            more = file.read()
            if more:
                out.write(more)
                out.flush()
            else:
                time.sleep(0.1)


@options.blocking
async def _show_pod(
    lab: "handle.Handle", pod: str, namespace: str, query: tuple[tuple[str, str], ...]
) -> None:
    from netemu.api import core, kinds
    from netemu.http import messages
    from netemu.scenario import applying

    async with options.client(lab) as client:
        path = kinds.of(core.Pod).path(namespace, await _pod(client, pod, namespace), "log")
        response = await client.raw("GET", path, query=query)
        if response.status >= 400:
            raise applying.refusal(response.status, await messages.whole(response))
        out = sys.stdout.buffer
        if isinstance(response.body, bytes):
            out.write(response.body)
        else:
            async for part in response.body:
                out.write(part)
                out.flush()
        out.flush()


async def _pod(client: "api.Client", word: str, namespace: str) -> str:
    """The pod's name that `web-1`, `pod/web-1` or `deployment/web` means."""
    from netemu.api import core, kinds, meta, selectors
    from netemu.base import errors
    from netemu.cli import resources

    if "/" not in word:
        return word
    kind, name = resources.parse([word])[0]
    if kind is kinds.of(core.Pod):
        return name
    owner = await client.get(kind.type, name, namespace)
    selector = getattr(getattr(owner, "spec", None), "selector", None)
    by_labels = isinstance(selector, meta.LabelSelector)
    chosen = selectors.of(selector) if by_labels else selectors.exactly(selector or {})
    if chosen.everything:
        raise errors.Rejected(f"{word} selects no pods")
    pods = (await client.list(core.Pod, namespace, labels=str(chosen))).items
    if not pods:
        raise errors.Rejected(f"{word} has no pods")
    if len(pods) > 1:
        click.echo(f"found {len(pods)} pods, using pod/{pods[0].metadata.name}", err=True)
    return pods[0].metadata.name
