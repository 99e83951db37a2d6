"""What netemu's network costs a packet: `sudo python -m bench.network [--rounds N] [--write]`.

TCP throughput and round trips between pods of labs, and at the same time over the same topology made by hand
with `ip` and two rules of nft (pods masqueraded to the outside, a Service translated). Rounds alternate, so
that what disturbs one disturbs the other; the figure is the ratio. `--write`: into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import harness
from netemu.api import codec, core
from netemu.client import connect
from netemu.kernel import netns
from netemu.lab import handle
from netemu.scenario import sources

ROOT = Path(__file__).parent.parent
GOAL = 1.03  # by hand / netemu
SECONDS = 0.4  # of throughput in a round
TRIPS = 400
PORT = 7000
_CHUNK = memoryview(bytes(1 << 20))


class Way(NamedTuple):
    """From a client's namespace to a server's, asked for at an address and a port."""

    client: str
    server: str
    address: str
    port: int = PORT


class Measured(NamedTuple):
    gigabits: float  # a second
    trip: float  # microseconds, median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of each way, netemu's and by hand in turn")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    options = parser.parse_args()
    print(harness.machine(), flush=True)
    samples: list[harness.Sample] = []
    busy = 0
    for backend in ("host-gw", "vxlan"):
        with contextlib.ExitStack() as stack:
            ways, mtu = stack.enter_context(lab(backend))
            by_hand = stack.enter_context(hand(backend, mtu))
            busy += not harness.quiet(options.patience)
            for title in ways:
                found = compare(ways[title], by_hand[title], options.rounds)
                samples += figures(f"{title}, {backend}", *found)
                for sample in samples[-4:]:
                    print(sample.line(), flush=True)
    if options.write:
        write(samples, busy)


def write(samples: list[harness.Sample], busy: int) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    disturbed = f" Other work disturbed {busy} of 2 runs." if busy else ""
    text = (
        "## The network\n\n"
        "TCP between pods over netemu's network, and over the same topology made by hand with `ip`, in turn\n"
        "in one run. A ratio above 1 means that netemu is slower.\n\n"
        f"{harness.table(samples)}\n{today}, {harness.machine()}.{disturbed} "
        "Measured by `sudo python -m bench.network --write`.\n"
    )
    harness.rewrite(ROOT / "docs" / "performance.md", "network", text)


def figures(title: str, ours: list[Measured], theirs: list[Measured]) -> list[harness.Sample]:
    pairs = list(zip(ours, theirs, strict=True))
    return [
        harness.Sample(f"{title}: throughput", "Gbit/s", tuple(o.gigabits for o in ours)),
        harness.Sample(
            f"{title}: throughput by hand / netemu",
            "",
            tuple(t.gigabits / o.gigabits for o, t in pairs),
            GOAL,
        ),
        harness.Sample(f"{title}: round trip", "us", tuple(o.trip for o in ours)),
        harness.Sample(
            f"{title}: round trip netemu / by hand", "", tuple(o.trip / t.trip for o, t in pairs), GOAL
        ),
    ]


# --- measuring


def compare(ours: Way, theirs: Way, rounds: int) -> tuple[list[Measured], list[Measured]]:
    found: tuple[list[Measured], list[Measured]] = ([], [])
    with serving(ours), serving(theirs):
        for number in range(rounds + 1):
            # Whoever is second finds warm caches; so take turns. The first round is for warming only.
            order = ((0, ours), (1, theirs)) if number % 2 else ((1, theirs), (0, ours))
            for which, way in order:
                measured = Measured(throughput(way), round_trip(way))
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
def lab(backend: str) -> Iterator[tuple[dict[str, Way], int]]:
    """Two pods on one worker, one on the other with a Service; and the MTU of their links."""
    name = f"bench-{backend}"
    document = f"nodes: 3\nnetwork: {{backend: {backend}}}\n"
    netemu = (sys.executable, "-m", "netemu.cli.main")
    subprocess.run((*netemu, "down", "--name", name, "--quiet"), check=False, capture_output=True)
    arguments = ("up", "--name", name, "--quiet", "-f", "/dev/stdin")
    subprocess.run((*netemu, *arguments), check=True, input=document, text=True)
    try:
        yield asyncio.run(_populate(name))
    finally:
        subprocess.run((*netemu, "down", "--name", name, "--quiet"), check=True)


async def _populate(name: str) -> tuple[dict[str, Way], int]:
    found = handle.open(name)
    async with connect.from_kubeconfig(str(found.kubeconfig)) as client:
        for pod, node in (("a", "worker-1"), ("b", "worker-1"), ("c", "worker-2")):
            await client.create(_pod(pod, node))
        service = await client.create(_service())
        pods = {}
        async with asyncio.timeout(120):
            while len(pods) < 3:
                listing = await client.list(core.Pod, "default")
                pods = {p.metadata.name: p for p in listing.items if p.status.podIP and _ready(p)}
                await asyncio.sleep(0.05)
    nodes = {one.spec.nodeName for one in pods.values()}
    placed = {key: one for node in nodes for key, one in (await sources.pods_on(found, node)).items()}
    places = {pod: str(found.pid_path(placed["default", pod].sandbox.pid, "ns/net")) for pod in pods}
    way = Way(places["a"], places["c"], service.spec.clusterIP, 80)
    with contextlib.closing(_wait(way)):
        pass
    ways = {
        "same node": Way(places["a"], places["b"], pods["b"].status.podIP),
        "two nodes": Way(places["a"], places["c"], pods["c"].status.podIP),
        "Service, two nodes": way,
    }
    return ways, netns.call(places["a"], lambda: _mtu("eth0"))


def _mtu(link: str) -> int:
    """Of the calling thread's namespace."""
    text = subprocess.run(
        ("ip", "-o", "link", "show", link), check=True, capture_output=True, text=True
    ).stdout
    words = text.split()
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


