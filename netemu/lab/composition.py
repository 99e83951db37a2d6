"""Which components a lab has, in the order they are forked, and what is imported before each fork.

What is imported before a fork is shared by parent and child, in memory and in time; the rest comes after it.
"""

import gc
import importlib
import os
import socket
import time
from asyncio import sslproto
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from netemu.kernel import linux, netns, process
from netemu.lab import components, config, plan
from netemu.podnet import backends

if TYPE_CHECKING:
    from netemu.lab import supervisor

RUNTIME_SOCKET = "/run/netemu/runtime.sock"
DROPS_SOCKET = "/run/netemu/drops.sock"
RUNTIME_ROOT = "/run/netemu/runtime"
CREDENTIALS = "/run/netemu/pki"
API_PORT = 6443
TLS_BUFFER = 16 << 10  # bytes

_SHARED = (
    "netemu.api.kinds",
    "netemu.client.api",
    "netemu.client.connect",
    "netemu.client.informers",
    "netemu.http.server",
    "netemu.reconcile.loops",
)
_NODES = ("netemu.kernel.network", "netemu.lab.agent", "netemu.runtime.shim")

Mark = Callable[[str, str], None]


def compose(spec: "supervisor.Spec", api: socket.socket, mark: Mark) -> Iterator[components.Component]:
    """Each one is forked by the caller before the next is asked for.

    The control plane has no use for what nodes need, so it is off and busy while that is imported.
    """
    first = spec.lab.nodes[0]
    maker = process.fork(lambda: _make_credentials(spec))
    inner = listen(spec.place.namespace(first.name, "net"))
    _bring_in(_SHARED)
    # asyncio gives each TLS connection a zeroed buffer of 256 KiB, a millisecond's work; a record has 16.
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    gc.freeze()  # no collection in a child touches, and so copies, the pages it has from here
    os.waitpid(maker, 0)  # if it failed, the control plane will meet the same and say so
    mark("supervisor", "shared modules imported")
    yield _control_plane(spec, first, (api, inner))
    _bring_in(_NODES)
    _warm()
    mark("supervisor", "node modules imported")
    build_network(spec)
    gc.freeze()
    mark("supervisor", "network built")
    for node in spec.lab.nodes:
        yield _runtime(spec, node)
        yield _agent(spec, node)
    if spec.lab.network.backend == backends.BGP:
        from netemu.lab import routers

        yield routers.on_fabric(spec.place, spec.lab)
        yield from (routers.on_node(spec.place, node) for node in spec.lab.nodes)


def _make_credentials(spec: "supervisor.Spec") -> None:
    """In a child, on the other processor, while the supervisor imports: cryptography takes its time."""
    from netemu.lab import credentials

    credentials.prepare(spec.place, spec.lab, spec.api_port, time.time())


def listen(place: str) -> socket.socket:
    """The API's socket on the first node. The supervisor keeps it: callers queue while the API restarts."""

    def make() -> socket.socket:
        server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", API_PORT))
        server.listen(512)
        return server

    return netns.call(place, make)


def api_url(lab: config.LabConfig) -> str:
    """Where nodes reach the API: the first node's primary address."""
    address = lab.nodes[0].ips[0]
    return f"https://{f'[{address}]' if ':' in address else address}:{API_PORT}"


def build_network(spec: "supervisor.Spec") -> None:
    """Links, addresses, routes and sysctls of all places."""
    from netemu.kernel import network

    places = {place: spec.place.namespace(place, "net") for place in plan.places(spec.lab)}
    for step in plan.network(spec.lab, places):
        with network.LinuxNetwork(places[step.place]) as door:
            for operation in step.operations:
                try:
                    door.apply((operation,))
                except linux.KernelError as refusal:
                    if operation not in step.optional:
                        raise linux.KernelError(
                            f"{step.place}: {refusal.message}",
                            errno=refusal.errno,
                            hint="netemu doctor says what this machine lacks",
                        ) from None


def _bring_in(modules: Iterable[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def _warm() -> None:
    """Load what every child would load by itself at its first use."""
    from netemu.api import codec, coordination, core, discovery
    from netemu.kernel import firewall
    from netemu.runtime import shim

    shim.preload()
    firewall.binding()
    for kind in (core.Pod, core.Node, core.Service, discovery.EndpointSlice, coordination.Lease, core.Event):
        codec.decode(kind, b"{}")


def _control_plane(
    spec: "supervisor.Spec", node: config.Node, sockets: tuple[socket.socket, ...]
) -> components.Component:
    def main(channel: components.Channel) -> None:
        from netemu.lab import controlplane

        controlplane.main(channel, spec, sockets)

    # Not in the node's mounts: its files are the lab's, which no node can see.
    return components.Component(
        "control-plane",
        "netemu:api",
        main,
        spec.place.log("control-plane"),
        {kind: spec.place.namespace(node.name, kind) for kind in ("net", "uts")},
        tuple(server.fileno() for server in sockets),
    )


def _runtime(spec: "supervisor.Spec", node: config.Node) -> components.Component:
    name, hidden = f"runtime-{node.name}", (os.path.dirname(str(spec.place.directory)),)

    def main(_: components.Channel) -> None:
        from netemu.runtime import shim

        shim.main(RUNTIME_SOCKET, RUNTIME_ROOT, hidden)

    return components.Component(name, name, main, spec.place.log(name), _machine(spec, node))


def _agent(spec: "supervisor.Spec", node: config.Node) -> components.Component:
    name = f"agent-{node.name}"

    def main(channel: components.Channel) -> None:
        from netemu.lab import agent

        agent.main(channel, spec, node)

    return components.Component(name, f"netemu:{node.name}", main, spec.place.log(name), _machine(spec, node))


def _machine(spec: "supervisor.Spec", node: config.Node) -> dict[str, str]:
    return {kind: spec.place.namespace(node.name, kind) for kind in ("net", "mnt", "uts")}
