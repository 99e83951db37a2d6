"""Real packets through the programmed table, all at once: each meets what a walk over its elements says.

far 10.244.2.2 and 203.0.113.10          node "n1" 172.18.0.2                 pods of n1
(a pod elsewhere, and the outside) ── eth0 ────────────── cni0 10.244.1.1 ─── a .1.2, b .1.3  (bridged)
                                               └────────────── 10.244.3.1 ─── c 10.244.3.2    (routed)
"""

import asyncio
import fcntl
import itertools
import os
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from netemu.api import clusterpolicies, codec, networking
from netemu.base import clock
from netemu.kernel import firewall, logged, netns, network, touches
from netemu.kernel import operations as ops
from netemu.netpol import audit, changes, layout, ledger, mutations, policies, policing, terms, walk
from netemu.wire import nflog

sys.path.insert(0, str(Path(__file__).parent))
import clusters
import stories

pytestmark = pytest.mark.root
ADDRESSES = {
    "a": ("10.244.1.2", "fd00:244:0:1::2"),
    "b": ("10.244.1.3", "fd00:244:0:1::3"),
    "c": ("10.244.3.2", "fd00:244:0:3::2"),
    "far": ("10.244.2.2", "fd00:244:0:2::2"),
    "outside": ("203.0.113.10", "2001:db8:113::10"),
    "n1": ("172.18.0.2", "fd00:18::2"),
}
GATEWAYS = {"a": ("10.244.1.1", "fd00:244:0:1::1"), "c": ("10.244.3.1", "fd00:244:0:3::1")}
PLACES = ("a", "b", "c", "far", "n1")
HOME = {"outside": "far"}
TCP, UDP, SCTP, ICMP = (("tcp", 80), ("tcp", 81)), (("udp", 80), ("udp", 81)), (("sctp", 80),), (("icmp", 0),)
KINDS = (*TCP, *UDP, *SCTP, *ICMP)
PATIENCE = 30  # seconds
QUIET = 0.12  # seconds without any answer after which none comes: all of it is one machine's own memory


