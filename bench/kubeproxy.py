"""What Services cost: run as `python -m bench.kubeproxy [--services N …] [--rounds R]`, as root.

Objects to kernel through the proxy's own path, in network namespaces of its own: the whole table, and one
endpoint more or less. Medians of R rounds with the spread; each size in a process of its own, for its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence

from netemu.api import codec, core, discovery
from netemu.base import clock
from netemu.kernel import conntrack, firewall, generations, netns
from netemu.kubeproxy import endpoints, options, services
from netemu.kubeproxy import proxy as proxying

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
                "labels": {endpoints.SERVICE_LABEL: name},
            },
            "addressType": "IPv4",
            "endpoints": members,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
    )


def measure(count: int, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Seconds, by what was done."""
    objects = [(service(n), slice_(n, 2)) for n in range(1, count + 1)]
    around = options.surroundings(options.Options(("10.244.0.0/16",), ("10.96.0.0/12",)), None)
    load, change = [], []
    for _ in range(rounds):
        place = netns.open_new()
        doors = (
            firewall.LibNftables(place),
            conntrack.NetlinkConntrack(place),
            generations.Generations(place),
        )
        proxy = proxying.Proxy(NODE, proxying.Doors(*doors), around, clock.SystemClock())
        began = time.perf_counter()
        for one, members in objects:
            proxy.changes.service(
                services.Key(one.metadata.namespace, one.metadata.name), services.parse(one)
            )
            proxy.changes.slice(members.metadata.name, None, endpoints.parse(members))
        asyncio.run(proxy.sync())
        load.append(time.perf_counter() - began)
        change += asyncio.run(one_endpoint(proxy, count))
        os.close(place)
    yield "whole table, objects to kernel", load
    yield "one endpoint more or less", change


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


def load_upstream(count: int, rounds: int) -> Iterator[float]:
    """Seconds that the kernel takes for it, the text being there already."""
    text = upstream(count)
    for _ in range(rounds):
        place = netns.open_new()
        door = firewall.LibNftables(place)
        began = time.perf_counter()
        door.apply(text)
        yield time.perf_counter() - began
        os.close(place)


async def one_endpoint(proxy: proxying.Proxy, count: int) -> list[float]:
    found = []
    for n in range(max(1, count - 20), count + 1):
        states = [endpoints.parse(slice_(n, size)) for size in (2, 3, 2)]
        for previous, current in itertools.pairwise(states):
            began = time.perf_counter()
            proxy.changes.slice(f"svc-{n}-abcde", previous, current)
            await proxy.sync()
            found.append(time.perf_counter() - began)
    return found[2:]  # the first makes the chain for three backends


def one_size(count: int, rounds: int, beside: int) -> None:
    for what, seconds in measure(count, rounds):
        low, high = min(seconds) * 1e3, max(seconds) * 1e3
        middle = statistics.median(seconds) * 1e3
        print(f"{count:6d} Services  {what:32s} {middle:9.2f} ms   ({low:.2f} to {high:.2f})")
    if count <= beside:
        seconds = list(load_upstream(count, rounds))
        low, high, middle = (f(seconds) * 1e3 for f in (min, max, statistics.median))
        print(
            f"{count:6d} Services  {'kube-proxy layout, kernel only':32s}"
            f" {middle:9.2f} ms   ({low:.2f} to {high:.2f})"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count:6d} Services  {'peak memory of the process':32s} {peak:9.1f} MiB")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--upstream",
        type=int,
        default=1000,
        metavar="N",
        help="load kube-proxy's layout, too, up to N Services",
    )
    options = parser.parse_args(argv)
    for count in options.services:
        worker = multiprocessing.get_context("spawn").Process(
            target=one_size, args=(count, options.rounds, options.upstream)
        )
        worker.start()
        worker.join()


if __name__ == "__main__":
    main()
