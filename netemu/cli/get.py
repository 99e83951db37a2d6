"""`netemu get`: objects as tables (the server's own columns), YAML, JSON or names."""

import json
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import completing, options, screen

if TYPE_CHECKING:
    from netemu.cli import resources

    _Found = list[tuple["resources.Named", dict[str, Any]]]  # what was asked for, and the server's answer

_EXAMPLE = """
netemu get pods -A -o wide
netemu get svc,endpointslices -n shop -l app=web
netemu get pod/web -o yaml
"""
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@options.command("get", example=_EXAMPLE)
@click.argument("what", nargs=-1, required=True, shell_complete=completing.kinds)
@options.namespace
@click.option("--all-namespaces", "-A", "everywhere", is_flag=True, help="Of all Namespaces.")
@click.option("--selector", "-l", "labels", default="", help="Only with these labels, such as app=web.")
@click.option(
    "--field-selector", "fields", default="", help="Only with these fields, such as spec.nodeName=worker-1."
)
@click.option("--output", "-o", type=click.Choice(["wide", "yaml", "json", "name"]), help="How to show them.")
@options.json
@options.lab
def command(
    *,
    what: tuple[str, ...],
    namespace: str,
    everywhere: bool,
    labels: str,
    fields: str,
    output: str | None,
    as_json: bool,
    name: str,
) -> None:
    """Show objects. WHAT is kinds (pods, svc,ep, all), a kind and names, or KIND/NAME."""
    from netemu.cli import resources

    wanted = resources.parse(what, resources.of_lab(name))
    output = "json" if as_json else output
    query = tuple(
        (key, value) for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value
    )
    accept = "application/json" if output in ("yaml", "json", "name") else _TABLE
    found = _fetch(name, wanted, "" if everywhere else namespace, query, accept)
    if output in ("yaml", "json", "name"):
        _print_objects(found, output, single=len(wanted) == 1 and bool(wanted[0].name))
    else:
        _print_tables(found, wide=output == "wide", everywhere=everywhere)


@options.blocking
async def _fetch(
    lab: str,
    wanted: "tuple[resources.Named, ...]",
    namespace: str,
    query: tuple[tuple[str, str], ...],
    accept: str,
) -> "_Found":
    from netemu.scenario import applying

    answers = []
    async with options.client(options.open_lab(lab)) as client:
        for named in wanted:
            path = named.kind.path(namespace, named.name)
            data = await applying.call(client, "GET", path, query=query, headers=(("accept", accept),))
            answers.append((named, json.loads(data)))
    return answers


def _print_objects(found: "_Found", output: str, *, single: bool) -> None:
    objects: list[dict[str, Any]] = []
    for named, answer in found:
        kind = {"apiVersion": named.kind.api_version, "kind": named.kind.kind}
        items = [answer] if named.name else answer.get("items") or []
        objects.extend({**kind, **item} for item in items)
    for item in objects:
        item["metadata"].pop("managedFields", None)  # longer than the rest; kubectl hides them, too
    if output == "name":
        for (named, _), _object in zip(found, objects, strict=False) if single else ():
            click.echo(f"{named.kind.one}/{named.name}")
        if not single:
            for item in objects:
                group = item["apiVersion"].rpartition("/")[0]
                kind_name = item["kind"].lower() + (f".{group}" if group else "")
                click.echo(f"{kind_name}/{item['metadata']['name']}")
        return
    value: dict[str, Any] = objects[0] if single else {"apiVersion": "v1", "kind": "List", "items": objects}
    if output == "json":
        click.echo(json.dumps(value, indent=2))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, default_flow_style=False), nl=False)


def _print_tables(found: "_Found", *, wide: bool, everywhere: bool) -> None:
    filled = [(named, answer) for named, answer in found if answer.get("rows")]
    if not filled:
        click.echo("nothing found", err=True)
        return
    for index, (named, answer) in enumerate(filled):
        if index:
            click.echo()
        for line in _table(named, answer, wide=wide, everywhere=everywhere, prefix=len(found) > 1):
            click.echo(line)


def _table(
    named: "resources.Named", answer: dict[str, Any], *, wide: bool, everywhere: bool, prefix: bool
) -> list[str]:
    columns = answer["columnDefinitions"]
    shown = [n for n, column in enumerate(columns) if wide or not column.get("priority")]
    lead = ["NAMESPACE"] if everywhere and named.kind.namespaced else []
    rows = [[*lead, *(columns[n]["name"].upper() for n in shown)]]
    for row in answer["rows"]:
        cells = ["<none>" if row["cells"][n] is None else str(row["cells"][n]) for n in shown]
        if prefix:
            cells[0] = f"{named.kind.one}/{cells[0]}"
        rows.append([*([row["object"]["metadata"].get("namespace", "")] if lead else []), *cells])
    return screen.table(rows)
