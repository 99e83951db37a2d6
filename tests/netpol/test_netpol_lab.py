"""A whole lab under policies: a pod's very first packet, an agent's death, and what a user is told."""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from netemu.api import clusterpolicies, codec, core, networking
from netemu.client import connect
from netemu.client import errors as refusals
from netemu.lab import config, down, up
from netemu.netpol import reports

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a whole lab"),
]
NAME = f"netpol{os.getpid()}"
CLI = (sys.executable, "-m", "netemu.cli.main")
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    place = tmp_path_factory.mktemp("labs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NETEMU_STATE_DIR", str(place))
        try:
            yield up.up(config.default(NAME, 2))
        finally:
            down.down(NAME)


def asking(lab, what):
    async def ask():
        async with asyncio.timeout(60), connect.from_kubeconfig(lab.kubeconfig) as client:
            return await what(client)

    return asyncio.run(ask())


def pod(name, *command, node="worker-1", never=False, **labels):
    container = {"name": "c", "image": IMAGE, "command": ["/agnhost", *command]}
    spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0}
    if never:
        spec["restartPolicy"] = "Never"
    return codec.convert(
        core.Pod, {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": spec}
    )


def policy(name, annotations=None, **spec):
    about = {"name": name, "namespace": "default", "annotations": annotations or {}}
    return codec.convert(networking.NetworkPolicy, {"metadata": about, "spec": spec})


async def until(client, name, holds):
    """The pod, once that holds of it."""
    while True:
        with contextlib.suppress(refusals.NotFound):
            found = await client.get(core.Pod, name, "default")
            if holds(found):
                return found
        await asyncio.sleep(0.02)


def running(one):
    return one.status.phase == "Running"


def over(one):
    return one.status.phase in ("Succeeded", "Failed")


def netemu(*arguments):
    done = subprocess.run([*CLI, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(lab):
    """A server; pods labelled `eager: kept` may send nothing anywhere."""

    async def make(client):
        kept = {"matchLabels": {"eager": "kept"}}
        await client.create(policy("kept", podSelector=kept, policyTypes=["Egress"]))
        await client.create(pod("server", "netexec", "--http-port=8080", app="server"))
        return (await until(client, "server", running)).status.podIP

    return asking(lab, make)


def eager(name, address, **labels):
    """One connection attempt as its first act. The first packet must do: the next one would be too late."""
    node = ("worker-1", "control-plane-1")[int(name[-1]) % 2]
    patience = "800ms" if labels["eager"] == "kept" else "30s"
    return pod(name, "connect", f"{address}:8080", f"--timeout={patience}", node=node, never=True, **labels)


def test_the_first_packet_of_a_pod_meets_its_policies(lab, server):
    async def race(client):
        names = {f"{kind}-{n}": kind for kind in ("kept", "free") for n in range(4)}
        await asyncio.gather(*(client.create(eager(n, server, eager=kind)) for n, kind in names.items()))
        found = await asyncio.gather(*(until(client, name, over) for name in names))
        return {
            kind: {one.status.phase for one in found if names[one.metadata.name] == kind}
            for kind in ("kept", "free")
        }

    assert asking(lab, race) == {"kept": {"Failed"}, "free": {"Succeeded"}}


def test_pods_that_start_while_their_agent_dies_are_policed(lab, server):
    async def race(client):
        names = [f"late-{n}" for n in range(6)]
        made = [asyncio.create_task(client.create(eager(n, server, eager="kept"))) for n in names[:4]]
        await asyncio.gather(*made)
        for node in lab.nodes:
            await asyncio.to_thread(lab.restart, f"agent-{node}")
        await asyncio.gather(*(client.create(eager(n, server, eager="kept")) for n in names[4:]))
        return {(await until(client, name, over)).status.phase for name in names}

    assert asking(lab, race) == {"Failed"}


def test_it_is_told_which_policy_dropped_a_packet(lab, server):
    deadline = time.monotonic() + 30
    while True:
        code, said = netemu("drops", "kept-0", "--json", "--name", NAME)
        lines = [json.loads(line) for line in said.splitlines()] if code == 0 else []
        found = [line for line in lines if line["destination"] == "default/server"]
        if found:
            break
        # The agent that saw it first may be gone, with what it remembered: ask again for a drop.
        assert time.monotonic() < deadline, said
        code, said = netemu("drops", "late-4", "--json", "--name", NAME)
        found = [json.loads(line) for line in said.splitlines()] if code == 0 else []
        if found:
            break
        with contextlib.suppress(TimeoutError):
            signal.sigtimedwait((), 0.2)
    assert found[0]["direction"] == "egress"
    assert found[0]["policies"] == ["default/kept"]
    assert "egress of default/" in found[0]["reason"]
    assert (
        "is isolated by policy default/kept; no rule allows tcp/8080 to default/server" in found[0]["reason"]
    )
    code, said = netemu("drops", "--name", NAME)
    assert code == 0
    assert re.search(
        r"  default/(kept|late)-\d +default/server +tcp/8080 +default/kept \(egress\)$", said, re.MULTILINE
    )
    code, said = netemu("drops", "-v", "--name", NAME)
    assert code == 0
    assert "isolated by policy default/kept" in said


def test_a_user_can_wait_until_policies_are_in_force(lab, server):
    async def make(client):
        began = time.monotonic()
        wanted = {reports.POLICY: ""}
        await client.create(
            policy("noted", wanted, podSelector={"matchLabels": {"app": "server"}}, ingress=[{}])
        )
        spec = {"tier": "Baseline", "priority": 7, "subject": {"namespaces": {}}}
        await client.create(
            codec.convert(clusterpolicies.ClusterNetworkPolicy, {"metadata": {"name": "seven"}, "spec": spec})
        )
        await until(
            client, "server", lambda one: any(c.type == reports.CONDITION for c in one.status.conditions)
        )
        assert (await asyncio.to_thread(netemu, "netpol", "wait", "--name", NAME)) == (
            0,
            "policies are in force on 2/2 nodes\n",
        )
        while True:
            noted = await client.get(networking.NetworkPolicy, "noted", "default")
            seven = await client.get(clusterpolicies.ClusterNetworkPolicy, "seven")
            said = {
                e.involvedObject.name: e.message
                for e in (await client.list(core.Event)).items
                if e.reason == "InForce"
            }
            if noted.metadata.annotations.get(reports.POLICY) and seven.status.conditions and "noted" in said:
                return noted, seven, said, time.monotonic() - began
            await asyncio.sleep(0.02)

    noted, seven, said, took = asking(lab, make)
    assert noted.metadata.annotations[reports.POLICY] == str(noted.metadata.generation)
    assert seven.status.conditions[0].type == "InForce"
    assert seven.status.conditions[0].observedGeneration == seven.metadata.generation
    assert said["noted"] == "in force on 2/2 nodes at generation 1"
    assert took < 30


def test_it_runs_alone_beside_any_network(lab, server, tmp_path):
    """In a namespace of its own it polices the pods of the node that it is told to be."""
    kubeconfig = tmp_path / "kubeconfig"
    text = lab.kubeconfig.read_text()
    (own,) = (line.split()[1] for line in text.splitlines() if "server:" in line)
    kubeconfig.write_text(text.replace(own, f"https://{lab.addresses('control-plane-1')[0]}:6443"))
    place = f"--net={lab.netns('outside')}"
    flags = ("--kubeconfig", str(kubeconfig), "--node-name", "worker-1", "--metrics-bind-address", "")
    with subprocess.Popen(
        ["nsenter", place, *CLI, "netpol", *flags], stderr=subprocess.PIPE, text=True
    ) as running_:
        try:
            asking(
                lab,
                lambda client: client.create(policy("alone", podSelector={"matchLabels": {"app": "server"}})),
            )
            deadline = time.monotonic() + 30
            while f"{server} comment" not in (said := listed(place, "map", "ingress4")):
                assert time.monotonic() < deadline, said
                assert running_.poll() is None, running_.stderr.read()
            subnet = str(ipaddress.ip_interface(f"{server}/24").network)
            while subnet not in (said := listed(place, "set", "pod-ranges4")):
                assert time.monotonic() < deadline, said
        finally:
            running_.send_signal(signal.SIGINT)
            running_.wait(30)
    assert f"{server} comment" in listed(place, "map", "ingress4"), "the table stays"
    subprocess.run(["nsenter", place, *CLI, "netpol", "cleanup"], check=True)
    assert "No such file" in listed(place, "map", "ingress4")


def listed(place, kind, name):
    command = ("nsenter", place, "nft", "list", kind, "inet", "netemu-policy", name)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
