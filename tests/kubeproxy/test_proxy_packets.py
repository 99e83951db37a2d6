"""Real connections through the planned tables, in both families: who answers, whom he sees, what is refused.

Rows follow kubernetes.io/docs/reference/networking/virtual-ips and the Service API's field descriptions.
"""

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from fractions import Fraction
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from netemu.base import clock
from netemu.kernel import conntrack, firewall, generations, netns
from netemu.kernel import operations as ops
from netemu.kubeproxy import audit, endpoints, layout, options, services, walk
from netemu.kubeproxy import proxy as proxying
from netemu.wire import nft

pytestmark = pytest.mark.root
FOUR, SIX = 0, 1
PREFIX = ("10.96.0.", "fd00:96::")
EXTERNAL = ("198.51.100.5", "2001:db8:51::5")
EXTERNAL_EMPTY = ("198.51.100.7", "2001:db8:51::7")


class Row:
    """A Service as a test writes it: number (its address), backends, and what is special."""

    def __init__(self, number, backends, **special):
        self.key = services.Key("test", f"s{number}")
        ports = tuple(services.Port(protocol, protocol, 80, 30000 + number) for protocol in ("tcp", "udp"))
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
    "nobody": Row(13, (), external_ips=EXTERNAL_EMPTY),
    "local": Row(14, ("a", "far"), external_local=True),
    "local-nobody": Row(15, ("far",), external_local=True),
    "inside": Row(16, ("a", "far"), internal_local=True),
    "inside-nobody": Row(17, ("far",), internal_local=True),
    "external": Row(18, ("a",), external_ips=EXTERNAL),
    "on-a-node": Row(19, ("there",)),
    "sticky-all": Row(36, ("a", "b", "far"), affinity_seconds=100),
    "sticky": Row(20, ("far",), affinity_seconds=100),
}


def put(proxy, world, row):
    proxy.changes.service(row.key, row.service)
    for name, slice_ in row.slices(world):
        proxy.changes.slice(name, None, slice_)


@contextlib.contextmanager
def serving(world, **chosen) -> Iterator[proxying.Proxy]:
    """A proxy on node `here`, with what is chosen."""
    place = world.places["here"]
    doors = proxying.Doors(
        firewall.LibNftables(place), conntrack.NetlinkConntrack(place), generations.Generations(place)
    )
    ranges = {"cluster_cidrs": tuple(world.pods.values()), "service_cidrs": tuple(world.services.values())}
    around = options.surroundings(options.check(options.Options(**{**ranges, **chosen})), None)
    yield proxying.Proxy("here", doors, around, clock.SystemClock())
    doors.firewall.apply("".join(str(nft.removal(family.table)) for family in layout.FAMILIES))
    tracking = doors.tracking
    tracking.forget([*tracking.flows(conntrack.UDP), *tracking.flows(conntrack.TCP)])
    tracking.close()
    doors.counting.close()


@pytest.fixture
def proxy(world) -> Iterator[proxying.Proxy]:
    with serving(world) as one:
        yield one


@pytest.fixture
def served(world, proxy) -> proxying.Proxy:
    for row in ROWS.values():
        put(proxy, world, row)
    asyncio.run(proxy.sync())
    return proxy


