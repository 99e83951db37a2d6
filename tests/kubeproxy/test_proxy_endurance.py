"""A thousand endpoints, ports that change under connections, endpoints that come and go without rest."""

import asyncio
import contextlib
import itertools
import random
import resource
import socket
import subprocess
import threading
from fractions import Fraction
from ipaddress import ip_address, ip_network

import pytest

from netemu.api import meta
from netemu.kernel import firewall, netns
from netemu.kernel import operations as ops
from netemu.kubeproxy import (
    audit,
    changes,
    endpoints,
    iptables,
    layout,
    options,
    plan,
    services,
    walk,
    walk_iptables,
)

KEY = meta.Key("test", "big")
VIP = "10.96.7.7"
MODES = ("nftables", "iptables")
AROUND = options.surroundings(options.Options(("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16",)), None)


def service(*ports, **special):
    made = tuple(services.Port(f"p{port}", "tcp", port, 31000 + port % 1000) for port in ports or (80,))
    return services.Service(KEY, made, (VIP,), **special)


def slices(count, port=9000, per=100, named="p80"):
    """As the controller writes them: a hundred endpoints in each."""
    for first in range(0, count, per):
        members = tuple(
            endpoints.Endpoint(f"10.244.{64 + n // 250}.{1 + n % 250}", True, True, False, "here", f"pod-{n}")
            for n in range(first, min(first + per, count))
        )
        yield f"big-{first // per}", endpoints.Slice(KEY, ((named, "tcp", port),), members)


@contextlib.contextmanager
def thousand(world):
    """Pod `a` has all addresses of 10.244.64.0/18, and says which one was dialled."""
    net, via = ip_network("10.244.64.0/18"), ip_address(world.addresses["a"][0])
    with netns.inside(world.places["a"]):
        server = socket.create_server(("", 9000), backlog=1024)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    world.run("a", "ip", "route", "add", "local", str(net), "dev", "lo")
    world.networks["here"].apply([ops.AddRoute(net, via)])

    def answer():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.send(connection.getsockname()[0].encode())

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    world.networks["here"].apply([ops.DelRoute(net, via)])
    world.run("a", "ip", "route", "del", "local", str(net), "dev", "lo")


def dial(world, client, address, port):
    with netns.inside(world.places[client]):
        asker = socket.socket()
    with asker:
        asker.settimeout(10)
        asker.connect((address, port))
        return asker.recv(100).decode()


@pytest.mark.root
@pytest.mark.parametrize(("mode", "dials"), [("nftables", 1000), ("iptables", 300)])
def test_a_service_of_a_thousand_endpoints_reaches_them_all_alike(world, mode, dials):
    with thousand(world), world.serving(mode) as proxy:
        proxy.changes.service(KEY, service())
        for name, slice_ in slices(1000):
            proxy.changes.slice(name, None, slice_)
        asyncio.run(proxy.sync())
        found = {dial(world, "b", VIP, 80) for _ in range(dials)}
        expected = 1000 * (1 - (1 - 1 / 1000) ** dials)
        assert abs(len(found) - expected) < 60  # deviations are 10 and 5
        assert {ip_address(a) in ip_network("10.244.64.0/18") for a in found} == {True}
        for name, slice_ in itertools.islice(slices(1000), 9, 10):  # the last hundred go
            proxy.changes.slice(name, slice_, None)
        asyncio.run(proxy.sync())
        assert asyncio.run(proxy.check())
        left = {f"10.244.{64 + n // 250}.{1 + n % 250}" for n in range(900)}
        assert {dial(world, "b", VIP, 80) for _ in range(200)} <= left


def test_in_iptables_mode_each_of_a_thousand_has_the_same_chance():
    state = changes.State(service(), tuple(one for _, one in slices(1000)))
    wanted = plan.place(state, endpoints.Topology("here"), None, itertools.count(1))
    chains = walk_iptables.read(iptables.document(layout.IP, [wanted], AROUND["ip"], ""))
    packet = walk.Packet("tcp", "10.244.1.3", VIP, 80, "cni0")
    fate = walk_iptables.fate(chains, packet, frozenset({"172.18.0.2"}))
    assert len(fate.chances) == 1000
    assert {chance.probability for chance in fate.chances} == {Fraction(1, 1000)}


