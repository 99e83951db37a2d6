"""The BGP speakers of a lab with backend bgp: one a node, one on the fabric's router, each a process of BIRD.

Knows who speaks to whom and how the process is started; what they say is podnet's.
"""

import os
import shutil
import time
from ipaddress import IPv4Address
from pathlib import Path

from netemu.base import errors
from netemu.lab import components, config, layout
from netemu.podnet import backends, bird

_FABRIC_AS, _FIRST_AS = 64512, 64513  # for private use (RFC 6996)
_PATH = f"{os.defpath}:/usr/sbin:/usr/local/sbin:/sbin"
_LOOK_AGAIN = 0.02  # seconds; podnet writes the file as soon as the node has its pod subnets


def program() -> str:
    """The path of BIRD. Rejected, with what to install."""
    found = shutil.which("bird", path=_PATH)
    if found is None:
        raise errors.Rejected(
            "backend bgp needs a BGP speaker, and BIRD is not installed",
            hint="apt install bird2 (its own service is not needed), or another network.backend",
        )
    return found


def of_node(lab: config.LabConfig, node: config.Node) -> backends.Router:
    """It speaks to the fabric's router on its link, in each family."""
    number = lab.nodes.index(node)
    routers = {router.version: router.ip for router in lab.segments[node.segment].router}
    sessions = (
        backends.Session("router", own.ip, routers[own.version], _FABRIC_AS) for own in node.interfaces
    )
    return backends.Router(_identifier(number + 1), _FIRST_AS + number, tuple(sessions))


def of_fabric(lab: config.LabConfig) -> backends.Router:
    """It speaks to every node, on the link where that is."""
    sessions = []
    for number, node in enumerate(lab.nodes):
        routers = {router.version: router.ip for router in lab.segments[node.segment].router}
        name = node.name.replace("-", "_")
        sessions += [
            backends.Session(name, routers[its.version], its.ip, _FIRST_AS + number)
            for its in node.interfaces
        ]
    return backends.Router(_identifier(0), _FABRIC_AS, tuple(sessions))


def _identifier(number: int) -> IPv4Address:
    """Of a speaker: the same in a lab without IPv4 (RFC 6286: any number that no other has)."""
    return IPv4Address("10.255.0.1") + number


def on_node(place: layout.Layout, node: config.Node) -> components.Component:
    """The process in a node's namespaces; it starts when podnet has written its configuration."""
    namespaces = {kind: place.namespace(node.name, kind) for kind in ("net", "mnt", "uts")}
    return _component(place, node.name, namespaces, bird.CONFIGURATION, bird.CONTROL)


def on_fabric(place: layout.Layout, lab: config.LabConfig) -> components.Component:
    """The process on the fabric's router. Its configuration is written here: it is known beforehand."""
    directory = Path(place.node(layout.FABRIC))
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / "bird.conf"
    path.write_text(bird.config(of_fabric(lab), (), lab.ranges.pods), encoding="ascii")
    namespaces = {"net": place.namespace(layout.FABRIC, "net")}
    return _component(place, layout.FABRIC, namespaces, str(path), str(directory / "bird.ctl"))


def _component(
    place: layout.Layout, where: str, namespaces: dict[str, str], configuration: str, control: str
) -> components.Component:
    name, path = f"router-{where}", program()

    def main(_: components.Channel) -> None:
        while not os.path.exists(configuration):
            time.sleep(_LOOK_AGAIN)
        # After a crash its routes are still there, in the kernel and with its neighbours (RFC 4724).
        recovery = ["-R"] if os.path.exists(control) else []
        os.execv(path, [path, "-f", *recovery, "-c", configuration, "-s", control])

    return components.Component(name, f"netemu:{name}"[:15], main, place.log(name), namespaces)
