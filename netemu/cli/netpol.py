"""`netemu netpol`: the policy enforcer of one node, on its own, beside any CNI that routes through the host.

`netemu netpol wait` waits until a lab's policies are in force on every node.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netemu.cli import options

if TYPE_CHECKING:
    from netemu.netpol import agent, reports

_EXAMPLE = """
sudo netemu netpol --kubeconfig netpol.conf --node-name worker-1
sudo netemu netpol cleanup
netemu netpol wait
"""


@options.group("netpol", example=_EXAMPLE, invoke_without_command=True)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="How to reach the API server. Default: the service account of the pod it runs in.",
)
@click.option("--node-name", help="The Node that this is. Default: the host's name.")
@click.option(
    "--unknown",
    type=click.Choice(["drop", "pass"]),
    default="drop",
    show_default=True,
    help="Packets of addresses in the node's pod ranges that no known pod has (yet).",
)
@click.option("--drops-socket", default="", help="Tell drops at this Unix socket, as JSON lines.")
@click.option("--metrics-bind-address", default="127.0.0.1:10259", show_default=True, help='"" for none.')
@click.pass_context
def command(
    ctx: click.Context,
    *,
    kubeconfig: Path | None,
    node_name: str | None,
    unknown: str,
    drops_socket: str,
    metrics_bind_address: str,
) -> int:
    """Enforce policies on this machine's pods, in this network namespace, until stopped.

    Beside any CNI whose pods are bridged or routed by the host. The table stays when it ends, so that pods
    stay policed; `netemu netpol cleanup` removes it. Each drop is a line of its log.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    options.only_root("netpol")
    import logging
    import platform
    import sys

    from netemu.base import errors
    from netemu.netpol import agent

    host, _, port = metrics_bind_address.rpartition(":")
    if metrics_bind_address and not (host and port.isdigit() and int(port) < 1 << 16):
        hint = "as 127.0.0.1:10259 or [::1]:10259"
        raise errors.Rejected(f"'{metrics_bind_address}' is not an address and a port", hint=hint)

    line = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line)
    chosen = agent.Options(unknown == "drop", drops_socket, metrics_bind_address, loud=True)
    _enforce(kubeconfig, node_name or platform.node().lower(), chosen)
    return 0


@options.blocking
async def _enforce(kubeconfig: Path | None, node_name: str, chosen: "agent.Options") -> None:
    from netemu.base import clock
    from netemu.client import connect
    from netemu.netpol import agent

    connection = connect.from_kubeconfig(kubeconfig) if kubeconfig else connect.in_cluster()
    async with connection as client:
        await agent.run(client, node_name, agent.Doors.here(), clock.SystemClock(), options=chosen)


@options.command("wait", example="kubectl apply -f policies/ && netemu netpol wait --timeout 5")
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="How long to wait.")
@options.quiet
@options.lab
def _wait(*, timeout: float, quiet: bool, name: str) -> int:
    """Wait until every policy that the lab has now is in force on every ready node. Exit code 1: not yet."""
    found = _in_force(name, timeout)
    if not quiet or not found.whole:
        missing = f"; not on {', '.join(found.missing)}" if found.missing else ""
        click.echo(f"policies are in force on {found}{missing}")
    return 0 if found.whole else 1


@options.blocking
async def _in_force(name: str, timeout: float) -> "reports.Coverage":
    import asyncio

    from netemu.api import clusterpolicies, core, networking
    from netemu.netpol import reports

    async with options.client(options.open_lab(name)) as client:
        listed = (
            await client.list(networking.NetworkPolicy),
            await client.list(clusterpolicies.ClusterNetworkPolicy),
        )
        needed = [max((int(p.metadata.resourceVersion) for p in one.items), default=0) for one in listed]
        nodes = await client.list(core.Node)
        known = {node.metadata.name: node for node in nodes.items}
        found = reports.coverage(known.values(), *needed)
        try:
            async with asyncio.timeout(timeout):
                while not found.whole:
                    async for event in client.watch(core.Node, revision=nodes.revision):
                        if event.type in ("ADDED", "MODIFIED"):
                            known[event.object.metadata.name] = event.object
                        elif event.type == "DELETED":
                            known.pop(event.object.metadata.name, None)
                        found = reports.coverage(known.values(), *needed)
                        if found.whole:
                            break
        except TimeoutError:
            pass
        return found


@options.command("cleanup", example="sudo netemu netpol cleanup")
def _cleanup() -> int:
    """Remove what an enforcer left in this network namespace: no policy is in force afterwards."""
    options.only_root("netpol cleanup")
    from netemu.kernel import firewall
    from netemu.netpol import layout
    from netemu.wire import nft

    firewall.LibNftables().apply(str(nft.removal(layout.TABLE)))
    return 0


command.add_command(_wait)
command.add_command(_cleanup)
