"""`netemu apply`: what the files say is what there is."""

import json
from typing import TYPE_CHECKING

import click

from netemu.cli import options

if TYPE_CHECKING:
    from netemu.scenario import applying, manifests

_EXAMPLE = """
netemu apply -f scenarios/01-quickstart/manifests/
cat web.yaml | netemu apply -f - -n shop
"""


@options.command("apply", example=_EXAMPLE)
@click.option(
    "--file", "-f", "files", multiple=True, required=True, metavar="FILE", help="A file, a directory, or -."
)
@options.namespace
@options.json
@options.quiet
@options.lab
def command(files: tuple[str, ...], namespace: str, as_json: bool, quiet: bool, name: str) -> None:
    """Create the objects of YAML files, or merge them into what is there, as kubectl does.

    Every file is checked first: an unknown kind or field is refused with file and line, and nothing is sent.
    Kinds may be your own: defined in the lab before, or by a CustomResourceDefinition in the same files.
    """
    from netemu.base import errors
    from netemu.cli import resources
    from netemu.scenario import manifests

    wanted = manifests.read(files, namespace=namespace, elsewhere=resources.lookup(resources.of_lab(name)))
    if not wanted:
        raise errors.Rejected(f"no objects in {', '.join(files)}")
    done = _apply(name, wanted, silent=as_json or quiet)
    if as_json:
        rows = [
            {
                "kind": item.manifest.kind.kind,
                "namespace": item.manifest.namespace,
                "name": item.manifest.name,
                "action": item.action,
            }
            for item in done
        ]
        click.echo(json.dumps(rows, indent=2))


@options.blocking
async def _apply(
    lab: str, wanted: "tuple[manifests.Manifest, ...]", *, silent: bool
) -> "list[applying.Applied]":
    from netemu.scenario import applying

    done = []
    async with options.client(options.open_lab(lab)) as client:
        for manifest in wanted:
            done.append(await applying.apply(client, manifest))
            if not silent:
                click.echo(f"{manifest} {done[-1].action}")
    return done
