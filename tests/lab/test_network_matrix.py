"""Who runs which plugins in which network: {our kubelet, cnitool's way, podman, containerd} x {our plugins,
Debian's} x {bridge, ptp} x {host-gw, vxlan} x {IPv4, IPv6, dual}.

A lab is a cell of the last four; in it the quickstart holds for the kubelet's pods, and containers that the
others attach on two nodes, with the nodes' own list, reach those pods, a Service and each other. One lab
each time, the matrix with -m slow. docs/cni.md has a table of it.
"""

import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from netemu.wire import elf

ROOT = Path(__file__).parents[2]
DEBIAN = "/usr/lib/cni"
NETEMU = (sys.executable, "-m", "netemu.cli.main")
WORKERS = ("worker-1", "worker-2")
FAMILIES = {"ipv4": "[ipv4]", "ipv6": "[ipv6]", "dual": "[ipv4, ipv6]"}

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
]


class Cell(NamedTuple):
    plugins: str
    pods: str
    backend: str
    families: str


REPRESENTATIVE = Cell("debian", "bridged", "vxlan", "dual")
MATRIX = [
    pytest.param(cell, id=" ".join(cell), marks=() if cell == REPRESENTATIVE else pytest.mark.slow)
    for cell in itertools.starmap(
        Cell,
        itertools.product(
            ("ours", "debian"), ("bridged", "routed"), ("host-gw", "vxlan"), ("ipv4", "ipv6", "dual")
        ),
    )
]


class Runtime(NamedTuple):
    """How to attach a container called hand on a node, and how to take it away; sh with `set -e`.

    `add` prints the path of its network namespace. `$bin`: the cell's plugins, `$hand`: a directory with a
    root file system. Programs it needs are `needs`.
    """

    needs: tuple[str, ...]
    add: str
    remove: str


CNITOOL = f"{sys.executable} -m netemu.cli.main cni run"
LIST = "/etc/cni/net.d/10-netemu.conflist"
# crun does without control groups, which are the host's; the hybrid of both versions is more than it wants.
NO_CGROUPS = "umount /sys/fs/cgroup/unified 2>/dev/null || true"
RUNTIMES = {
    "cnitool": Runtime(
        (),
        f"ip netns add hand; ip -n hand link set lo up; {CNITOOL} add --path $bin {LIST} hand >&2\n"
        "echo /run/netns/hand",
        f"{CNITOOL} del --path $bin {LIST} hand; ip netns del hand",
    ),
    "podman": Runtime(
        ("podman", "crun"),
        f"""{NO_CGROUPS}
        mkdir -p /run/netns /run/hand
        printf '%s\\n' '[network]' 'network_backend="cni"' 'network_config_dir="/etc/cni/net.d"' \\
            "cni_plugin_dirs=[\\"$(echo $bin | sed 's/:/\\", \\"/g')\\"]" \\
            '[engine]' 'events_logger="file"' 'cgroup_manager="cgroupfs"' > /run/hand/containers.conf
        cat > /run/hand/podman <<'end'
CONTAINERS_CONF=/run/hand/containers.conf exec podman --root /var/lib/hand --runroot /run/hand/run \\
    --storage-driver vfs --runtime crun "$@"
end
        sh /run/hand/podman run -q -d --cgroups disabled --name hand --network netemu \\
            --rootfs $hand /pause >&2
        echo /proc/$(sh /run/hand/podman inspect hand --format '{{{{.State.Pid}}}}')/ns/net""",
        "sh /run/hand/podman rm -f -t 0 hand >&2",
    ),
    "containerd": Runtime(
        ("containerd", "containerd-shim-runc-v2", "ctr", "crun"),
        f"""{NO_CGROUPS}
        mkdir -p /run/hand
        # ctr knows no other directory of plugins; this one is the node's own.
        [ ${{bin%%:*}} = /opt/cni/bin ] || cp ${{bin%%:*}}/* /opt/cni/bin/
        printf '#!/bin/sh\\nexec crun --cgroup-manager=disabled "$@"\\n' > /run/hand/oci
        chmod +x /run/hand/oci
        printf '%s\\n' 'version = 2' 'root = "/var/lib/hand"' 'state = "/run/hand/state"' \\
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]' '[grpc]' 'address = "/run/hand/sock"' \\
            > /run/hand/config.toml
        setsid containerd --config /run/hand/config.toml > /run/hand/log 2>&1 < /dev/null &
        until ctr --address /run/hand/sock version > /dev/null 2>&1; do sleep 0.1; done
        setsid ctr --address /run/hand/sock run --rm --null-io --cni --rootfs --runc-binary /run/hand/oci \\
            $hand hand /pause > /run/hand/ctr.log 2>&1 < /dev/null &
        until ctr --address /run/hand/sock tasks ls | grep -q RUNNING; do sleep 0.1; done
        echo /proc/$(ctr --address /run/hand/sock tasks ls | awk '$1 == "hand" {{ print $2 }}')/ns/net""",
        """ctr --address /run/hand/sock tasks kill -s KILL hand
        while ctr --address /run/hand/sock containers ls -q | grep -q hand; do sleep 0.1; done
        cat /run/hand/ctr.log >&2""",
    ),
}


