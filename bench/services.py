"""What Services cost: `sudo python -m bench.services [--services N …] [--rounds R] [--write]`.

netemu's maps beside kube-proxy's rules for nftables (which this module writes itself) and for iptables, in
one run and in network namespaces of its own: the whole load, one endpoint more or less, memory, connecting.
Each figure is taken in a process of its own. `--write`: into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import itertools
import multiprocessing
import os
import shutil
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bench import harness
from netemu.api import codec, core, discovery, meta, wellknown
from netemu.base import clock
from netemu.kernel import conntrack, firewall, netns, network, touches
from netemu.kernel import operations as ops
from netemu.kubeproxy import endpoints, layout, options, programs, services
from netemu.kubeproxy import proxy as proxying

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
NODE = "worker-1"


def service(number: int) -> core.Service:
    address = f"10.{96 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    return codec.convert(
        core.Service,
        {
            "metadata": {"name": f"svc-{number}", "namespace": "bench"},
            "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports},
        },
    )


def slice_(number: int, size: int) -> discovery.EndpointSlice:
    name = f"svc-{number}"
    members = [
        {
            "addresses": [f"10.244.{10 * n + (number >> 8) % 10}.{number & 255}"],
            "conditions": {"ready": True},
            "nodeName": f"worker-{n + 1}",
            "targetRef": {"kind": "Pod", "namespace": "bench", "name": f"{name}-7d4b9c6f5d-{n:05d}"},
        }
        for n in range(size)
    ]
    return codec.convert(
        discovery.EndpointSlice,
        {
            "metadata": {
                "name": f"{name}-abcde",
                "namespace": "bench",
                "labels": {wellknown.SERVICE_NAME: name},
            },
            "addressType": "IPv4",
            "endpoints": members,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
    )


class Found(NamedTuple):
    """Seconds of each round, or MiB."""

    load: list[float] = []
    change: list[float] = []
    peak: list[float] = []
    after: list[float] = []


def objects(count: int) -> list[tuple[core.Service, discovery.EndpointSlice]]:
    """As informers hold them."""
    return [(service(n), slice_(n, 2)) for n in range(1, count + 1)]


@contextlib.contextmanager
def proxy_in(place: int, mode: str) -> Iterator[proxying.Proxy]:
    chosen = options.Options(("10.244.0.0/16",), ("10.96.0.0/12",), mode=mode)
    around = options.surroundings(chosen, None)
    door, tracking = firewall.LibNftables(place), conntrack.NetlinkConntrack(place)
    touched = touches.Touches(layout.TABLES, place)
    program: programs.Program = programs.Nftables(door, touched, around)
    if mode == "iptables":
        program = programs.Iptables(around, ("nsenter", f"--net=/proc/{os.getpid()}/fd/{place}"))
    yield proxying.Proxy(NODE, program, tracking, around, clock.SystemClock())
    tracking.close()
    touched.close()


def fill(proxy: proxying.Proxy, held: Sequence[tuple[core.Service, discovery.EndpointSlice]]) -> None:
    for one, members in held:
        proxy.changes.service(meta.Key(one.metadata.namespace, one.metadata.name), services.parse(one))
        proxy.changes.slice(members.metadata.name, None, endpoints.parse(members))
    asyncio.run(proxy.sync())


def ours(count: int, rounds: int, mode: str) -> Found:
    """From objects to the kernel, in netemu's own way, in either mode."""
    held = objects(count)
    gc.freeze()
    load, change = [], []
    for _ in range(rounds):
        place = netns.open_new()
        with proxy_in(place, mode) as proxy:
            began = time.perf_counter()
            fill(proxy, held)
            load.append(time.perf_counter() - began)
            change += asyncio.run(one_endpoint(proxy, count, 20 if mode == "nftables" else 1))
        os.close(place)
    return Found(load, change)


async def one_endpoint(proxy: proxying.Proxy, count: int, times: int) -> list[float]:
    """From an object as a watch gives it to the kernel: one endpoint more, one less."""
    found = []
    for n in range(max(1, count - times), count + 1):
        for before, now in itertools.pairwise(slice_(n, size) for size in (2, 3, 2)):
            began = time.perf_counter()
            proxy.changes.slice(f"svc-{n}-abcde", endpoints.parse(before), endpoints.parse(now))
            await proxy.sync()
            found.append(time.perf_counter() - began)
    return found[2:]  # the first makes the chain for three backends


