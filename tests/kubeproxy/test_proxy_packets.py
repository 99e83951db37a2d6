"""Real connections through the planned tables, in both families: who answers, whom he sees, what is refused.

Rows follow kubernetes.io/docs/reference/networking/virtual-ips and the Service API's field descriptions.
"""

import asyncio
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from ipaddress import ip_interface

import pytest

from netemu.api import meta
from netemu.kernel import firewall, netns
from netemu.kernel import operations as ops
from netemu.kubeproxy import audit, endpoints, layout, options, services, walk
from netemu.kubeproxy import proxy as proxying

pytestmark = pytest.mark.root
FOUR, SIX = 0, 1
MODES = ("nftables", "iptables")
PREFIX = ("10.96.0.", "fd00:96::")


class Row:
    """A Service as a test writes it: number (its address), backends, and what is special."""

    def __init__(self, number, backends, protocols=("tcp", "udp"), **special):
        self.key = meta.Key("test", f"s{number}")
        ports = tuple(services.Port(protocol, protocol, 80, 30000 + number) for protocol in protocols)
        self.service = services.Service(
            self.key, ports, tuple(f"{prefix}{number}" for prefix in PREFIX), **special
        )
        self.backends = backends

    def slices(self, world):
        ports = tuple((protocol, protocol, world.port) for protocol in ("tcp", "udp"))
        homes = {"a": "here", "b": "here", "far": "there", "there": "there"}
        for family in (FOUR, SIX):
            members = tuple(
                endpoints.Endpoint(world.addresses[name][family], True, True, False, homes[name], name)
                for name in self.backends
            )
            yield f"{self.key.name}-{family}", endpoints.Slice(self.key, ports, members)


ROWS = {
    "all": Row(10, ("a", "b", "far")),
    "a": Row(11, ("a",)),
    "far": Row(12, ("far",)),
    "sticky-all": Row(36, ("a", "b", "far"), affinity_seconds=100),
}


def put(proxy, world, row):
    proxy.changes.service(row.key, row.service)
    for name, slice_ in row.slices(world):
        proxy.changes.slice(name, None, slice_)


@pytest.fixture
def proxy(world) -> Iterator[proxying.Proxy]:
    with world.serving() as one:
        yield one


@pytest.fixture
def served(world, proxy) -> proxying.Proxy:
    for row in ROWS.values():
        put(proxy, world, row)
    asyncio.run(proxy.sync())
    return proxy


def target(world, service, place, family):
    if place == "vip":
        return service.cluster_ips[family], 80
    return world.addresses["here"][family], service.ports[0].node_port


def test_the_walk_knows_which_backend_a_client_already_has(world, proxy):
    row = ROWS["sticky-all"]
    put(proxy, world, row)
    asyncio.run(proxy.sync())
    answer = world.ask("b", row.service.cluster_ips[FOUR], 80)
    held = walk.read(audit.contents(firewall.LibNftables(world.places["here"]).list_json, layout.IP, ()))
    around = options.surroundings(options.Options(), None)["ip"]
    fates = {
        client: walk.fate(
            held,
            walk.Packet("tcp", world.addresses[client][FOUR], row.service.cluster_ips[FOUR], 80, "cni0"),
            around,
            frozenset(world.addresses["here"]),
        )
        for client in ("a", "b")
    }
    assert fates["b"].stays == 100
    assert fates["b"].remembered == f"{world.addresses[answer.server][FOUR]}:{world.port}"
    assert fates["a"].remembered == ""


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("place", ["vip", "node"])
def test_connections_spread_evenly(world, served, family, place):
    client = "b" if place == "vip" else "outside"
    address, port = target(world, ROWS["all"].service, place, family)
    counts = Counter(world.ask(client, address, port).server for _ in range(300))
    assert set(counts) == {"a", "b", "far"}
    # chi-square with 2 degrees of freedom: beyond 18.4 once in ten thousand
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 18.4


