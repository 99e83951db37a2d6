"""Whole labs with each kind of network: the quickstart holds in all; nodes that come and go are followed.

One cell runs with every run of the tests, the matrix with -m slow.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netemu.api import codec, core
from netemu.client import connect
from netemu.kernel import network
from netemu.lab import handle
from netemu.podnet import flannel

ROOT = Path(__file__).parents[2]
FLANNELD = shutil.which("flanneld") or shutil.which("flannel")
BIRD = shutil.which("bird", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
]

REPRESENTATIVE = "backend: vxlan, pods: routed, segments: 2, families: [ipv6, ipv4]"
MATRIX = (
    "backend: host-gw, pods: routed",
    "backend: host-gw, families: [ipv4]",
    "backend: host-gw, pods: routed, families: [ipv4]",
    "backend: host-gw, families: [ipv6]",
    "backend: host-gw, pods: routed, families: [ipv6]",
    "backend: vxlan",
    "backend: vxlan, families: [ipv4]",
    "backend: vxlan, families: [ipv6], segments: 2",
    "backend: vxlan, pods: routed",
    "backend: vxlan, pods: routed, families: [ipv4]",
    "backend: vxlan, pods: routed, families: [ipv6]",
    "backend: vxlan, direct-routing: true, segments: 2",
    "backend: vxlan, direct-routing: true, segments: 3, pods: routed",
    "backend: bgp",
    "backend: bgp, pods: routed, segments: 2",
    "backend: bgp, families: [ipv4]",
    "backend: bgp, families: [ipv6], segments: 3",
)


@pytest.fixture
def netemu(tmp_path, monkeypatch):
    """The command, with labs of this test's own."""
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path / "netemu"))

    def run(*arguments):
        command = [sys.executable, "-m", "netemu.cli.main", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            check=False,
            timeout=300,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    yield run
    run("down", "--all", "-q")


def quickstart(netemu, tmp_path, network_of):
    file = tmp_path / "lab.yaml"
    file.write_text(f"name: ways\nnodes: 3\nnetwork: {{{network_of}}}\n")
    netemu("up", "-q", "-f", str(file))
    said = netemu("run", "-q", "--in", "ways", "scenarios/01-quickstart/")
    assert re.search(r"quickstart: all hold", said), said


def test_a_network_in_a_lab(netemu, tmp_path):
    quickstart(netemu, tmp_path, REPRESENTATIVE)
    asyncio.run(come_and_go(handle.open("ways")))


@pytest.mark.slow
@pytest.mark.parametrize("network_of", MATRIX)
def test_the_quickstart_holds_in_every_network(netemu, tmp_path, network_of):
    if "bgp" in network_of and BIRD is None:
        pytest.skip("BIRD is not installed")
    quickstart(netemu, tmp_path, network_of)


@pytest.mark.slow
@pytest.mark.skipif(FLANNELD is None, reason="flannel's daemon is not installed")
@pytest.mark.parametrize("pods", ["bridged", "routed"])
def test_flannels_own_daemon_takes_podnets_place(netemu, tmp_path, pods):
    ranges = ("10.244.0.0/16", "fd00:244::/56")
    network_of = {"Network": ranges[0], "EnableIPv6": True, "IPv6Network": ranges[1]}
    (tmp_path / "net-conf.json").write_text(json.dumps(network_of | {"Backend": {"Type": "vxlan"}}))
    (tmp_path / "lab.yaml").write_text(f"name: ways\nnetwork: {{backend: flannel, pods: {pods}}}\n")
    netemu("up", "-q", "-f", str(tmp_path / "lab.yaml"))
    lab = handle.open("ways")
    admin = re.sub("server: .*", "server: https://172.18.0.2:6443", lab.kubeconfig.read_text())
    (tmp_path / "admin.conf").write_text(admin)
    files = ("--kubeconfig-file", tmp_path / "admin.conf", "--net-config-path", tmp_path / "net-conf.json")
    running = []
    try:
        for node_name in lab.nodes:
            inside = ("shell", "--name", "ways", node_name, "--", "env", f"NODE_NAME={node_name}")
            daemon = (FLANNELD, "--kube-subnet-mgr", "--ip-masq", "--iface", "eth0", *files)
            command = (sys.executable, "-m", "netemu.cli.main", *inside, *daemon)
            log = (tmp_path / f"{node_name}.log").open("wb")
            running.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        logs = [tmp_path / f"{node_name}.log" for node_name in lab.nodes]
        at_work = "Waiting for all goroutines to exit"  # what it says last
        asyncio.run(until(lambda: all(at_work in log.read_text() for log in logs), "the daemons"))
        said = netemu("run", "-q", "--in", "ways", "scenarios/01-quickstart/")
        assert re.search(r"quickstart: all hold", said), said
    finally:
        for process in running:
            process.kill()
            process.wait()


async def come_and_go(lab):
    """A node that joins, moves its tunnel, and leaves, as worker-1's kernel has it."""
    lease = flannel.Lease(1, "0e:00:00:00:00:77", lab.config.nodes[0].interfaces[1].ip + 100)
    moved = lease._replace(mac="0e:00:00:00:00:78")
    assert lease.version == 4
    async with connect.from_kubeconfig(str(lab.kubeconfig)) as client:
        with network.LinuxNetwork(lab.netns("worker-1")) as net:
            await client.create(node("late", lease))
            await until(lambda: followed(net) == {lease.mac}, "the node that joined")
            body = {"metadata": {"annotations": flannel.notes((moved,))}}
            await client.patch(core.Node, "late", body=body)
            await until(lambda: followed(net) == {moved.mac}, "the node whose tunnel moved")
            await client.delete(core.Node, "late")
            await until(lambda: followed(net) == set(), "the node that left")


def node(name, lease):
    document = {
        "metadata": {"name": name, "annotations": flannel.notes((lease,))},
        "spec": {"podCIDR": "10.244.200.0/24", "podCIDRs": ["10.244.200.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": str(lease.public)}]},
    }
    return codec.convert(core.Node, document)


def followed(net):
    """The MAC addresses by which the late node's pods are reached, where all three parts agree."""
    state = net.observe()
    gateways = {r.via for r in state.routes if str(r.dst) == "10.244.200.0/24"}
    neighbours = {n.mac for n in state.neighbours if n.ip in gateways}
    left = {f.mac for f in state.forwarding if f.mac.startswith("0e:00:00:00:00:7")}
    return neighbours if neighbours == left else {"not yet"}


async def until(holds, what):
    """A change is followed at once; how long that took is printed, for whoever asks with -s."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + 60, what
        await asyncio.sleep(0.005)
    print(f"{what}: {time.monotonic() - began:.3f} s")
