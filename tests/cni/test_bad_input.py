"""What goes wrong: every call gets the specification's code for it, and nothing is left half made."""

import copy
import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cni as plugins
from cni import frame, inprocess, leases
from netemu.kernel import netns, nfnl, rtnl
from netemu.wire import cni, rtnetlink

NAMES = sorted(plugins.EXECUTABLES)
ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/never-was",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/nowhere",
}
CONFIGURATION = {"cniVersion": "1.1.0", "name": "n", "type": "x"}


def code(name, environment, text):
    """The exit code is 1, and this is the one in the document."""
    status, output = frame.run(name, environment, text)
    document = json.loads(output)
    assert status == 1
    assert isinstance(document["msg"], str)
    assert document["msg"]
    return document["code"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", cni.DECODING_FAILURE),
        (b"{", cni.DECODING_FAILURE),
        (b"[]", cni.DECODING_FAILURE),
        (b"\xff\xfe", cni.DECODING_FAILURE),
        (b'{"cniVersion": "1.0.0", "name": "n"} x', cni.DECODING_FAILURE),
        (b'{"cniVersion": "1.0.0", "name": "n", "prevResult": 5}', cni.DECODING_FAILURE),
        (b'{"cniVersion": "1.0.0", "name": "n", "ipam": "host-local"}', cni.DECODING_FAILURE),
        (b'{"cniVersion": "9.9.9", "name": "n"}', cni.INCOMPATIBLE_VERSION),
        (b'{"cniVersion": ["1.0.0"], "name": "n"}', cni.INCOMPATIBLE_VERSION),
        (b'{"name": "n"}', cni.INCOMPATIBLE_VERSION),
        (b'{"cniVersion": "1.0.0"}', cni.INVALID_CONFIGURATION),
        (b'{"cniVersion": "1.0.0", "name": "../../etc"}', cni.INVALID_CONFIGURATION),
        (b'{"cniVersion": "1.0.0", "name": 5}', cni.INVALID_CONFIGURATION),
    ],
)
def test_a_text_that_is_no_configuration(name, text, wanted):
    assert code(name, ENVIRONMENT, text) == wanted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"CNI_COMMAND": "add"}, cni.BAD_ENVIRONMENT),
        ({"CNI_CONTAINERID": ""}, cni.BAD_ENVIRONMENT),
        ({"CNI_CONTAINERID": "../c1"}, cni.BAD_ENVIRONMENT),
        ({"CNI_NETNS": ""}, cni.BAD_ENVIRONMENT),
        ({"CNI_IFNAME": ""}, cni.BAD_ENVIRONMENT),
        ({"CNI_IFNAME": "a-name-of-sixteen"}, cni.BAD_ENVIRONMENT),
        ({"CNI_IFNAME": "a/b"}, cni.BAD_ENVIRONMENT),
        ({"CNI_PATH": ""}, cni.BAD_ENVIRONMENT),
        ({"CNI_ARGS": "K"}, cni.BAD_ENVIRONMENT),
        ({"CNI_NETNS": "/proc/self/ns/net"}, cni.INVALID_NETNS),
    ],
)
def test_an_environment_that_is_no_call(name, change, wanted):
    assert code(name, ENVIRONMENT | change, json.dumps(CONFIGURATION).encode()) == wanted


@pytest.mark.parametrize("command", ["CHECK", "GC", "STATUS"])
def test_a_command_that_the_version_does_not_have(command):
    old = json.dumps(CONFIGURATION | {"cniVersion": "0.3.1"}).encode()
    assert code("bridge", ENVIRONMENT | {"CNI_COMMAND": command}, old) == cni.INCOMPATIBLE_VERSION


@pytest.mark.parametrize("name", ["bridge", "host-local", "portmap", "bandwidth", "tuning", "flannel"])
@pytest.mark.parametrize("valid", [None, "all", [{"containerID": "c1"}], ["c1"]])
def test_gc_without_knowing_who_is_alive_removes_nothing(name, valid):
    document = CONFIGURATION | {"ipam": {"type": "host-local", "dataDir": "/nowhere"}, "ipMasq": True}
    document |= {"cni.dev/valid-attachments": valid}
    environment = ENVIRONMENT | {"CNI_COMMAND": "GC", "CNI_PATH": os.path.join(plugins.root(), "cni")}
    assert code(name, environment, json.dumps(document).encode()) == cni.INVALID_CONFIGURATION