# --- by hand

_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "2",
    "net/bridge/bridge-nf-call-iptables": "1",
}
_NFT = """
table ip hand {{
  set inside {{ type ipv4_addr ; flags interval ;
    elements = {{ 10.244.0.0/16, 10.96.0.0/16, 172.18.0.0/16 }} ; }}
  map services {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ;
    elements = {{ 10.96.0.99 . tcp . 80 : 10.244.2.2 . {port} }} ; }}
  chain prerouting {{ type nat hook prerouting priority dstnat ;
    dnat to ip daddr . ip protocol . tcp dport map @services ; }}
  chain postrouting {{ type nat hook postrouting priority srcnat ;
    ip saddr 10.244.0.0/16 ip daddr != @inside masquerade fully-random ; }}
}}
"""


@contextlib.contextmanager
def hand(backend: str, mtu: int) -> Iterator[dict[str, Way]]:
    """Two nodes on a bridge, two pods on the first and one on the second: the commands anybody would type."""
    places = ("fabric", "w1", "w2", "a", "b", "c")
    fds = {place: netns.open_new() for place in places}
    paths = {place: f"/proc/{os.getpid()}/fd/{fd}" for place, fd in fds.items()}
    try:
        for place, text in commands(backend, mtu, paths).items():
            _ip(paths[place], text)
        for node in ("w1", "w2"):
            netns.call(paths[node], _settle)
        yield {
            "same node": Way(paths["a"], paths["b"], "10.244.1.3"),
            "two nodes": Way(paths["a"], paths["c"], "10.244.2.2"),
            "Service, two nodes": Way(paths["a"], paths["c"], "10.96.0.99", 80),
        }
    finally:
        for fd in fds.values():
            os.close(fd)


def commands(backend: str, mtu: int, paths: dict[str, str]) -> dict[str, str]:
    """What `ip` is told, place by place in this order."""
    told = {"fabric": "link set lo up\nlink add nodes type bridge\nlink set nodes up\n"}
    for node in ("w1", "w2"):
        told["fabric"] += f"link add {node} type veth peer name eth0 netns {paths[node]}\n"
        told["fabric"] += f"link set {node} master nodes up\n"
    for node, other in ((1, 2), (2, 1)):
        told[f"w{node}"] = (
            f"addr add 172.18.0.{node + 2}/16 dev eth0\nlink set eth0 up\nlink set lo up\n"
            f"link add cni0 type bridge\nlink set cni0 mtu {mtu} up\naddr add 10.244.{node}.1/24 dev cni0\n"
        )
        told[f"w{node}"] += _between(backend, node, other)
    for pod, node, number in (("a", 1, 2), ("b", 1, 3), ("c", 2, 2)):
        told[f"w{node}"] += (
            f"link add veth-{pod} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {paths[pod]}\n"
            f"link set veth-{pod} master cni0 up\n"
        )
        told[pod] = (
            f"link set lo up\naddr add 10.244.{node}.{number}/24 dev eth0\nlink set eth0 up\n"
            f"route add default via 10.244.{node}.1\n"
        )
    return told


def _between(backend: str, node: int, other: int) -> str:
    if backend == "host-gw":
        return f"route add 10.244.{other}.0/24 via 172.18.0.{other + 2}\n"
    tunnel = "flannel.1 type vxlan id 1 dev eth0 dstport 8472 nolearning"
    return (
        f"link add address 0e:00:00:00:00:0{node} mtu 1450 {tunnel} local 172.18.0.{node + 2}\n"
        f"addr add 10.244.{node}.0/32 dev flannel.1\nlink set flannel.1 up\n"
        f"neigh add 10.244.{other}.0 lladdr 0e:00:00:00:00:0{other} dev flannel.1 nud permanent\n"
        f"route add 10.244.{other}.0/24 via 10.244.{other}.0 dev flannel.1 onlink\n"
    )


def _settle() -> None:
    """In a node's namespace: settings, rules, and where the other tunnel's end is."""
    for key, value in _SYSCTLS.items():
        Path("/proc/sys", key).write_text(value)
    rules = _NFT.format(port=PORT)
    subprocess.run(("nft", "-f", "-"), check=True, input=rules, text=True)
    if "flannel.1" in os.listdir("/proc/sys/net/ipv4/conf"):
        for number in (1, 2):
            entry = (f"0e:00:00:00:00:0{number}", "dev", "flannel.1", "dst", f"172.18.0.{number + 2}")
            subprocess.run(("bridge", "fdb", "add", *entry), check=True)


def _ip(place: str, text: str) -> None:
    def run() -> None:
        subprocess.run(("ip", "-batch", "-"), check=True, input=text, text=True)

    netns.call(place, run)


if __name__ == "__main__":
    main()
