"""Packets between pods over each backend, in the namespaces of a lab's plan: two segments and a router.

No lab runs: podnet's parts are made node by node, and each hears of the others what the API would tell it.
"""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import time
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from netemu.base import clock
from netemu.kernel import ethtool, firewall, linux, netns, network
from netemu.kernel import operations as ops
from netemu.lab import config, layout, routers
from netemu.lab import plan as lab_plan
from netemu.podnet import agent, backends, bird, nodes

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

LAB = config.parse({"nodes": 3, "network": {"backend": "vxlan", "segments": 2}})
FIRST, FAR, NEAR = (node.name for node in LAB.nodes)  # NEAR is on the segment of FIRST, FAR on the other
BIRD = shutil.which("bird", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")


class World:
    """The places of the lab's plan, a routed pod on each node, and what nodes know of each other."""

    def __init__(self, directory):
        self.directory = directory
        self.fds, self.doors = {}, {}
        self.nodes = {}
        for number, node in enumerate(LAB.nodes):
            subnets = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:0:{number}::/64"))
            ips = tuple(interface.ip for interface in node.interfaces)
            self.nodes[node.name] = nodes.Node(node.name, ips, subnets)
        for place in (*lab_plan.places(LAB), *(f"pod {name}" for name in self.nodes)):
            self.fds[place] = netns.open_new()
            self.doors[place] = network.LinuxNetwork(self.fds[place])
        for step in lab_plan.network(LAB, {place: self.path(place) for place in lab_plan.places(LAB)}):
            for operation in step.operations:
                try:
                    self.doors[step.place].apply([operation])
                except linux.KernelError:
                    if operation not in step.optional:
                        raise
        for name in self.nodes:
            self.connect(name)

    def path(self, place):
        return f"/proc/{os.getpid()}/fd/{self.fds[place]}"

    def connect(self, name):
        """As the ptp plugin does: the gateway is an address of the node's end, the pod's a host route."""
        node, pod = self.doors[name], self.doors[f"pod {name}"]
        pod.apply([ops.SetUp("lo"), ops.SetSysctl("net.ipv6.conf.default.accept_dad", "0")])
        node.apply([ops.AddVeth("pod", "eth0", self.path(f"pod {name}")), ops.SetUp("pod")])
        pod.apply([ops.SetSysctl("net.ipv6.conf.eth0.accept_dad", "0"), ops.SetUp("eth0")])
        for subnet in self.nodes[name].subnets:
            bits, gateway = subnet.max_prefixlen, subnet[1]
            node.apply([ops.AddAddress("pod", ip_interface(f"{gateway}/{bits}"))])
            node.apply([ops.AddRoute(ip_network(self.pod(name, subnet.version)), dev="pod")])
            pod.apply([ops.AddAddress("eth0", ip_interface(f"{self.pod(name, subnet.version)}/{bits}"))])
            pod.apply([ops.AddRoute(ip_network(gateway), dev="eth0")])
            everywhere = ip_network("0.0.0.0/0" if bits == 32 else "::/0")
            pod.apply([ops.AddRoute(everywhere, gateway)])

    def pod(self, name, version):
        return str(self.nodes[name].subnet(version)[5])

    def address(self, name, version):
        return str(self.nodes[name].address(version))

    def join(self, backend, **more):
        """Every node's podnet, told of all nodes, twice: at the second time they have seen the leases."""
        parts = {}
        for lab_node in LAB.nodes:
            name = lab_node.name
            place = self.directory / name
            router = routers.of_node(LAB, lab_node) if backend == backends.BGP else None
            chosen = backends.Settings(backend, backends.ROUTED, router=router, **more)
            files = {"subnet_file": "subnet.env", "bird_file": "bird.conf", "bird_control": "bird.ctl"}
            paths = {key: str(place / file) for key, file in files.items()}
            ranges = [list(map(str, pair)) for pair in (LAB.ranges.pods, LAB.ranges.services)]
            settings = agent.Config(*ranges, chosen, str(place), **paths)
            door = firewall.LibNftables(self.fds[name])
            parts[name] = agent.Podnet(name, self.doors[name], door, clock.SystemClock(), settings)
            parts[name].nodes = dict(self.nodes)
            parts[name].prepare()
        leases = {name: part.sync().leases for name, part in parts.items()}
        for part in parts.values():
            part.nodes = {n: one._replace(leases=leases[n]) for n, one in part.nodes.items()}
            part.sync()
        return parts

    def seen(self, client, server, address, payload=b""):
        """The source a server in one place sees of a client in another, once all of `payload` has come."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with netns.inside(self.fds[server]):
            listener = socket.create_server((address, 8080), family=family)
        with netns.inside(self.fds[client]):
            asker = socket.socket(family)
        with listener, asker:
            asker.settimeout(30)
            listener.settimeout(30)
            asker.connect((address, 8080))
            connection, peer = listener.accept()
            with connection:
                left = memoryview(payload)
                asker.setblocking(False)
                got = 0
                while got < len(payload):
                    with contextlib.suppress(BlockingIOError):
                        left = left[asker.send(left) :] if left else left
                    got += len(connection.recv(1 << 20))
            return peer[0]

    def close(self):
        for door in self.doors.values():
            door.close()
        for fd in self.fds.values():
            os.close(fd)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("podnet"))
    yield made
    made.close()


def check(world, pairs):
    for (here, there), version in itertools.product(pairs, (4, 6)):
        source = world.seen(f"pod {here}", f"pod {there}", world.pod(there, version), b"x" * 300_000)
        assert source == world.pod(here, version), (here, there, version)


@pytest.mark.parametrize("direct", [False, True], ids=["tunnels", "direct"])
def test_vxlan_joins_segments_and_pods_keep_their_address(world, direct):
    world.join(backends.VXLAN, direct_routing=direct)
    check(world, [(FIRST, FAR), (FAR, FIRST), (FIRST, NEAR)])
    state = world.doors[FIRST].observe()
    ways = {str(r.dst): r.dev for r in state.routes if r.protocol == 158 and r.reachable}
    assert ways["10.244.1.0/24"] == "flannel.1"
    assert ways["10.244.2.0/24"] == ("eth0" if direct else "flannel.1")


def test_a_node_speaks_to_pods_over_its_tunnel_and_is_answered(world):
    world.join(backends.VXLAN)
    for version, own in ((4, "10.244.0.0"), (6, "fd00:244::")):
        assert world.seen(FIRST, f"pod {FAR}", world.pod(FAR, version)) == own


@pytest.mark.parametrize("version", [4, 6])
def test_pods_lose_their_address_outside_only(world, version):
    world.join(backends.VXLAN)
    outside = str({i.version: i.ip for i in LAB.outside_client}[version])
    assert world.seen(f"pod {FAR}", layout.OUTSIDE, outside) == world.address(FAR, version)
    assert world.seen(f"pod {FAR}", FIRST, world.address(FIRST, version)) == world.pod(FAR, version)


def test_host_gateways_join_neighbours_only(world):
    parts = world.join(backends.HOST_GW)
    check(world, [(FIRST, NEAR), (NEAR, FIRST)])
    links = world.doors[FIRST].observe().links
    assert not [name for name in links if name.startswith("flannel")]
    assert [what for what, _ in parts[FIRST].sync().impossible] == [
        f"10.244.1.0/24 on {FAR}",
        f"fd00:244:0:1::/64 on {FAR}",
    ]
    for version in (4, 6):
        with pytest.raises(OSError):  # noqa: PT011 (refused by the router or by nobody: it has no way there)
            connect_briefly(world, FIRST, world.pod(FAR, version), patience=0.3)


def test_a_pod_that_is_not_there_is_unreachable_at_once(world):
    """By the fallback route of its node: the packet does not go round between default routes."""
    world.join(backends.VXLAN)
    for address in ("10.244.1.77", "fd00:244:0:1::77"):
        with pytest.raises(OSError, match=r"unreachable|No route to host"):
            connect_briefly(world, FIRST, address)


def connect_briefly(world, name, address, patience=30.0):
    with netns.inside(world.fds[f"pod {name}"]):
        asker = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    with asker:
        asker.settimeout(patience)
        asker.connect((address, 8080))


def test_checksums_are_made_in_software_where_the_kernel_needs_it(world):
    parts = world.join(backends.VXLAN)
    world.doors[FIRST].apply([ops.DelLink("flannel.1")])
    parts[FIRST]._software = True
    parts[FIRST].sync()
    assert not netns.call(world.fds[FIRST], ethtool.tx_checksum, "flannel.1")
    assert netns.call(world.fds[FIRST], ethtool.tx_checksum, "flannel-v6.1")
    check(world, [(FIRST, FAR)])


@pytest.mark.skipif(BIRD is None, reason="BIRD is not installed")
def test_bgp_finds_the_way_through_the_router_and_past_it(world):
    fabric = world.directory / "fabric"
    fabric.mkdir()
    (fabric / "bird.conf").write_text(bird.config(routers.of_fabric(LAB), (), LAB.ranges.pods))
    world.join(backends.BGP)
    running = []
    try:
        for place in (layout.FABRIC, *world.nodes):
            where = world.directory / place
            argv = [BIRD, "-f", "-c", where / "bird.conf", "-s", where / "bird.ctl"]
            running.append(netns.call(world.fds[place], subprocess.Popen, argv))
        deadline = time.monotonic() + 60
        while len(learned(world)) < 4:
            assert time.monotonic() < deadline, learned(world)
            time.sleep(0.02)
        assert learned(world) == {
            ("10.244.1.0/24", "172.18.0.1"),
            ("10.244.2.0/24", "172.18.0.3"),
            ("fd00:244:0:1::/64", "fd00:18::1"),
            ("fd00:244:0:2::/64", "fd00:18::3"),
        }
        check(world, [(FIRST, FAR), (FAR, NEAR), (FIRST, NEAR)])
    finally:
        for process in running:
            process.kill()
            process.wait()


def learned(world):
    routes = world.doors[FIRST].observe().routes
    return {(str(r.dst), str(r.via)) for r in routes if r.protocol == 12}


def test_what_a_node_says_is_what_the_others_do(world):
    """A node that moves its tunnel (another MAC address) is followed at the next look."""
    parts = world.join(backends.VXLAN)
    world.doors[FAR].apply([ops.DelLink("flannel.1"), ops.DelLink("flannel-v6.1")])
    leases = parts[FAR].sync().leases
    moved = tuple(lease._replace(mac="0e:00:00:00:00:99") for lease in leases)
    for link in ("flannel.1", "flannel-v6.1"):
        world.doors[FAR].apply([ops.SetMAC(link, "0e:00:00:00:00:99")])
    for part in parts.values():
        part.nodes[FAR] = part.nodes[FAR]._replace(leases=moved)
        part.sync()
    check(world, [(FIRST, FAR)])
    public = ip_address(world.address(FAR, 4))
    entries = {f.ip for f in world.doors[FIRST].observe().forwarding if f.mac == "0e:00:00:00:00:99"}
    assert public in entries
