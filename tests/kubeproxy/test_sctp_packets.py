"""SCTP through the planned tables, with crafted packets: the kernel of many machines has no SCTP sockets.

An INIT (RFC 9260, 3.3.2) is sent from one namespace and looked for, on the wire, in another.
"""

import asyncio
import select
import socket
import time

import pytest

from netemu.base import clock
from netemu.kernel import conntrack, firewall, generations, netns
from netemu.kubeproxy import endpoints, layout, options, services
from netemu.kubeproxy import proxy as proxying
from netemu.wire import nft

pytestmark = pytest.mark.root
SCTP = 132
KEY = services.Key("test", "sctp")
ADDRESSES = ("10.96.0.70", "fd00:96::70")


@pytest.fixture
def proxy(world):
    place = world.places["here"]
    doors = proxying.Doors(
        firewall.LibNftables(place), conntrack.NetlinkConntrack(place), generations.Generations(place)
    )
    chosen = options.Options(tuple(world.pods.values()), tuple(world.services.values()))
    yield proxying.Proxy("here", doors, options.surroundings(chosen, None), clock.SystemClock())
    doors.firewall.apply("".join(str(nft.removal(family.table)) for family in layout.FAMILIES))
    doors.tracking.close()
    doors.counting.close()


def serve(proxy, world, backends, **special):
    port = services.Port("s", "sctp", 80, 30070)
    proxy.changes.service(KEY, services.Service(KEY, (port,), ADDRESSES, **special))
    homes = {"a": "here", "b": "here", "far": "there"}
    for six in (0, 1):
        members = tuple(
            endpoints.Endpoint(world.addresses[name][six], True, True, False, homes[name], name)
            for name in backends
        )
        proxy.changes.slice(f"s-{six}", None, endpoints.Slice(KEY, (("s", "sctp", world.port),), members))
    asyncio.run(proxy.sync())


def seen(world, client, address, port, servers, *, source_port=4000, seconds=2.0):
    """Which server an INIT reached: (server, source address, destination port); None when nobody's."""
    from scapy.layers.sctp import SCTP as Sctp
    from scapy.layers.sctp import SCTPChunkInit

    six = ":" in address
    packet = bytes(Sctp(sport=source_port, dport=port) / SCTPChunkInit(init_tag=1, a_rwnd=65535))
    watchers = {watch(world, server): server for server in servers}
    with netns.inside(world.places[client]):
        sender = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, SCTP)
    try:
        if client == "outside":
            sender.bind((world.addresses["outside"][six], 0))
        sender.sendto(packet, (address, 0))
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for watcher in select.select(list(watchers), [], [], left)[0]:
                found = parsed(watcher.recv(2000), six)
                if found is not None:
                    return (watchers[watcher], *found)
        return None
    finally:
        for sock in (sender, *watchers):
            sock.close()


def watch(world, place):
    with netns.inside(world.places[place]):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
    sock.bind(("eth0", 3))
    return sock


def parsed(packet, six):
    """Source address and destination port of an SCTP packet that came in; None for anything else."""
    if six:
        if packet[0] >> 4 != 6 or packet[6] != SCTP:
            return None
        source, payload = socket.inet_ntop(socket.AF_INET6, packet[8:24]), packet[40:]
    else:
        if packet[0] >> 4 != 4 or packet[9] != SCTP:
            return None
        source, payload = socket.inet_ntop(socket.AF_INET, packet[12:16]), packet[(packet[0] & 15) * 4 :]
    return source, int.from_bytes(payload[2:4], "big")


@pytest.mark.parametrize("six", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("seconds", [0, 60], ids=["", "sticky"])
def test_an_association_goes_to_a_backend_and_its_source_is_as_for_tcp(world, proxy, six, seconds):
    serve(proxy, world, ("a",), affinity_seconds=seconds)
    node = world.addresses["here"][six]
    rows = (
        ("b", ADDRESSES[six], 80, world.addresses["b"][six]),
        ("outside", node, 30070, world.gateway[six]),
        ("here", ADDRESSES[six], 80, world.gateway[six]),
    )
    for number, (client, address, port, source) in enumerate(rows):
        found = seen(world, client, address, port, ("a",), source_port=4100 + 10 * seconds + number)
        assert found == ("a", source, world.port), client


@pytest.mark.parametrize("six", [0, 1], ids=["ipv4", "ipv6"])
def test_associations_are_spread_and_a_sticky_client_stays(world, proxy, six):
    serve(proxy, world, ("a", "far"))
    ports = iter(range(5000, 6000))
    servers = ("a", "far")
    found = {seen(world, "b", ADDRESSES[six], 80, servers, source_port=next(ports))[0] for _ in range(16)}
    assert found == set(servers)  # by chance not once in 30,000
    serve(proxy, world, ("a", "far"), affinity_seconds=60)
    found = {seen(world, "b", ADDRESSES[six], 80, servers, source_port=next(ports))[0] for _ in range(8)}
    assert len(found) == 1


@pytest.mark.parametrize("six", [0, 1], ids=["ipv4", "ipv6"])
def test_policy_local_keeps_the_source_or_drops(world, proxy, six):
    node = world.addresses["here"][six]
    serve(proxy, world, ("a", "far"), external_local=True)
    found = seen(world, "outside", node, 30070, ("a", "far"), source_port=7000 + six)
    assert found == ("a", world.addresses["outside"][six], world.port)
    proxy.changes.service(KEY, None)
    asyncio.run(proxy.sync())
    assert seen(world, "b", ADDRESSES[six], 80, ("a", "far"), source_port=7010 + six, seconds=0.4) is None
