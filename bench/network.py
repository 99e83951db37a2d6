"""What netemu's network costs a packet: `sudo python -m bench.network [--rounds N] [--write]`.

TCP throughput and round trips between pods of labs, and in turn over the same topology made by hand with `ip`
(bridges, veths, addresses, routes, the tunnel, neighbours), in three forms: with the two rules it takes to do
what is asked for (pods masqueraded to the outside, this one Service); *bare links*, without any, where the
Service's backend is asked directly; and with the lab's own rules while a policy selects its pods. Turns are
short, so that what disturbs one disturbs the others; figures are ratios, each value the median of ten turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

from bench import harness
from netemu.api import codec, core, networking
from netemu.client import connect
from netemu.kernel import netns
from netemu.lab import handle
from netemu.netpol import layout
from netemu.scenario import sources

ROOT = Path(__file__).parent.parent
GOAL = 1.03  # by hand / netemu
SECONDS = 0.1  # of throughput in a turn
TRIPS = 400
GROUP = 10  # turns whose medians are one value of a figure
PORT = 7000
_CHUNK = memoryview(bytes(1 << 20))


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


class Measured(NamedTuple):
    gigabits: float  # a second
    trip: float  # microseconds, median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help=f"of {GROUP} turns for each way")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    options = parser.parse_args()
    print(harness.machine(), flush=True)
    samples: list[harness.Sample] = []
    busy = 0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for backend in ("host-gw", "vxlan"):
        with contextlib.ExitStack() as stack:
            found, places, policed = stack.enter_context(lab(backend))
            ours = found.ways(places)
            two = stack.enter_context(hand(found, fewest(found)))
            bare = stack.enter_context(hand(found, {}))
            under = stack.enter_context(hand(found, policed))
            busy += not harness.quiet(options.patience)
            for title, way in ours.items():
                taken = compare((way, two[title], bare[title], under[title]), options.rounds * GROUP)
                for sample in figures(f"{title}, {backend}", *taken):
                    samples.append(sample)
                    print(sample.line(), flush=True)
    if options.write:
        write(samples, busy)


def write(samples: list[harness.Sample], busy: int) -> None:
    note = f"Other work disturbed {busy} of 2 runs." if busy else ""
    harness.publish("network", samples, "sudo python -m bench.network", note)


def figures(title: str, *measured: list[Measured]) -> list[harness.Sample]:
    """Of the lab, by hand with two rules, over bare links, and by hand under a policy."""
    rates = tuple([one.gigabits for one in each] for each in measured)
    trips = tuple([one.trip for one in each] for each in measured)
    netemu, two, bare, policed = range(4)
    rate, trip = f"{title}: throughput", f"{title}: round trip"
    return [
        harness.Sample(rate, "Gbit/s", medians(rates[netemu])),
        harness.Sample(f"{rate}, by hand / netemu", "", over(rates[two], rates[netemu]), GOAL),
        harness.Sample(f"{rate}, bare links / netemu", "", over(rates[bare], rates[netemu]), GOAL),
        harness.Sample(trip, "us", medians(trips[netemu])),
        harness.Sample(f"{trip}, netemu / by hand", "", over(trips[netemu], trips[two]), GOAL),
        harness.Sample(f"{trip}, netemu / bare links", "", over(trips[netemu], trips[bare]), GOAL),
        harness.Sample(f"{trip}, under a policy / by hand", "", over(trips[policed], trips[two])),
    ]


def medians(values: list[float]) -> tuple[float, ...]:
    """Of each group of turns."""
    return tuple(statistics.median(values[at : at + GROUP]) for at in range(0, len(values), GROUP))


def over(some: list[float], others: list[float]) -> tuple[float, ...]:
    """How one compares with the other in the same turn, the median of each group."""
    return medians([one / other for one, other in zip(some, others, strict=True)])


# --- measuring


def compare(ways: tuple[Way, ...], rounds: int) -> tuple[list[Measured], ...]:
    found: tuple[list[Measured], ...] = tuple([] for _ in ways)
    with contextlib.ExitStack() as stack:
        for way in ways:
            stack.enter_context(serving(way))
        for number in range(rounds + 1):
            # Whoever comes later finds warm caches; so take turns. The first round is for warming only.
            for step in range(len(ways)):
                which = (number + step) % len(ways)
                measured = Measured(throughput(ways[which]), round_trip(ways[which]))
                if number:
                    found[which].append(measured)
    return found


@contextlib.contextmanager
def serving(way: Way) -> Iterator[None]:
    """A process that answers there: what it received after the client has finished, or each byte at once."""
    with netns.inside(way.server):
        listener = socket.create_server(("0.0.0.0", PORT))
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        _serve(listener)
    listener.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(listener: socket.socket) -> None:
    room = bytearray(1 << 20)
    while True:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind, total = stream.recv(1), 0
        while got := stream.recv_into(room):
            total += got
            if kind == b"e":
                stream.sendall(room[:got])
        with contextlib.suppress(OSError):
            stream.sendall(str(total).encode())
        stream.close()


def _open(way: Way) -> socket.socket:
    with netns.inside(way.client):
        stream = socket.socket()
    stream.settimeout(10)
    stream.connect((way.address, way.port))
    stream.settimeout(None)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def throughput(way: Way) -> float:
    """Gbit/s of what has really arrived."""
    with _open(way) as stream:
        stream.sendall(b"t")
        began = time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            stream.sendall(_CHUNK)
        stream.shutdown(socket.SHUT_WR)
        arrived = int(stream.recv(64))
        return arrived * 8 / (time.perf_counter() - began) / 1e9


def round_trip(way: Way) -> float:
    """Microseconds of one byte there and back, median."""
    with _open(way) as stream:
        stream.sendall(b"e")
        times = []
        for _ in range(TRIPS):
            began = time.perf_counter()
            stream.sendall(b"x")
            stream.recv(1)
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


# --- netemu's


@contextlib.contextmanager
def lab(backend: str) -> Iterator[tuple[Topology, dict[str, str], dict[str, str]]]:
    """Two pods on one worker, one on the other with a Service; the pods' namespaces; the workers' rules as
    they are while a policy selects the pods.
    """
    name = f"bench-{backend}"
    document = f"nodes: 3\nnetwork: {{backend: {backend}}}\n"
    netemu = (sys.executable, "-m", "netemu.cli.main")
    subprocess.run((*netemu, "down", "--name", name, "--quiet"), check=False, capture_output=True)
    arguments = ("up", "--name", name, "--quiet", "-f", "/dev/stdin")
    subprocess.run((*netemu, *arguments), check=True, input=document, text=True)
    try:
        yield asyncio.run(_populate(name, backend))
    finally:
        subprocess.run((*netemu, "down", "--name", name, "--quiet"), check=True)


async def _populate(name: str, backend: str) -> tuple[Topology, dict[str, str], dict[str, str]]:
    found = handle.open(name)
    async with connect.from_kubeconfig(str(found.kubeconfig)) as client:
        for pod, node in (("a", NODES[0]), ("b", NODES[0]), ("c", NODES[1])):
            await client.create(_pod(pod, node))
        service = await client.create(_service())
        pods: dict[str, core.Pod] = {}
        async with asyncio.timeout(120):
            while len(pods) < 3:
                listing = await client.list(core.Pod, "default")
                pods = {p.metadata.name: p for p in listing.items if p.status.podIP and _ready(p)}
                await asyncio.sleep(0.05)
        nodes = {node: await client.get(core.Node, node) for node in NODES}
    placed = {key: one for node in NODES for key, one in (await sources.pods_on(found, node)).items()}
    places = {pod: str(found.pid_path(placed["default", pod].sandbox.pid, "ns/net")) for pod in pods}
    topology = Topology(
        backend,
        netns.call(places["a"], _mtu, "eth0"),
        " via " not in netns.call(places["a"], _said, ("ip", "route", "get", pods["b"].status.podIP)),
        {node: one.status.addresses[0].address for node, one in nodes.items()},
        {node: IPv4Network(one.spec.podCIDR) for node, one in nodes.items()},
        {pod: (one.spec.nodeName, one.status.podIP) for pod, one in sorted(pods.items())},
        service.spec.clusterIP,
    )
    with contextlib.closing(_wait(topology.ways(places)["Service, two nodes"])):
        pass
    return topology, places, await _policed(found)


async def _policed(found: handle.Handle) -> dict[str, str]:
    """The workers' rules while a policy lets the pods talk to each other only. It is gone afterwards."""
    async with connect.from_kubeconfig(str(found.kubeconfig)) as client:
        policy = await client.create(_policy())
        rules = await _listed(found, judged=True)
        await client.delete(networking.NetworkPolicy, policy.metadata.name, policy.metadata.namespace)
        await _listed(found, judged=False)
    return rules