class Site:
    """The namespaces, joined and listening."""

    def __init__(self, stack):
        self.places = {name: netns.open_new() for name in PLACES}
        self.nets = {name: stack.enter_context(network.LinuxNetwork(fd)) for name, fd in self.places.items()}
        stack.callback(lambda: [os.close(fd) for fd in self.places.values()])
        self.stack = stack
        self.numbers = itertools.count(1)
        self._wire()
        self._listen()

    def _wire(self):
        for net in self.nets.values():
            net.apply(
                [
                    ops.SetSysctl("net.ipv6.conf.default.accept_dad", "0"),
                    ops.SetSysctl("net.ipv6.conf.all.accept_dad", "0"),
                    ops.SetUp("lo"),
                ]
            )
        node = self.nets["n1"]
        node.apply(
            [
                ops.SetSysctl("net.ipv4.ip_forward", "1"),
                ops.SetSysctl("net.ipv6.conf.all.forwarding", "1"),
                ops.SetSysctl("net.ipv4.icmp_ratelimit", "0"),
                ops.SetSysctl("net.ipv6.icmp.ratelimit", "0"),
                ops.AddBridge("cni0"),
                *(
                    ops.AddAddress("cni0", ip_interface(f"{a}/{n}"))
                    for a, n in zip(GATEWAYS["a"], (24, 64), strict=True)
                ),
                ops.SetUp("cni0"),
                ops.SetSysctl("net.bridge.bridge-nf-call-iptables", "1"),
                ops.SetSysctl("net.bridge.bridge-nf-call-ip6tables", "1"),
            ]
        )
        for name, gateway in (("a", "a"), ("b", "a"), ("c", "c"), ("far", "")):
            link = "eth0" if name == "far" else f"v-{name}"
            node.apply([ops.AddVeth(link, "eth0", f"/proc/self/fd/{self.places[name]}"), ops.SetUp(link)])
            if name in "ab":
                node.apply([ops.SetMaster(link, "cni0")])
            elif name == "c":
                node.apply(
                    [
                        ops.AddAddress(link, ip_interface(f"{a}/{n}"))
                        for a, n in zip(GATEWAYS["c"], (24, 64), strict=True)
                    ]
                )
            self.nets[name].apply(
                [
                    ops.SetUp("eth0"),
                    *(
                        ops.AddAddress("eth0", ip_interface(f"{a}/{n}"))
                        for a, n in zip(ADDRESSES[name], (24, 64), strict=True)
                    ),
                    *(
                        ops.AddRoute(ip_network(everything), ip_address(via))
                        for everything, via in zip(
                            ("0.0.0.0/0", "::/0"), GATEWAYS.get(gateway, ()), strict=False
                        )
                    ),
                ]
            )
        four, six = ADDRESSES["n1"]
        node.apply(
            [
                ops.AddAddress("eth0", ip_interface(f"{four}/16")),
                ops.AddAddress("eth0", ip_interface(f"{six}/64")),
                ops.AddRoute(ip_network("10.244.2.0/24"), dev="eth0"),
                ops.AddRoute(ip_network("203.0.113.0/24"), dev="eth0"),
                ops.AddRoute(ip_network("fd00:244:0:2::/64"), dev="eth0"),
                ops.AddRoute(ip_network("2001:db8:113::/64"), dev="eth0"),
            ]
        )
        self.nets["far"].apply(
            [
                ops.AddAddress("eth0", ip_interface("203.0.113.10/32")),
                ops.AddAddress("eth0", ip_interface("2001:db8:113::10/128")),
                ops.AddRoute(ip_network("172.18.0.0/16"), dev="eth0"),
                ops.AddRoute(ip_network("fd00:18::/64"), dev="eth0"),
                ops.AddRoute(ip_network("0.0.0.0/0"), ip_address("172.18.0.2")),
                ops.AddRoute(ip_network("::/0"), ip_address("fd00:18::2")),
            ]
        )

    def _listen(self):
        self.datagrams = []
        for fd in self.places.values():
            with netns.inside(fd):
                for port in (80, 81):
                    tcp = self._keep(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
                    tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                    tcp.bind(("::", port))
                    tcp.listen(256)
                    udp = self._keep(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                    udp.bind(("::", port))
                    self.datagrams.append(udp)
                for family in (socket.AF_INET, socket.AF_INET6):
                    self.datagrams.append(self._keep(socket.socket(family, socket.SOCK_RAW, 132)))

    def _keep(self, one):
        one.setblocking(False)
        return self.stack.enter_context(one)

    def flows(self):
        for source, target in itertools.permutations(ADDRESSES, 2):
            if {source, target} == {"far", "outside"} or {source, target} <= {"n1", "far", "outside"}:
                continue
            for family, (protocol, port) in itertools.product((0, 1), KINDS):
                yield (
                    source,
                    target,
                    walk.Packet(
                        ip_address(ADDRESSES[source][family]),
                        ip_address(ADDRESSES[target][family]),
                        protocol,
                        port,
                    ),
                )

    def measure(self, flows, awaited=()):
        """Which of the flows get through. The `awaited` ones are sent again: a neighbour that is not known
        yet, or a busy machine, may have cost a packet."""
        passed, missing, began = set(), tuple(flows), time.monotonic()
        while missing and time.monotonic() - began < PATIENCE:
            with ExitStack() as stack:
                passed |= self._measure(missing, stack)
            missing = tuple(frozenset(awaited) - passed)
        return passed

    def _measure(self, flows, stack):
        waiting, tokens, passed = {}, {}, set()
        for flow in flows:
            number = next(self.numbers)  # a number used before would be of a connection there is
            token = struct.pack("!I", 0x5EED0000 + number)
            one = stack.enter_context(self._send(flow, number, token))
            if flow[2].protocol in ("tcp", "icmp"):
                waiting[one] = flow
            tokens[token] = flow
        last = time.monotonic()
        while time.monotonic() - last < QUIET:
            connecting = [one for one, flow in waiting.items() if flow[2].protocol == "tcp"]
            pinging = [one for one, flow in waiting.items() if flow[2].protocol == "icmp"]
            ready, able, _ = select.select([*self.datagrams, *pinging], connecting, [], QUIET / 4)
            for one in ready:
                with_token = one.recv(2000)
                found = next((flow for token, flow in tokens.items() if token in with_token), None)
                if one in waiting and not replied(waiting[one][2], with_token):
                    continue
                if found is not None and found not in passed:
                    passed.add(found)
                    last = time.monotonic()
            for one in able:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    passed.add(waiting[one])
                    last = time.monotonic()
                del waiting[one]
        return passed

    def _send(self, flow, number, token):
        source, _, packet = flow
        six = packet.source.version == 6
        family = socket.AF_INET6 if six else socket.AF_INET
        kind, protocol = {
            "tcp": (socket.SOCK_STREAM, 0),
            "udp": (socket.SOCK_DGRAM, 0),
            "sctp": (socket.SOCK_RAW, 132),
            "icmp": (socket.SOCK_RAW, 58 if six else 1),
        }[packet.protocol]
        with netns.inside(self.places[HOME.get(source, source)]):
            one = socket.socket(family, kind, protocol)
        one.setblocking(False)
        one.bind((str(packet.source), 0))
        to = (str(packet.destination), packet.port if packet.protocol in ("tcp", "udp") else 0)
        if packet.protocol == "tcp":
            one.connect_ex(to)
        elif packet.protocol == "udp":
            one.sendto(token, to)
        elif packet.protocol == "sctp":  # an INIT, whose tag tells it
            chunk = struct.pack("!BBH", 1, 0, 20) + token + struct.pack("!IHHI", 1 << 16, 1, 1, 1)
            head = struct.pack("!HHI", 20000 + number, packet.port, 0)
            one.sendto(head + struct.pack("<I", crc32c(head + b"\0\0\0\0" + chunk)) + chunk, to)
        else:
            body = struct.pack("!HH", number, 1) + token
            one.sendto(ping(128, 0, body) if six else ping(8, checksum(b"\x08\0\0\0" + body), body), to)
        return one


def ping(kind, check, body):
    return struct.pack("!BBH", kind, 0, check) + body


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def replied(packet, data):
    """A raw ICMP socket hears every ICMP packet."""
    if packet.destination.version == 6:
        return data[0] == 129
    return data[(data[0] & 15) * 4] == 0


@pytest.fixture(scope="module")
def site():
    with ExitStack() as stack:
        yield Site(stack)


def pod(name, node, **labels):
    space = "other" if name == "far" else "default"
    served = (("web", "tcp", 80), ("dns", "udp", 81))
    given = tuple(map(ip_address, ADDRESSES[name]))
    return terms.Pod(terms.Key(space, name), node, {"app": name, **labels}, given, served)


PODS = {p.key: p for p in (pod("a", "n1"), pod("b", "n1"), pod("c", "n1"), pod("far", "n2"))}
SPACES = {name: {"kubernetes.io/metadata.name": name} for name in ("default", "other")}
NODE = {"n1": terms.Node("n1", {}, tuple(map(ip_address, ADDRESSES["n1"])))}


def app(*names):
    return {"matchExpressions": [{"key": "app", "operator": "In", "values": list(names)}]}


def named(**spec):
    document = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"podSelector": {}, **spec}}
    return policies.of_namespace(codec.convert(networking.NetworkPolicy, document))


