"""What network policies cost: `sudo python -m bench.policy [--rounds N] [--changes N] [--write]`.

Loading: 1,000 policies on 100 pods of a node, objects to kernel by the enforcer's own path. Connecting: new
TCP connections between two pods of a node, without a policy and under 1,000, in alternating rounds. Changing:
a lab of three nodes; from the API's answer to a policy until the last node has programmed it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from bench import harness
from netemu.api import codec, core, networking
from netemu.base import clock
from netemu.client import api, connect
from netemu.kernel import firewall, netns, network, touches
from netemu.kernel import operations as ops
from netemu.lab import config, down, up
from netemu.netpol import changes, layout, policies, policing, reports, terms

ROOT = Path(__file__).parent.parent
NODE = "worker-1"
COMMAND = "python -m bench.policy"
SPACES = tuple(f"team-{n}" for n in range(5))
POLICIES, PODS, ELSEWHERE = 1000, 100, 100
CONNECTIONS = 1500  # in a round
CLIENT, SERVER, PORT = "10.244.0.2", "10.244.0.7", 8080  # pods 0 and 5: both in team-0


# --- a cluster


def pod(number: int) -> terms.Pod:
    key = terms.Key(SPACES[number % 5], f"pod-{number}")
    given = (
        ip_address(f"10.244.{number // 250}.{number % 250 + 2}"),
        ip_address(f"fd00:244::{number + 2:x}"),
    )
    labels = {"app": f"app-{number % 50}", "tier": f"tier-{number % 3}", "number": str(number)}
    return terms.Pod(key, NODE if number < PODS else "worker-2", labels, given, (("http", "tcp", PORT),))


def policy(number: int, rng: random.Random) -> networking.NetworkPolicy:
    """Each selects two of the node's pods by their app; the mixed fare of peers and ports."""
    block = rng.randrange(250)
    app, space = {"app": f"app-{rng.randrange(50)}"}, {"kubernetes.io/metadata.name": rng.choice(SPACES)}
    peers: list[dict[str, Any]] = [
        {"podSelector": {"matchLabels": app}},
        {"namespaceSelector": {"matchLabels": space}, "podSelector": {"matchLabels": {"tier": "tier-1"}}},
        {"ipBlock": {"cidr": f"192.168.{block}.0/24", "except": [f"192.168.{block}.0/28"]}}
        if rng.random() < 0.2
        else {"podSelector": {"matchLabels": {"number": str(rng.randrange(PODS))}}},
    ]
    ports: list[dict[str, Any]] = [{"port": "http"}, {"port": rng.randrange(1, 9000), "endPort": 9999}]
    return codec.convert(
        networking.NetworkPolicy,
        {
            "metadata": {"name": f"policy-{number}", "namespace": SPACES[number % 5]},
            "spec": {
                "podSelector": {"matchLabels": {"app": f"app-{number % 50}"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": peers, "ports": ports}],
                "egress": [{"to": peers}, {"ports": [{"port": 53, "protocol": "UDP"}, {"port": PORT}]}],
            },
        },
    )


def cluster(count: int) -> changes.Changes:
    rng = random.Random(7)
    pods = {one.key: one for one in map(pod, range(PODS + ELSEWHERE))}
    spaces = {name: {"kubernetes.io/metadata.name": name} for name in SPACES}
    parsed = [policies.of_namespace(policy(number, rng)) for number in range(count)]
    return changes.Changes(dict(pods), dict(spaces), {one.key: one for one in parsed}, {})


@contextlib.contextmanager
def enforcer() -> Iterator[tuple[policing.Enforcer, int]]:
    """One in a namespace of its own."""
    place = netns.open_new()
    touched = touches.Touches([(layout.TABLE.family, layout.TABLE.name)], place)
    try:
        yield policing.Enforcer(NODE, firewall.LibNftables(place), touched, clock.SystemClock()), place
    finally:
        touched.close()
        os.close(place)


def load() -> float:
    """Seconds from the API's objects to the kernel."""
    given, rng = cluster(0), random.Random(7)
    objects = [policy(number, rng) for number in range(POLICIES)]
    with enforcer() as (one, _):

        def work() -> None:
            parsed = map(policies.of_namespace, objects)
            one.pending = given._replace(policies={each.key: each for each in parsed})
            asyncio.run(one.sync())

        return harness.timed(work)


# --- connections


class Site:
    """A client and a server, routed by a node."""

    def __init__(self, place: int, stack: contextlib.ExitStack) -> None:
        self.client, self.server = netns.open_new(), netns.open_new()
        for fd in (self.client, self.server):
            stack.callback(os.close, fd)
        node = stack.enter_context(network.LinuxNetwork(place))
        node.apply([ops.SetSysctl("net.ipv4.ip_forward", "1"), ops.AddBridge("cni0"), ops.SetUp("cni0")])
        node.apply([ops.AddAddress("cni0", ip_interface("10.244.0.1/24"))])
        for name, fd, address in (("c", self.client, CLIENT), ("s", self.server, SERVER)):
            node.apply(
                [ops.AddVeth(f"v-{name}", "eth0", f"/proc/self/fd/{fd}"), ops.SetMaster(f"v-{name}", "cni0")]
            )
            node.apply([ops.SetUp(f"v-{name}")])
            with network.LinuxNetwork(fd) as inside:
                inside.apply([ops.SetUp("eth0"), ops.AddAddress("eth0", ip_interface(f"{address}/24"))])
        with netns.inside(self.server):
            self._listener = stack.enter_context(socket.create_server((SERVER, PORT), backlog=CONNECTIONS))

    def connects(self) -> float:
        """Microseconds of a connect, the median of a round."""
        took = []
        for _ in range(CONNECTIONS):
            with netns_socket(self.client) as one:
                began = time.perf_counter()
                one.connect((SERVER, PORT))
                took.append(time.perf_counter() - began)
                self._listener.accept()[0].close()
        return statistics.median(took) * 1e6


def netns_socket(place: int) -> socket.socket:
    with netns.inside(place):
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def connecting(rounds: int) -> tuple[list[float], list[float]]:
    """Medians of rounds without policies and with, alternating."""
    without: list[float] = []
    under: list[float] = []
    with contextlib.ExitStack() as stack:
        one, place = stack.enter_context(enforcer())
        site = Site(place, stack)
        full = cluster(POLICIES)
        for _ in range(rounds):
            for wanted, into in ((cluster(0), without), (full, under)):
                gone = dict.fromkeys(one.book.state.policies, None)
                one.pending = wanted._replace(policies={**gone, **wanted.policies})
                asyncio.run(one.sync())
                site.connects()  # caches and neighbours
                into.append(site.connects())
    return without, under


# --- changes


async def changing(lab: Any, count: int) -> list[float]:
    """Milliseconds from the API's answer until the last node had it in force, of each of `count` changes."""
    async with connect.from_kubeconfig(lab.kubeconfig) as client:
        await populate(client)
        found = []
        rng = random.Random(3)
        for number in range(count):
            wanted = policy(0, rng)
            about = {"name": "changing", "namespace": "default"}
            document = {**codec.document(wanted), "metadata": about}
            document["spec"]["podSelector"] = {}
            if number == 0:
                done = await client.create(codec.convert(networking.NetworkPolicy, document))
            else:
                done = await client.patch(
                    networking.NetworkPolicy, "changing", "default", body={"spec": document["spec"]}
                )
            acknowledged = time.time()
            found.append((await in_force(client, int(done.metadata.resourceVersion)) - acknowledged) * 1e3)
        return found


async def populate(client: api.Client) -> None:
    """Nine pods, three on each node, and twenty policies about them."""
    nodes = [node.metadata.name for node in (await client.list(core.Node)).items]
    for number in range(9):
        document = {
            "metadata": {"name": f"pod-{number}", "namespace": "default", "labels": {"app": f"app-{number}"}},
            "spec": {
                "nodeName": nodes[number % 3],
                "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10"}],
            },
        }
        await client.create(codec.convert(core.Pod, document))
    rng = random.Random(5)
    for number in range(20):
        document = {**codec.document(policy(number, rng))}
        document["metadata"] = {"name": f"policy-{number}", "namespace": "default"}
        await client.create(codec.convert(networking.NetworkPolicy, document))
    while True:
        pods = (await client.list(core.Pod, "default")).items
        if all(one.status.phase == "Running" for one in pods):
            return
        await asyncio.sleep(0.05)


