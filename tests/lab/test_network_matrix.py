"""Who runs which plugins in which network: {our kubelet, cnitool's way by hand} x {our plugins, Debian's} x
{bridge, ptp} x {host-gw, vxlan} x {IPv4, IPv6, dual}.

A lab is a cell of the last four; in it the quickstart holds for the kubelet's pods, and containers that the
others attach reach those pods, a Service and each other. One cell runs each time, the matrix with -m slow.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DEBIAN = "/usr/lib/cni"
NETEMU = (sys.executable, "-m", "netemu.cli.main")
WORKERS = ("worker-1", "worker-2")
FAMILIES = {"ipv4": "[ipv4]", "ipv6": "[ipv6]", "dual": "[ipv4, ipv6]"}

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
]
needs_debian = pytest.mark.skipif(
    not os.path.exists(f"{DEBIAN}/bridge"), reason="containernetworking-plugins is not installed"
)


class Cell(NamedTuple):
    plugins: str
    pods: str
    backend: str
    families: str


REPRESENTATIVE = Cell("debian", "bridged", "vxlan", "dual")
MATRIX = [
    pytest.param(Cell(*cell), marks=needs_debian if cell[0] == "debian" else (), id=" ".join(cell))
    for cell in itertools.product(
        ("ours", "debian"), ("bridged", "routed"), ("host-gw", "vxlan"), ("ipv4", "ipv6", "dual")
    )
    if Cell(*cell) != REPRESENTATIVE
]


class Lab:
    """A lab of a cell, and programs run on its nodes."""

    def __init__(self, place: Path, cell: Cell) -> None:
        self.cell = cell
        self._environment = {**os.environ, "NETEMU_STATE_DIR": str(place / "labs"), "PYTHONPATH": str(ROOT)}
        file = place / "lab.yaml"
        plugins = f", cni: {{bin: {DEBIAN}}}" if cell.plugins == "debian" else ""
        network = f"backend: {cell.backend}, pods: {cell.pods}, families: {FAMILIES[cell.families]}{plugins}"
        file.write_text(f"name: cell\nnodes: 3\nnetwork: {{{network}}}\n")
        self.netemu("up", "-q", "-f", str(file))

    def netemu(self, *arguments: str) -> str:
        done = subprocess.run(
            (*NETEMU, *arguments),
            cwd=ROOT,
            env=self._environment,
            timeout=300,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def on(self, node: str, *argv: str) -> str:
        return self.netemu("shell", "--name", "cell", node, "--", *argv)

    def kubelet(self) -> None:
        """Our own runtime: the quickstart. Its pods stay."""
        said = self.netemu("run", "-q", "--in", "cell", "scenarios/01-quickstart/")
        assert re.search(r"quickstart: all hold", said), said

    def targets(self) -> list[tuple[str, int]]:
        """Where the quickstart's pods and its Service answer, in every family."""
        pods = json.loads(self.netemu("get", "pods", "-o", "json", "--name", "cell"))["items"]
        web = [pod for pod in pods if pod["metadata"]["labels"].get("app") == "web"]
        service = json.loads(self.netemu("get", "service", "web", "-o", "json", "--name", "cell"))
        found = [(ip["ip"], 8080) for pod in web for ip in pod["status"]["podIPs"]]
        assert found
        port = service["spec"]["ports"][0]["port"]
        return found + [(ip, port) for ip in service["spec"]["clusterIPs"]]


REACH = """
import json, socket, sys
for host, port in json.loads(sys.argv[1]):
    socket.create_connection((host, port), 10).close()
print("reached", flush=True)
"""
# It answers on every address, and ends with the shell that started it.
SERVE = """
import os, socket
server = socket.create_server(("::", 7070), family=socket.AF_INET6, dualstack_ipv6=True)
if os.fork():
    os._exit(0)
os.setsid()
for fd in (0, 1, 2):
    os.dup2(os.open("/dev/null", os.O_RDWR), fd)
server.settimeout(120)
while True:
    server.accept()[0].close()
"""


def by_hand(lab: Lab) -> None:
    """cnitool's way: a namespace on each worker, attached by `netemu cni run` with the node's own list."""
    path = f"{DEBIAN}:/opt/cni/bin" if lab.cell.plugins == "debian" else "/opt/cni/bin"
    cni = f"{sys.executable} -m netemu.cli.main cni run --path {path}"
    network = "/etc/cni/net.d/10-netemu.conflist hand"
    inside = f"ip netns exec hand {sys.executable} -c"
    make = f"ip netns add hand && {cni} add {network} && ip -n hand link set lo up && {inside} '{SERVE}'"
    attached = {}
    for node in WORKERS:
        result = json.loads(lab.on(node, "sh", "-ec", make))
        attached[node] = [ip["address"].partition("/")[0] for ip in result["ips"]]
        assert len(attached[node]) == (2 if lab.cell.families == "dual" else 1)
    targets = lab.targets()
    for node, other in zip(WORKERS, reversed(WORKERS), strict=True):
        wanted = json.dumps([*targets, *((ip, 7070) for ip in attached[other])])
        after = f"{cni} del {network}; ip netns del hand" if node == WORKERS[-1] else "true"
        said = lab.on(node, "sh", "-ec", f"{inside} '{REACH}' '{wanted}'; {after}")
        assert said.strip() == "reached"


def hold(place: Path, cell: Cell) -> None:
    lab = Lab(place, cell)
    try:
        lab.kubelet()
        by_hand(lab)
    finally:
        lab.netemu("down", "--name", "cell", "-q")


@needs_debian
def test_a_network_of_debian_s_plugins(tmp_path):
    hold(tmp_path, REPRESENTATIVE)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", MATRIX)
def test_the_quickstart_holds_in_every_cell(tmp_path, cell):
    hold(tmp_path, cell)
