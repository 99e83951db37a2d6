"""What netemu's network costs a packet: `sudo python -m bench.network [--rounds N] [--write]`.

TCP throughput and round trips between pods of labs, and in turn over the same topology made by hand with `ip`
(bridges, veths, addresses, routes, the tunnel, neighbours), in three forms: with the two rules it takes to do
what is asked for (pods masqueraded to the outside, this one Service); *bare links*, without any, where the
Service's backend is asked directly; and with the lab's own rules while a policy selects its pods. Turns are
short, so that what disturbs one disturbs the others; figures are ratios, each value the median of ten turns.
Where the time goes is found with less noise: by the processor time of one thread that is both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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

from bench import byhand, harness
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
_CHUNK = memoryview(bytes(1 << 20))


class Measured(NamedTuple):
    gigabits: float  # a second
    trip: float  # microseconds, median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help=f"of {GROUP} turns for each way")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    options = parser.parse_args()
    print(harness.machine(), flush=True)
    samples: list[harness.Sample] = []
    costs: list[harness.Sample] = []
    busy = 0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for backend in ("host-gw", "vxlan"):
        with contextlib.ExitStack() as stack:
            found, places, policed = stack.enter_context(lab(backend))
            ours = found.ways(places)
            two = stack.enter_context(byhand.hand(found, byhand.fewest(found)))
            bare = stack.enter_context(byhand.hand(found, {}))
            under = stack.enter_context(byhand.hand(found, policed))
            tracked = stack.enter_context(byhand.hand(found, dict.fromkeys(byhand.NODES, byhand.TRACKED)))
            busy += not harness.quiet(options.patience)
            for title, way in ours.items():
                taken = compare((way, two[title], bare[title], under[title]), options.rounds * GROUP)
                samples += told(figures(f"{title}, {backend}", *taken))
            for title in ("same node", "two nodes"):
                asked = (bare, tracked, two, ours, under)
                spent = attribute(tuple(ways[title] for ways in asked), options.rounds * GROUP)
                costs += told(layers(f"{title}, {backend}", *spent))
    if options.write:
        note = f"Other work disturbed {busy} of 2 runs." if busy else ""
        harness.publish("network", samples, _COMMAND, note)
        harness.publish("network-costs", costs, _COMMAND, note)


_COMMAND = "sudo python -m bench.network"


def told(samples: list[harness.Sample]) -> list[harness.Sample]:
    """The same, printed."""
    for sample in samples:
        print(sample.line(), flush=True)
    return samples


def figures(title: str, *measured: list[Measured]) -> list[harness.Sample]:
    """Of the lab, by hand with two rules, over bare links, and by hand under a policy."""
    rates = tuple([one.gigabits for one in each] for each in measured)
    trips = tuple([one.trip for one in each] for each in measured)
    netemu, two, bare, policed = range(4)
    rate, trip = f"{title}: throughput", f"{title}: round trip"
    return [
        harness.Sample(rate, "Gbit/s", medians(rates[netemu])),
        harness.Sample(f"{rate}, by hand / netemu", "x", over(rates[two], rates[netemu]), GOAL),
        harness.Sample(f"{rate}, bare links / netemu", "x", over(rates[bare], rates[netemu]), GOAL),
        harness.Sample(trip, "us", medians(trips[netemu])),
        harness.Sample(f"{trip}, netemu / by hand", "x", over(trips[netemu], trips[two]), GOAL),
        harness.Sample(f"{trip}, netemu / bare links", "x", over(trips[netemu], trips[bare]), GOAL),
        harness.Sample(f"{trip}, under a policy / by hand", "x", over(trips[policed], trips[two])),
    ]


def layers(title: str, bare: list[float], *measured: list[float]) -> list[harness.Sample]:
    """Microseconds over bare links, and what comes on top of them with more and more rules."""
    names = ("conntrack alone", "two rules by hand", "netemu", "netemu, under a policy")
    ratios = (
        harness.Sample(f"{title}: {name} / bare links", "x", over(each, bare))
        for name, each in zip(names, measured, strict=True)
    )
    return [harness.Sample(f"{title}: bare links", "us", medians(bare)), *ratios]


def medians(values: list[float]) -> tuple[float, ...]:
    """Of each group of turns."""
    return tuple(statistics.median(values[at : at + GROUP]) for at in range(0, len(values), GROUP))


def over(some: list[float], others: list[float]) -> tuple[float, ...]:
    """How one compares with the other in the same turn, the median of each group."""
    return medians([one / other for one, other in zip(some, others, strict=True)])


# --- measuring


def compare(ways: tuple[byhand.Way, ...], rounds: int) -> tuple[list[Measured], ...]:
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
def serving(way: byhand.Way) -> Iterator[None]:
    """A process that answers there: what it received after the client has finished, or each byte at once."""
    with netns.inside(way.server):
        listener = socket.create_server(("0.0.0.0", byhand.PORT))
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


def _open(way: byhand.Way) -> socket.socket:
    with netns.inside(way.client):
        stream = socket.socket()
    stream.settimeout(10)
    stream.connect((way.address, way.port))
    stream.settimeout(None)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def throughput(way: byhand.Way) -> float:
    """Gbit/s of what has really arrived."""
    with _open(way) as stream:
        stream.sendall(b"t")
        began = time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            stream.sendall(_CHUNK)
        stream.shutdown(socket.SHUT_WR)
        arrived = int(stream.recv(64))
        return arrived * 8 / (time.perf_counter() - began) / 1e9


def round_trip(way: byhand.Way) -> float:
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


def attribute(ways: tuple[byhand.Way, ...], rounds: int) -> tuple[list[float], ...]:
    found: tuple[list[float], ...] = tuple([] for _ in ways)
    for number in range(rounds):
        for step in range(len(ways)):
            which = (number + step) % len(ways)
            found[which].append(processor_time(ways[which]))
    return found


def processor_time(way: byhand.Way) -> float:
    """Microseconds that one byte there and back takes, lower quartile. Nobody is woken up, nobody waits: a
    packet is received before the call that sends it returns.
    """
    with netns.inside(way.server):
        listener = socket.create_server(("0.0.0.0", byhand.PORT))
    with listener, _open(way) as client, listener.accept()[0] as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(TRIPS):
            began = time.thread_time_ns()
            for sender, receiver in ((client, server), (server, client)):
                sender.send(b"x")
                receiver.recv(1)
            times.append(time.thread_time_ns() - began)
    return sorted(times)[TRIPS // 4] / 1000


# --- netemu's


@contextlib.contextmanager
def lab(backend: str) -> Iterator[tuple[byhand.Topology, dict[str, str], dict[str, str]]]:
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


async def _populate(name: str, backend: str) -> tuple[byhand.Topology, dict[str, str], dict[str, str]]:
    found = handle.open(name)
    async with connect.from_kubeconfig(str(found.kubeconfig)) as client:
        for pod, node in (("a", byhand.NODES[0]), ("b", byhand.NODES[0]), ("c", byhand.NODES[1])):
            await client.create(_pod(pod, node))
        service = await client.create(_service())
        pods: dict[str, core.Pod] = {}
        async with asyncio.timeout(120):
            while len(pods) < 3:
                listing = await client.list(core.Pod, "default")
                pods = {p.metadata.name: p for p in listing.items if p.status.podIP and _ready(p)}
                await asyncio.sleep(0.05)
        nodes = {node: await client.get(core.Node, node) for node in byhand.NODES}
    placed = {key: one for node in byhand.NODES for key, one in (await sources.pods_on(found, node)).items()}
    places = {pod: str(found.pid_path(placed["default", pod].sandbox.pid, "ns/net")) for pod in pods}
    topology = byhand.Topology(
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
            places = {node: str(found.netns(node)) for node in byhand.NODES}
            rules = {n: netns.call(place, _said, ("nft", "list", "ruleset")) for n, place in places.items()}
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


def _wait(way: byhand.Way) -> socket.socket:
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
    ports = [{"port": 80, "targetPort": byhand.PORT, "protocol": "TCP"}]
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


if __name__ == "__main__":
    main()
