"""The topology of a lab made by hand with `ip`: two workers, three pods, what joins them; any rules, or none.

Knows the commands anybody would type; does not know what is measured, nor anything of netemu but its door to
namespaces.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

from netemu.kernel import netns

PORT = 7000
NODES = ("worker-1", "worker-2")


class Way(NamedTuple):
    """From a client's namespace to a server's, asked for at an address and a port."""

    client: str
    server: str
    address: str
    port: int = PORT


class Topology(NamedTuple):
    """Of a lab, IPv4: workers' addresses and pod subnets, pods (worker and address), the Service of c.

    `direct`: pods of one node are each other's neighbours; else the node is the only one that each has.
    """

    backend: str
    mtu: int
    direct: bool
    nodes: dict[str, str]
    subnets: dict[str, IPv4Network]
    pods: dict[str, tuple[str, str]]
    service: str

    def ways(self, places: dict[str, str], *, translated: bool = True) -> dict[str, Way]:
        """What is measured, between pods in these namespaces."""
        there = Way(places["a"], places["c"], self.pods["c"][1])
        return {
            "same node": Way(places["a"], places["b"], self.pods["b"][1]),
            "two nodes": there,
            "Service, two nodes": there._replace(address=self.service, port=80) if translated else there,
        }


_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "2",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/cni0/send_redirects": "0",
    "net/bridge/bridge-nf-call-iptables": "1",
}
_FEWEST = """
table ip hand {{
  set inside {{ type ipv4_addr ; flags interval ;
    elements = {{ 10.244.0.0/16, 10.96.0.0/16, 172.18.0.0/16 }} ; }}
  map services {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ;
    elements = {{ {service} . tcp . 80 : {pod} . {port} }} ; }}
  chain prerouting {{ type nat hook prerouting priority dstnat ;
    dnat to ip daddr . ip protocol . tcp dport map @services ; }}
  chain postrouting {{ type nat hook postrouting priority srcnat ;
    ip saddr 10.244.0.0/16 ip daddr != @inside masquerade fully-random ; }}
}}
"""
# That a rule asks suffices: no packet comes to it.
TRACKED = """
table inet hand {
  chain asking { ct state new ; }
}
"""


@contextlib.contextmanager
def hand(found: Topology, rules: dict[str, str]) -> Iterator[dict[str, Way]]:
    """The lab's two workers and three pods again, by the commands anybody would type; `rules` by worker: none
    are bare links.
    """
    places = ("fabric", *NODES, *found.pods)
    fds = {place: netns.open_new() for place in places}
    paths = {place: f"/proc/{os.getpid()}/fd/{fd}" for place, fd in fds.items()}
    try:
        for place, text in commands(found, paths).items():
            netns.call(paths[place], _told, ("ip", "-batch", "-"), text)
        for node in NODES:
            netns.call(paths[node], _settle)
            netns.call(paths[node], _told, ("nft", "-f", "-"), rules.get(node, ""))
            if found.backend == "vxlan":
                entries = ((_mac(other, "flannel.1"), found.nodes[other]) for other in NODES if other != node)
                text = "".join(f"fdb add {mac} dev flannel.1 dst {ip}\n" for mac, ip in entries)
                netns.call(paths[node], _told, ("bridge", "-batch", "-"), text)
        yield found.ways(paths, translated=bool(rules))
    finally:
        for fd in fds.values():
            os.close(fd)


def fewest(found: Topology) -> dict[str, str]:
    """Rules that do what is asked for here and no more: to the outside, and to this one Service."""
    text = _FEWEST.format(service=found.service, pod=found.pods["c"][1], port=PORT)
    return dict.fromkeys(NODES, text)


def commands(found: Topology, paths: dict[str, str]) -> dict[str, str]:
    """What `ip` is told, place by place in this order."""
    told = {"fabric": "link set lo up\nlink add nodes type bridge\nlink set nodes up\n"}
    for node in NODES:
        told["fabric"] += f"link add {node} type veth peer name eth0 netns {paths[node]}\n"
        told["fabric"] += f"link set {node} master nodes up\n"
    for node, other in (NODES, reversed(NODES)):
        subnet = found.subnets[node]
        told[node] = (
            f"link set eth0 address {_mac(node, 'eth0')}\naddr add {found.nodes[node]}/16 dev eth0\n"
            "link set eth0 up\nlink set lo up\n"
            f"neigh add {found.nodes[other]} lladdr {_mac(other, 'eth0')} dev eth0 nud permanent\n"
            f"link add address {_mac(node, 'cni0')} cni0 type bridge\n"
            f"link set cni0 mtu {found.mtu} up\naddr add {subnet[1]}/24 dev cni0\n"
        )
        told[node] += _between(found, node, other)
    for pod, (node, ip) in found.pods.items():
        mtu = found.mtu
        told[node] += (
            f"link add veth-{pod} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {paths[pod]}\n"
            f"link set veth-{pod} master cni0 up\n"
            f"neigh add {ip} lladdr {_mac(pod, 'eth0')} dev cni0 nud permanent\n"
        )
        gateway = found.subnets[node][1]
        told[pod] = (
            f"link set lo up\nlink set eth0 address {_mac(pod, 'eth0')}\nlink set eth0 up\n"
            f"addr add {ip}/{24 if found.direct else 32} dev eth0\n"
            f"route add default via {gateway} dev eth0 onlink\n"
            f"neigh add {gateway} lladdr {_mac(node, 'cni0')} dev eth0 nud permanent\n"
        )
    return told


def _between(found: Topology, node: str, other: str) -> str:
    own, there = found.subnets[node], found.subnets[other]
    if found.backend == "host-gw":
        return f"route add {there} via {found.nodes[other]}\n"
    tunnel = "flannel.1 type vxlan id 1 dev eth0 dstport 8472 nolearning"
    return (
        f"link add address {_mac(node, 'flannel.1')} mtu 1450 {tunnel} local {found.nodes[node]}\n"
        f"addr add {own[0]}/32 dev flannel.1\nlink set flannel.1 up\n"
        f"neigh add {there[0]} lladdr {_mac(other, 'flannel.1')} dev flannel.1 nud permanent\n"
        f"route add {there} via {there[0]} dev flannel.1 onlink\n"
    )


def _mac(place: str, link: str) -> str:
    """Known beforehand, for permanent neighbours: the kernel's table of others may be full."""
    return "0e:" + hashlib.blake2s(f"{place} {link}".encode(), digest_size=5).digest().hex(":")


def _settle() -> None:
    """In a node's namespace."""
    for key, value in _SYSCTLS.items():
        Path("/proc/sys", key).write_text(value)


def _told(command: tuple[str, ...], text: str) -> None:
    subprocess.run(command, check=True, input=text, text=True)
