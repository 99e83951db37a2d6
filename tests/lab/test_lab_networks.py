"""Pods of a lab and their networks: ports of the node, further networks, what is wrong said and mended."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from netemu.api import codec, core
from netemu.client import connect
from netemu.kernel import netns, network
from netemu.lab import config, down, plugins, records, up
from netemu.podnet import sysctls

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
]
NODE = "control-plane-1"
GROUP = "k8s.cni.cncf.io"
KIND = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"network-attachment-definitions.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "network-attachment-definitions", "kind": "NetworkAttachmentDefinition"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"config": {"type": "string"}}}
                        },
                    }
                },
            }
        ],
    },
}
LAN = {
    "cniVersion": "1.0.0",
    "type": "macvlan",
    "master": "eth0",
    "ipam": {"type": "host-local", "subnet": "192.168.77.0/24"},
}


# A list of the lab's own: each node's ranges come by the capability, so that one file does for all.
OWN = {
    "cniVersion": "1.1.0",
    "name": "own",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "isDefaultGateway": True,
            "hairpinMode": True,
            "capabilities": {"ipRanges": True},
            "ipam": {"type": "host-local"},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ],
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One node; all stories are told on it."""
    before = os.environ.get(records.VARIABLE)
    place = tmp_path_factory.mktemp("nets")
    os.environ[records.VARIABLE] = str(place / "labs")
    (place / "own.conflist").write_text(json.dumps(OWN))
    document = {"name": "nets", "nodes": 1, "network": {"cni": {"conflist": str(place / "own.conflist")}}}
    try:
        yield up.up(config.parse(document))
        down.down("nets")
    finally:
        os.environ.pop(records.VARIABLE)
        if before is not None:
            os.environ[records.VARIABLE] = before


def tell(lab, story):
    async def run():
        async with asyncio.timeout(60), connect.from_kubeconfig(lab.kubeconfig) as client:
            return await story(client)

    return asyncio.run(run())


async def until(ask):
    """The first true answer."""
    while True:
        found = await ask()
        if found:
            return found
        await asyncio.sleep(0.05)


def pod(name, ports=(), **metadata):
    container = {"name": "c", "image": "nginx"}
    container["ports"] = [{"containerPort": 80, "hostPort": port, "protocol": "TCP"} for port in ports]
    spec = {"nodeName": NODE, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return codec.convert(
        core.Pod, {"metadata": {"name": name, "namespace": "default", **metadata}, "spec": spec}
    )


async def ready(client, name):
    async def ask():
        found = await client.get(core.Pod, name, "default")
        return (
            found if any(c.type == "Ready" and c.status == "True" for c in found.status.conditions) else None
        )

    return await until(ask)


async def post(client, path, document):
    answer = await client.raw(
        "POST", path, body=json.dumps(document).encode(), headers=(("content-type", "application/json"),)
    )
    return answer.status


async def events(client, name, reason):
    found = (await client.list(core.Event, "default")).items
    return [e.message for e in found if e.involvedObject.name == name and e.reason == reason]


def test_a_host_port_leads_to_the_pod_in_both_families_as_fast_as_it_may(lab):
    async def story(client):
        rates = {"ingress": "80M", "egress": "40M"}
        notes = {f"kubernetes.io/{way}-bandwidth": rate for way, rate in rates.items()}
        await client.create(pod("web", ports=(8080,), annotations=notes))
        await ready(client, "web")
        await client.create(pod("other", ports=(8080,)))

        async def refused():
            found = await client.get(core.Pod, "other", "default")
            return found if found.status.phase == "Failed" else None

        assert (await until(refused)).status.reason == "NodePorts"

    tell(lab, story)
    for address in lab.addresses(NODE):
        netns.call(
            str(lab.netns("outside")), lambda to=(address, 8080): socket.create_connection(to, 10).close()
        )
    command = ("tc", "-j", "qdisc", "show")
    shaped = netns.call(str(lab.netns(NODE)), subprocess.check_output, command)
    rates = {one["options"]["rate"] * 8 for one in json.loads(shaped) if one["kind"] == "tbf"}
    assert rates == {80_000_000, 40_000_000}


def test_a_pod_in_the_nodes_network_is_reached_at_the_nodes_addresses(lab):
    async def story(client):
        made = pod("own", ports=(80,))
        spec = msgspec.structs.replace(made.spec, hostNetwork=True)
        await client.create(msgspec.structs.replace(made, spec=spec))
        found = await ready(client, "own")
        assert [one.ip for one in found.status.podIPs] == list(lab.addresses(NODE))

    tell(lab, story)
    for address in lab.addresses(NODE):
        netns.call(
            str(lab.netns("outside")), lambda to=(address, 80): socket.create_connection(to, 10).close()
        )


def test_a_node_has_the_settings_of_the_table(lab):
    def read(row):
        path = Path("/proc/sys", *row.key.split("."))
        if not row.essential and not path.exists():
            return row.value  # not every kernel lets a namespace have its own
        return " ".join(path.read_text().split())

    rows = (*sysctls.of(sysctls.NODE), *sysctls.of(sysctls.NODE, "eth0"))
    has = {row.key: netns.call(str(lab.netns(NODE)), read, row) for row in rows}
    assert has == {row.key: row.value for row in rows}


def test_a_pod_has_the_networks_its_annotation_names(lab):
    async def story(client):
        async def made():
            return await post(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", KIND) in (
                201,
                409,
            )

        assert await made()
        definition = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "lan"},
            "spec": {"config": json.dumps(LAN)},
        }
        path = f"/apis/{GROUP}/v1/namespaces/default/network-attachment-definitions"

        async def defined():
            return await post(client, path, definition) in (201, 409)

        await until(defined)
        notes = {"k8s.v1.cni.cncf.io/networks": "lan, lan@more"}
        await client.create(pod("two", annotations=notes))
        await ready(client, "two")

        async def told():
            found = await client.get(core.Pod, "two", "default")
            return found.metadata.annotations.get("k8s.v1.cni.cncf.io/network-status")

        status = json.loads(await until(told))
        assert [(one["name"], one["interface"]) for one in status] == [
            ("own", "eth0"),
            ("default/lan", "net1"),
            ("default/lan", "more"),
        ]
        addresses = [one["ips"][0] for one in status[1:]]
        assert all(ip.startswith("192.168.77.") for ip in addresses)
        assert len(set(addresses)) == 2
        await client.create(pod("lost", annotations={"k8s.v1.cni.cncf.io/networks": "nowhere"}))
        said = await until(lambda: events(client, "lost", "FailedCreatePodSandBox"))
        assert "cannot find a network-attachment-definition (nowhere) in namespace (default)" in said[0]
        for name in ("two", "lost"):
            await client.delete(core.Pod, name, "default", grace=0)

        async def gone():
            return not {"two", "lost"} & {
                p.metadata.name for p in (await client.list(core.Pod, "default")).items
            }

        await until(gone)

    tell(lab, story)
    leases = lab.node_path(NODE, "/var/lib/cni/networks/lan")
    deadline_free(lambda: not [path for path in leases.iterdir() if path.name[0].isdigit()])


