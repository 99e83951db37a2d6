"""`netemu proxy`: what the Service proxy of each node has programmed."""

import json
import sys
from typing import Any

import click

from netemu.cli import options, screen

_EXAMPLE = """
netemu proxy explain web
netemu proxy explain kube-dns -n kube-system --node worker-1
netemu proxy explain web --from pod/client
"""


@click.group(
    "proxy", epilog="\b\nExample:\n" + "\n".join(f"  {line}" for line in _EXAMPLE.split("\n") if line)
)
def command() -> None:
    """Look into the Service proxy of each node."""


@options.command("explain", example=_EXAMPLE)
@click.argument("service", metavar="SERVICE")
@click.option("--node", "only", metavar="NODE", help="This node alone. Default: every node.")
@click.option(
    "--from",
    "sender",
    metavar="pod/NAME|node|outside",
    help="What this client would get. Default: any pod, the node itself, and outside.",
)
@options.namespace
@options.json
@options.lab
def _explain(
    *, service: str, only: str | None, sender: str | None, namespace: str, as_json: bool, name: str
) -> int:
    """Show what is programmed for a Service on each node, and what clients get, with probabilities.

    It is read from the node's own packet filter, and the same look-ups are walked which a packet makes there.
    """
    found = _collect(name, namespace, service, only, sender)
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return 0
    paint = screen.painter(sys.stdout)
    for node, lines in found.items():
        click.echo(paint("head", f"{namespace}/{service} on {node}"))
        rows = [[paint("faint", t) for t in ("CLIENT", "DIALS", "WAY", "GETS", "WHY")]]
        rows += [_row(line, paint) for line in lines]
        for text in screen.table(rows, indent=2, width=screen.columns()):
            click.echo(text)
    return 0


def _row(line: dict[str, Any], paint: Any) -> list[str]:
    way = f"{line['way']}, {line['protocol']}" + (f" {line['port']}" if line["port"] else "")
    if line["verdict"] != "sent":
        return [line["client"], line["dialled"], way, paint("bad", line["verdict"]), line["because"]]
    gets = ", ".join(
        f"{chance['percent']} % {chance['target'] or chance['backend']}"
        + (" (masqueraded)" if chance["masqueraded"] else "")
        for chance in line["chances"]
    )
    why = line["because"] + (f"; stays for {line['stays']} s" if line["stays"] else "")
    if line["remembered"]:
        gets, why = f"{line['remembered']}, again", f"affinity; {why}"
    return [line["client"], line["dialled"], way, gets, why]


@options.blocking
async def _collect(
    lab_name: str, namespace: str, service_name: str, only: str | None, sender: str | None
) -> dict[str, list[dict[str, Any]]]:
    from netemu.api import core
    from netemu.base import errors
    from netemu.kernel import firewall
    from netemu.kubeproxy import audit, explain, layout, services, walk
    from netemu.kubeproxy import options as choices

    lab = options.open_lab(lab_name)
    async with options.client(lab) as client:
        service = services.parse(await client.get(core.Service, service_name, namespace))
        pods = (await client.list(core.Pod)).items
    if service is None:
        raise errors.Rejected(
            f"Service {namespace}/{service_name} is not the proxy's",
            hint="headless and ExternalName Services, and those with a service-proxy-name, have no rules",
        )
    ranges = lab.config.ranges
    chosen = choices.Options(tuple(map(str, ranges.pods)), tuple(map(str, ranges.services)))
    around, found = choices.surroundings(chosen, None), {}
    nodes, clients = _clients(lab, pods, namespace, sender)
    for node in [only] if only else nodes:
        own = frozenset(lab.addresses(node))
        door = firewall.LibNftables(lab.netns(node))
        tables = {f.name: walk.read(audit.contents(door.list_json, f, ())) for f in layout.FAMILIES}
        here = (
            [*clients, explain.Client("the node", walk.NODE, lab.addresses(node))] if not sender else clients
        )
        if sender == "node":
            here = [explain.Client("the node", walk.NODE, lab.addresses(node))]
        lines = explain.explain(service, tables, around, own, tuple(here))
        found[node] = [_document(line) for line in lines]
    return found


def _clients(lab: Any, pods: Any, namespace: str, sender: str | None) -> tuple[list[str], list[Any]]:
    """Where to look, and who asks; a pod asks its own node."""
    from netemu.base import errors
    from netemu.kubeproxy import explain, walk

    outside = explain.Client("outside", walk.OUTSIDE, lab.addresses("outside"))
    if sender in (None, "node", "outside"):
        some = tuple(str(next(net.hosts())) for net in lab.config.ranges.pods)
        anybody = explain.Client("a pod", walk.POD, some)
        return list(lab.nodes), {None: [anybody, outside], "node": [], "outside": [outside]}[sender]
    kind, _, pod_name = str(sender).partition("/")
    if kind != "pod" or not pod_name:
        raise errors.Rejected(f"no client: {sender!r}", hint="pod/NAME, node or outside")
    for pod in pods:
        if (pod.metadata.namespace, pod.metadata.name) == (namespace, pod_name) and pod.status.podIPs:
            ips = tuple(one.ip for one in pod.status.podIPs)
            return [pod.spec.nodeName], [explain.Client(f"pod {pod_name}", walk.POD, ips)]
    raise errors.Rejected(f"no running pod {namespace}/{pod_name}")


def _document(line: Any) -> dict[str, Any]:
    return {
        "client": line.client.title,
        "dialled": line.dialled,
        "way": line.way,
        "protocol": line.port.protocol.upper(),
        "port": line.port.name,
        "verdict": line.fate.verdict,
        "because": line.fate.because,
        "chances": [
            {
                "backend": f"[{c.address}]:{c.port}" if ":" in c.address else f"{c.address}:{c.port}",
                "target": c.target,
                "percent": f"{float(c.probability * 100):.3g}",
                "masqueraded": c.masqueraded,
            }
            for c in line.fate.chances
        ],
        "stays": line.fate.stays,
        "remembered": line.fate.remembered,
    }


command.add_command(_explain)
