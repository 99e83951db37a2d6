"""The runtime side of CNI against plugins that write down what they were asked."""

import asyncio
import base64
import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

import cni as plugins
from netemu.base import errors
from netemu.kernel import netns, process
from netemu.kubelet import cni
from netemu.kubelet.cni import multus
from netemu.kubelet.cni import network as networks
from netemu.wire import cri

# A plugin that keeps a diary, and fails or dawdles when its configuration says so.
DIARY = f"""#!{sys.executable} -IS
import json, os, sys, time
if os.environ["CNI_COMMAND"] == "VERSION" and os.path.exists(sys.argv[0] + ".versions"):
    print(open(sys.argv[0] + ".versions").read())
    sys.exit(0)
conf = json.load(sys.stdin)
entry = {{name: value for name, value in os.environ.items() if name.startswith("CNI_")}}
entry = {{"CNI_NETNS": ""}} | entry | {{"who": conf["me"], "conf": conf}}
with open(conf["diary"], "a") as file:
    file.write(json.dumps(entry) + chr(10))
if conf.get("child"):
    import subprocess
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    print(child.pid, file=open(conf["child"], "w"), flush=True)
time.sleep(conf.get("sleep", 0))
if os.environ["CNI_COMMAND"] == conf.get("fails"):
    print(json.dumps({{"cniVersion": conf["cniVersion"], "code": 11, "msg": "not now"}}))
    sys.exit(1)
if os.environ["CNI_COMMAND"] == "ADD":
    result = conf.get("prevResult") or {{
        "cniVersion": conf.get("speaks", conf["cniVersion"]),
        "interfaces": [
            {{"name": "br"}}, {{"name": os.environ["CNI_IFNAME"], "sandbox": os.environ["CNI_NETNS"]}}
        ],
        "ips": [{{"address": "192.0.2.1/24"}}, {{"address": "10.1.0.5/24", "interface": 1}},
                {{"address": "fd00::5/64", "interface": 1}}],
    }}
    print(json.dumps(result))
"""


@pytest.fixture
def node(tmp_path):
    """Directories as on a node, with two plugins of one list, and a sandbox with a namespace of its own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "net.d").mkdir()
    for name in ("first", "second"):
        path = tmp_path / "bin" / name
        path.write_text(DIARY)
        path.chmod(0o755)
    netns.create(tmp_path / "ns")
    yield tmp_path
    netns.remove(tmp_path / "ns")


def configure(node, name="10-net.conflist", version="1.0.0", listed=None, **changes):
    """`listed`: keys of the list itself; the others are a plugin's own."""
    plugins = [
        {"type": kind, "me": kind, "diary": str(node / "diary"), **changes.get(kind, {})}
        for kind in ("first", "second")
    ]
    text = json.dumps({"cniVersion": version, "name": "net", "plugins": plugins} | (listed or {}))
    (node / "net.d" / name).write_text(text)


def network(node, **more):
    return cni.Cni(str(node / "net.d"), (str(node / "bin"),), str(node / "cache"), **more)


def sandbox(node, name="s1"):
    config = cri.SandboxConfig("web", "default", "u1")
    return cri.Sandbox(name, config, "READY", netns=str(node / "ns"))


def diary(node):
    return [json.loads(line) for line in (node / "diary").read_text().splitlines()]


def test_without_a_configuration_the_network_is_not_ready(tmp_path):
    with pytest.raises(cni.NotReady, match=r"^cni plugin not initialized$"):
        asyncio.run(cni.Cni(str(tmp_path), (), str(tmp_path)).status())


@pytest.mark.parametrize(
    "text", ["{", '{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "absent"}]}']
)
def test_a_bad_configuration_is_named(tmp_path, text):
    (tmp_path / "10-x.conflist").write_text(text)
    with pytest.raises(cni.NotReady, match=r"cni plugin not initialized: 10-x\.conflist: "):
        cni.Cni(str(tmp_path), (str(tmp_path),), str(tmp_path)).network()