def deadline_free(holds):
    """Wait for it; the test's own time limit is the only one."""

    async def ask():
        return holds()

    asyncio.run(asyncio.wait_for(until(ask), 30))


def test_a_malformed_list_makes_the_node_unready_and_says_why(lab):
    path = lab.node_path(NODE, "/etc/cni/net.d") / plugins.CONFIGURATION
    whole = path.read_text()

    async def story(client):
        async def condition():
            node = await client.get(core.Node, NODE)
            return next(c for c in node.status.conditions if c.type == "Ready")

        async def unready():
            found = await condition()
            return found.message if found.status == "False" else None

        path.write_text('{"cniVersion": "1.0.0", "name": "own", "plugins": [{"type": "nowhere"}]}')
        said = await until(unready)
        assert said.startswith("container runtime network not ready: NetworkReady=false")
        assert 'cni plugin not initialized: 10-lab.conflist: failed to find plugin "nowhere" in path' in said
        path.write_text("{")

        async def changed():
            return "failed to parse network configuration list" in (await unready() or "")

        await until(changed)
        await client.create(pod("early"))
        (message, *_) = await until(lambda: events(client, "early", "FailedCreatePodSandBox"))
        assert message.startswith("Failed to create pod sandbox: rpc error: code = Unknown desc = ")
        assert "failed to setup network for sandbox" in message
        assert "cni plugin not initialized" in message
        path.write_text(whole)
        await ready(client, "early")
        assert (await until(lambda: is_ready(condition))).status == "True"

    async def is_ready(condition):
        found = await condition()
        return found if found.status == "True" else None

    tell(lab, story)


def test_what_an_agent_leaves_behind_is_collected_by_the_next(lab):
    """A container that nobody knows any more loses its addresses when the agent comes back."""
    results = lab.node_path(NODE, "/var/lib/cni/results")
    leases = lab.node_path(NODE, "/var/lib/cni/networks/own")
    call = (
        *(sys.executable, "-m", "netemu.cli.main", "shell", "--name", "nets", NODE, "--"),
        *("sh", "-ec", f"ip netns add stray; {sys.executable} -m netemu.cli.main cni run add own stray"),
    )
    ranges = [[{"subnet": subnet}] for subnet in ("10.244.0.0/24", "fd00:244::/64")]
    environment = {**os.environ, "CNI_PATH": "/opt/cni/bin", "CAP_ARGS": json.dumps({"ipRanges": ranges})}
    said = subprocess.run(call, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stderr
    ips = [ip["address"].partition("/")[0] for ip in json.loads(said.stdout)["ips"]]
    assert all((leases / ip).exists() for ip in ips)
    lab.restart(f"agent-{NODE}")
    deadline_free(lambda: not [path for path in results.iterdir() if "cnitool" in path.name])
    assert not any((leases / ip).exists() for ip in ips)
    with network.LinuxNetwork(str(lab.netns(NODE))) as door:
        kept = [n for n in door.observe().neighbours if str(n.ip) in ips]
    assert kept == []

    async def story(client):
        await ready(client, "web")  # what runs goes on

    tell(lab, story)