async def _listed(found: handle.Handle, *, judged: bool) -> dict[str, str]:
    """The workers' rules, once each of them judges packets by policies, or none does."""
    async with asyncio.timeout(60):
        while True:
            rules = {n: netns.call(str(found.netns(n)), _said, ("nft", "list", "ruleset")) for n in NODES}
            if all((_JUDGING in text) == judged for text in rules.values()):
                return rules
            await asyncio.sleep(0.05)


_JUDGING = f"hook forward priority filter + {layout.PRIORITY};"


def _said(command: tuple[str, ...]) -> str:
    """What a command tells of the calling thread's namespace."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _mtu(link: str) -> int:
    words = _said(("ip", "-o", "link", "show", link)).split()
    return int(words[words.index("mtu") + 1])


def _wait(way: Way) -> socket.socket:
    """Until the Service is translated: its server does not listen yet, so it refuses."""
    deadline = time.monotonic() + 60
    while True:
        with netns.inside(way.client):
            stream = socket.socket()
        stream.settimeout(1)
        try:
            stream.connect((way.address, way.port))
        except ConnectionRefusedError:
            return stream
        except OSError:
            stream.close()
            if time.monotonic() > deadline:
                raise


def _ready(pod: core.Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def _pod(name: str, node: str) -> core.Pod:
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.9"}
    document = {
        "metadata": {"name": name, "namespace": "default", "labels": {"pod": name}},
        "spec": {"nodeName": node, "containers": [container]},
    }
    return codec.convert(core.Pod, document)


def _service() -> core.Service:
    ports = [{"port": 80, "targetPort": PORT, "protocol": "TCP"}]
    document = {
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {"selector": {"pod": "c"}, "ports": ports},
    }
    return codec.convert(core.Service, document)


def _policy() -> networking.NetworkPolicy:
    everyone: list[dict[str, object]] = [{"podSelector": {}}]
    document = {
        "metadata": {"name": "each-other", "namespace": "default"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": everyone}],
            "egress": [{"to": everyone}],
        },
    }
    return codec.convert(networking.NetworkPolicy, document)


# --- by hand

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


if __name__ == "__main__":
    main()