# client, service, where it connects ("vip", "node": the node's address and port), who may answer and the
# source that he sees ("own", "gateway": the bridge's address, "node": the node's), or what happens instead
CONNECTIONS = [
    ("b", "a", "vip", {"a": "own"}),
    ("b", "far", "vip", {"far": "own"}),
    ("a", "a", "vip", {"a": "gateway"}),  # hairpin
    ("here", "a", "vip", {"a": "gateway"}),
    ("here", "far", "vip", {"far": "node"}),
    ("outside", "a", "node", {"a": "gateway"}),
    ("outside", "far", "node", {"far": "node"}),
    ("b", "a", "node", {"a": "gateway"}),  # externalTrafficPolicy Cluster masquerades whoever comes
    ("here", "a", "node", {"a": "gateway"}),
    ("b", "on-a-node", "vip", {"there": "own"}),
    ("b", "sticky", "vip", {"far": "own"}),  # affinity changes nobody's masquerading
    ("here", "sticky", "vip", {"far": "node"}),
    ("outside", "sticky", "node", {"far": "node"}),
    ("b", "nobody", "vip", "refused"),
    ("here", "nobody", "vip", "refused"),
    ("outside", "nobody", "node", "refused"),
    ("here", "nobody", "node", "refused"),
    ("b", "nobody", "node", "refused"),
    ("b", "nobody", "external", "refused"),
    ("here", "nobody", "external", "refused"),
    ("outside", "nobody", "external", "refused"),
    ("outside", "local", "node", {"a": "own"}),
    ("b", "local", "node", {"a": "own", "far": "own"}),  # pods reach all, and are seen
    ("here", "local", "node", {"a": "gateway", "far": "node"}),
    ("outside", "local-nobody", "node", "timeout"),
    ("b", "local-nobody", "node", {"far": "own"}),
    ("b", "local", "vip", {"a": "own", "far": "own"}),
    ("b", "inside", "vip", {"a": "own"}),
    ("here", "inside", "vip", {"a": "gateway"}),
    ("outside", "inside", "node", {"a": "gateway", "far": "node"}),
    ("b", "inside-nobody", "vip", "timeout"),
    ("here", "inside-nobody", "vip", "timeout"),
    ("outside", "external", "external", {"a": "gateway"}),
    ("b", "external", "external", {"a": "gateway"}),
]


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_every_connection_goes_where_the_policy_says(world, served, family):
    for address in (EXTERNAL, EXTERNAL_EMPTY):
        via = world.addresses["here"][family]
        net = ip_network(address[family])
        world.networks["outside"].apply([ops.AddRoute(net, ip_address(via))])
    rows = [(protocol, *row) for protocol in ("tcp", "udp") for row in CONNECTIONS]

    def measured(row):
        protocol, client, name, place, expected = row
        address, port = target(world, ROWS[name].service, place, family)
        return world.ask(client, address, port, protocol, timeout=0.5 if expected == "timeout" else 4.0)

    try:
        with futures.ThreadPoolExecutor(16) as lanes:
            found = list(zip(rows, lanes.map(measured, rows), strict=True))
    finally:
        for address in (EXTERNAL, EXTERNAL_EMPTY):
            world.networks["outside"].apply([ops.DelRoute(ip_network(address[family]))])
    assert [(row, got) for row, got in found if not fits(world, row[1], family, got, row[4])] == []


def target(world, service, place, family):
    if place == "vip":
        return service.cluster_ips[family], 80
    if place == "external":
        return service.external_ips[family], 80
    return world.addresses["here"][family], service.ports[0].node_port


def fits(world, client, family, found, expected):
    if isinstance(expected, str) or isinstance(found, str):
        return found == expected
    sources = {
        "own": world.addresses[client][family],
        "gateway": world.gateway[family],
        "node": world.addresses["here"][family],
    }
    return found.server in expected and found.seen == sources[expected[found.server]]


ORIGINS = {"b": walk.POD, "a": walk.POD, "here": walk.NODE, "outside": walk.OUTSIDE}


def predicted(world, door, around, row, family):
    """What a walk over the tables in the kernel says of a row, as `ask` would tell it."""
    client, name, place, protocol = row
    table = layout.FAMILIES[family]
    held = walk.read(audit.contents(door.list_json, table, ()))
    address, port = target(world, ROWS[name].service, place, family)
    packet = walk.Packet(protocol, world.addresses[client][family], address, port, ORIGINS[client])
    return walk.fate(held, packet, around[table.name], frozenset(world.addresses["here"]))


def agrees(fate, expected):
    """Whether it is what the row expects: these backends alone, each as likely, seen as told."""
    if expected in ("refused", "timeout"):
        return fate.verdict == {"refused": "refused", "timeout": "dropped"}[expected]
    told = {c.target: "own" if not c.masqueraded else "masqueraded" for c in fate.chances}
    shares = {c.probability for c in fate.chances}
    wanted = {name: "own" if seen == "own" else "masqueraded" for name, seen in expected.items()}
    return told == wanted and shares == {Fraction(1, len(expected))}


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_walk_over_the_tables_tells_the_same_as_packets(world, served, family, protocol):
    door = firewall.LibNftables(world.places["here"])
    around = options.surroundings(
        options.Options(tuple(world.pods.values()), tuple(world.services.values())), None
    )
    for client, name, place, expected in CONNECTIONS:
        fate = predicted(world, door, around, (client, name, place, protocol), family)
        assert agrees(fate, expected), (client, name, place, fate)