def sticky(number, backends, seconds=10800, **special):
    return Row(number, backends, affinity_seconds=seconds, **special)


def ports_of(row, family, world):
    """Every way to dial it: Service address, node port, as (client, address, port)."""
    return (
        ("b", row.service.cluster_ips[family], 80),
        ("b", world.addresses["here"][family], row.service.ports[0].node_port),
    )


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_client_stays_with_its_backend_whatever_address_it_dials(world, proxy, family, protocol):
    row = sticky(31, ("a", "b", "far"))
    put(proxy, world, row)
    asyncio.run(proxy.sync())
    seen = {}
    for client in ("b", "here", "outside", "a"):
        for _ in range(5):
            dials = ports_of(row, family, world) if client in ("a", "b", "here") else ()
            dials = dials or ((client, world.addresses["here"][family], 30031),)
            for _, address, port in dials:
                answer = world.ask(client, address, port, protocol)
                assert not isinstance(answer, str), (client, address)
                # by address: the node's packets leave with one or another of its own
                seen.setdefault(client, set()).add(answer.server)
    assert {client: len(servers) for client, servers in seen.items() if client != "here"} == {
        "b": 1,
        "outside": 1,
        "a": 1,
    }


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_clients_without_a_past_are_spread_and_their_backends_leaving_moves_only_theirs(world, proxy, family):
    row = sticky(32, ("a", "b", "far"))
    put(proxy, world, row)
    asyncio.run(proxy.sync())
    clients, node = more_addresses(world, family), world.addresses["here"][family]

    def ask_all():
        return {c: world.ask("outside", node, 30032, source=c).server for c in clients}

    try:
        first = ask_all()
        assert set(first.values()) == {"a", "b", "far"}  # by chance one is missing once in 10^6
        was = dict(row.slices(world))
        for name, slice_ in sticky(32, ("a", "far")).slices(world):
            proxy.changes.slice(name, was[name], slice_)
        asyncio.run(proxy.sync())
        second = ask_all()
        assert {c: s for c, s in second.items() if first[c] != "b"} == {
            c: s for c, s in first.items() if s != "b"
        }
        assert {second[c] for c in clients if first[c] == "b"} <= {"a", "far"}
        for name, slice_ in was.items():  # it comes back, and nobody moves back to it
            proxy.changes.slice(name, None, slice_)
        asyncio.run(proxy.sync())
        assert ask_all() == second
        proxy.start_over()  # the tables are made anew
        asyncio.run(proxy.sync())
        assert ask_all() == second
        with world.serving(remove=False) as successor:  # so does a proxy that knows nothing of this one
            put(successor, world, row)
            asyncio.run(successor.sync())
            assert ask_all() == second
    finally:
        more_addresses(world, family, remove=True)


def test_each_new_connection_lets_the_time_of_affinity_begin_anew_and_then_it_ends(world, proxy):
    row = sticky(33, ("a", "b", "far"), seconds=2)
    put(proxy, world, row)
    asyncio.run(proxy.sync())
    door = firewall.LibNftables(world.places["here"])

    def left(family):
        table = layout.FAMILIES[family].table
        (held,) = [e["map"] for e in door.list_json(f"list map {table} affinity")["nftables"] if "map" in e]
        return [pair[0]["elem"]["expires"] for pair in held.get("elem", ())]

    began = time.monotonic()
    servers = [world.ask("b", vip, 80).server for vip in row.service.cluster_ips]
    while time.monotonic() - began < 3:  # longer than the timeout, without a pause as long
        assert [world.ask("b", vip, 80).server for vip in row.service.cluster_ips] == servers
    assert left(FOUR)
    assert left(SIX)
    wait_until(lambda: not (left(FOUR) or left(SIX)), 30)  # nobody asks any more


def wait_until(true, seconds):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        select.select([], [], [], 0.05)