async def in_force(client: api.Client, revision: int) -> float:
    """When the last node had it, as the nodes say (unix seconds). Asked seldom, not to be in the way."""
    while True:
        await asyncio.sleep(0.1)
        found = reports.coverage((await client.list(core.Node)).items, revision, 0)
        if found.whole:
            return found.at


@contextlib.contextmanager
def made_lab() -> Iterator[Any]:
    name = f"bench{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="netemu-bench-") as place:
        os.environ["NETEMU_STATE_DIR"] = place
        try:
            yield up.up(config.default(name, 3))
        finally:
            down.down(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    chosen = parser.parse_args()
    samples = []
    for one in measured(chosen.rounds, chosen.changes):
        print(one.line(), flush=True)
        samples.append(one)
    if chosen.write:
        harness.publish("policy", samples, f"sudo {COMMAND}")


def measured(rounds: int, count: int) -> Iterator[harness.Sample]:
    """All figures, each as soon as it is known."""
    loads = tuple(load() for _ in range(rounds))
    yield harness.Sample("load 1,000 policies on 100 pods", "s", loads, 1.0, command=COMMAND)
    without, under = connecting(rounds)
    yield harness.Sample("connect, no policy", "us", tuple(without), command=COMMAND)
    yield harness.Sample("connect, under 1,000 policies", "us", tuple(under), command=COMMAND)
    ratios = tuple(b / a for a, b in zip(without, under, strict=True))
    yield harness.Sample("connect, ratio", "x", ratios, 1.3, command=COMMAND)
    with made_lab() as lab:
        changed = tuple(asyncio.run(changing(lab, count)))
    change = harness.Sample("policy change to its being in force on 3 nodes", "ms", changed, command=COMMAND)
    yield change
    yield harness.Sample("the same, 99th percentile", "ms", (change.percentile(99),), 50.0, command=COMMAND)


if __name__ == "__main__":
    main()
