"""The places of a lab without its processes, where podnet's parts and packets can be tried."""

import contextlib
import os
import socket
import subprocess
import time
from ipaddress import ip_interface, ip_network

import pytest

from netemu.base import clock
from netemu.kernel import firewall, linux, netns, network
from netemu.kernel import operations as ops
from netemu.lab import layout, routers
from netemu.lab import plan as lab_plan
from netemu.podnet import agent, backends, bird, nodes


class World:
    """The places of a lab's plan, a pod on each node, and what the nodes know of each other. No process."""

    def __init__(self, lab, directory, pods=backends.ROUTED):
        self.lab, self.directory, self.pods = lab, directory, pods
        self.fds, self.doors = {}, {}
        self.nodes = {}
        for number, node in enumerate(self.lab.nodes):
            subnets = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:0:{number}::/64"))
            ips = tuple(interface.ip for interface in node.interfaces)
            self.nodes[node.name] = nodes.Node(node.name, ips, subnets)
        for place in (*lab_plan.places(lab), *(f"pod {name}" for name in self.nodes)):
            self.fds[place] = netns.open_new()
            self.doors[place] = network.LinuxNetwork(self.fds[place])
        for step in lab_plan.network(lab, {place: self.path(place) for place in lab_plan.places(lab)}):
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
        """A pod, as the plugins ptp and bridge make one; its gateway is an address of the node."""
        node, pod = self.doors[name], self.doors[f"pod {name}"]
        pod.apply([ops.SetUp("lo"), ops.SetSysctl("net.ipv6.conf.default.accept_dad", "0")])
        node.apply([ops.AddVeth("veth1", "eth0", self.path(f"pod {name}")), ops.SetUp("veth1")])
        pod.apply([ops.SetSysctl("net.ipv6.conf.eth0.accept_dad", "0"), ops.SetUp("eth0")])
        bridged = self.pods == backends.BRIDGED
        if bridged:
            mac = node.observe().links["eth0"].mac
            node.apply([ops.AddBridge("cni0", f"0a{mac[2:]}"), ops.SetMaster("veth1", "cni0")])
            node.apply([ops.SetUp("cni0")])
        for subnet in self.nodes[name].subnets:
            bits = subnet.prefixlen if bridged else subnet.max_prefixlen
            gateway, own = subnet[1], self.pod(name, subnet.version)
            node.apply([ops.AddAddress("cni0" if bridged else "veth1", ip_interface(f"{gateway}/{bits}"))])
            pod.apply([ops.AddAddress("eth0", ip_interface(f"{own}/{bits}"))])
            if not bridged:
                node.apply([ops.AddRoute(ip_network(own), dev="veth1")])
                pod.apply([ops.AddRoute(ip_network(gateway), dev="eth0")])
            everywhere = ip_network("0.0.0.0/0" if subnet.version == 4 else "::/0")
            pod.apply([ops.AddRoute(everywhere, gateway)])

    def pod(self, name, version):
        return str(self.nodes[name].subnet(version)[5])

    def address(self, name, version):
        return str(self.nodes[name].address(version))

    def join(self, backend, **more):
        """Every node's podnet, told of all nodes, twice: at the second time they have seen the leases."""
        parts = {}
        for lab_node in self.lab.nodes:
            name = lab_node.name
            place = self.directory / name
            router = routers.of_node(self.lab, lab_node) if backend == backends.BGP else None
            chosen = backends.Settings(backend, self.pods, router=router, **more)
            files = {"subnet_file": "subnet.env", "bird_file": "bird.conf", "bird_control": "bird.ctl"}
            paths = {key: str(place / file) for key, file in files.items()}
            ranges = [list(map(str, pair)) for pair in (self.lab.ranges.pods, self.lab.ranges.services)]
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

    @contextlib.contextmanager
    def speaking(self):
        """BIRD runs on every node and the fabric. Before it: `join`, which writes the nodes' files."""
        fabric = self.directory / "fabric"
        fabric.mkdir(exist_ok=True)
        (fabric / "bird.conf").write_text(bird.config(routers.of_fabric(self.lab), (), self.lab.ranges.pods))
        running = []
        try:
            for place in (layout.FABRIC, *self.nodes):
                where = self.directory / place
                argv = [routers.program(), "-f", "-c", where / "bird.conf", "-s", where / "bird.ctl"]
                running.append(netns.call(self.fds[place], subprocess.Popen, argv))
            deadline = time.monotonic() + 60
            while any(len(self.learned(name)) < 2 * len(self.nodes) - 2 for name in self.nodes):
                assert time.monotonic() < deadline, {name: self.learned(name) for name in self.nodes}
                time.sleep(0.02)
            yield
        finally:
            for process in running:
                process.kill()
                process.wait()

    def learned(self, name):
        """The routes of a node that BIRD made."""
        routes = self.doors[name].observe().routes
        return {(str(r.dst), str(r.via)) for r in routes if r.protocol == 12}


@pytest.fixture(scope="module")
def world_of(tmp_path_factory):
    """Makes worlds of a lab's description; they are gone after the module."""
    made = []

    def make(lab, pods=backends.ROUTED):
        made.append(World(lab, tmp_path_factory.mktemp("podnet"), pods))
        return made[-1]

    yield make
    for world in made:
        world.close()
