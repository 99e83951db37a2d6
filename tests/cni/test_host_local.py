"""host-local as an executable: leases on disk, many processes at once, crashes, the reference plugin."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import cni as plugins
from netemu.wire import cni

REFERENCE = Path(os.environ.get("NETEMU_REFERENCE_CNI", "/usr/lib/cni")) / "host-local"


@pytest.fixture
def binaries(tmp_path):
    plugins.install(tmp_path / "bin")
    return tmp_path / "bin"


def configuration(tmp_path, subnet="10.1.0.0/24", **more):
    ipam = {"type": "host-local", "dataDir": str(tmp_path / "leases"), "ranges": [[{"subnet": subnet}]]}
    return {"cniVersion": "1.0.0", "name": "net", "type": "x", "ipam": ipam | more}


def start(binary, command, document, container="c1", **environment):
    child = subprocess.Popen(
        [str(binary)],
        env={
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": "/nowhere",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(binary.parent),
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdin.write(json.dumps(document).encode())
    child.stdin.close()
    return child


def finish(child):
    with child.stdout, child.stderr:
        output = child.stdout.read()
    return child.wait(), json.loads(output) if output.strip() else {}


def call(*arguments, **environment):
    return finish(start(*arguments, **environment))


def addresses(result):
    return [ip["address"] for ip in result["ips"]]


def test_an_address_is_given_remembered_and_given_back(binaries, tmp_path):
    plugin, document = binaries / "host-local", configuration(tmp_path)
    code, result = call(plugin, "ADD", document)
    assert code == 0
    assert result["ips"] == [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]
    assert "interfaces" not in result
    leases = tmp_path / "leases" / "net"
    assert (leases / "10.1.0.2").read_bytes() == b"c1\r\neth0"
    assert (leases / "last_reserved_ip.0").read_text() == "10.1.0.2"
    assert call(plugin, "CHECK", document) == (0, {})
    assert call(plugin, "ADD", document)[1]["code"] == cni.INVALID_CONFIGURATION  # the same attachment twice
    assert call(plugin, "DEL", document) == (0, {})
    assert call(plugin, "DEL", document) == (0, {})
    assert call(plugin, "CHECK", document)[0] == 1
    assert addresses(call(plugin, "ADD", document)[1]) == ["10.1.0.3/24"]  # round robin


def test_dual_stack_is_all_or_nothing(binaries, tmp_path):
    plugin = binaries / "host-local"
    document = configuration(tmp_path)
    document["ipam"]["ranges"].append([{"subnet": "fd00:1::/126"}])  # two usable: ::2 and ::3
    assert addresses(call(plugin, "ADD", document, "a")[1]) == ["10.1.0.2/24", "fd00:1::2/126"]
    assert call(plugin, "ADD", document, "b")[0] == 0
    code, refused = call(plugin, "ADD", document, "c")
    assert (code, refused["code"]) == (1, cni.NOT_AVAILABLE)
    assert not (tmp_path / "leases" / "net" / "10.1.0.4").exists()


@pytest.mark.parametrize(
    ("environment", "document"),
    [
        ({"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.77"}, {}),
        ({}, {"runtimeConfig": {"ips": ["10.1.0.77"]}}),
        ({}, {"args": {"cni": {"ips": ["10.1.0.77/24"]}}}),
    ],
)
def test_an_address_can_be_asked_for(binaries, tmp_path, environment, document):
    plugin, whole = binaries / "host-local", configuration(tmp_path) | document
    assert addresses(call(plugin, "ADD", whole, "a", **environment)[1]) == ["10.1.0.77/24"]
    assert call(plugin, "ADD", whole, "b", **environment)[1]["code"] == cni.NOT_AVAILABLE
    outside = {"CNI_ARGS": "IP=192.0.2.1"}
    assert (
        call(plugin, "ADD", configuration(tmp_path), "c", **outside)[1]["code"] == cni.INVALID_CONFIGURATION
    )


def test_routes_and_resolv_conf_are_passed_on(binaries, tmp_path):
    (tmp_path / "resolv.conf").write_text("search a.example\nnameserver 192.0.2.53\n")
    document = configuration(
        tmp_path,
        routes=[{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}],
        resolvConf=str(tmp_path / "resolv.conf"),
    )
    _, result = call(binaries / "host-local", "ADD", document)
    assert result["routes"] == document["ipam"]["routes"]
    assert result["dns"] == {"nameservers": ["192.0.2.53"], "search": ["a.example"]}


def test_many_at_once_get_different_addresses(binaries, tmp_path):
    document = configuration(tmp_path, "10.1.0.0/26")
    children = [start(binaries / "host-local", "ADD", document, f"c{n}") for n in range(70)]
    outcomes = [finish(child) for child in children]
    given = [address for code, result in outcomes if code == 0 for address in addresses(result)]
    refused = [result["code"] for code, result in outcomes if code]
    assert len(given) == len(set(given)) == 61  # 64 less network, gateway, broadcast
    assert refused == [cni.NOT_AVAILABLE] * 9


def test_a_crash_neither_doubles_nor_loses_an_address(binaries, tmp_path):
    """Kill some in the middle; what the others got is unique, and at the end everything can be given out."""
    document = configuration(tmp_path, "10.1.0.0/27")
    children = [start(binaries / "host-local", "ADD", document, f"c{n}") for n in range(20)]
    for index, child in enumerate(children):
        if index % 2:
            child.send_signal(signal.SIGKILL)
    given = []
    for child in children:
        with child.stdout, child.stderr:
            output = child.stdout.read()
        if child.wait() == 0:
            given += addresses(json.loads(output))
    assert len(given) == len(set(given)) >= 10
    for n in range(20):
        assert call(binaries / "host-local", "DEL", document, f"c{n}")[0] == 0
    everything = [call(binaries / "host-local", "ADD", document, f"d{n}") for n in range(29)]
    assert {code for code, _ in everything} == {0}


def test_leases_in_a_directory_that_depends_on_where_we_are_are_refused(binaries, tmp_path):
    document = configuration(tmp_path, dataDir="leases")
    for command in ("ADD", "DEL", "CHECK"):
        assert call(binaries / "host-local", command, document)[1]["code"] == cni.INVALID_CONFIGURATION


def test_a_lease_whose_writer_died_before_filling_it_is_free(binaries, tmp_path):
    (tmp_path / "leases" / "net").mkdir(parents=True)
    (tmp_path / "leases" / "net" / "10.1.0.2").touch()
    result = call(binaries / "host-local", "ADD", configuration(tmp_path))[1]
    assert addresses(result) == ["10.1.0.2/24"]


def test_gc_frees_what_no_valid_attachment_holds(binaries, tmp_path):
    plugin = binaries / "host-local"
    document = configuration(tmp_path) | {"cniVersion": "1.1.0"}
    for name in ("a", "b"):
        call(plugin, "ADD", document, name)
    valid = {"cni.dev/valid-attachments": [{"containerID": "b", "ifname": "eth0"}]}
    assert call(plugin, "GC", document | valid)[0] == 0
    held = {path.name for path in (tmp_path / "leases" / "net").glob("10.*")}
    assert held == {"10.1.0.3"}
    assert call(plugin, "STATUS", document)[0] == 0
    assert call(plugin, "STATUS", document | {"ipam": {"ranges": [[{"subnet": "x"}]]}})[0] == 1


def test_version_and_about(binaries):
    done = subprocess.run(
        [binaries / "host-local"], env={"CNI_COMMAND": "VERSION"}, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["supportedVersions"] == list(cni.VERSIONS)
    about = subprocess.run([binaries / "host-local"], env={}, capture_output=True, check=True)
    assert about.stdout == b""
    assert b"host-local" in about.stderr


def test_only_light_modules_are_imported(binaries):
    """What a plugin imports is what it costs: the budget is a list of modules, not of milliseconds."""
    code = (
        (binaries / "bridge")
        .read_text()
        .replace("frame.main('bridge')", "frame.load('bridge'); print(*sys.modules)")
    )
    python = code.splitlines()[0].removeprefix("#!").split()
    done = subprocess.run([*python, "-c", code], capture_output=True, check=True, text=True)
    heavy = {"re", "enum", "typing", "json", "socket", "subprocess", "dataclasses", "inspect", "asyncio"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"no reference plugins at {REFERENCE.parent}")
def test_the_reference_plugin_and_ours_share_one_store(binaries, tmp_path):
    ours, document = binaries / "host-local", configuration(tmp_path)
    first, theirs = call(ours, "ADD", document, "a")[1], call(REFERENCE, "ADD", document, "b")[1]
    third = call(ours, "ADD", document, "c")[1]
    assert [addresses(r)[0] for r in (first, theirs, third)] == ["10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"]
    assert first["ips"][0].keys() == theirs["ips"][0].keys()
    assert call(REFERENCE, "CHECK", document, "a") == (0, {})
    assert call(ours, "CHECK", document, "b") == (0, {})
    for plugin, container in ((REFERENCE, "a"), (ours, "b"), (REFERENCE, "c")):
        assert call(plugin, "DEL", document, container) == (0, {})
    assert not list((tmp_path / "leases" / "net").glob("10.*"))
