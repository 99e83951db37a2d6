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


_UPLINK, _FROM_PODS = "eth0", "cni0"  # links of a node


@options.group("proxy", example=_EXAMPLE)
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
    alike: dict[str, list[str]] = {}
    for node, lines in found.items():
        alike.setdefault(json.dumps(lines, default=str), []).append(node)
    for nodes in alike.values():
        lines = found[nodes[0]]
        click.echo(paint("head", f"{namespace}/{service} on {', '.join(nodes)}"))
        rows = [[paint("faint", t) for t in ("CLIENT", "DIALS", "WAY", "GETS", "WHY")]]
        rows += [_row(line, paint) for line in lines]
        for text in screen.folded(rows, indent=2, width=screen.columns()):
            click.echo(text)
    return 0


def _row(line: dict[str, Any], paint: Any) -> list[str]:
    way = f"{line['way']}, {line['protocol']}" + (f" {line['port']}" if line["port"] else "")
    if line["verdict"] != "sent":
        return [line["client"], line["dialled"], way, paint("bad", line["verdict"]), line["because"]]
    gets = _gets(line["chances"])
    why = line["because"] + (f"; stays for {line['stays']} s" if line["stays"] else "")
    if line["remembered"]:
        gets, why = f"{line['remembered']}, again", f"affinity; {why}"
    return [line["client"], line["dialled"], way, gets, why]


def _gets(chances: list[dict[str, Any]]) -> str:
    """ "50 % web-0, 50 % web-1 (masqueraded)"; what is alike of several is said once."""
    whom = [chance["target"] or chance["backend"] for chance in chances]
    shares = [f"{chance['percent']} %" for chance in chances]
    after = [" (masqueraded)" if chance["masqueraded"] else "" for chance in chances]
    if len(chances) > 1 and len(set(shares)) == len(set(after)) == 1:
        return f"{shares[0]} each: {', '.join(whom)}{after[0]}"
    return ", ".join(f"{share} {name}{how}" for share, name, how in zip(shares, whom, after, strict=True))


@options.blocking
async def _collect(
    lab_name: str, namespace: str, service_name: str, only: str | None, sender: str | None
) -> dict[str, list[dict[str, Any]]]:
    import asyncio

    from netemu.api import core
    from netemu.base import errors
    from netemu.kubeproxy import explain, services

    lab = options.open_lab(lab_name)
    async with options.client(lab) as client:
        service = services.parse(await client.get(core.Service, service_name, namespace))
        pods = (await client.list(core.Pod)).items
    if service is None:
        raise errors.Rejected(
            f"Service {namespace}/{service_name} is not the proxy's",
            hint="headless and ExternalName Services, and those with a service-proxy-name, have no rules",
        )
    found = {}
    names = {ip.ip: pod.metadata.name for pod in pods for ip in pod.status.podIPs}
    nodes, clients = _clients(lab, pods, namespace, sender)
    for node in [only] if only else nodes:
        own = frozenset(lab.addresses(node))
        itself = [explain.Client("the node", "", lab.addresses(node))] if sender in (None, "node") else []
        fates = await asyncio.to_thread(_fates, lab, node, own)
        lines = explain.explain(service, fates, own, (*clients, *itself))
        found[node] = [_document(line, names) for line in lines]
    return found


def _fates(lab: Any, node: str, own: frozenset[str]) -> Any:
    """What the rules that this node has now do with a packet of a family."""
    from netemu.kernel import firewall
    from netemu.kubeproxy import audit, layout, programs, walk, walk_iptables
    from netemu.kubeproxy import options as choices

    if lab.config.proxy.mode == "iptables":
        program = programs.Iptables({}, ("nsenter", f"--net={lab.netns(node)}"))
        chains = {f.name: walk_iptables.read(program.saved(f)) for f in layout.FAMILIES}
        return lambda family, packet: walk_iptables.fate(chains[family], packet, own)
    ranges = lab.config.ranges
    chosen = choices.Options(
        tuple(map(str, ranges.pods)),
        tuple(map(str, ranges.services)),
        masquerade_all=lab.config.proxy.masquerade_all,
    )
    around, door = choices.surroundings(chosen, None), firewall.LibNftables(lab.netns(node))
    tables = {f.name: walk.read(audit.contents(door.list_json, f, ())) for f in layout.FAMILIES}
    return lambda family, packet: walk.fate(tables[family], packet, around[family], own)


def _clients(lab: Any, pods: Any, namespace: str, sender: str | None) -> tuple[list[str], list[Any]]:
    """Where to look, and who asks; a pod asks its own node."""
    from netemu.base import errors
    from netemu.kubeproxy import explain

    outside = explain.Client("outside", _UPLINK, lab.addresses("outside"), beyond=True)
    if sender in (None, "node", "outside"):
        some = tuple(str(next(net.hosts())) for net in lab.config.ranges.pods)
        anybody = explain.Client("a pod", _FROM_PODS, some)
        return list(lab.nodes), {None: [anybody, outside], "node": [], "outside": [outside]}[sender]
    kind, _, pod_name = str(sender).partition("/")
    if kind != "pod" or not pod_name:
        raise errors.Rejected(f"no client: {sender!r}", hint="pod/NAME, node or outside")
    for pod in pods:
        if (pod.metadata.namespace, pod.metadata.name) == (namespace, pod_name) and pod.status.podIPs:
            ips = tuple(one.ip for one in pod.status.podIPs)
            return [pod.spec.nodeName], [explain.Client(f"pod {pod_name}", _FROM_PODS, ips)]
    raise errors.Rejected(f"no running pod {namespace}/{pod_name}")


def _document(line: Any, names: dict[str, str]) -> dict[str, Any]:
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
                "target": c.target or names.get(c.address, ""),
                "percent": f"{float(c.probability * 100):.3g}",
                "masqueraded": c.masqueraded,
            }
            for c in line.fate.chances
        ],
        "stays": line.fate.stays,
        "remembered": line.fate.remembered,
    }


command.add_command(_explain)
