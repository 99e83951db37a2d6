"""A node, its pods, another node and the outside, as bare namespaces joined by veths: nothing of a lab.

outside (router and client)            node "here"                          pods of "here"
203.0.113.10  2001:db8:113::10         eth0 172.18.0.2  fd00:18::2          a 10.244.1.2  fd00:244:0:1::2
fab 172.18.0.1  fd00:18::1 ─────────── cni0 10.244.1.1  fd00:244:0:1::1 ─── b 10.244.1.3  fd00:244:0:1::3
      └──────── node "there": eth0 172.18.0.3  fd00:18::3, pod address 10.244.2.2  fd00:244:0:2::2
"""

import contextlib
import fcntl
import itertools
import os
import select
import shutil
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

import pytest

from netemu.api import core
from netemu.base import clock
from netemu.kernel import conntrack, firewall, netns, network, touches
from netemu.kernel import operations as ops
from netemu.kubeproxy import layout, options, programs
from netemu.kubeproxy import proxy as proxying
from netemu.wire import nft

PODS = {"ip": "10.244.0.0/16", "ip6": "fd00:244::/56"}
SERVICES = {"ip": "10.96.0.0/16", "ip6": "fd00:96::/112"}
ADDRESSES = {
    "outside": ("203.0.113.10", "2001:db8:113::10"),
    "here": ("172.18.0.2", "fd00:18::2"),
    "there": ("172.18.0.3", "fd00:18::3"),
    "a": ("10.244.1.2", "fd00:244:0:1::2"),
    "b": ("10.244.1.3", "fd00:244:0:1::3"),
    "far": ("10.244.2.2", "fd00:244:0:2::2"),
}
GATEWAY = ("10.244.1.1", "fd00:244:0:1::1")
PORT, OTHER_PORT = 8080, 8081
ICMP_LIMITS = ("icmp_msgs_per_sec", "icmp_msgs_burst")  # of all namespaces together, before Linux 6.13


class Answer(NamedTuple):
    """Who answered, and the client address it saw."""

    server: str
    seen: str