def test_the_walk_knows_which_backend_a_client_already_has(world, proxy):
    put(proxy, world, ROWS["sticky-all"])
    asyncio.run(proxy.sync())
    answer = world.ask("b", ROWS["sticky-all"].service.cluster_ips[FOUR], 80)
    door, around = firewall.LibNftables(world.places["here"]), options.surroundings(options.Options(), None)
    fate = predicted(world, door, around, ("b", "sticky-all", "vip", "tcp"), FOUR)
    assert fate.stays == 100
    assert fate.remembered == f"{world.addresses[answer.server][FOUR]}:{world.port}"
    assert predicted(world, door, around, ("a", "sticky-all", "vip", "tcp"), FOUR).remembered == ""


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_what_no_service_offers_is_refused_or_dropped(world, served, family):
    for client in ("b", "here"):
        assert world.ask(client, f"{PREFIX[family]}10", 81) == "refused"  # no such port
        assert world.ask(client, f"{PREFIX[family]}10", 81, "udp") == "refused"
    assert (
        world.ask("b", ("10.96.0.200", "fd00:96::c8")[family], 80, timeout=0.3) == "timeout"
    )  # no such Service
    assert (
        world.ask("here", ("127.0.0.1", "::1")[family], 30010) == "refused"
    )  # never at the loopback address
    assert world.ask("outside", world.addresses["here"][family], 29999) == "refused"  # nobody's port


BY_BRIDGE = {"detect_local": "BridgeInterface", "local_link": "cni0"}
BY_PREFIX = {"detect_local": "InterfaceNamePrefix", "local_link": "cn"}
BY_NOTHING = {"detect_local": ""}