def cluster(**spec):
    document = {"metadata": {"name": "k"}, "spec": {"priority": 1, "tier": "Admin", **spec}}
    return policies.of_cluster(codec.convert(clusterpolicies.ClusterNetworkPolicy, document))


ANYWHERE = {"namespaces": {}}
TABLE = {
    "deny all": [named(policyTypes=["Ingress", "Egress"])],
    "deny ingress": [named()],
    "allow from pods, named port": [
        named(
            podSelector=app("a"), ingress=[{"from": [{"podSelector": app("b")}], "ports": [{"port": "web"}]}]
        )
    ],
    "allow a namespace, ranges of ports": [
        named(
            podSelector=app("a", "c"),
            ingress=[
                {
                    "from": [
                        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
                    ],
                    "ports": [{"port": 79, "endPort": 90}, {"port": 80, "protocol": "SCTP"}],
                }
            ],
        )
    ],
    "egress to a block with except, and dns": [
        named(
            podSelector=app("b", "c"),
            policyTypes=["Egress"],
            egress=[
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.1.0/24"]}}]},
                {"to": [{"ipBlock": {"cidr": "fd00:244::/56"}}], "ports": [{"port": 80}]},
                {"ports": [{"protocol": "UDP", "port": "dns"}]},
            ],
        )
    ],
    "an administrator denies and passes": [
        cluster(
            subject={"namespaces": {}},
            ingress=[
                {"action": "Pass", "from": [{"pods": {"namespaceSelector": {}, "podSelector": app("b")}}]},
                {
                    "action": "Deny",
                    "from": [ANYWHERE],
                    "protocols": [{"tcp": {"destinationPort": {"number": 81}}}],
                },
            ],
            egress=[
                {"action": "Deny", "to": [{"networks": ["203.0.113.0/24", "fd00:18::/64"]}]},
                {"action": "Accept", "to": [{"networks": ["0.0.0.0/0"]}], "protocols": [{"udp": {}}]},
            ],
        ),
        named(podSelector=app("a"), ingress=[{"ports": [{"port": 80}]}]),
    ],
    "a baseline": [
        cluster(
            tier="Baseline",
            subject={"namespaces": {}},
            ingress=[{"action": "Deny", "from": [ANYWHERE]}],
            egress=[{"action": "Deny", "to": [{"nodes": {}}]}],
        ),
        named(podSelector=app("c"), ingress=[{"from": [{"podSelector": app("a")}]}]),
    ],
    "nothing any more": [],
}