def memory(count: int) -> Found:
    """Of a process that holds the objects, as informers do, and serves them."""
    held = objects(count)
    place = netns.open_new()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    with proxy_in(place, "nftables") as proxy:
        fill(proxy, held)
        return Found(peak=[_status("VmHWM")], after=[_status("VmRSS")])


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def upstream(count: int) -> str:
    """The same Services as kube-proxy's nftables mode lays them out: chains and an anonymous map for each."""
    lines = [
        "add table ip kube-proxy",
        "add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }",
        "add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100 ; }",
        "add chain ip kube-proxy mark-for-masquerade",
        "add rule ip kube-proxy mark-for-masquerade mark set mark or 0x4000",
        "add rule ip kube-proxy nat-prerouting ip daddr . meta l4proto . th dport vmap @service-ips",
    ]
    entries = []
    for number in range(1, count + 1):
        one, members = service(number), slice_(number, 2)
        chain = f"service-{number:08d}-bench/svc-{number}/tcp/http"
        picks = []
        for slot, endpoint in enumerate(members.endpoints):
            address, target = endpoint.addresses[0], f"endpoint-{number:08d}-{slot}"
            picks.append(f"{slot} : goto {target}")
            lines += [
                f"add chain ip kube-proxy {target}",
                f"add rule ip kube-proxy {target} ip saddr {address} jump mark-for-masquerade",
                f"add rule ip kube-proxy {target} meta l4proto tcp dnat to {address}:8080",
            ]
        lines += [
            f"add chain ip kube-proxy {chain}",
            f"add rule ip kube-proxy {chain} numgen random mod 2 vmap {{ {', '.join(picks)} }}",
        ]
        entries.append(f"{one.spec.clusterIP} . tcp . 80 : goto {chain}")
    lines.append(f"add element ip kube-proxy service-ips {{ {', '.join(entries)} }}")
    return "\n".join(lines) + "\n"


def upstream_change(number: int, size: int) -> str:
    """As kube-proxy changes a Service: its chain is flushed and written again."""
    chain = f"service-{number:08d}-bench/svc-{number}/tcp/http"
    picks = ", ".join(f"{slot} : goto endpoint-{number:08d}-{slot}" for slot in range(size))
    lines = [f"add chain ip kube-proxy {chain}", f"flush chain ip kube-proxy {chain}"]
    address = slice_(number, size).endpoints[-1].addresses[0]
    if size > 2:
        target = f"endpoint-{number:08d}-{size - 1}"
        lines += [
            f"add chain ip kube-proxy {target}",
            f"add rule ip kube-proxy {target} ip saddr {address} jump mark-for-masquerade",
            f"add rule ip kube-proxy {target} meta l4proto tcp dnat to {address}:8080",
        ]
    lines.append(f"add rule ip kube-proxy {chain} numgen random mod {size} vmap {{ {picks} }}")
    return "\n".join(lines) + "\n"


def theirs(count: int) -> Found:
    """The kernel's share of kube-proxy's layout alone: the text is there already."""
    text, place = upstream(count), netns.open_new()
    door = firewall.LibNftables(place)
    load = harness.timed(lambda: door.apply(text))
    changes = []
    for n in range(max(1, count - 3), count + 1):
        change = upstream_change(n, 3)
        changes.append(harness.timed(functools.partial(door.apply, change)))
    return Found([load], changes)


# --- connecting


def connecting(sizes: tuple[int, ...], connects: int) -> list[list[float]]:
    """Microseconds of connect(2): through a node to the last Service of so many, for each size, and before
    these directly to the server, through the node that has the most.

    One connection of each in turn, so that what disturbs one disturbs the others.
    """
    ways = [_way(size) for size in sizes]
    ways.insert(0, (ways[-1][0], "10.244.0.2", 8080))
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(connects):
        for way, seconds in zip(ways, found, strict=True):
            seconds.append(_connect(*way))
    return found


def _way(count: int) -> tuple[int, str, int]:
    """The client's namespace, and whom it dials."""
    client, node, server = (netns.open_new() for _ in range(3))
    joined(client, node, server)
    with netns.inside(server):
        listening = socket.create_server(("", 8080), backlog=4096)
    threading.Thread(target=_accept, args=(listening,), daemon=True).start()
    own = codec.document(slice_(count, 1))
    own["endpoints"][0]["addresses"] = ["10.244.0.2"]
    held = [*objects(count - 1), (service(count), codec.convert(discovery.EndpointSlice, own))]
    with proxy_in(node, "nftables") as proxy:
        fill(proxy, held)
    return client, service(count).spec.clusterIP, 80


