"""A host in namespaces, and a runtime of twenty lines that calls plugins as cnitool does."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import cni
from netemu.kernel import netns

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

    def run(self, place: str, *argv: str) -> str:
        """A command in a namespace; its output."""
        done = subprocess.run(
            ["nsenter", f"--net={self.root / place}", *argv], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def json(self, place: str, *argv: str) -> list:
        return json.loads(self.run(place, "ip", "-j", *argv) or "[]")

    def pings(self, place: str, target: str) -> bool:
        return "1 received" in self.run(place, "ping", "-n", "-c1", "-W1", target)


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