@pytest.fixture(scope="module")
def enforcer(site):
    touched = touches.Touches([(layout.TABLE.family, layout.TABLE.name)], site.places["n1"])
    door = firewall.LibNftables(site.places["n1"])
    one = policing.Enforcer("n1", door, touched, clock.SystemClock())
    one.door = door
    one.pending = changes.Changes(dict(PODS), dict(SPACES), {}, dict(NODE))
    yield one
    touched.close()


def held(enforcer):
    return walk.of(enforcer.book.elements())


def program(enforcer, wanted):
    keys = {*enforcer.book.state.policies, *(p.key for p in wanted)}
    found = {p.key: p for p in wanted}
    enforcer.pending.policies.update({key: found.get(key) for key in keys})
    asyncio.run(enforcer.sync())


def hook(source, target):
    return "output" if source == "n1" else "input" if target == "n1" else "forward"


def test_packets_meet_what_a_walk_says(site, enforcer):
    flows = tuple(site.flows())
    dropped = 0
    for title, wanted in TABLE.items():
        program(enforcer, wanted)
        said = {flow for flow in flows if walk.accepted(held(enforcer), flow[2], hook(*flow[:2]))}
        assert site.measure(flows, said) == said, title
        dropped += len(flows) - len(said)
        assert asyncio.run(enforcer.check()), title
    assert dropped > 500