# what is chosen, client, Service, where it connects, and who answers seeing whom, or what happens instead
CHOICES = [
    ({"masquerade_all": True}, "b", "a", "vip", {"a": "gateway"}),
    ({"masquerade_all": True}, "b", "sticky", "vip", {"far": "node"}),
    ({"masquerade_all": True}, "b", "local", "node", {"a": "own", "far": "own"}),  # Service addresses only
    (BY_BRIDGE, "b", "far", "vip", {"far": "own"}),
    (BY_BRIDGE, "here", "far", "vip", {"far": "node"}),
    (BY_BRIDGE, "outside", "local-nobody", "node", "timeout"),
    (BY_BRIDGE, "b", "local-nobody", "node", {"far": "own"}),
    (BY_PREFIX, "b", "sticky", "vip", {"far": "own"}),
    (BY_PREFIX, "here", "a", "vip", {"a": "gateway"}),
    ({"detect_local": "BridgeInterface", "local_link": "other"}, "b", "far", "vip", {"far": "node"}),
    (BY_NOTHING, "b", "far", "vip", {"far": "own"}),  # never masqueraded
    (BY_NOTHING, "b", "local-nobody", "node", "timeout"),  # not known to be a pod
    (BY_NOTHING, "here", "local-nobody", "node", {"far": "node"}),
    ({"node_port_addresses": ("172.18.0.0/24", "fd00:18::/120")}, "outside", "a", "node", {"a": "gateway"}),
    ({"node_port_addresses": ("192.0.2.0/24", "2001:db8:9::/64")}, "outside", "a", "node", "refused"),
    ({"node_port_addresses": ("192.0.2.0/24", "2001:db8:9::/64")}, "b", "a", "vip", {"a": "own"}),
]


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("row", CHOICES)
def test_what_is_chosen_about_pods_masquerading_and_node_addresses(world, row, family):
    chosen, client, name, place, expected = row
    with serving(world, **chosen) as one:
        put(one, world, ROWS[name])
        asyncio.run(one.sync())
        address, port = target(world, ROWS[name].service, place, family)
        got = world.ask(client, address, port, timeout=0.4 if expected == "timeout" else 4.0)
        assert fits(world, client, family, got, expected)
        door = firewall.LibNftables(world.places["here"])
        ranges = {"cluster_cidrs": tuple(world.pods.values()), "service_cidrs": ()}
        around = options.surroundings(options.Options(**{**ranges, **chosen}), None)
        unknown = chosen.get("local_link") == "other" or chosen == BY_NOTHING  # for the walk, no pod
        origin = "outside" if unknown and client == "b" else client
        fate = predicted(world, door, around, (origin, name, place, "tcp"), family)
        closed = expected == "refused" and fate.verdict == "passed on"  # nobody listens on the node itself
        assert closed or agrees(fate, expected)
        assert asyncio.run(one.check())


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_load_balancer_address_is_open_to_its_source_ranges_only(world, proxy, family, protocol):
    outside = world.addresses["outside"]
    for number, ranges in (
        (21, ("203.0.113.0/24", "203.0.113.10/32", "2001:db8:113::/64")),  # overlapping ones, too
        (22, ("192.0.2.0/24", "2001:db8:9::/64")),
        (23, ("192.0.2.0/24", f"{outside[1 - family]}")),  # of the other family: nobody of this one
    ):
        addresses = (f"198.51.100.{number}", f"2001:db8:51::{number}")
        put(proxy, world, Row(number, ("a",), balancer_ips=addresses, source_ranges=ranges))
        net, via = ip_network(addresses[family]), ip_address(world.addresses["here"][family])
        world.networks["outside"].apply([ops.AddRoute(net, via)])
    asyncio.run(proxy.sync())
    try:
        found = {
            number: world.ask(
                "outside",
                (f"198.51.100.{number}", f"2001:db8:51::{number}")[family],
                80,
                protocol,
                timeout=0.3,
            )
            for number in (21, 22, 23)
        }
        assert found[21] == (("a", world.gateway[family]))
        assert (found[22], found[23]) == ("timeout", "timeout")
        # the ranges are the load balancer address' alone
        assert world.ask("outside", world.addresses["here"][family], 30022, protocol).server == "a"
        assert world.ask("b", f"{PREFIX[family]}22", 80, protocol).server == "a"
    finally:
        for number in (21, 22, 23):
            net = ip_network((f"198.51.100.{number}", f"2001:db8:51::{number}")[family])
            world.networks["outside"].apply([ops.DelRoute(net)])


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
    finally:
        more_addresses(world, family, remove=True)


@pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_each_new_connection_lets_the_time_of_affinity_begin_anew_and_then_it_ends(world, proxy, family):
    row = sticky(33, ("a", "b", "far"), seconds=3)
    put(proxy, world, row)
    asyncio.run(proxy.sync())
    vip, door = row.service.cluster_ips[family], firewall.LibNftables(world.places["here"])

    def left():
        table = layout.FAMILIES[family].table
        (held,) = [e["map"] for e in door.list_json(f"list map {table} affinity")["nftables"] if "map" in e]
        return [pair[0]["elem"]["expires"] for pair in held.get("elem", ())]

    began = time.monotonic()
    server = world.ask("b", vip, 80).server
    while time.monotonic() - began < 4.5:  # longer than the timeout, without a pause as long
        assert world.ask("b", vip, 80).server == server
    assert left()
    wait_until(lambda: not left(), 6)  # nobody asks any more


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


@pytest.mark.parametrize("seconds", [0, 60], ids=["", "sticky"])
def test_a_rolling_update_under_load_refuses_no_connection(world, proxy, seconds):
    """Backends come and go as fast as they can be programmed; some one is always there."""
    everybody = sticky(37, ("a", "b", "far"), seconds=seconds)
    put(proxy, world, everybody)
    asyncio.run(proxy.sync())
    vip, ended, answers = everybody.service.cluster_ips[FOUR], threading.Event(), Counter()

    def load():
        while not ended.is_set():
            got = world.ask("here", vip, 80, timeout=3.0)
            answers[got if isinstance(got, str) else "answered"] += 1

    async def roll():
        for turn in range(150):
            kept = (("a", "far"), ("far",), ("b", "far"), ("a", "b", "far"), ("a",))[turn % 5]
            current = sticky(37, kept, seconds=seconds)
            for name, slice_ in current.slices(world):
                proxy.changes.slice(name, None, slice_)
            assert await proxy.sync()
            assert not proxy.pending

    with futures.ThreadPoolExecutor(2) as lanes:
        clients = [lanes.submit(load) for _ in range(2)]
        try:
            asyncio.run(roll())
        finally:
            ended.set()
        for client in clients:
            client.result()
    assert set(answers) == {"answered"}
    assert answers["answered"] > 20
    assert asyncio.run(proxy.check())


