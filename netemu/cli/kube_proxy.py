"""`netemu kube-proxy`: the Service proxy of one node, on its own, against any Kubernetes API server."""

from pathlib import Path
from typing import Any

import click

from netemu.cli import options

_EXAMPLE = """
sudo netemu kube-proxy --kubeconfig kube-proxy.conf --node-name worker-1
sudo netemu kube-proxy --cleanup
"""


def _texts(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Repeated or joined by commas, as kube-proxy's flags are."""
    return tuple(text.strip() for one in value for text in one.split(",") if text.strip())


@options.command("kube-proxy", example=_EXAMPLE)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="How to reach the API server. Default: the service account of the pod it runs in.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A KubeProxyConfiguration; the flags below are then ignored, as kube-proxy does.",
)
@click.option("--node-name", "--hostname-override", help="The Node that this is. Default: the host's name.")
@click.option("--cluster-cidr", multiple=True, callback=_texts, help="Addresses of pods.")
@click.option(
    "--service-cidr",
    multiple=True,
    callback=_texts,
    help="Addresses of Services. Default: what the API server's ServiceCIDRs say.",
)
@click.option("--proxy-mode", default="nftables", show_default=True, help="nftables or iptables.")
@click.option(
    "--iptables-localhost-nodeports/--no-iptables-localhost-nodeports",
    default=True,
    show_default=True,
    help="In iptables mode: node ports at 127.0.0.1, too.",
)
@click.option(
    "--conntrack-tcp-be-liberal",
    is_flag=True,
    help="Track TCP segments outside the window; drop none of them.",
)
@click.option("--masquerade-all", is_flag=True, help="Masquerade all traffic to cluster IPs.")
@click.option(
    "--detect-local-mode",
    default="ClusterCIDR",
    show_default=True,
    help="How pods are known: ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix.",
)
@click.option("--pod-bridge-interface", default="", help="The bridge that pods come from.")
@click.option("--pod-interface-name-prefix", default="", help="What names of pods' links begin with.")
@click.option(
    "--nodeport-addresses", multiple=True, callback=_texts, help='Ranges that take node ports, or "primary".'
)
@click.option("--service-proxy-name", default="", help="Serve only Services with this label value.")
@click.option("--healthz-bind-address", default="0.0.0.0:10256", show_default=True, help='"" for none.')
@click.option("--metrics-bind-address", default="127.0.0.1:10249", show_default=True, help='"" for none.')
@click.option("--cleanup", is_flag=True, help="Remove the tables and exit.")
def command(
    *, kubeconfig: Path | None, config: Path | None, node_name: str | None, cleanup: bool, **flags: Any
) -> int:
    """Serve Services on this machine, in this network namespace, until stopped.

    The tables stay when it ends, so that connections go on; --cleanup removes them.
    """
    import logging
    import platform
    import sys

    from netemu.client import connect

    options.only_root("kube-proxy")
    if cleanup:
        _remove("nftables", "iptables")
        return 0
    given = _document(config) if config is not None else {}
    chosen = configured(given, flags) if given else settings(flags)
    connection = given.get("clientConnection") or {}
    if connection.get("kubeconfig") and kubeconfig is None:
        kubeconfig = Path(connection["kubeconfig"])
    node_name = node_name or given.get("hostnameOverride") or None
    opened = connect.from_kubeconfig(kubeconfig) if kubeconfig else connect.in_cluster()
    _remove({"nftables": "iptables", "iptables": "nftables"}[chosen.mode])
    line = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line)
    _run(opened, node_name or platform.node().lower(), chosen)
    return 0


def _remove(*modes: str) -> None:
    """What a proxy of these modes left. iptables is left alone where it is not installed."""
    import shutil

    from netemu.kernel import firewall, network
    from netemu.kubeproxy import layout, programs
    from netemu.wire import nft

    if "nftables" in modes:
        door = firewall.LibNftables()
        door.apply("".join(str(nft.removal(family.table)) for family in layout.FAMILIES))
    if "iptables" in modes and shutil.which("iptables-save"):
        programs.Iptables({}, system=network.LinuxNetwork()).remove()


def _document(path: Path) -> dict[str, Any]:
    import yaml

    from netemu.base import errors

    try:
        found = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as failure:
        raise errors.Rejected(f"{path}: not YAML: {str(failure).splitlines()[0]}") from None
    if not isinstance(found, dict) or not found:
        raise errors.Rejected(f"{path}: no KubeProxyConfiguration")
    return found


def configured(document: dict[str, Any], flags: dict[str, Any]) -> Any:
    """A configuration's options, and of the flags those that no configuration has. Rejected."""
    from netemu.kubeproxy import options as choices

    own = {key: flags[key] for key in ("service_proxy_name",)}
    return choices.from_document(document)._replace(service_cidrs=flags["service_cidr"], **own)


def settings(flags: dict[str, Any]) -> Any:
    """The flags as a proxy's options. Rejected."""
    from netemu.kubeproxy import options as choices

    mode = flags["detect_local_mode"]
    link = {
        "BridgeInterface": flags["pod_bridge_interface"],
        "InterfaceNamePrefix": flags["pod_interface_name_prefix"],
    }
    return choices.check(
        choices.Options(
            cluster_cidrs=flags["cluster_cidr"],
            service_cidrs=flags["service_cidr"],
            healthz=flags["healthz_bind_address"],
            metrics=flags["metrics_bind_address"],
            masquerade_all=flags["masquerade_all"],
            detect_local=mode,
            local_link=link.get(mode, ""),
            node_port_addresses=flags["nodeport_addresses"],
            service_proxy_name=flags["service_proxy_name"],
            mode=flags["proxy_mode"],
            localhost_node_ports=flags["iptables_localhost_nodeports"],
            tcp_be_liberal=flags["conntrack_tcp_be_liberal"],
        )
    )


@options.blocking
async def _run(opened: Any, node_name: str, chosen: Any) -> None:
    from netemu.base import clock
    from netemu.kernel import firewall, network
    from netemu.kubeproxy import agent

    time = clock.SystemClock()
    async with opened as client:
        ranges = chosen.service_cidrs or await _service_ranges(client, time)
        await agent.run(
            client,
            node_name,
            firewall.LibNftables(),
            time,
            chosen.cluster_cidrs,
            service_cidrs=ranges,
            settings=chosen,
            system=network.LinuxNetwork(),
        )


async def _service_ranges(client: Any, time: Any) -> tuple[str, ...]:
    """API servers before Kubernetes 1.33 know none; then nothing is dropped for having no Service.

    A server that does not answer yet is waited for, as everywhere in a proxy.
    """
    import logging

    from netemu.api import networking
    from netemu.base import backoff
    from netemu.client import errors

    retry = backoff.Backoff(0.1, limit=10.0)
    while True:
        try:
            found = await client.list(networking.ServiceCIDR)
        except (errors.NotFound, errors.Forbidden):
            return ()
        except (errors.Unavailable, errors.TooManyRequests) as failure:
            wait = retry.next()
            logging.getLogger("kubeproxy").warning("no API server yet: %s retry=%.3gs", failure, wait)
            await time.sleep(wait)
        else:
            return tuple(text for one in found.items for text in one.spec.cidrs)