@pytest.mark.parametrize("name", ["bridge", "ptp", "macvlan", "loopback", "tuning"])
def test_a_namespace_that_is_none(name, tmp_path):
    (tmp_path / "file").touch()  # what remains of a bind mount after a reboot
    document = CONFIGURATION | {"ipam": {"type": "static", "addresses": [{"address": "10.0.0.2/24"}]}}
    document |= {"prevResult": {"cniVersion": "1.1.0"}, "mtu": 1300}
    for path in ("/run/netns/never-was", str(tmp_path / "file"), str(tmp_path), "/proc/self/ns/mnt"):
        environment = ENVIRONMENT | {"CNI_NETNS": path}
        text = json.dumps(document).encode()
        assert code(name, environment, text) == cni.INVALID_NETNS, path
        binaries = {"CNI_PATH": os.path.join(plugins.root(), "cni")}
        if name != "bridge":
            assert inprocess.call(name, "DEL", environment | binaries, document) == {}, path


# -- any value in any place ----------------------------------------------------------------------------------


def documents(machine):
    """For each plugin a configuration that works."""
    ranges = [[{"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.10", "gateway": "10.9.0.1"}]]
    ipam = {"type": "host-local", "dataDir": str(machine.root / "leases"), "ranges": ranges}
    ipam |= {"routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]}
    base = {"cniVersion": "1.0.0", "name": "n", "args": {"cni": {}}, "dns": {"nameservers": ["10.9.0.1"]}}
    there = [{"name": "br9"}, {"name": "eth0", "sandbox": str(machine.root / "a")}]
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": there,
        "ips": [{"address": "10.9.0.9/24", "interface": 1}],
    }
    ports = {"portMappings": [{"hostPort": 81, "containerPort": 80, "protocol": "udp", "hostIP": "10.9.0.1"}]}
    return {
        "bridge": base | {"bridge": "br9", "isGateway": True, "mtu": 1400, "ipMasq": False, "ipam": ipam},
        "ptp": base | {"mtu": 1400, "ipMasq": False, "ipam": ipam},
        "host-local": base | {"ipam": ipam, "runtimeConfig": {"ips": [], "ipRanges": []}},
        "static": base
        | {"ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24"}], "routes": []}},
        "portmap": base | {"prevResult": previous, "runtimeConfig": ports, "conditionsV4": [], "snat": True},
        "bandwidth": base | {"prevResult": previous, "egressRate": 80_000, "egressBurst": 80_000},
        "tuning": base | {"prevResult": previous, "sysctl": {"net.core.somaxconn": "9"}, "mtu": 1400},
        "macvlan": base | {"master": "wire", "mode": "bridge", "ipam": ipam},
        "loopback": base,
    }


def places(document, at=()):
    """The way to every value in a document."""
    yield at
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            yield from places(document[key], (*at, key))