@pytest.mark.root
@pytest.mark.parametrize("mode", MODES)
def test_a_service_changes_its_ports_while_connections_run(world, mode):
    backend = endpoints.Endpoint(world.addresses["far"][0], True, True, False, "there", "far")

    def offered(*named):
        return endpoints.Slice(KEY, tuple((f"p{port}", "tcp", world.port) for port in named), (backend,))

    with world.serving(mode) as proxy:
        proxy.changes.service(KEY, service(80, 81))
        proxy.changes.slice("big", None, offered(80, 81))
        asyncio.run(proxy.sync())
        with netns.inside(world.places["b"]):
            old = socket.create_connection((VIP, 80), timeout=5)
        with old:
            assert old.recv(100).startswith(b"far ")
            proxy.changes.service(KEY, service(81, 82))
            proxy.changes.slice("big", offered(80, 81), offered(81, 82))
            asyncio.run(proxy.sync())
            if mode == "nftables":
                assert world.ask("b", VIP, 80) == "refused"  # no such port any more
            else:
                assert isinstance(world.ask("b", VIP, 80, timeout=0.3), str)  # it follows the routes
            assert [world.ask("b", VIP, port).server for port in (81, 82)] == ["far", "far"]
            assert world.ask("outside", world.addresses["here"][0], 31082).server == "far"
            assert world.goes_on(old)
        assert asyncio.run(proxy.check())


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "seconds", "turns"),
    [("nftables", 0, 200), ("nftables", 60, 200), ("iptables", 60, 20)],
    ids=["nftables", "sticky", "iptables"],
)
def test_endpoints_that_come_and_go_without_rest_leave_nothing_behind(world, mode, seconds, turns):
    """Hundreds of changes as fast as they can be programmed: no element, chain or memory too many."""
    chance, everybody = random.Random(7), list(slices(40, per=1))

    async def flap(proxy):
        present = {}
        for _ in range(turns):
            name, slice_ = chance.choice(everybody)
            proxy.changes.slice(name, present.get(name), None if name in present else slice_)
            if present.pop(name, None) is None:
                present[name] = slice_
            await proxy.sync()
        for name, slice_ in everybody:
            proxy.changes.slice(name, present.get(name), slice_ if name in ("big-0", "big-1") else None)
        await proxy.sync()

    with world.serving(mode) as proxy:
        proxy.changes.service(KEY, service(affinity_seconds=seconds))
        asyncio.run(flap(proxy))
        first, memory = programmed(world, mode), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        asyncio.run(flap(proxy))
        again = programmed(world, mode)
        kinds = first.pop("kinds", 0), again.pop("kinds", 0)  # one for each number of backends there ever was
        assert again == first
        assert max(kinds) <= 2 * 41 + 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 8 * 1024  # KiB
        assert asyncio.run(proxy.check())
        proxy.changes.service(KEY, None)
        asyncio.run(proxy.sync())
        left = {name for name, count in programmed(world, mode).items() if count}
        assert left <= {"pods", "service-ranges", "kinds", "affinity", *iptables.FIXED["nat"]}


def programmed(world, mode):
    """How much each set and map, or each of kube-proxy's chains for translation, holds."""
    if mode == "nftables":
        door = firewall.LibNftables(world.places["here"])
        listing = audit.contents(door.list_json, layout.IP, ())
        return {name: len(held) for name, held in walk.read(listing).items()}
    fd = world.places["here"]
    command = ("nsenter", f"--net=/proc/self/fd/{fd}", "iptables-save", "-t", "nat")
    saved = subprocess.run(command, pass_fds=(fd,), check=True, capture_output=True, text=True).stdout
    chains = walk_iptables.read(saved)["nat"]
    return {name: 1 + len(rules) for name, rules in chains.items() if name.startswith("KUBE-")}