def test_the_pods_network_is_the_first_usable_file_by_name(tmp_path):
    (tmp_path / "first").write_text("#!/bin/true\n")
    (tmp_path / "first").chmod(0o755)
    for name, number in (("00-note.txt", 0), ("20-b.conf", 2), ("30-c.conflist", 3)):
        one = {"cniVersion": "1.0.0", "name": f"net{number}", "type": "first"}
        several = {"cniVersion": "1.0.0", "name": f"net{number}", "plugins": [{"type": "first"}]}
        (tmp_path / name).write_text(json.dumps(several if name.endswith("list") else one))
    (tmp_path / "10-a.conflist").write_text("{")
    found = cni.Cni(str(tmp_path), (str(tmp_path),), str(tmp_path))
    assert found.network().name == "net2"
    (tmp_path / "20-b.conf").unlink()
    assert found.network().name == "net3"


@pytest.mark.parametrize("interface", [{"name": "eth0"}, {"name": "eth1", "sandbox": "/run/netns/x"}])
def test_a_result_without_an_address_of_eth0_in_the_pod_is_none(interface):
    found = {
        "cniVersion": "1.0.0",
        "interfaces": [interface],
        "ips": [{"address": "10.1.0.5/24", "interface": 0}],
    }
    with pytest.raises(errors.NetemuError, match=r"^failed to find network info for sandbox x$"):
        networks.addresses(found, "/run/netns/x")


@pytest.mark.root
def test_add_goes_forward_del_backward_with_the_last_result(node):
    configure(node)
    wires, box = network(node), sandbox(node)
    assert asyncio.run(wires.attach(box)) == ("10.1.0.5", "fd00::5")
    asyncio.run(wires.check(box))
    asyncio.run(wires.detach(box))
    found = diary(node)
    assert [(e["CNI_COMMAND"], e["who"]) for e in found] == [
        ("ADD", "first"),
        ("ADD", "second"),
        ("CHECK", "first"),
        ("CHECK", "second"),
        ("DEL", "second"),
        ("DEL", "first"),
    ]
    assert "prevResult" not in found[0]["conf"]
    assert all(e["conf"]["prevResult"]["ips"] for e in found[1:])
    assert {e["conf"]["name"] for e in found} == {"net"}
    assert (found[0]["CNI_IFNAME"], found[0]["CNI_CONTAINERID"]) == ("eth0", "s1")
    assert found[0]["CNI_ARGS"] == (
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
        "K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=u1"
    )
    assert not list((node / "cache" / "results").iterdir())


