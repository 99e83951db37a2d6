"""`netemu cni`: a network called by hand in namespaces made for it, and plugins tried out."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

import cni as plugins
from netemu.kernel import netns, network

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine's network namespace, one of a container, and a directory with plugins and networks."""
    place = tmp_path_factory.mktemp("cni")
    for name in ("machine", "box"):
        netns.create(place / name)
    plugins.install(place / "bin")
    document = {
        "cniVersion": "1.1.0",
        "name": "lan",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "br0",
                "isGateway": True,
                "capabilities": {"mac": True},
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(place / "leases"),
                    "ranges": [[{"subnet": "10.7.0.0/24"}]],
                },
            }
        ],
    }
    (place / "lan.conflist").write_text(json.dumps(document))
    yield place
    for name in ("machine", "box"):
        netns.remove(place / name)


def netemu(machine, *arguments, **environment):
    environment = {"CNI_PATH": str(machine / "bin"), "NETCONFPATH": str(machine), **environment}
    return subprocess.run(
        [
            "nsenter",
            f"--net={machine / 'machine'}",
            sys.executable,
            "-m",
            "netemu.cli.main",
            "cni",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def call(machine, what, *arguments, conflist="lan.conflist", **environment):
    given = [str(machine / conflist) if conflist.endswith("list") else conflist, *arguments]
    return netemu(machine, "run", what, *given, "--cache", str(machine / "cache"), **environment)


def test_a_network_is_added_checked_collected_and_deleted(machine):
    box = str(machine / "box")
    mac = "02:00:00:00:00:07"
    wishes = {"CAP_ARGS": json.dumps({"mac": mac}), "CNI_ARGS": "IgnoreUnknown=1;IP=10.7.0.77"}
    added = call(machine, "add", box, CNI_IFNAME="lan0", **wishes)
    assert (added.returncode, added.stderr) == (0, "")
    result = json.loads(added.stdout)
    assert result["cniVersion"] == "1.1.0"
    (ip,) = result["ips"]
    assert ip["address"] == "10.7.0.77/24"
    with network.LinuxNetwork(box) as door:
        assert door.observe().links["lan0"].mac == mac
    assert call(machine, "check", box, conflist="lan", CNI_IFNAME="lan0").returncode == 0
    (kept,) = (machine / "cache" / "results").iterdir()
    container_id = json.loads(kept.read_text())["containerId"]
    assert container_id == "cnitool-" + hashlib.sha512(box.encode()).hexdigest()[:20]  # as cnitool names it
    held = call(machine, "gc", "--keep", f"{container_id}/lan0")
    assert held.returncode == 0
    assert (machine / "leases" / "lan" / ip["address"].partition("/")[0]).exists()
    assert call(machine, "gc").returncode == 0
    assert not list((machine / "cache" / "results").iterdir())
    with network.LinuxNetwork(box) as door:
        assert "lan0" not in door.observe().links
    assert call(machine, "del", box).returncode == 0  # nothing is there any more, and that is fine


def test_errors_are_one_line_with_the_specification_s_code(machine):
    lost = call(machine, "add", str(machine / "lost"))
    assert lost.returncode == 1
    assert lost.stderr.startswith('netemu: plugin type="bridge" failed (add): ')
    assert lost.stderr.endswith("(code 8)\n")
    assert lost.stderr.count("\n") == 1
    as_json = call(machine, "add", str(machine / "lost"), "--json")
    assert json.loads(as_json.stdout)["code"] == 8
    (machine / "bad.conflist").write_text('{"cniVersion": "1.1.0", "name": "bad", "plugins": [{}]}')
    bad = call(machine, "add", str(machine / "box"), conflist="bad.conflist")
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert "network bad: a plugin has no type (code 7)" in bad.stderr
    never = call(machine, "check", str(machine / "box"))
    assert never.returncode == 2
    assert "not attached to network lan" in never.stderr


def test_status_and_versions_need_no_namespace(machine):
    assert call(machine, "status").returncode == 0
    assert "bridge" in (said := call(machine, "version").stdout)
    assert "0.3.1" in said
    assert "1.1.0" in said


def test_our_host_local_keeps_all_rules(machine):
    tried = netemu(machine, "test", "host-local", "--json")
    rows = json.loads(tried.stdout)
    assert [row for row in rows if row["outcome"] == "failed"] == []
    assert tried.returncode == 0
    assert sum(row["outcome"] == "ok" for row in rows) >= 20


# It knows one version, lies in its results, cannot be asked twice, and leaves what it made.
BROKEN = """#!/bin/sh
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}' ;;
ADD) echo '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "'$CNI_NETNS'"}],' \\
          '"ips": [{"address": "10.0.0.9/24", "interface": 0}]}' ;;
DEL) echo gone ;;
esac
"""


def test_a_broken_plugin_is_told_which_rules_it_breaks(machine, tmp_path):
    path, config = tmp_path / "broken", tmp_path / "broken.conf"
    path.write_text(BROKEN)
    path.chmod(0o755)
    config.write_text('{"cniVersion": "1.0.0", "name": "x", "type": "broken", "ipam": {"a": 1}}')
    tried = netemu(machine, "test", str(path), "--config", str(config))
    assert tried.returncode == 1
    lines = tried.stdout.splitlines()
    failed = [line for line in lines if " failed " in line]
    assert any("VERSION prints the supported versions" in line for line in lines if " ok " in line)
    for rule in (
        "missing CNI_ variables are refused with code 4",
        "what is not a JSON object is refused with code 6",
        "an unknown cniVersion is refused with code 1",
        "the result has the configuration's cniVersion, in each",
        "what the result says is there: link, MAC, addresses, routes",
        "8 at once all succeed, no address twice",
        "takes away all that ADD made, and prints nothing",
        "succeeds twice",
    ):
        assert any(rule in line for line in failed), rule
    assert "there is no eth0 in the container" in tried.stdout
    assert len({line.index("failed") for line in failed}) == 1  # the columns are aligned


def test_a_plugin_nobody_knows_needs_a_configuration(machine, tmp_path):
    path = tmp_path / "strange"
    path.write_text("#!/bin/true\n")
    path.chmod(0o755)
    tried = netemu(machine, "test", str(path))
    assert tried.returncode == 2
    assert "--config" in tried.stderr
    assert netemu(machine, "test", "nowhere").returncode == 2
