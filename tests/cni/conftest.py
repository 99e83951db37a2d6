"""A host in namespaces, and a runtime of twenty lines that calls plugins as cnitool does."""

import json
import os
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import cni
from cni import inprocess
from netemu.kernel import netns
from netemu.wire import cni as wire

REFERENCE = Path(os.environ.get("NETEMU_REFERENCE_CNI", "/usr/lib/cni"))


@dataclass
class Outcome:
    """What a plugin did."""

    code: int
    document: dict = field(default_factory=dict)
    stderr: str = ""


@dataclass
class Machine:
    """A host with plugins: everything in namespaces of its own."""

    root: Path
    binaries: Path
    places: list[Path] = field(default_factory=list)

    def namespace(self, name: str) -> str:
        path = self.root / name
        netns.create(path)
        self.places.append(path)
        return str(path)

    def start(self, command: str, configuration: dict, container: str, **change: str) -> subprocess.Popen:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(self.root / container),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.binaries),
            "PATH": os.environ["PATH"],
            **change,
        }
        binaries = environment["CNI_PATH"].split(":")[0]
        child = subprocess.Popen(
            ["nsenter", f"--net={self.root / 'host'}", f"{binaries}/{configuration['type']}"],
            env={name: value for name, value in environment.items() if value},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        child.stdin.write(json.dumps(configuration).encode())
        child.stdin.close()
        return child

    def finish(self, child: subprocess.Popen) -> Outcome:
        with child.stdout, child.stderr:
            output, errors = child.stdout.read(), child.stderr.read()
        return Outcome(child.wait(), json.loads(output) if output.strip() else {}, errors.decode())

    def call(self, command: str, configuration: dict, container: str, **change: str) -> Outcome:
        return self.finish(self.start(command, configuration, container, **change))

    def within(self, command: str, configuration: dict, container: str, **change: str) -> Outcome:
        """The same without a process: the plugin runs on a thread in the host's namespace."""
        environment = {
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(self.root / container),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.binaries),
            **change,
        }
        plugin = configuration["type"]

        def work() -> dict:
            return inprocess.call(plugin, command, environment, configuration)

        try:
            return Outcome(0, netns.call(self.root / "host", work))
        except wire.Failure as failure:
            return Outcome(1, failure.document(configuration.get("cniVersion", "")))

    def run(self, place: str, *argv: str) -> str:
        """A command in a namespace; its output."""
        done = subprocess.run(
            ["nsenter", f"--net={self.root / place}", *argv], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def json(self, place: str, *argv: str) -> list:
        return json.loads(self.run(place, "ip", "-j", *argv) or "[]")

    def outside(self) -> None:
        """A client beyond the host, 192.0.2.2, 2001:db8::2, which knows no way to containers."""
        self.namespace("outside")
        self.run("host", "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth9")
        self.run("host", "ip", "link", "set", "eth9", "netns", str(self.root / "outside"))
        for place, link, last in (("host", "up0", 1), ("outside", "eth9", 2)):
            self.run(place, "ip", "addr", "add", f"192.0.2.{last}/24", "dev", link)
            self.run(place, "ip", "addr", "add", f"2001:db8::{last}/64", "dev", link, "nodad")
            self.run(place, "ip", "link", "set", link, "up")
        self.run("outside", "ip", "link", "set", "lo", "up")
        self.run("host", "ip", "link", "set", "lo", "up")

    def serve(self, place: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A server in a namespace which `ask` can talk to; the caller closes it."""

        def work() -> socket.socket:
            server = socket.socket(socket.AF_INET6, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                server.listen()
            return server

        return netns.call(self.root / place, work)

    def ask(self, place: str, address: str, port: int, server: socket.socket) -> str:
        """Who the server sees when somebody at a place connects; "" when it hears nothing within a second."""

        def work() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            client = socket.socket(family, server.type)
            client.settimeout(1)
            client.connect((address, port))
            if server.type == socket.SOCK_DGRAM:
                client.send(b"?")
            return client

        server.settimeout(1)
        try:
            client = netns.call(self.root / place, work)
        except OSError:
            return ""
        with client:
            try:
                if server.type == socket.SOCK_DGRAM:
                    seen = server.recvfrom(16)[1]
                    server.sendto(b"!", seen)
                    assert client.recv(16) == b"!"
                else:
                    accepted, seen = server.accept()
                    accepted.close()
            except TimeoutError:
                return ""
        return seen[0].removeprefix("::ffff:")

    def connect(self, place: str, address: str, port: int) -> socket.socket:
        """A connection made from a place; the caller closes it."""
        return netns.call(self.root / place, socket.create_connection, (address, port), 10)

    def send_all(self, client: socket.socket, size: int) -> None:
        """Send so many bytes and close, while the caller does something else."""

        def work() -> None:
            with client:
                client.sendall(bytes(size))

        threading.Thread(target=work).start()

    def pings(self, place: str, target: str, seconds: int = 10) -> bool:
        """Whether an answer comes; a busy machine may take its time to let a new link forward."""
        return "1 received" in self.run(place, "ping", "-n", "-c1", f"-W{seconds}", target) or (
            seconds > 1 and "1 received" in self.run(place, "ping", "-n", "-c1", f"-W{seconds}", target)
        )


@pytest.fixture
def machine(tmp_path):
    cni.install(tmp_path / "bin")
    made = Machine(tmp_path, tmp_path / "bin")
    try:
        made.namespace("host")
        yield made
    finally:
        for path in made.places:
            netns.remove(path)


@pytest.fixture
def network(tmp_path):
    """A configuration as podnet writes it."""
    return {
        "cniVersion": "1.0.0",
        "name": "netemu",
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(tmp_path / "leases"),
            "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:244:0:1::/64"}]],
        },
    }