def joined(client: int, node: int, server: int) -> None:
    """client 10.244.1.2 - node - server 10.244.0.2."""
    router = network.LinuxNetwork(node)
    router.apply([ops.SetSysctl("net.ipv4.ip_forward", "1"), ops.SetUp("lo")])
    for name, place, number in (("c", client, 1), ("s", server, 0)):
        router.apply(
            [
                ops.AddVeth(name, "eth0", f"/proc/{os.getpid()}/fd/{place}"),
                ops.AddAddress(name, ip_interface(f"10.244.{number}.1/24")),
                ops.SetUp(name),
            ]
        )
        network.LinuxNetwork(place).apply(
            [
                ops.SetUp("eth0"),
                ops.AddAddress("eth0", ip_interface(f"10.244.{number}.2/24")),
                ops.AddRoute(ip_network("0.0.0.0/0"), ip_address(f"10.244.{number}.1")),
            ]
        )


def _accept(listening: socket.socket) -> None:
    while True:
        listening.accept()[0].close()


def _connect(place: int, address: str, port: int) -> float:
    with netns.inside(place):
        sock = socket.socket()
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
        began = time.perf_counter()
        sock.connect((address, port))
        return (time.perf_counter() - began) * 1e6


# --- the run


def apart(work: Callable[..., T], *arguments: Any, limit: float = 600.0) -> T | None:
    """In a process of its own; None when it takes longer than `limit` seconds."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    worker = context.Process(target=_apart, args=(writer, work, arguments))
    worker.start()
    writer.close()
    try:
        found: T | None = reader.recv() if reader.poll(limit) else None
    finally:
        worker.kill()
        worker.join()
    return found


def _apart(writer: Connection, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    writer.send(work(*arguments))


def compared(count: int, given: argparse.Namespace) -> Iterator[harness.Sample]:
    """The three layouts at one size."""
    mine = apart(ours, count, given.rounds, "nftables") or Found()
    shown = f"{count:,} Services"
    goals = (1.0, 0.6) if count >= 10_000 else ()
    yield harness.Sample(f"{shown}: load, objects to kernel", "s", tuple(mine.load), *goals)
    yield harness.Sample(f"{shown}: one endpoint more or less", "ms", _ms(mine.change), 5.0)
    if shutil.which("iptables-restore"):
        other = apart(ours, count, 1, "iptables", limit=given.limit)
        yield from _others("iptables", shown, other, mine, given.limit)
    other = apart(theirs, count, limit=given.limit)
    yield from _others("kube-proxy's nftables (kernel alone)", shown, other, mine, given.limit)


def _others(
    title: str, shown: str, other: Found | None, mine: Found, limit: float
) -> Iterator[harness.Sample]:
    seconds = other.load if other is not None else [limit]
    bound = "" if other is not None else ", given up after"
    yield harness.Sample(f"{shown}: load, {title}{bound}", "s", tuple(seconds))
    if other is not None:
        yield harness.Sample(f"{shown}: one endpoint, {title}", "ms", _ms(other.change))
    ratio = statistics.median(seconds) / statistics.median(mine.load)
    yield harness.Sample(f"{shown}: netemu loads faster than {title}", "times", (ratio,))


def _ms(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(one * 1e3 for one in seconds)


def connections(given: argparse.Namespace) -> Iterator[harness.Sample]:
    sizes = (10, max(given.services))
    rounds = [apart(connecting, sizes, 1000) or [[0.0]] * 3 for _ in range(given.rounds)]
    direct, *others = (tuple(statistics.median(one[n]) for one in rounds) for n in range(3))
    yield harness.Sample("connect, directly", "us", direct)
    for size, middles in zip(sizes, others, strict=True):
        shown = f"connect, by the last of {size:,} Services"
        yield harness.Sample(shown, "us", middles)
        ratios = tuple(one / other for one, other in zip(middles, direct, strict=True))
        yield harness.Sample(f"{shown}: to directly", "times", ratios, 1.2)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for a layout that is not ours")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    given = parser.parse_args(argv)
    print(harness.machine(), flush=True)
    quiet = harness.quiet(given.patience)
    samples = []
    figures = (*(compared(count, given) for count in given.services), _memory(given), connections(given))
    for figure in itertools.chain(*figures):
        print(figure.line(), flush=True)
        samples.append(figure)
    if given.write:
        note = "" if quiet else "The machine had other work to do."
        harness.publish("services", samples, "sudo python -m bench.services", note)


def _memory(given: argparse.Namespace) -> Iterator[harness.Sample]:
    largest = max(given.services)
    found = apart(memory, largest) or Found()
    yield harness.Sample(f"memory with {largest:,} Services, at most", "MiB", tuple(found.peak), 120.0)
    yield harness.Sample(f"memory with {largest:,} Services, afterwards", "MiB", tuple(found.after))


if __name__ == "__main__":
    main()