def more_addresses(world, family, *, remove=False):
    """Thirty addresses beyond the cluster."""
    addresses = [(f"203.0.113.{n}", f"2001:db8:113::{n}")[family] for n in range(100, 130)]
    change = ops.DelAddress if remove else ops.AddAddress
    length = (32, 128)[family]
    world.networks["outside"].apply([change("lo", ip_interface(f"{a}/{length}")) for a in addresses])
    return addresses


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_affinity_keeps_to_the_local_backends_where_the_policy_says_so(world, proxy, family):
    row = sticky(34, ("a", "far"), external_local=True)
    put(proxy, world, row)
    asyncio.run(proxy.sync())
    node = world.addresses["here"][family]
    for _ in range(8):
        assert world.ask("outside", node, 30034) == ("a", world.addresses["outside"][family])
    assert len({world.ask("b", node, 30034).server for _ in range(8)}) == 1


@pytest.mark.parametrize(
    ("mode", "seconds", "turns"),
    [("nftables", 0, 100), ("nftables", 60, 100), ("iptables", 0, 25)],
    ids=["nftables", "sticky", "iptables"],
)
def test_a_rolling_update_under_load_refuses_no_connection(world, mode, seconds, turns):
    """Backends come and go as fast as they can be programmed; some one is always there.

    Threads give way to each other often, so that connections fall into every moment of a change.
    """
    with world.serving(mode) as proxy:
        rolled(world, proxy, seconds, turns)


def rolled(world, proxy, seconds, turns):
    everybody = sticky(37, ("a", "b", "far"), seconds=seconds, protocols=("tcp",))
    put(proxy, world, everybody)
    asyncio.run(proxy.sync())
    vip, ended, answers = everybody.service.cluster_ips[FOUR], threading.Event(), Counter()

    def load():
        while not ended.is_set():
            got = world.ask("here", vip, 80, timeout=3.0)
            answers[got if isinstance(got, str) else "answered"] += 1

    async def roll():
        for turn in range(turns):
            kept = (("a", "far"), ("far",), ("b", "far"), ("a", "b", "far"), ("a",))[turn % 5]
            current = sticky(37, kept, seconds=seconds, protocols=("tcp",))
            for name, slice_ in current.slices(world):
                proxy.changes.slice(name, None, slice_)
            assert await proxy.sync()
            assert not proxy.pending

    with netns.inside(world.places["b"]):
        long = socket.create_connection((vip, 80), timeout=20)
    before = sys.getswitchinterval()
    with long, futures.ThreadPoolExecutor(2) as lanes:
        sys.setswitchinterval(0.0002)
        clients = [lanes.submit(load) for _ in range(2)]
        try:
            asyncio.run(roll())
        finally:
            sys.setswitchinterval(before)
            ended.set()
        for client in clients:
            client.result()
        assert world.goes_on(long)
    assert set(answers) == {"answered"}
    assert answers["answered"] > 100
    assert asyncio.run(proxy.check())


@pytest.mark.parametrize("mode", MODES)
def test_a_udp_flow_follows_its_service(world, mode):
    """The same client port keeps sending: tracked, it would go to the old backend, or to nobody, for ever."""
    vip = f"{PREFIX[FOUR]}11"

    def ask(**more):
        return world.ask("b", vip, 80, "udp", source_port=4444, **more)

    assert isinstance(ask(timeout=0.2), str)  # tracked as it is, for there is no such Service yet
    with world.serving(mode) as proxy:
        put(proxy, world, ROWS["a"])
        asyncio.run(proxy.sync())
        assert ask().server == "a"
        was = dict(ROWS["a"].slices(world))
        for name, slice_ in Row(11, ("far",)).slices(world):
            proxy.changes.slice(name, was[name], slice_)
        asyncio.run(proxy.sync())
        assert ask().server == "far"