class Lab:
    """A lab of a cell, and programs run on its nodes."""

    def __init__(self, place: Path, cell: Cell) -> None:
        self.cell = cell
        self._environment = {**os.environ, "NETEMU_STATE_DIR": str(place / "labs"), "PYTHONPATH": str(ROOT)}
        self.hand = place / "hand"
        self.hand.mkdir()
        (self.hand / "pause").write_bytes(elf.pause(platform.machine()))
        (self.hand / "pause").chmod(0o755)
        self.holds = False
        plugins = f", cni: {{bin: {DEBIAN}}}" if cell.plugins == "debian" else ""
        network = f"backend: {cell.backend}, pods: {cell.pods}, families: {FAMILIES[cell.families]}{plugins}"
        self._file = place / "lab.yaml"
        self._file.write_text(f"name: cell\nnodes: 3\nnetwork: {{{network}}}\n")

    def up(self) -> None:
        """Made, and the quickstart run in it."""
        self.netemu("up", "-q", "-f", str(self._file))
        said = self.netemu("run", "-q", "--in", "cell", "scenarios/01-quickstart/")  # its pods stay
        self.holds = re.search(r"quickstart: all hold", said) is not None

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

    def on(self, node: str, script: str, **variables: str) -> str:
        """Its output; with `$bin` and `$hand` for a Runtime."""
        path = f"{DEBIAN}:/opt/cni/bin" if self.cell.plugins == "debian" else "/opt/cni/bin"
        given = {"bin": path, "hand": str(self.hand), **variables}
        words = ("env", *(f"{name}={value}" for name, value in given.items()), "sh", "-ec", script)
        return self.netemu("shell", "--name", "cell", node, "--", *words)

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
# It answers on every address, and ends with its lab.
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


@pytest.fixture(scope="module", params=MATRIX)
def lab(request, tmp_path_factory):
    cell = request.param
    if cell.plugins == "debian" and not os.path.exists(f"{DEBIAN}/bridge"):
        pytest.skip("containernetworking-plugins is not installed")
    found = Lab(tmp_path_factory.mktemp("cell"), cell)
    try:
        found.up()
        yield found
    finally:
        found.netemu("down", "--name", "cell", "-q")


def test_the_quickstart_holds(lab):
    """Our own runtime."""
    assert lab.holds


@pytest.mark.parametrize("name", RUNTIMES)
def test_containers_of_others_are_in_the_same_network(lab, name):
    runtime = RUNTIMES[name]
    for program in runtime.needs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    inside = f'nsenter --net="$netns" {sys.executable} -c'
    netns = {node: lab.on(node, runtime.add).split()[-1] for node in WORKERS}
    attached = {}
    for node, path in netns.items():
        serve = f"{inside} '{SERVE}'; nsenter --net=\"$netns\" ip -j addr show dev eth0 scope global"
        (link,) = json.loads(lab.on(node, serve, netns=path))
        attached[node] = [address["local"] for address in link["addr_info"] if address]
        assert len(attached[node]) == (2 if lab.cell.families == "dual" else 1)
    targets = lab.targets()
    for node, other in zip(WORKERS, reversed(WORKERS), strict=True):
        wanted = json.dumps([*targets, *((ip, 7070) for ip in attached[other])])
        said = lab.on(node, f"{inside} '{REACH}' '{wanted}'", netns=netns[node])
        assert said.strip() == "reached"
    for node in WORKERS:
        leases = " ".join(f"/var/lib/cni/networks/netemu/{ip}" for ip in attached[node])
        left = lab.on(node, f"ls {leases} >&2; {runtime.remove}; ls {leases} 2>/dev/null || true")
        assert left.strip() == ""
