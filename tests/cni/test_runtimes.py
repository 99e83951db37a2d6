"""Chains of plugins under other runtimes: one that does what cnitool does, and podman where installed."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from netemu.wire import elf

pytestmark = pytest.mark.root

REFERENCE = Path(os.environ.get("NETEMU_REFERENCE_CNI", "/usr/lib/cni"))
RANGES = {4: [{"subnet": "10.244.1.0/24"}], 6: [{"subnet": "fd00:244:0:1::/64"}]}
EVERYWHERE = {4: {"dst": "0.0.0.0/0"}, 6: {"dst": "::/0"}}
WEB = [{"hostPort": 8000, "containerPort": 8080, "protocol": "tcp"}]


def chain(tmp_path, kind, families, version):
    """A list as an administrator writes it: a network, ports, shaping, a sysctl."""
    ipam = {
        "type": "host-local",
        "dataDir": str(tmp_path / "leases"),
        "ranges": [RANGES[f] for f in families],
    }
    ipam["routes"] = [EVERYWHERE[f] for f in families]
    first = {"type": kind, "ipam": ipam, "ipMasq": True}
    if kind == "bridge":
        first |= {"bridge": "cni0", "isGateway": True, "hairpinMode": True}
    plugins = [
        first,
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "dataDir": str(tmp_path / "tuning")},
    ]
    return {"cniVersion": version, "name": "net", "plugins": plugins}


class Runtime:
    """libcni's rules: capabilities by declaration, results handed on, DEL and its result backwards."""

    RATES = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")
    OFFERS = {"portMappings": WEB, "bandwidth": dict.fromkeys(RATES, 1 << 28)}

    def __init__(self, machine, network, paths):
        self.machine, self.network, self.paths = machine, network, paths

    def run(self, command, plugin, container, previous):
        """One plugin from the first directory that has it, as an executable."""
        document = {key: value for key, value in plugin.items() if key != "capabilities"}
        document |= {key: self.network[key] for key in ("cniVersion", "name")}
        given = {key: self.OFFERS[key] for key in plugin.get("capabilities", {})}
        document |= ({"runtimeConfig": given} if given else {}) | (
            {"prevResult": previous} if previous else {}
        )
        path = next(path for path in self.paths if (path / plugin["type"]).exists())
        outcome = self.machine.call(command, document, container, CNI_PATH=f"{path}:{self.paths[-1]}")
        assert outcome.code == 0, (command, plugin["type"], outcome.document, outcome.stderr)
        return outcome.document

    def add(self, container):
        result = None
        for plugin in self.network["plugins"]:
            result = self.run("ADD", plugin, container, result)
        return result

    def check(self, container, result):
        for plugin in self.network["plugins"]:
            self.run("CHECK", plugin, container, result)

    def delete(self, container, result):
        for plugin in reversed(self.network["plugins"]):
            self.run("DEL", plugin, container, result)


def mixed(tmp_path, binaries):
    """Our bridge, ptp and host-local; everything chained after them is the reference's."""
    place = tmp_path / "mixed"
    place.mkdir()
    for name in ("bridge", "ptp", "host-local"):
        (place / name).symlink_to(binaries / name)
    return [place, REFERENCE]


