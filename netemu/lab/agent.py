"""The agent of a node, composed: kubelet, kube-proxy and the node's part of the pod network in one process.

Constructs the real doors and hands them over; decides nothing. It runs in the node's namespaces, so its paths
and addresses are those of any machine; it may die and come back without its pods noticing.
"""

import asyncio
import gc
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from netemu.api import core, wellknown
from netemu.base import clock
from netemu.client import connect
from netemu.http import tls
from netemu.kernel import firewall, network
from netemu.kubelet import agent as kubelet
from netemu.kubelet import cni
from netemu.kubeproxy import agent as kubeproxy
from netemu.kubeproxy import options
from netemu.lab import composition, config, policed, routers
from netemu.netpol import agent as netpol
from netemu.podnet import agent as podnet
from netemu.podnet import backends

if TYPE_CHECKING:
    from netemu.lab import components, supervisor

_LOOK_AGAIN = 0.005  # seconds; at the start of a lab the control plane is about to write the credentials
_log = logging.getLogger("lab")


def main(channel: "components.Channel", spec: "supervisor.Spec", node: config.Node) -> None:
    """Until killed."""
    gc.freeze()
    gc.enable()
    asyncio.run(_run(spec.lab, node, channel.mark))


async def _run(lab: config.LabConfig, node: config.Node, mark: Callable[[str], None]) -> None:
    here = Path(composition.CREDENTIALS)
    while not here.exists():
        await asyncio.sleep(_LOOK_AGAIN)
    mark("credentials found")
    url = composition.api_url(lab)
    time_of = clock.SystemClock()
    pods, services = ([str(net) for net in pair] for pair in (lab.ranges.pods, lab.ranges.services))
    async with (
        connect.over(url, here / "ca.crt", here / "client.crt", here / "client.key") as client,
        asyncio.TaskGroup() as tasks,
    ):
        others = lab.network.cni
        wires = cni.Cni(
            bin_dirs=(*others.directories, *cni.DIRECTORIES),
            own=cni.Ours(),
            definition=cni.Definitions(client).config,
        )
        runtime = policed.PolicedRuntime(composition.RUNTIME_SOCKET, wires)
        kubelet_of = kubelet.run(client, _node(lab, node), runtime, time_of, _serving(here), network=wires)
        tasks.create_task(kubelet_of)
        net = network.LinuxNetwork()
        proxy = options.Options(mode=lab.proxy.mode, masquerade_all=lab.proxy.masquerade_all)
        door = firewall.LibNftables()
        serving = kubeproxy.run(
            client, node.name, door, time_of, pods, service_cidrs=services, settings=proxy, system=net
        )
        tasks.create_task(serving)
        policing = netpol.Options(board=composition.DROPS_SOCKET, metrics="127.0.0.1:10259")
        doors = netpol.Doors.here()
        tasks.create_task(netpol.run(client, node.name, doors, time_of, gate=runtime.gate, options=policing))
        settings = podnet.Config(
            tuple(pods), tuple(services), _pod_network(lab, node), own_list=not others.conflist
        )
        door = firewall.LibNftables()
        tasks.create_task(podnet.run(client, node.name, net, door, time_of, settings))
        mark("parts started")


def _serving(here: Path) -> ssl.SSLContext:
    return tls.server(here / "server.crt", here / "server.key", here / "ca.crt")


def _pod_network(lab: config.LabConfig, node: config.Node) -> backends.Settings:
    chosen = lab.network
    router = routers.of_node(lab, node) if chosen.backend == backends.BGP else None
    return backends.Settings(chosen.backend, chosen.pods, chosen.mtu, chosen.direct_routing, router)


def _node(lab: config.LabConfig, node: config.Node) -> kubelet.NodeConfig:
    first = node.role == config.CONTROL_PLANE
    # A lab of one node has nowhere else to put pods.
    taint = core.Taint(key=wellknown.CONTROL_PLANE, effect="NoSchedule")
    return kubelet.NodeConfig(
        name=node.name,
        ips=node.ips,
        labels={wellknown.CONTROL_PLANE: ""} if first else {},
        taints=(taint,) if first and lab.workers else (),
        cluster_dns=lab.dns_service[:1],
        cluster_domain=config.CLUSTER_DOMAIN,
    )
