"""A thousand pods in a lab on one machine, on five workers: every one reaches every other.

The kernel's table of neighbours has one limit (1,024 as it comes) for all namespaces together, and what does
not fit is dropped without a word. So the lab, as it comes, must not need it.
"""

import asyncio
import contextlib
import ipaddress
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netemu.api import apps, codec, core
from netemu.client import connect
from netemu.kernel import netns, rtnl
from netemu.lab import handle
from netemu.scenario import sources
from netemu.wire import rtnetlink

ROOT = Path(__file__).parents[2]
STATISTICS = Path("/proc/net/stat/arp_cache")  # the machine's, in its first network namespace only
PODS = 1000
WORKERS = tuple(f"worker-{number}" for number in range(1, 6))
PATIENCE = 120  # seconds without a pod more: the machine may be busy, but not for ever
PORT = 4789
PODS_OF_ALL = ipaddress.ip_network("10.244.0.0/16")
_BURST = 64  # datagrams on their way at once: what a receiver's buffer holds

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a whole lab"),
]


@pytest.mark.parametrize("network_of", ["{}", "{pods: routed}"], ids=["default", "routed"])
def test_a_thousand_pods_reach_each_other(network_of, tmp_path, monkeypatch):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path / "netemu"))
    netemu("up", "-q", "-f", "/dev/stdin", text=f"name: thousand\nnodes: 6\nnetwork: {network_of}\n")
    try:
        lab = handle.open("thousand")
        began = time.monotonic()
        asyncio.run(deploy(lab))
        pods = asyncio.run(placed(lab))
        assert len(pods) == PODS
        made = time.monotonic() - began
        before, began = overflows(), time.monotonic()
        arrived = everyone_to_everyone(pods)
        print(
            f"\n{PODS} pods in {made:.0f} s, {arrived} of {PODS * (PODS - 1)} datagrams arrived in "
            f"{time.monotonic() - began:.0f} s; the machine's neighbour table overflowed "
            f"{overflows() - before} times"
        )
        assert arrived == PODS * (PODS - 1)
        assert asked_for(lab, pods) == set()
    finally:
        netemu("down", "-q", "--name", "thousand")


def netemu(*arguments, text=""):
    command = [sys.executable, "-m", "netemu.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


async def deploy(lab):
    """All pods of one Deployment ready."""
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.9"}
    document = {
        "metadata": {"name": "many", "namespace": "default"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {"metadata": {"labels": {"app": "many"}}, "spec": {"containers": [container]}},
        },
    }
    async with connect.from_kubeconfig(str(lab.kubeconfig)) as client:
        await client.create(codec.convert(apps.Deployment, document))
        ready, since = 0, time.monotonic()
        while ready != PODS:
            now = (await client.get(apps.Deployment, "many", "default")).status.readyReplicas or 0
            if now > ready:
                ready, since = now, time.monotonic()
            assert time.monotonic() < since + PATIENCE, f"{ready} of {PODS} pods are ready"
            await asyncio.sleep(0.5)


async def placed(lab):
    """(address, namespace) of each pod of the Deployment."""
    async with connect.from_kubeconfig(str(lab.kubeconfig)) as client:
        listing = await client.list(core.Pod, "default", labels="app=many")
    address = {pod.metadata.name: pod.status.podIP for pod in listing.items}
    found = [await sources.pods_on(lab, node) for node in WORKERS]
    return [
        (address[name], str(lab.pid_path(one.sandbox.pid, "ns/net")))
        for on_node in found
        for (_, name), one in on_node.items()
        if name in address
    ]


def everyone_to_everyone(pods):
    """How many datagrams arrived of those that everybody sent to everybody else."""
    sockets = []
    for address, path in pods:
        with netns.inside(path):
            door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        door.bind((address, PORT))
        sockets.append(door)
    ears = select.epoll()
    for door in sockets:
        ears.register(door, select.EPOLLIN)
    by_fd = {door.fileno(): door for door in sockets}
    arrived = 0

    def hear(patience):
        nonlocal arrived
        while ready := ears.poll(patience, _BURST):
            for fd, _ in ready:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        by_fd[fd].recv(16)
                        arrived += 1

    for door, (mine, _) in zip(sockets, pods, strict=True):
        for at in range(0, len(pods), _BURST):
            for address, _ in pods[at : at + _BURST]:
                if address != mine:
                    door.sendto(b"hello", (address, PORT))
            hear(0)
    hear(2.0)
    for door in sockets:
        door.close()
    return arrived


def overflows():
    """How often the machine's table was full (table_fulls, one line a processor); 0 where nobody can know."""
    with contextlib.suppress(OSError):
        title, *rows = (line.split() for line in STATISTICS.read_text().splitlines())
        return sum(int(row[title.index("table_fulls")], 16) for row in rows)
    return 0


def asked_for(lab, pods):
    """The neighbours (IPv4) of pods, and of nodes for pods, that count: all but the permanent ones."""
    found = set()
    for place in (*(path for _, path in pods), *(str(lab.netns(node)) for node in WORKERS)):
        with netns.inside(place):
            door = rtnl.Rtnl()
        with door:
            table = door.dump(rtnetlink.dump_neighbours())
        counted = [one for one in table if not one.state & rtnetlink.NUD_PERMANENT]
        found |= {str(one.ip) for one in counted if one.ip.version == 4 and one.ip in PODS_OF_ALL}
    return found