def test_a_udp_flow_leaves_a_backend_that_is_gone(world, served):
    """The same client port keeps sending: tracked, it would go to the old backend for ever."""
    vip = f"{PREFIX[FOUR]}11"
    assert world.ask("b", vip, 80, "udp", source_port=4444).server == "a"
    was = dict(ROWS["a"].slices(world))
    moved = Row(11, ("far",))
    for name, slice_ in moved.slices(world):
        served.changes.slice(name, was[name], slice_)
    asyncio.run(served.sync())
    assert world.ask("b", vip, 80, "udp", source_port=4444).server == "far"


def test_a_udp_flow_from_before_the_service_is_translated_once_it_is_there(world, proxy):
    vip = f"{PREFIX[FOUR]}12"
    assert isinstance(world.ask("b", vip, 80, "udp", source_port=4445, timeout=0.2), str)
    put(proxy, world, ROWS["far"])
    asyncio.run(proxy.sync())
    assert world.ask("b", vip, 80, "udp", source_port=4445).server == "far"


def test_established_connections_outlive_their_service(world, served):
    with netns.inside(world.places["b"]):
        connection = socket.create_connection((f"{PREFIX[FOUR]}12", 80), timeout=2)
    with connection:
        assert connection.recv(100).startswith(b"far ")
        served.changes.service(ROWS["far"].key, None)
        asyncio.run(served.sync())
        assert world.ask("b", f"{PREFIX[FOUR]}12", 80, timeout=0.3) == "timeout"
        connection.send(b"?")  # is acknowledged only if it still goes to the same backend
        assert connection.recv(100) == b""


def test_a_table_that_somebody_changed_is_noticed(world, served):
    other = firewall.LibNftables(world.places["here"])
    assert asyncio.run(served.check())
    other.apply("add table ip stranger")  # a change, but none of ours
    assert asyncio.run(served.check())
    for foreign in (
        "delete element ip netemu-proxy services { 10.96.0.11 . tcp . 80 }",
        "add element ip6 netemu-proxy cluster-ips { fd00:96::99 }",
        "add rule ip netemu-proxy services drop",
        "delete table ip6 netemu-proxy",
        "flush ruleset",
    ):
        other.apply(foreign)
        assert not asyncio.run(served.check()), foreign
        served.start_over()
        asyncio.run(served.sync())
        assert asyncio.run(served.check()), foreign
    assert world.ask("b", f"{PREFIX[FOUR]}11", 80).server == "a"


def test_a_refused_transaction_leads_to_a_table_made_anew(world, served):
    firewall.LibNftables(world.places["here"]).apply("flush map ip netemu-proxy backends-tcp")
    served.changes.service(ROWS["a"].key, None)
    with pytest.raises(firewall.FirewallError):
        asyncio.run(served.sync())
    asyncio.run(served.sync())
    assert world.ask("b", f"{PREFIX[FOUR]}12", 80).server == "far"
    assert world.ask("b", f"{PREFIX[FOUR]}11", 80, timeout=0.3) == "timeout"


def test_a_second_sync_does_nothing(world, served):
    assert not served.pending
    assert asyncio.run(served.sync()) == 0


def test_the_longest_comment_is_accepted(world, proxy):
    key = services.Key("n" * 63, "s" * 63)
    proxy.changes.service(key, services.Service(key, (services.Port("p" * 15, "sctp", 80),), ("10.96.0.99",)))
    assert asyncio.run(proxy.sync()) == 2
