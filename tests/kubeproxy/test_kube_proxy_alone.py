"""`netemu kube-proxy` from its start to its removal: a process in a namespace of its own, over HTTPS.

It has the rights that every cluster gives to a proxy and no more, and is there before its API server.
"""

import asyncio
import ipaddress
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from netemu.api import codec, core, discovery, wellknown
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.kernel import firewall, netns
from netemu.kubeproxy import layout
from netemu.store import memory

pytestmark = pytest.mark.root
CLI = (sys.executable, "-m", "netemu.cli.main", "kube-proxy")
PATIENCE = 60.0
VIP = "10.96.0.50"


class Cluster(threading.Thread):
    """An API server for the namespace of node `here` alone, on a port where nobody answers until `start`."""

    def __init__(self, world, *objects):
        super().__init__(daemon=True)
        self._objects, self._ended = objects, threading.Event()
        with netns.inside(world.places["here"]):
            self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._port, now = self._socket.getsockname()[1], time.time()
        self._authority = pki.ca("test", now)
        self._certificate = pki.server(
            self._authority, "kube-apiserver", (), [ipaddress.ip_address("127.0.0.1")], now
        )

    def kubeconfig(self, user):
        pair = pki.client(self._authority, user, (), time.time())
        url = f"https://127.0.0.1:{self._port}"
        return pki.kubeconfig("alone", url, self._authority.certificate, user, pair)

    def run(self):
        asyncio.run(self._run())

    async def _run(self):
        identity = server.Identity(self._authority.certificate, self._certificate, None, pki.key())
        store = memory.MemoryStore()
        running = server.ApiServer(
            store, identity, contexts.Config(), clock.SystemClock(), rng=random.Random(1)
        )
        await running.prepare()
        admin = running.local_client("admin", ("system:masters",))
        for one in self._objects:
            await admin.create(one)
        await running.start([self._socket])
        await asyncio.to_thread(self._ended.wait)
        await running.stop()
        await store.close()

    def stop(self):
        if self.is_alive():
            self._ended.set()
            self.join()
        self._socket.close()


def objects(world):
    """The Node, a Service at VIP, and its endpoint: pod `a`."""
    about, port = {"name": "web", "namespace": "default"}, {"name": "http", "port": 80, "nodePort": 30050}
    return (
        codec.convert(core.Node, {"metadata": {"name": "here"}}),
        codec.convert(
            core.Service,
            {"metadata": about, "spec": {"type": "NodePort", "clusterIP": VIP, "ports": [port]}},
        ),
        codec.convert(
            discovery.EndpointSlice,
            {
                "metadata": about | {"labels": {wellknown.SERVICE_NAME: "web"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [world.addresses["a"][0]], "nodeName": "here"}],
                "ports": [{"name": "http", "port": world.port}],
            },
        ),
    )


class Alone:
    """The proxy as a process in node `here`; what it said is kept."""

    def __init__(self, world, *arguments):
        self._fd = world.places["here"]
        self._process = subprocess.Popen(
            self._command(*arguments), stderr=subprocess.PIPE, text=True, pass_fds=(self._fd,)
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=lambda: self.said.extend(self._process.stderr), daemon=True)
        self._reader.start()

    def _command(self, *arguments):
        return ("nsenter", f"--net=/proc/self/fd/{self._fd}", *CLI, *arguments)

    def until(self, holds):
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            self._reader.join(0.05)

    def interrupt(self):
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(PATIENCE)

    def cleanup(self):
        subprocess.run(self._command("--cleanup"), check=True, pass_fds=(self._fd,))

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stderr.close()


@pytest.mark.parametrize(("mode", "name"), [("nftables", "here"), ("iptables", "nobody")])
def test_it_serves_from_its_start_until_its_removal(world, tmp_path, mode, name):
    if mode == "iptables" and shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    cluster = Cluster(world, *objects(world))
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig("system:kube-proxy"))
    flags = ("--kubeconfig", str(tmp_path / "kubeconfig"), "--node-name", name, "--proxy-mode", mode)
    proxy = Alone(world, *flags, "--cluster-cidr", world.pods["ip"])
    try:
        proxy.until(lambda: "no API server yet" in "".join(proxy.said))
        cluster.start()
        proxy.until(lambda: world.ask("b", VIP, 80, timeout=0.5) == ("a", world.addresses["b"][0]))
        node = world.addresses["here"][0]
        assert world.ask("outside", node, 30050) == ("a", world.gateway[0])  # masqueraded
        proxy.until(lambda: healthy(world))
        lost = f"there is no Node {name}"
        assert (lost in "".join(proxy.said)) == (name == "nobody")
        assert proxy.interrupt() == 130
        assert world.ask("b", VIP, 80).server == "a", "what is programmed stays"
        proxy.cleanup()
        assert left(world) == []
        assert isinstance(world.ask("b", VIP, 80, timeout=0.3), str)
    finally:
        proxy.end()
        cluster.stop()


def healthy(world):
    with netns.inside(world.places["here"]):
        sock = socket.create_connection(("127.0.0.1", 10256), timeout=10)
    with sock:
        sock.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return sock.recv(20).startswith(b"HTTP/1.1 200 ")


def left(world):
    """What the packet filter of `here` has of a proxy of either mode."""
    tables = firewall.LibNftables(world.places["here"]).list_text("list tables")
    fd, chains = world.places["here"], ""
    if shutil.which("iptables-save"):
        command = ("nsenter", f"--net=/proc/self/fd/{fd}", "iptables-save")
        chains = subprocess.run(command, check=True, pass_fds=(fd,), capture_output=True, text=True).stdout
    return [word for word, text in ((layout.TABLE, tables), ("KUBE", chains)) if word in text]