@pytest.mark.root
def test_the_result_is_kept_as_libcni_keeps_it(node):
    configure(node)
    asyncio.run(network(node).attach(sandbox(node)))
    path = node / "cache" / "results" / "net-s1-eth0"
    entry = json.loads(path.read_text())
    assert entry["kind"] == "cniCacheV1"
    assert base64.b64decode(entry["config"]) == (node / "net.d" / "10-net.conflist").read_bytes()
    assert entry["cniArgs"][1] == ["K8S_POD_NAMESPACE", "default"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.root
def test_del_uses_what_add_used_even_if_the_configuration_is_another_by_now(node):
    configure(node)
    asyncio.run(network(node).attach(sandbox(node)))
    os.unlink(node / "net.d" / "10-net.conflist")
    asyncio.run(network(node).detach(sandbox(node)))
    assert [e["who"] for e in diary(node) if e["CNI_COMMAND"] == "DEL"] == ["second", "first"]


@pytest.mark.root
def test_a_failed_add_is_followed_by_del(node):
    configure(node, second={"fails": "ADD"})
    wording = r'^failed to setup network for sandbox "s1": plugin type="second" failed \(add\): not now$'
    with pytest.raises(errors.NetemuError, match=wording):
        asyncio.run(network(node).attach(sandbox(node)))
    assert [e["CNI_COMMAND"] for e in diary(node)] == ["ADD", "ADD", "DEL", "DEL"]
    assert not (node / "cache").exists() or not list((node / "cache" / "results").iterdir())


@pytest.mark.root
def test_a_hanging_plugin_is_killed_with_its_children_and_tried_again(node):
    configure(node, first={"sleep": 600, "child": str(node / "child")})
    wires = network(node, timeout=1.5)
    with pytest.raises(errors.NetemuError, match=r"no answer within 1\.5 s"):
        asyncio.run(wires.attach(sandbox(node)))
    child = os.pidfd_open(int((node / "child").read_text())) if alive(node / "child") else None
    assert child is None or process.wait_end(child, 30)
    configure(node)
    assert asyncio.run(wires.attach(sandbox(node))) == ("10.1.0.5", "fd00::5")


@pytest.mark.root
def test_whoever_replaces_a_plugin_of_ours_gets_his_own(node):
    """Ours are called without a process as long as their files are what netemu has installed."""
    plugins.install(node / "bin")
    path, own = node / "bin" / "bridge", cni.Ours()
    assert own.whose(str(path)) == "bridge"
    path.write_text(path.read_text() + "# mine\n")
    assert own.whose(str(path)) == ""
    path.write_text(DIARY)
    one = {"cniVersion": "1.0.0", "name": "net", "type": "bridge", "me": "his", "diary": str(node / "diary")}
    (node / "net.d" / "10-net.conf").write_text(json.dumps(one))
    assert asyncio.run(network(node, own=own).attach(sandbox(node))) == ("10.1.0.5", "fd00::5")
    assert [e["who"] for e in diary(node)] == ["his"]
    plugins.install(node / "bin")
    assert own.whose(str(path)) == "bridge"


def test_what_a_plugin_of_ours_makes_too_late_is_taken_away_again(tmp_path):
    """In process it cannot be killed. This one waits for the lock of the leases, and nobody waits for it."""
    leases = tmp_path / "net"
    leases.mkdir()
    request = {"cniVersion": "1.0.0", "name": "net"}
    request["ipam"] = {"type": "host-local", "dataDir": str(tmp_path), "subnet": "10.1.0.0/24"}
    about = {"CNI_CONTAINERID": "s1", "CNI_NETNS": "/nowhere", "CNI_IFNAME": "eth0", "CNI_PATH": "/nowhere"}
    own = cni.Ours()

    async def story():
        with (leases / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(TimeoutError):
                await own.call("host-local", "ADD", about, request, 0.1)
        while not (leases / "last_reserved_ip.0").exists() or list(leases.glob("10.*")):
            await asyncio.sleep(0.01)
        found = await own.call("host-local", "ADD", about, request, 30)
        return found["ips"][0]["address"]

    assert asyncio.run(asyncio.wait_for(story(), 30)) == "10.1.0.3/24"


@pytest.mark.root
def test_an_executable_that_is_just_being_written_is_tried_again(node):
    """libcni does so ("text file busy"): an installer copies plugins while pods are made."""
    configure(node)

    async def story():
        with (node / "bin" / "second").open("a") as file:
            asyncio.get_running_loop().call_later(0.15, file.close)
            return await network(node).attach(sandbox(node))

    assert asyncio.run(story()) == ("10.1.0.5", "fd00::5")


def alive(file):
    """Whether the process of a file's pid runs still; a killed one may wait for somebody to reap it."""
    try:
        return process.state(int(file.read_text())) not in "ZX"
    except ProcessLookupError:
        return False


@pytest.mark.root
def test_a_plugin_is_given_the_capabilities_it_declares(node):
    wanted = dict.fromkeys(
        ("portMappings", "bandwidth", "dns", "ipRanges", "cgroupPath", "io.kubernetes.cri.pod-annotations"),
        True,
    )
    configure(node, first={"capabilities": wanted}, second={"capabilities": {"dns": True}})
    notes = {"kubernetes.io/ingress-bandwidth": "1M", "kubernetes.io/egress-bandwidth": "500k"}
    config = cri.SandboxConfig(
        "web",
        "default",
        "u1",
        annotations=notes,
        resolv_conf="nameserver 10.96.0.10\nsearch a.b\noptions ndots:5\n",
        port_mappings=(cri.PortMapping(80, 8080), cri.PortMapping(53, 5353, "UDP", "192.0.2.1")),
    )
    box = cri.Sandbox("s1", config, "READY", pid=os.getpid(), netns=str(node / "ns"))
    wires = network(node)
    wires.assign(("10.1.0.0/24", "fd00::/64"))
    asyncio.run(wires.attach(box))
    first, second = diary(node)
    given = first["conf"]["runtimeConfig"]
    cgroup = given.pop("cgroupPath")
    assert any(line.split(":", 2)[2] == cgroup for line in Path("/proc/self/cgroup").read_text().splitlines())
    assert given == {
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"},
        ],
        "bandwidth": {
            "ingressRate": 1_000_000,
            "ingressBurst": 2**32 - 1,
            "egressRate": 500_000,
            "egressBurst": 2**32 - 1,
        },
        "dns": {"servers": ["10.96.0.10"], "searches": ["a.b"], "options": ["ndots:5"]},
        "ipRanges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]],
        "io.kubernetes.cri.pod-annotations": notes,
    }
    assert list(second["conf"]["runtimeConfig"]) == ["dns"]
    assert "capabilities" not in first["conf"]
    entry = json.loads((node / "cache" / "results" / "net-s1-eth0").read_text())
    assert entry["capabilityArgs"]["portMappings"] == given["portMappings"]


@pytest.mark.root
def test_results_are_handed_on_in_the_list_s_version(node):
    """A plugin that answers in another version than it was asked in is understood (0.3.1 to 1.1.0)."""
    configure(node, version="0.3.1", first={"speaks": "1.0.0"})
    asyncio.run(network(node).attach(sandbox(node)))
    asyncio.run(network(node).detach(sandbox(node)))
    found = diary(node)
    previous = found[1]["conf"]["prevResult"]
    assert previous["cniVersion"] == "0.3.1"
    assert {ip["version"] for ip in previous["ips"]} == {"4", "6"}
    assert all("prevResult" not in e["conf"] for e in found if e["CNI_COMMAND"] == "DEL")  # since 0.4.0


@pytest.mark.root
def test_plugins_of_the_network_s_own_directory_are_run_after_the_inlined_ones(node):
    configure(node)
    (node / "net.d" / "net").mkdir()
    extra = {"type": "second", "me": "extra", "diary": str(node / "diary")}
    (node / "net.d" / "net" / "10-extra.conf").write_text(json.dumps(extra))
    asyncio.run(network(node).attach(sandbox(node)))
    os.unlink(node / "net.d" / "net" / "10-extra.conf")
    asyncio.run(network(node).detach(sandbox(node)))
    said = [(e["CNI_COMMAND"], e["who"]) for e in diary(node)]
    assert said[:3] == [("ADD", "first"), ("ADD", "second"), ("ADD", "extra")]
    assert said[3:] == [("DEL", "extra"), ("DEL", "second"), ("DEL", "first")]


@pytest.mark.root
@pytest.mark.parametrize("key", ["disableCheck", "disableGC", "loadOnlyInlinedPlugins"])
def test_what_a_list_switches_off_is_not_done(node, key):
    configure(node, version="1.1.0", listed={key: True})
    (node / "net.d" / "net").mkdir()
    extra = {"type": "second", "me": "extra", "diary": str(node / "diary")}
    (node / "net.d" / "net" / "10-extra.conf").write_text(json.dumps(extra))
    asyncio.run(network(node).attach(sandbox(node)))
    asyncio.run(network(node).check(sandbox(node)))
    asyncio.run(network(node).collect([]))
    said = [(e["CNI_COMMAND"], e["who"]) for e in diary(node)]
    inlined = ["first", "second"]
    every = inlined if key == "loadOnlyInlinedPlugins" else [*inlined, "extra"]
    wanted = [("ADD", who) for who in every]
    wanted += [("CHECK", who) for who in every if key != "disableCheck"]
    stale = [("DEL", who) for who in reversed(every)] + [("GC", who) for who in every]
    assert said == wanted + (stale if key != "disableGC" else [])


@pytest.mark.root
def test_all_are_asked_in_the_highest_version_that_all_know(node):
    configure(node, listed={"cniVersions": ["0.4.0", "1.0.0", "1.1.0"]})
    for name, versions in (("first", ["0.4.0", "1.0.0", "1.1.0"]), ("second", ["0.3.1", "0.4.0", "1.0.0"])):
        said = {"cniVersion": "1.1.0", "supportedVersions": versions}
        (node / "bin" / f"{name}.versions").write_text(json.dumps(said))
    asyncio.run(network(node).attach(sandbox(node)))
    assert {e["conf"]["cniVersion"] for e in diary(node)} == {"1.0.0"}


@pytest.mark.root
def test_a_plugin_is_the_one_of_the_first_directory_that_has_it(node):
    configure(node)
    (node / "more").mkdir()
    (node / "more" / "second").write_text(f"#!/bin/sh\nexec {node}/bin/first\n")
    (node / "more" / "second").chmod(0o755)
    (node / "more" / "first").write_text("not executable")
    (node / "bin" / "second").unlink()
    wires = cni.Cni(str(node / "net.d"), (str(node / "more"), str(node / "bin")), str(node / "cache"))
    asyncio.run(wires.attach(sandbox(node)))
    assert [e["who"] for e in diary(node)] == ["first", "second"]
    assert {e["CNI_PATH"] for e in diary(node)} == {f"{node}/more:{node}/bin"}


@pytest.mark.root
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_after_a_restart_what_nobody_holds_is_given_back(node, version):
    configure(node, version=version, first={"fails": "GC"})
    asyncio.run(network(node).attach(sandbox(node, "s1")))
    asyncio.run(network(node).attach(sandbox(node, "s2")))
    asyncio.run(network(node).collect(["s1"]))
    found = diary(node)[4:]
    assert [(e["CNI_COMMAND"], e["who"]) for e in found][:2] == [("DEL", "second"), ("DEL", "first")]
    assert {e["CNI_CONTAINERID"] for e in found[:2]} == {"s2"}
    collected = [e["who"] for e in found if e["CNI_COMMAND"] == "GC"]
    assert collected == ([] if version == "1.0.0" else ["first", "second"])  # an error stops nobody
    for e in found[2:]:
        assert e["conf"]["cni.dev/valid-attachments"] == [{"containerID": "s1", "ifname": "eth0"}]
    assert [path.name for path in (node / "cache" / "results").iterdir()] == ["net-s1-eth0"]


@pytest.mark.root
def test_plugins_are_asked_to_collect_though_no_result_was_kept(node):
    """Whoever was killed between the plugins' ADD and the result's file has left an address to nobody."""
    configure(node, version="1.1.0")
    asyncio.run(network(node).collect([]))
    assert not (node / "diary").exists()  # nothing was ever attached here
    asyncio.run(network(node).attach(sandbox(node)))
    (node / "cache" / "results" / "net-s1-eth0").unlink()
    asyncio.run(network(node).collect([]))
    said = [(e["CNI_COMMAND"], e["conf"]["cni.dev/valid-attachments"]) for e in diary(node)[2:]]
    assert said == [("GC", []), ("GC", [])]


@pytest.mark.root
def test_a_torn_or_foreign_file_among_the_results_is_passed_over(node):
    configure(node)
    asyncio.run(network(node).attach(sandbox(node)))
    for name, text in (("net-s2-eth0", "{"), ("net-s3-eth0", '{"kind": "other"}'), (".net-s4-eth0.77", "")):
        (node / "cache" / "results" / name).write_text(text)
    asyncio.run(network(node).collect(["s1"]))
    asyncio.run(network(node).detach(sandbox(node)))
    assert [e["who"] for e in diary(node) if e["CNI_COMMAND"] == "DEL"] == ["second", "first"]


@pytest.mark.root
def test_a_result_that_cannot_be_kept_leaves_nothing_attached(node):
    configure(node)
    (node / "cache").mkdir()
    (node / "cache" / "results").write_text("in the way")
    with pytest.raises(errors.NetemuError, match=r"failed to setup network for sandbox"):
        asyncio.run(network(node).attach(sandbox(node)))
    assert [e["CNI_COMMAND"] for e in diary(node)] == ["ADD", "ADD", "DEL", "DEL"]


@pytest.mark.root
def test_status_asks_the_plugins_since_1_1(node):
    configure(node, version="1.1.0", second={"fails": "STATUS"})
    with pytest.raises(cni.PluginFailed, match=r'plugin type="second" failed \(status\): not now'):
        asyncio.run(network(node).status())
    configure(node, version="1.0.0", second={"fails": "STATUS"})
    asyncio.run(network(node).status())


@pytest.mark.root
def test_further_networks_are_asked_for_by_annotation(node):
    configure(node)
    definition = {"cniVersion": "1.0.0", "type": "first", "me": "more", "diary": str(node / "diary")}
    lan = {**definition, "capabilities": {"ips": True}}

    async def defined(namespace, name):
        return {("default", "lan"): json.dumps(lan), ("other", "wan"): ""}.get((namespace, name))

    (node / "net.d" / "multus").mkdir()
    wan = {"cniVersion": "1.0.0", "name": "wan", "plugins": [{**definition, "capabilities": {"mac": True}}]}
    (node / "net.d" / "multus" / "wan.conflist").write_text(json.dumps(wan))
    mac = "02:00:00:00:00:01"
    asked = json.dumps(
        [
            {"name": "lan", "ips": ["10.9.0.7/24"], "cni-args": {"colour": "blue"}},
            {"name": "wan", "namespace": "other", "interface": "wan0", "mac": mac},
        ]
    )
    config = cri.SandboxConfig("web", "default", "u1", annotations={multus.NETWORKS: asked})
    box = cri.Sandbox("s1", config, "READY", netns=str(node / "ns"))
    wires = network(node, definition=defined)
    assert asyncio.run(wires.attach(box)) == ("10.1.0.5", "fd00::5")
    found = diary(node)[2:]
    assert [(e["CNI_IFNAME"], e["conf"]["name"]) for e in found] == [("net1", "lan"), ("wan0", "wan")]
    assert found[0]["conf"]["runtimeConfig"] == {"ips": ["10.9.0.7/24"]}
    assert found[0]["conf"]["args"] == {"cni": {"colour": "blue"}}
    assert found[1]["conf"]["runtimeConfig"] == {"mac": mac}
    assert found[1]["CNI_ARGS"].endswith(f";MAC={mac}")
    told = json.loads(wires.report(box)[multus.STATUS])
    assert [(one["name"], one["interface"], one.get("default", False)) for one in told] == [
        ("net", "eth0", True),
        ("default/lan", "net1", False),
        ("other/wan", "wan0", False),
    ]
    assert told[0]["ips"] == ["10.1.0.5", "fd00::5"]
    asyncio.run(wires.detach(box))
    gone = [(e["CNI_IFNAME"], e["who"]) for e in diary(node) if e["CNI_COMMAND"] == "DEL"]
    assert gone == [("wan0", "more"), ("net1", "more"), ("eth0", "second"), ("eth0", "first")]


@pytest.mark.root
def test_a_network_nobody_defined_is_named_and_nothing_is_attached(node):
    configure(node)
    config = cri.SandboxConfig("web", "default", "u1", annotations={multus.NETWORKS: "nowhere"})
    box = cri.Sandbox("s1", config, "READY", netns=str(node / "ns"))
    wording = r"cannot find a network-attachment-definition \(nowhere\) in namespace \(default\)"
    with pytest.raises(errors.NetemuError, match=wording):
        asyncio.run(network(node).attach(box))
    assert not (node / "diary").exists()


@pytest.mark.root
def test_a_namespace_that_is_gone_is_not_named(node):
    configure(node)
    asyncio.run(network(node).attach(sandbox(node)))
    netns.remove(node / "ns")
    asyncio.run(network(node).detach(sandbox(node)))
    assert {e["CNI_NETNS"] for e in diary(node) if e["CNI_COMMAND"] == "DEL"} == {""}


@pytest.mark.root
def test_only_a_few_run_at_once(node):
    configure(node, first={"sleep": 0.05})
    wires = network(node, parallel=2)

    async def story():
        async with asyncio.TaskGroup() as tasks:
            for n in range(6):
                tasks.create_task(wires.attach(sandbox(node, f"s{n}")))

    began = asyncio.run(_timed(story()))
    assert began >= 3 * 0.05  # six of 50 ms, two at a time


async def _timed(story):
    loop = asyncio.get_running_loop()
    began = loop.time()
    await story
    return loop.time() - began


def test_check_of_what_was_never_connected(tmp_path):
    with pytest.raises(errors.Rejected):
        asyncio.run(cni.Cni(str(tmp_path), (), str(tmp_path)).check(sandbox(tmp_path)))
