"""Whole labs: whoever hears of a load balancer's address reaches it, from the first packet on."""

import asyncio
import os
import shutil
import socket

import pytest

from netemu.api import codec, core
from netemu.client import connect
from netemu.kernel import netns
from netemu.lab import config, down, up

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
]
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"


def made(kind, name, spec, **labels):
    return codec.convert(
        kind, {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": spec}
    )


@pytest.fixture(params=["nftables", "iptables"])
def lab(request, tmp_path, monkeypatch):
    if request.param == "iptables" and shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    name = f"balancers{os.getpid()}"
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path / "netemu"))
    (tmp_path / "lab.yaml").write_text(f"name: {name}\nnodes: 3\nproxy: {{mode: {request.param}}}\n")
    try:
        yield up.up(config.load(tmp_path / "lab.yaml"))
    finally:
        down.down(name)


@pytest.mark.timeout(300)
def test_the_first_connection_to_a_new_load_balancer_is_answered(lab):
    async def story():
        async with connect.from_kubeconfig(lab.kubeconfig) as client:
            container = {"name": "c", "image": IMAGE, "args": ["netexec"]}
            for number in (1, 2):
                spec = {"nodeName": f"worker-{number}", "containers": [container]}
                await client.create(made(core.Pod, f"web-{number}", spec, app="web"))
            await seen(client, core.Pod, lambda pod: pod.metadata.name == "web-1" and ready(pod))
            await seen(client, core.Pod, lambda pod: pod.metadata.name == "web-2" and ready(pod))
            for number in range(10):
                spec = {
                    "type": "LoadBalancer",
                    "selector": {"app": "web"},
                    "externalTrafficPolicy": ("Cluster", "Local")[number % 2],
                    "ports": [{"port": 80, "targetPort": 8080}],
                }
                await client.create(made(core.Service, f"web-{number}", spec))
                told = await seen(
                    client,
                    core.Service,
                    lambda one, name=f"web-{number}": (
                        one.metadata.name == name and one.status.loadBalancer.ingress
                    ),
                )
                with netns.inside(lab.netns("outside")):
                    sock = socket.socket()
                with sock:
                    sock.settimeout(30)
                    await asyncio.to_thread(sock.connect, (told.status.loadBalancer.ingress[0].ip, 80))

    asyncio.run(story())


def ready(pod):
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


async def seen(client, kind, holds):
    """The first object of which that is so."""
    listed = await client.list(kind, "default")
    for one in listed.items:
        if holds(one):
            return one
    async with asyncio.timeout(60):
        async for event in client.watch(kind, "default", revision=listed.revision):
            if holds(event.object):
                return event.object
    raise AssertionError("the watch ended")