ODD = (
    None, True, 0, -1, 1 << 70, 1.5, "", "x", "10.9.0.0/99", "::", "\n", "a" * 300, [], {}, [[]], [None],
    {"": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    root = tmp_path_factory.mktemp("town")
    plugins.install(root / "bin")
    for name in ("host", "a"):
        netns.create(root / name)

    subprocess.run(
        ["nsenter", f"--net={root / 'host'}", "ip", "link", "add", "wire", "type", "bridge"], check=True
    )

    class Town:
        binaries = str(root / "bin")

    Town.root = root
    yield Town
    for name in ("host", "a"):
        netns.remove(root / name)


def call(machine, name, command, document):
    environment = ENVIRONMENT | {"CNI_NETNS": str(machine.root / "a"), "CNI_PATH": machine.binaries}
    return netns.call(machine.root / "host", inprocess.call, name, command, environment, document)


def remains(machine):
    """Links of host and container, but for bridges, which stay; addresses held: what a call might leave."""

    def links():
        with rtnl.Rtnl() as socket:
            return {link.name for link in socket.dump(rtnetlink.dump_links()) if link.kind != "bridge"} - {
                "lo"
            }

    held = [path.name for path in (machine.root / "leases").rglob("*") if path.name[:1].isdigit()]
    return [netns.call(machine.root / place, links) for place in ("host", "a")], held


def taken_or_refused(machine, name, way, value):
    """ADD, and DEL if it worked, with another value in one place: no bug, and nothing left."""
    changed = copy.deepcopy(documents(machine)[name])
    inner = changed
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = value
    try:
        call(machine, name, "ADD", changed)
    except cni.Failure as failure:
        if failure.code == cni.INTERNAL:
            raise
    else:
        call(machine, name, "DEL", changed)
    assert remains(machine) == ([set(), set()], []), (name, way, value)


@pytest.mark.root
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_is_taken_or_refused_in_the_specification_s_words(town, data):
    known = documents(town)
    name = data.draw(st.sampled_from(sorted(known)))
    way = data.draw(st.sampled_from([way for way in places(known[name]) if way]))
    taken_or_refused(town, name, way, data.draw(st.sampled_from(ODD)))


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_odd_value_in_every_place(town):
    for name, document in documents(town).items():
        for way in filter(None, places(document)):
            for value in ODD:
                taken_or_refused(town, name, way, value)


# -- death at any moment -------------------------------------------------------------------------------------

DEADLY = (
    (rtnl.Rtnl, "send"),
    (nfnl.Nfnl, "transact"),
    (leases.Leases, "reserve"),
    (leases.Leases, "release"),
)


def dies(machine, name, document, at, *, before):
    """Whether a child that runs ADD is killed at its n-th step into kernel or disk."""
    child = os.fork()
    if child == 0:
        seen = iter(range(at + 1))

        def deadly(original):
            def step(*arguments, **named):
                last = next(seen, None) == at
                if last and before:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = original(*arguments, **named)
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return step

        for owner, method in DEADLY:
            setattr(owner, method, deadly(getattr(owner, method)))
        try:
            call(machine, name, "ADD", document)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("bridge", True),
        ("ptp", False),
        pytest.param("bridge", False, marks=pytest.mark.slow),
        pytest.param("ptp", True, marks=pytest.mark.slow),
        pytest.param("macvlan", True, marks=pytest.mark.slow),
        pytest.param("macvlan", False, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_step_del_leaves_nothing_and_add_works(town, name, before):
    more = {"ipMasq": True, "macspoofchk": True} if name == "bridge" else {"ipMasq": name == "ptp"}
    document = documents(town)[name] | more
    steps = 0
    while dies(town, name, document, steps, before=before):
        call(town, name, "DEL", document)
        assert remains(town) == ([set(), set()], []), steps
        result = call(town, name, "ADD", document)
        call(town, name, "CHECK", document | {"prevResult": result})
        call(town, name, "DEL", document | {"prevResult": result})
        assert remains(town) == ([set(), set()], []), steps
        steps += 1
    call(town, name, "DEL", document)
    rules = netns.call(town.root / "host", subprocess.check_output, ["nft", "list", "ruleset"]).decode()
    assert '"n c1 eth0"' not in rules
    assert steps >= 5


@pytest.mark.root
@pytest.mark.parametrize("limit", ["size=4k", "size=8k", "nr_inodes=4", "nr_inodes=2", "ro"])
def test_a_full_disk_costs_no_address(town, limit):
    """In a mount namespace of its own: a file system without room for a second lease, or for any file."""
    place = town.root / f"disk-{limit}"
    place.mkdir()
    document = documents(town)["bridge"]
    document["ipam"] |= {
        "dataDir": str(place),
        "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]],
    }
    environment = ENVIRONMENT | {"CNI_NETNS": str(town.root / "a"), "CNI_PATH": town.binaries}
    script = f"mount -t tmpfs -o {limit} none {place} && {town.binaries}/bridge; find {place} -type f >&2"
    done = subprocess.run(
        ["nsenter", f"--net={town.root / 'host'}", "unshare", "-m", "sh", "-c", script],
        env=environment | {"PATH": os.environ["PATH"]},
        input=json.dumps(document).encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["code"] == cni.IO_FAILURE
    left = [os.path.basename(line) for line in done.stderr.decode().split()]
    assert set(left) <= {"lock", "last_reserved_ip.0", "last_reserved_ip.1"}, left
    assert remains(town)[0] == [set(), set()]


@pytest.mark.root
def test_a_setting_that_is_there_already_may_be_read_only(tmp_path):
    """/proc/sys is, in many a container that runs plugins; here a file system that is."""
    write = "import sys; from cni import links; links.write(*sys.argv[1:])"
    script = f"mount -t tmpfs none {tmp_path}; echo 1 > {tmp_path}/setting; mount -o remount,ro {tmp_path}"
    for value, code in (("1", 0), ("2", 1)):
        program = [sys.executable, "-c", write, f"{tmp_path}/setting", value]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-ec", f'{script}; exec "$@"', "sh", *program],
            env={**os.environ, "PYTHONPATH": plugins.root()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
    assert "Read-only file system" in done.stderr
