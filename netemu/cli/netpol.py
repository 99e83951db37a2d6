"""`netemu netpol`: the policy enforcer of one node, on its own, beside any CNI that routes through the host.

`netemu netpol wait` waits until a lab's policies are in force on every node.
"""

from pathlib import Path
from typing import Any

import click

from netemu.cli import options

_EXAMPLE = """
sudo netemu netpol --kubeconfig netpol.conf --node-name worker-1
sudo netemu netpol cleanup
netemu netpol wait
"""


@click.group(
    "netpol",
    invoke_without_command=True,
    epilog="\b\nExample:\n" + "\n".join(f"  {line}" for line in _EXAMPLE.split("\n") if line),
)
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
    import logging
    import platform
    import sys

    from netemu.netpol import agent

    line = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line)
    chosen = agent.Options(unknown == "drop", drops_socket, metrics_bind_address, loud=True)
    _enforce(kubeconfig, node_name or platform.node().lower(), chosen)
    return 0


@options.blocking
async def _enforce(kubeconfig: Path | None, node_name: str, chosen: Any) -> None:
    from netemu.base import clock
    from netemu.client import connect
    from netemu.netpol import agent

    connection = connect.from_kubeconfig(kubeconfig) if kubeconfig else connect.in_cluster()
    async with connection as client:
        await agent.run(client, node_name, agent.Doors.here(), clock.SystemClock(), options=chosen)


@command.command("cleanup")
def _cleanup() -> int:
    """Remove what an enforcer left in this network namespace: no policy is in force afterwards."""
    from netemu.kernel import firewall
    from netemu.netpol import layout
    from netemu.wire import nft

    firewall.LibNftables().apply(str(nft.removal(layout.TABLE)))
    return 0