class World:
    """The namespaces by name; servers on two ports (TCP, UDP, both families) in every pod and on the nodes.

    Each says its name, whom it sees, and its port.
    """

    addresses = ADDRESSES
    gateway = GATEWAY
    pods = PODS
    services = SERVICES
    port = PORT

    def __init__(self) -> None:
        self.places = {name: netns.open_new() for name in ("outside", "here", "there", "a", "b", "far")}
        self.networks = {name: network.LinuxNetwork(fd) for name, fd in self.places.items()}
        self._stop_reader, self._stop_writer = os.pipe()
        self._servers: dict[socket.socket, str] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._connect()
        for name in ("a", "b", "far", "there", "here"):
            self._listen(name)
        self._thread.start()

    def close(self) -> None:
        os.write(self._stop_writer, b"x")
        self._thread.join()
        for server in self._servers:
            server.close()
        for net in self.networks.values():
            net.close()
        for fd in (*self.places.values(), self._stop_reader, self._stop_writer):
            os.close(fd)

    @contextlib.contextmanager
    def serving(
        self, mode: str = "nftables", *, node: core.Node | None = None, remove: bool = True, **chosen
    ) -> Iterator[proxying.Proxy]:
        """A proxy on node `here`, with what is chosen. Its rules go with it, unless another has them too."""
        if mode == "iptables" and shutil.which("iptables-restore") is None:
            pytest.skip("iptables is not installed")
        place = self.places["here"]
        door, tracking = firewall.LibNftables(place), conntrack.NetlinkConntrack(place)
        touched = touches.Touches(layout.TABLES, place)
        ranges = {"cluster_cidrs": tuple(PODS.values()), "service_cidrs": tuple(SERVICES.values())}
        around = options.surroundings(options.check(options.Options(**{**ranges, **chosen}, mode=mode)), node)
        program: programs.Program = programs.Nftables(door, touched, around)
        if mode == "iptables":
            prefix = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{place}")
            program = programs.Iptables(around, prefix, self.networks["here"])
        try:
            yield proxying.Proxy("here", program, tracking, around, clock.SystemClock())
        finally:
            if isinstance(program, programs.Iptables):
                program.remove()
            elif remove:
                door.apply("".join(str(nft.removal(family.table)) for family in layout.FAMILIES))
            protocols = (conntrack.UDP, conntrack.TCP, conntrack.SCTP)
            tracking.forget([flow for protocol in protocols for flow in tracking.flows(protocol)])
            tracking.close()
            touched.close()

    def path(self, name: str) -> str:
        return f"/proc/self/fd/{self.places[name]}"

    def ask(
        self,
        client: str,
        address: str,
        port: int,
        protocol: str = "tcp",
        *,
        timeout: float = 20.0,
        source_port: int = 0,
        source: str = "",
    ) -> Answer | str:
        """Connect from `client`; the answer, "refused" or "timeout"."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        six = ":" in address
        with netns.inside(self.places[client]):
            asker = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
        with asker:
            asker.settimeout(timeout)
            try:
                if source:
                    asker.bind((source, source_port))
                elif client == "outside":
                    asker.bind((ADDRESSES["outside"][six], source_port))
                elif source_port:
                    asker.bind(("::" if six else "0.0.0.0", source_port))
                asker.connect((address, port))
                with contextlib.suppress(
                    PermissionError
                ):  # the node's own packet was dropped; ICMP may follow
                    asker.send(b"?")
                server, seen, _ = asker.recv(200).decode().split()
                return Answer(server, seen)
            except TimeoutError:
                return "timeout"
            except ConnectionRefusedError:
                return "refused"

    def goes_on(self, connection: socket.socket, timeout: float = 10.0) -> bool:
        """Whether the other end of an established connection still gets, and acknowledges, what is sent."""
        connection.send(b"?")
        deadline = time.monotonic() + timeout
        while int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
            if time.monotonic() > deadline:
                return False
            select.select([], [], [], 0.01)
        return True

    def _serve(self) -> None:
        """Nobody waits for anybody: who was answered is kept until he says something."""
        poll = select.poll()
        answered: dict[int, socket.socket] = {}
        servers = {server.fileno(): server for server in self._servers}
        for number in (self._stop_reader, *servers):
            poll.register(number, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self._stop_reader:
                    for connection in answered.values():
                        connection.close()
                    return
                if number in answered:
                    poll.unregister(number)
                    with answered.pop(number) as connection, contextlib.suppress(OSError):
                        connection.recv(200)
                    continue
                server = servers[number]
                name = self._servers[server]
                if server.type == socket.SOCK_DGRAM:
                    _, peer = server.recvfrom(200)
                    server.sendto(_told(name, peer, server), peer)
                    continue
                connection, peer = server.accept()
                answered[connection.fileno()] = connection
                poll.register(connection, select.POLLIN)
                with contextlib.suppress(OSError):
                    connection.send(_told(name, peer, server))
                    connection.shutdown(socket.SHUT_WR)

    def _listen(self, name: str) -> None:
        # Bound to addresses, for else a datagram of a node with several is answered from another.
        mapped = (f"::ffff:{ADDRESSES[name][0]}", ADDRESSES[name][1])
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        for kind, port, address in itertools.product(kinds, (PORT, OTHER_PORT), mapped):
            with netns.inside(self.places[name]):
                server = socket.socket(socket.AF_INET6, kind)
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind((address, port))
            if kind == socket.SOCK_STREAM:
                server.listen(4096)
            self._servers[server] = name

    def _connect(self) -> None:
        for name, net in self.networks.items():
            net.apply(
                [
                    ops.SetSysctl("net.ipv6.conf.default.accept_dad", "0"),
                    ops.SetSysctl("net.ipv6.conf.all.accept_dad", "0"),
                    ops.SetSysctl("net.ipv4.icmp_ratelimit", "0"),  # every refusal is told
                    ops.SetSysctl("net.ipv6.icmp.ratelimit", "0"),
                    *(ops.SetSysctl(f"net.ipv4.{key}", "1000000") for key in ICMP_LIMITS if has(key)),
                    *(
                        [ops.SetSysctl("net.ipv4.ip_forward", "1")]
                        if name in ("outside", "here", "there")
                        else []
                    ),
                    *(
                        [ops.SetSysctl("net.ipv6.conf.all.forwarding", "1")]
                        if name in ("outside", "here", "there")
                        else []
                    ),
                    ops.SetUp("lo"),
                ]
            )
        self._underlay()
        self._pods()
        self._acquaint()

    def _acquaint(self) -> None:
        """Neighbours know each other for good: of others there may be so many in all namespaces together."""
        segments = (
            (("outside", "fab"), ("here", "eth0"), ("there", "eth0")),
            (("here", "cni0"), ("a", "eth0"), ("b", "eth0")),
            (("there", "v-far"), ("far", "eth0")),
        )
        for segment in segments:
            for (place, link), (other, its) in itertools.permutations(segment, 2):
                state = self.networks[other].observe()
                own = [address.ip.ip for address in state.addresses if address.link == its]
                mac = state.links[its].mac
                self.networks[place].apply([ops.AddNeighbour(link, ip, mac) for ip in own])

    def _underlay(self) -> None:
        outside = self.networks["outside"]
        outside.apply(
            [
                ops.AddBridge("fab"),
                ops.AddAddress("fab", ip_interface("172.18.0.1/16")),
                ops.AddAddress("fab", ip_interface("fd00:18::1/64")),
                ops.AddAddress("lo", ip_interface("203.0.113.10/32")),
                ops.AddAddress("lo", ip_interface("2001:db8:113::10/128")),
                ops.SetUp("fab"),
            ]
        )
        for name in ("here", "there"):
            link = f"v-{name}"
            outside.apply(
                [ops.AddVeth(link, "eth0", self.path(name)), ops.SetMaster(link, "fab"), ops.SetUp(link)]
            )
            four, six = ADDRESSES[name]
            self.networks[name].apply(
                [
                    ops.SetUp("eth0"),
                    ops.AddAddress("eth0", ip_interface(f"{four}/16")),
                    ops.AddAddress("eth0", ip_interface(f"{six}/64")),
                    ops.AddRoute(ip_network("0.0.0.0/0"), ip_address("172.18.0.1")),
                    ops.AddRoute(ip_network("::/0"), ip_address("fd00:18::1")),
                ]
            )
        there, far = self.networks["there"], self.networks["far"]
        there.apply(
            [
                ops.AddVeth("v-far", "eth0", self.path("far")),
                ops.AddAddress("v-far", ip_interface("10.244.2.1/24")),
                ops.AddAddress("v-far", ip_interface("fd00:244:0:2::1/64")),
                ops.SetUp("v-far"),
                ops.AddRoute(ip_network("10.244.1.0/24"), ip_address("172.18.0.2")),
                ops.AddRoute(ip_network("fd00:244:0:1::/64"), ip_address("fd00:18::2")),
            ]
        )
        far.apply(
            [
                ops.SetUp("eth0"),
                ops.AddAddress("eth0", ip_interface("10.244.2.2/24")),
                ops.AddAddress("eth0", ip_interface("fd00:244:0:2::2/64")),
                ops.AddRoute(ip_network("0.0.0.0/0"), ip_address("10.244.2.1")),
                ops.AddRoute(ip_network("::/0"), ip_address("fd00:244:0:2::1")),
            ]
        )
        self.networks["here"].apply(
            [
                ops.AddRoute(ip_network("10.244.2.0/24"), ip_address("172.18.0.3")),
                ops.AddRoute(ip_network("fd00:244:0:2::/64"), ip_address("fd00:18::3")),
            ]
        )

    def _pods(self) -> None:
        here = self.networks["here"]
        here.apply(
            [
                ops.AddBridge("cni0"),
                ops.AddAddress("cni0", ip_interface(f"{GATEWAY[0]}/24")),
                ops.AddAddress("cni0", ip_interface(f"{GATEWAY[1]}/64")),
                ops.SetUp("cni0"),
                ops.SetSysctl("net.bridge.bridge-nf-call-iptables", "1"),
                ops.SetSysctl("net.bridge.bridge-nf-call-ip6tables", "1"),
            ]
        )
        for name in ("a", "b"):
            link = f"v-{name}"
            here.apply(
                [ops.AddVeth(link, "eth0", self.path(name)), ops.SetMaster(link, "cni0"), ops.SetUp(link)]
            )
            self.hairpin(link)
            four, six = ADDRESSES[name]
            self.networks[name].apply(
                [
                    ops.SetUp("eth0"),
                    ops.AddAddress("eth0", ip_interface(f"{four}/24")),
                    ops.AddAddress("eth0", ip_interface(f"{six}/64")),
                    ops.AddRoute(ip_network("0.0.0.0/0"), ip_address(GATEWAY[0])),
                    ops.AddRoute(ip_network("::/0"), ip_address(GATEWAY[1])),
                ]
            )

    def hairpin(self, link: str) -> None:
        """As the bridge plugin's hairpinMode: a bridge port may send a frame back where it came from."""
        self.run("here", "bridge", "link", "set", "dev", link, "hairpin", "on")

    def run(self, place: str, *command: str) -> None:
        """A program in one of the namespaces."""
        fd = self.places[place]
        subprocess.run(["nsenter", f"--net=/proc/self/fd/{fd}", *command], check=True, pass_fds=(fd,))


def has(key: str) -> bool:
    """Whether namespaces have it of their own."""
    version = tuple(int(part) for part in os.uname().release.split(".")[:2])
    return version >= (6, 13) and os.path.exists(f"/proc/sys/net/ipv4/{key}")


def _told(name: str, peer: tuple[str, ...], server: socket.socket) -> bytes:
    return f"{name} {peer[0].removeprefix('::ffff:')} {server.getsockname()[1]}".encode()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    made = World()
    yield made
    made.close()