def cell(*values, slow=False):
    return pytest.param(values, id="-".join(map(str, values)), marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(
    "cell",
    [
        cell("bridge", (4, 6), "1.1.0", "ours"),
        cell("bridge", (6,), "0.4.0", "ours", slow=True),
        cell("bridge", (4,), "0.3.1", "ours", slow=True),
        cell("ptp", (4, 6), "1.0.0", "ours"),
        cell("ptp", (6,), "1.1.0", "ours", slow=True),
        cell("bridge", (4,), "1.0.0", "reference", slow=True),
        cell("bridge", (4,), "1.0.0", "mixed", slow=True),
        cell("ptp", (4,), "0.4.0", "mixed"),
    ],
)
def test_a_whole_chain_connects_publishes_and_goes(machine, tmp_path, cell):
    kind, families, version, whose = cell
    if whose != "ours" and not (REFERENCE / "bridge").exists():
        pytest.skip(f"no reference plugins at {REFERENCE}")
    machine.outside()
    ways = {"ours": [machine.binaries], "reference": [REFERENCE]}
    paths = ways[whose] if whose in ways else mixed(tmp_path, machine.binaries)
    runtime = Runtime(machine, chain(tmp_path, kind, families, version), paths)
    results = {}
    for name in ("a", "b"):
        machine.namespace(name)
        if name == "b":  # the host's port is taken
            runtime.network["plugins"][1] = {"type": "tuning", "dataDir": str(tmp_path / "more")}
        results[name] = runtime.add(name)
    assert {result["cniVersion"] for result in results.values()} == {version}
    first = [ip["address"].split("/")[0] for ip in results["a"]["ips"]]
    assert len(first) == len(families)
    for ip in first:
        assert machine.pings("b", ip), ip
    with machine.serve("a", 8080) as server:
        for family, target in ((4, "192.0.2.1"), (6, "2001:db8::1")):
            seen = machine.ask("outside", target, 8000, server)
            assert bool(seen) == (family in families), (family, seen)
    assert machine.run("a", "cat", "/proc/sys/net/core/somaxconn").strip() == "500"
    runtime.network = chain(tmp_path, kind, families, version)
    if whose == "ours" and version != "0.3.1":  # the reference's portmap asks for rules it has not made
        runtime.check("a", results["a"])
    for name in ("a", "b"):
        runtime.delete(name, results[name])
        runtime.delete(name, None)
    assert {link["ifname"] for link in machine.json("host", "link")} <= {"lo", "up0", "cni0", "ifb0", "ifb1"}
    assert not list((tmp_path / "leases" / "net").glob("[0-9]*"))
    assert not list((tmp_path / "leases" / "net").glob("fd*"))
    if whose == "ours":
        assert "eth0" not in machine.run("host", "nft", "list", "ruleset")


@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman with its CNI backend (before 5.0)")
def test_podman_runs_them_unchanged(machine, tmp_path):
    """In namespaces of its own, so that its state and mounts end with the test."""
    root = tmp_path / "rootfs"
    root.mkdir()
    (root / "pause").write_bytes(elf.pause(platform.machine()))
    (root / "pause").chmod(0o755)
    network = chain(tmp_path, "bridge", (4,), "0.4.0")
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "87-net.conflist").write_text(json.dumps(network))
    settings = f'network_backend="cni"\ncni_plugin_dirs=["{machine.binaries}"]\ndefault_network="net"\n'
    settings = f'[network]\n{settings}network_config_dir="{tmp_path}/net.d"\n[engine]\nevents_logger="file"\n'
    (tmp_path / "containers.conf").write_text(settings + 'cgroup_manager="cgroupfs"\n')
    podman = f"podman --root {tmp_path}/store --runroot /run/podman --storage-driver vfs"
    script = f"""
        umount /sys/fs/cgroup/unified 2>/dev/null
        mount -t tmpfs none /run && mkdir -p /run/netns /var/lib/cni && mount -t tmpfs none /var/lib/cni
        {podman} run -q -d --name one -p 8000:8080 --rootfs {root} /pause >&2 &&
        {podman} inspect one --format '{{{{.NetworkSettings.Networks.net.IPAddress}}}}' &&
        ping -n -c1 -W5 10.244.1.2 >&2 && nft list ruleset | grep -c ' eth0"'
        {podman} rm -f -t 0 one >&2
        nft list ruleset | grep -c ' eth0"'
    """
    done = subprocess.run(
        [
            "nsenter",
            f"--net={machine.root / 'host'}",
            "unshare",
            "-m",
            "-p",
            "-f",
            "--mount-proc",
            "sh",
            "-c",
            script,
        ],
        env={**os.environ, "CONTAINERS_CONF": str(tmp_path / "containers.conf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["10.244.1.2", "3", "0"], done.stderr
    assert {link["ifname"] for link in machine.json("host", "link")} == {"lo", "cni0"}
    assert not list((tmp_path / "leases" / "net").glob("[0-9]*"))
