"""The runtime side of CNI against plugins that write down what they were asked."""

import asyncio
import base64
import json
import os
import sys

import pytest

from netemu.base import errors
from netemu.kernel import netns
from netemu.kubelet import cni
from netemu.wire import cri

# A plugin that keeps a diary, and fails or dawdles when its configuration says so.
DIARY = f"""#!{sys.executable} -IS
import json, os, sys, time
conf = json.load(sys.stdin)
entry = {{name: value for name, value in os.environ.items() if name.startswith("CNI_")}}
entry = {{"CNI_NETNS": ""}} | entry | {{"who": conf["me"], "conf": conf}}
with open(conf["diary"], "a") as file:
    file.write(json.dumps(entry) + chr(10))
time.sleep(conf.get("sleep", 0))
if os.environ["CNI_COMMAND"] == conf.get("fails"):
    print(json.dumps({{"cniVersion": conf["cniVersion"], "code": 11, "msg": "not now"}}))
    sys.exit(1)
if os.environ["CNI_COMMAND"] == "ADD":
    result = conf.get("prevResult") or {{
        "cniVersion": conf["cniVersion"],
        "interfaces": [{{"name": "br"}}, {{"name": "eth0", "sandbox": os.environ["CNI_NETNS"]}}],
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


def configure(node, name="10-net.conflist", version="1.0.0", **changes):
    plugins = [
        {"type": kind, "me": kind, "diary": str(node / "diary"), **changes.get(kind, {})}
        for kind in ("first", "second")
    ]
    text = json.dumps({"cniVersion": version, "name": "net", "plugins": plugins})
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
def test_a_plugin_that_does_not_answer_is_ended(node):
    configure(node, first={"sleep": 60})
    with pytest.raises(errors.NetemuError, match=r"no answer within 0\.3 s"):
        asyncio.run(network(node, timeout=0.3).attach(sandbox(node)))


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
