"""The places of a lab without its processes, where podnet's parts and packets can be tried."""

import contextlib
import os
import socket
import subprocess
import time
from ipaddress import ip_network

import pytest

import cni
from cni import inprocess
from netemu.base import clock
from netemu.kernel import firewall, linux, netns, network
from netemu.kernel import operations as ops
from netemu.lab import layout, routers
from netemu.lab import plan as lab_plan
from netemu.podnet import agent, backends, bird, conflists, nodes


class World:
    """The places of a lab's plan, a pod on each node, and what the nodes know of each other. No process."""

    def __init__(self, lab, directory, pods=backends.ROUTED):
        self.lab, self.directory, self.pods = lab, directory, pods
        self.fds, self.doors = {}, {}
        cni.install(directory / "bin")
        self.links = {}  # what the host's ends of pods' links are called here: their own names are random
        self.nodes = {}
        for number, node in enumerate(self.lab.nodes):
            subnets = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:0:{number}::/64"))
            ips = tuple(interface.ip for interface in node.interfaces)
            self.nodes[node.name] = nodes.Node(node.name, ips, subnets)
        for place in lab_plan.places(lab):
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

    def connect(self, name, number=1):
        """A pod, made as the node's runtime makes it: by the first plugin of podnet's own list."""
        place = pod_of(name, number)
        self.fds[place] = netns.open_new()
        self.doors[place] = network.LinuxNetwork(self.fds[place])
        self.doors[place].apply([ops.SetUp("lo")])
        subnets = self.nodes[name].subnets
        found = conflists.plan(subnets, backends.Settings(pods=self.pods), 0)
        wanted = [f"{self.pod(name, subnet.version, number)}/{subnet.prefixlen}" for subnet in subnets]
        plugin = {**found["plugins"][0], "cniVersion": "1.1.0", "name": found["name"]}
        plugin["ipam"] = plugin["ipam"] | {"dataDir": str(self.directory / name / "leases")}
        plugin["runtimeConfig"] = {"ips": wanted}
        parameters = {"CNI_CONTAINERID": f"pod{number}", "CNI_NETNS": self.path(place), "CNI_IFNAME": "eth0"}
        where = {**parameters, "CNI_PATH": str(self.directory / "bin")}
        result = netns.call(self.fds[name], inprocess.call, plugin["type"], "ADD", where, plugin)
        near = next(link["name"] for link in result["interfaces"] if link["name"].startswith("veth"))
        self.links[near] = f"veth{number}"

    def pod(self, name, version, number=1):
        """The address of a node's first pod, or of another."""
        return str(self.nodes[name].subnet(version)[4 + number])

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

    @contextlib.contextmanager
    def service(self, name, address, target):
        """A node translates an IPv4 address to that of a pod, for whoever calls it by UDP."""
        table = "table ip service"
        chain = "chain to { type nat hook prerouting priority dstnat"
        door = firewall.LibNftables(self.fds[name])
        door.apply(f"{table} {{\n{chain}\nip daddr {address} meta l4proto udp dnat to {target}\n}}\n}}\n")
        try:
            yield
        finally:
            door.apply(f"delete {table}\n")

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


def pod_of(name, number=1):
    """The place of a node's pod."""
    return f"pod {name}" if number == 1 else f"pod {number} on {name}"


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