def test_a_foreign_edit_is_seen_and_repaired(site, enforcer):
    program(enforcer, TABLE["deny ingress"])
    assert asyncio.run(enforcer.check())
    for edit in (
        f"flush map {layout.TABLE} ingress4",
        f"delete element {layout.TABLE} ingress6 {{ {ADDRESSES['a'][1]} }}",
        f"add element {layout.TABLE} ports {{ ffff:9 . tcp . 22 }}",
        f"add rule {layout.TABLE} ingress accept",
        f"flush chain {layout.TABLE} ingress-denied",
        f"delete table {layout.TABLE}",
    ):
        enforcer.door.apply(edit)
        assert not asyncio.run(enforcer.check()), edit
        enforcer.start_over()
        asyncio.run(enforcer.sync())
        assert asyncio.run(enforcer.check()), edit


def test_every_single_break_can_be_made_and_undone(site, enforcer):
    program(enforcer, TABLE["an administrator denies and passes"])
    count = 0
    for mutation in mutations.mutations(held(enforcer)):
        enforcer.door.apply(mutation.apply)
        enforcer.door.apply(mutation.undo)
        count += 1
    assert count > 100
    assert asyncio.run(enforcer.check())


def flow(source, target, protocol, port, family=0):
    ends = (ip_address(ADDRESSES[name][family]) for name in (source, target))
    return source, target, walk.Packet(*ends, protocol, port)


def test_drops_are_counted_and_logged(site, enforcer):
    enforcer.start_over()  # counters begin at nothing
    program(enforcer, TABLE["deny ingress"])
    log = logged.NetlinkLog(layout.LOG_GROUP, site.places["n1"])
    site.stack.callback(log.close)
    sent = [
        flow("far", "a", "udp", 80),
        flow("b", "a", "tcp", 81, 1),
        flow("c", "b", "sctp", 80),
        flow("c", "b", "icmp", 0),
    ]
    assert site.measure(sent) == set()
    found = []
    while len(found) < len(sent):
        select.select([log], [], [], 10)
        found += log.receive()
    told = {(one.prefix, *flow_of(one)) for one in found}
    assert {(prefix, *rest) for prefix, *rest in told} >= {
        ("ingress", str(p.source), str(p.destination), p.protocol, p.port) for _, _, p in sent
    }
    text = asyncio.run(enforcer.metrics())
    for name, family, packets in (("a", 0, 1), ("a", 1, 1), ("b", 0, 2)):
        labels = f'direction="ingress",namespace="default",pod="{name}",address="{ADDRESSES[name][family]}"'
        line = next(row for row in text.splitlines() if labels in row)
        assert int(line.rpartition(" ")[2]) >= packets


def flow_of(one):
    found = nflog.flow(one.payload)
    return found.source, found.destination, found.protocol, found.port


DNAT = """
table ip services {
  chain prerouting { type nat hook prerouting priority dstnat ;
    ip daddr 10.96.0.1 tcp dport 8000 dnat to 10.244.1.2:80 ;
    ip daddr 10.96.0.2 udp dport 81 dnat to 10.244.2.2:81 ; }
  chain postrouting { type nat hook postrouting priority srcnat ;
    ip saddr 10.244.1.2 ip daddr 10.244.1.2 masquerade ; }
}
"""


def test_policies_see_the_backend_that_a_service_chose(site, enforcer):
    enforcer.door.apply(DNAT)
    ADDRESSES["vip"] = ("10.96.0.1", "")
    ADDRESSES["vip2"] = ("10.96.0.2", "")
    try:
        web, other = flow("c", "vip", "tcp", 8000), flow("far", "vip", "tcp", 8000)
        dns, itself = flow("c", "vip2", "udp", 81), flow("a", "vip", "tcp", 8000)
        program(enforcer, [])
        assert site.measure([web, other, dns], {web, other, dns}) == {web, other, dns}
        wanted = named(
            podSelector=app("a"), ingress=[{"from": [{"podSelector": app("c")}], "ports": [{"port": 80}]}]
        )
        program(enforcer, [wanted])
        assert site.measure([web, other, dns], {web, dns}) == {web, dns}
        cidr = {"ipBlock": {"cidr": "10.96.0.0/16"}}
        program(enforcer, [named(podSelector=app("c"), policyTypes=["Egress"], egress=[{"to": [cidr]}])])
        assert site.measure([web, dns]) == set()
        program(
            enforcer,
            [
                named(
                    podSelector=app("c"),
                    policyTypes=["Egress"],
                    egress=[{"ports": [{"port": 81, "protocol": "UDP"}]}],
                )
            ],
        )
        assert site.measure([web, dns], {dns}) == {dns}
        hairpin(site)
        program(enforcer, TABLE["deny all"])
        assert site.measure([web, itself], {itself}) == {itself}
        deny = [{"action": "Deny", "from": [{"pods": {"namespaceSelector": {}, "podSelector": app("a")}}]}]
        program(enforcer, [*TABLE["deny all"], cluster(subject=ANYWHERE, ingress=deny)])
        assert site.measure([itself]) == set()
    finally:
        enforcer.door.apply("delete table ip services")
        del ADDRESSES["vip"], ADDRESSES["vip2"]