@pytest.mark.parametrize("mode", MODES)
def test_established_connections_outlive_their_service(world, mode):
    row = ROWS["far"]
    with world.serving(mode) as proxy:
        put(proxy, world, row)
        asyncio.run(proxy.sync())
        with netns.inside(world.places["b"]):
            connection = socket.create_connection((row.service.cluster_ips[FOUR], 80), timeout=20)
        with connection:
            assert connection.recv(100).startswith(b"far ")
            proxy.changes.service(row.key, None)
            asyncio.run(proxy.sync())
            assert isinstance(world.ask("b", row.service.cluster_ips[FOUR], 80, timeout=0.3), str)
            assert world.goes_on(connection)


def test_a_table_that_somebody_changed_is_noticed(world, served):
    other = firewall.LibNftables(world.places["here"])
    assert asyncio.run(served.check())
    for foreign in (
        "delete element ip netemu-proxy services { 10.96.0.11 . tcp . 80 }",
        "add element ip6 netemu-proxy cluster-ips { fd00:96::99 }",
        "add rule ip netemu-proxy services drop",
        "insert rule ip netemu-proxy cluster-3-for-100s drop",
        "delete table ip6 netemu-proxy",
        "flush ruleset",
    ):
        other.apply(foreign)
        assert not asyncio.run(served.check()), foreign
        served.start_over()
        asyncio.run(served.sync())
        assert asyncio.run(served.check()), foreign
    assert world.ask("b", f"{PREFIX[FOUR]}11", 80).server == "a"


def test_others_tables_cost_nothing(world, served, monkeypatch):
    """Whoever else is at work there (policies, CNI plugins): only what is on our tables makes us read."""
    other = firewall.LibNftables(world.places["here"])
    reads = []
    monkeypatch.setattr(audit, "elements", lambda listing: reads.append(listing) or {})
    assert asyncio.run(served.check())
    other.apply("add table ip stranger\nadd set ip stranger s { type ipv4_addr ; }")
    other.apply("add table inet netemu-proxy")  # of the name, but of another family
    assert asyncio.run(served.check())
    other.apply("add element ip stranger s { 10.0.0.1, 10.0.0.2 }")
    served.changes.service(ROWS["a"].key, None)
    asyncio.run(served.sync())
    other.apply("delete table ip stranger\ndelete table inet netemu-proxy")
    assert asyncio.run(served.check())
    assert not reads
    other.apply("add table ip stranger\nadd element ip netemu-proxy cluster-ips { 10.96.0.99 }")
    assert not asyncio.run(served.check())
    assert reads
    other.apply("delete table ip stranger")


def test_a_refused_transaction_leads_to_a_table_made_anew(world, served):
    firewall.LibNftables(world.places["here"]).apply("flush map ip netemu-proxy backends-tcp")
    served.changes.service(ROWS["a"].key, None)
    with pytest.raises(firewall.FirewallError):
        asyncio.run(served.sync())
    asyncio.run(served.sync())
    assert world.ask("b", f"{PREFIX[FOUR]}12", 80).server == "far"
    assert world.ask("b", f"{PREFIX[FOUR]}11", 80, timeout=0.3) == "timeout"


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_an_echo_request_to_a_service_is_refused(world, served, family):
    """It has no port; upstream's nftables mode says so, too."""
    six = family == SIX
    with netns.inside(world.places["b"]):
        kind = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, kind)
    with sock:
        sock.settimeout(10)
        echo = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 7, 1)
        if not six:
            echo = echo[:2] + struct.pack("!H", ~sum(struct.unpack("!4H", echo)) & 0xFFFF) + echo[4:]
        sock.sendto(echo, (f"{PREFIX[family]}11", 0))
        answer = b""
        while answer[:2] != (b"\x01\x04" if six else b"\x03\x03"):  # port unreachable
            answer = sock.recv(500)[0 if six else 20 :]


def test_a_second_sync_does_nothing(world, served):
    assert not served.pending
    assert asyncio.run(served.sync()) == 0


def test_the_longest_comment_is_accepted(world, proxy):
    key = meta.Key("n" * 63, "s" * 63)
    proxy.changes.service(key, services.Service(key, (services.Port("p" * 15, "sctp", 80),), ("10.96.0.99",)))
    assert asyncio.run(proxy.sync()) == 1
