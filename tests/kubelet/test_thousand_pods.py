"""A thousand pods on one machine, 250 on each of four nodes: every one reaches every other.

The kernel's table of neighbours has one limit (1,024 as it comes) for all namespaces together, and what does
not fit is dropped without a word: pods and their nodes must not need it.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import select
import socket

import pytest

import cni as plugins
from netemu.kernel import linux, mounts, netns, network, process
from netemu.kernel import operations as ops
from netemu.kubelet import cni
from netemu.wire import cri

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]
NODES, PODS = 4, 250
PORT, MAC = 4789, "02:00:00:00:00:{:02x}"
_BURST = 64  # datagrams on their way at once: what a receiver's buffer holds
EVERYWHERE = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
KINDS = {
    "bridge": {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "viaGateway": True,  # or those of one node would have to find each other
    },
    "ptp": {"type": "ptp"},
}


def subnets(number):
    return [f"10.90.{number}.0/24", f"fd90:0:0:{number}::/64"]


def build(kind, place):
    """The nodes, one link between all of them, and their pods; pods' (address, namespace)."""
    netns.create(f"{place}/fabric")
    with network.LinuxNetwork(f"{place}/fabric") as fabric:
        fabric.apply([ops.AddBridge("br"), ops.SetUp("br")])
        for number in range(NODES):
            netns.create(f"{place}/node{number}")
            fabric.apply([ops.AddVeth(f"port{number}", "eth0", f"{place}/node{number}")])
            fabric.apply([ops.SetMaster(f"port{number}", "br"), ops.SetUp(f"port{number}")])
    for number in range(NODES):
        with network.LinuxNetwork(f"{place}/node{number}") as node:
            node.apply(link(number))
    return [pod for number in range(NODES) for pod in on_node(kind, place, number)]


def link(number):
    interface = ipaddress.ip_interface(f"192.0.2.{number + 1}/24")
    yield ops.SetSysctl("net.ipv4.ip_forward", "1")
    yield ops.SetSysctl("net.ipv6.conf.all.forwarding", "1")
    yield ops.SetMAC("eth0", MAC.format(number))
    yield ops.AddAddress("eth0", interface)
    yield ops.SetUp("eth0")
    for other in range(NODES):
        if other != number:
            net = ipaddress.ip_network(subnets(other)[0])
            gateway = ipaddress.ip_address(f"192.0.2.{other + 1}")
            yield ops.AddNeighbour("eth0", gateway, MAC.format(other))
            yield ops.AddRoute(net, gateway)


def on_node(kind, place, number):
    """The agent's way: the runtime side in this process, in the node's namespace."""
    here = f"{place}/files{number}"
    plugins.install(f"{here}/bin")
    os.makedirs(f"{here}/net.d")
    ranges = [[{"subnet": subnet}] for subnet in subnets(number)]
    ipam = {"type": "host-local", "dataDir": f"{here}/leases", "ranges": ranges}
    plugin = KINDS[kind] | {"ipam": ipam | ({} if kind == "bridge" else {"routes": EVERYWHERE})}
    with open(f"{here}/net.d/10.conflist", "w") as file:
        json.dump({"cniVersion": "1.1.0", "name": "net", "plugins": [plugin]}, file)
    netns.setns(f"{place}/node{number}", linux.CLONE_NEWNET)
    wires = cni.Cni(f"{here}/net.d", (f"{here}/bin",), f"{here}/cache", own=cni.Ours())

    async def attach():
        found = []
        for index in range(PODS):
            path = f"{place}/pod{number}-{index}"
            netns.create(path)
            config = cri.SandboxConfig(f"p{index}", "default", f"u{index}")
            box = cri.Sandbox(f"n{number}p{index}", config, "READY", netns=path)
            found.append(((await wires.attach(box))[0], path))
        return found

    return asyncio.run(attach())


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
    return arrived


@pytest.mark.parametrize("kind", ["bridge", "ptp"])
def test_everyone_reaches_everyone(kind, tmp_path):
    """In a child: what it makes goes with it."""
    answer, told = os.pipe()

    def child():
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET)
        mounts.private()
        mounts.tmpfs("/mnt")
        pods = build(kind, "/mnt")
        os.write(told, str(everyone_to_everyone(pods)).encode())

    pid = process.fork(child)
    os.close(told)
    with os.fdopen(answer) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    total = NODES * PODS
    assert int(said) == total * (total - 1)