def hairpin(site):
    """As the bridge plugin's hairpinMode."""
    with netns.inside(site.places["n1"]):
        subprocess.run(("bridge", "link", "set", "dev", "v-a", "hairpin", "on"), check=True)


def test_a_connection_goes_on_and_the_next_one_meets_the_change(site, enforcer):
    program(enforcer, [])
    with netns.inside(site.places["b"]):
        talk = socket.create_connection((ADDRESSES["a"][0], 80), 10)
    with talk:
        program(enforcer, TABLE["deny all"])
        assert site.measure([flow("b", "a", "tcp", 80)]) == set()
        talk.send(b"still here")
        with netns.inside(site.places["b"]):
            unsent = unacknowledged(talk)
        assert unsent == 0


def unacknowledged(stream):
    """Bytes that the other end has not confirmed, once it had the time to."""
    for _ in range(200):
        (left,) = struct.unpack("i", fcntl.ioctl(stream, termios.TIOCOUTQ, b"\0" * 4))
        if not left:
            return 0
        select.select([], [], [], 0.05)
    return left


def test_unknown_addresses_of_the_nodes_pods_are_dropped_if_wished(site, enforcer):
    program(enforcer, [])
    known = flow("b", "far", "tcp", 80)
    stranger = flow("a", "far", "udp", 80)
    enforcer.guard([ip_network("10.244.1.0/24"), ip_network("fd00:244:0:1::/64")])
    enforcer.pending.pods[terms.Key("default", "a")] = None
    asyncio.run(enforcer.sync())
    assert asyncio.run(enforcer.check())
    through = {known, flow("c", "far", "tcp", 80)}
    assert site.measure([stranger, *through], through) == through
    enforcer.pending.pods.update(PODS)
    asyncio.run(enforcer.sync())
    assert site.measure([known, stranger], {known, stranger}) == {known, stranger}
    enforcer.guard([])
    asyncio.run(enforcer.sync())
    assert asyncio.run(enforcer.check())


def judging(book):
    """The hooks at which some pod of the node is judged: others see no packet."""
    subjects = {element.of.rstrip("46") for element in book.elements()}
    return {direction.hook for direction in layout.DIRECTIONS if direction.name in subjects}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
@given(clusters.histories())
def test_the_kernel_holds_what_the_book_says_after_every_change(history):
    first, steps = history
    story, table, place = stories.Story(), ledger.Table(), netns.open_new()
    book = story.books["n1"]
    try:
        door = firewall.LibNftables(place)
        story.apply(first)
        for document in table.fresh(book):
            door.apply(str(document))
        for step in steps:
            for document in table.change(story.apply([step])["n1"]):
                door.apply(str(document))
            listing = door.list_json(f"list table {layout.TABLE}")
            assert audit.same(listing, book.elements(), table.rules()), step
            hooked = {e["chain"]["name"] for e in listing["nftables"] if e.get("chain", {}).get("hook")}
            assert hooked == judging(book), step
    finally:
        os.close(place)
