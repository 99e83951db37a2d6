"""A node's part of the pod network, planned and applied to a fake: every backend, whatever came before."""

import asyncio
import errno
import json
import os
import random
from ipaddress import ip_address, ip_interface, ip_network

import msgspec
import pytest

from netemu.api import codec, core
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.kernel import firewall, linux, network, states
from netemu.kernel import operations as ops
from netemu.podnet import agent, backends, flannel, masquerade, nodes, plan, wanted
from netemu.store import memory

RANGES = (("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112"))
INSIDE = tuple(ip_network(text) for pair in RANGES for text in pair)
HOST_GW, VXLAN = backends.Settings(), backends.Settings(backends.VXLAN)


def lease(number, version, vni=1):
    public = {4: f"172.18.0.{number}", 6: f"fd00:18::{number}"}[version]
    return flannel.Lease(vni, f"0e:00:00:00:0{version}:{number:02x}", ip_address(public))


def node(name, number, subnets=None, leases=()):
    addresses = (ip_address(f"172.18.0.{number}"), ip_address(f"fd00:18::{number}"))
    if subnets is None:
        subnets = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:0:{number}::/64"))
    return nodes.Node(name, addresses, tuple(subnets), tuple(leases))


def tunnelled(name, number):
    return node(name, number, leases=(lease(number, 4), lease(number, 6)))


def route(subnet, via, dev=""):
    return wanted.Route(ip_network(subnet), via and ip_address(via), dev)


def object_of(one, conditions=()):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": one.name, "annotations": flannel.notes(one.leases) if one.leases else {}},
            "spec": {"podCIDR": str(one.subnets[0]), "podCIDRs": [str(s) for s in one.subnets]},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": one.name},
                    *({"type": "InternalIP", "address": str(a)} for a in one.addresses),
                ],
                "conditions": list(conditions),
            },
        },
    )


class Machine:
    """A node with eth0 in both families, or those given, and podnet on it."""

    def __init__(self, directory, settings=HOST_GW, addresses=("172.18.0.3/16", "fd00:18::3/64"), mtu=1500):
        self.net = network.FakeNetwork()
        self.net.apply([ops.AddBridge("eth0"), ops.SetMTU("eth0", mtu), ops.SetUp("eth0")])
        self.net.apply([ops.AddAddress("eth0", ip_interface(a)) for a in addresses])
        self.door = firewall.FakeFirewall()
        self.path = directory / "net.d" / agent.CONFIGURATION
        self.subnet_file = directory / "flannel" / "subnet.env"
        self.config = agent.Config(*RANGES, settings, str(self.path.parent), str(self.subnet_file))
        self.clock = clock.FakeClock()
        self.podnet = agent.Podnet("w1", self.net, self.door, self.clock, self.config)
        self.podnet.nodes["w1"] = node("w1", 3)

    def sync(self, *others):
        self.podnet.nodes = {one.name: one for one in (self.podnet.nodes["w1"], *others)}
        return self.podnet.sync()

    def routes(self):
        return {
            (str(r.dst), str(r.via), r.dev) for r in self.net.observe().routes if r.protocol == plan.PROTOCOL
        }


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


OWN = {("10.244.3.0/24", "None", "lo"), ("fd00:244:0:3::/64", "None", "lo")}


# -- what nodes say


@pytest.mark.parametrize("one", [node("w1", 3), tunnelled("w2", 4)])
def test_a_node_object_says_where_its_pods_are(one):
    assert nodes.parse(object_of(one)) == one


PREFIX = "flannel.alpha.coreos.com/"
# As flannel's daemon 0.25 writes them.
DAEMON = {
    f"{PREFIX}backend-data": '{"VNI":1,"VtepMAC":"fe:b0:67:fc:46:f6"}',
    f"{PREFIX}backend-v6-data": '{"VNI":1,"VtepMAC":"7a:0e:6d:45:7f:b5"}',
    f"{PREFIX}backend-type": "vxlan",
    f"{PREFIX}kube-subnet-manager": "true",
    f"{PREFIX}public-ip": "172.18.0.4",
    f"{PREFIX}public-ipv6": "fd00:18::4",
}


def test_leases_are_written_and_read_as_flannels_daemon_does():
    found = flannel.leases(DAEMON)
    assert [(one.vni, one.mac, str(one.public)) for one in found] == [
        (1, "fe:b0:67:fc:46:f6", "172.18.0.4"),
        (1, "7a:0e:6d:45:7f:b5", "fd00:18::4"),
    ]
    assert flannel.notes(found) == DAEMON


@pytest.mark.parametrize(
    ("key", "value", "left"),
    [
        ("kube-subnet-manager", "false", ()),
        ("backend-type", "host-gw", ()),
        ("backend-data", "null", (6,)),
        ("backend-data", "{", (6,)),
        ("backend-data", '{"VNI":"1","VtepMAC":"fe:b0:67:fc:46:f6"}', (6,)),
        ("backend-data", '{"VNI":1,"VtepMAC":"fe:b0"}', (6,)),
        ("backend-data", '{"VNI":1,"VtepMAC":7}', (6,)),
        ("backend-v6-data", "[]", (4,)),
        ("public-ip", "fd00:18::4", (6,)),
        ("public-ipv6", "somewhere", (4,)),
    ],
)
def test_a_lease_that_makes_no_sense_is_none(key, value, left):
    found = flannel.leases({**DAEMON, PREFIX + key: value})
    assert tuple(one.version for one in found) == left


def test_the_public_address_can_be_overwritten():
    notes = {f"{PREFIX}public-ip-overwrite": "192.0.2.4", f"{PREFIX}public-ipv6-overwrite": "nonsense"}
    assert [str(flannel.overwritten(lease(4, v), notes).public) for v in (4, 6)] == [
        "192.0.2.4",
        "fd00:18::4",
    ]


# -- host-gw


def test_the_others_subnets_are_reached_through_their_nodes(machine):
    machine.sync(node("w2", 4), node("fresh", 5, ()))
    others = {("10.244.4.0/24", "172.18.0.4", "eth0"), ("fd00:244:0:4::/64", "fd00:18::4", "eth0")}
    assert machine.routes() == OWN | others


def test_a_node_without_an_address_of_a_family_is_not_reached_in_it(machine):
    machine.sync(node("w2", 4)._replace(addresses=(ip_address("172.18.0.4"),)))
    assert machine.routes() == OWN | {("10.244.4.0/24", "172.18.0.4", "eth0")}


def test_somebody_elses_route_is_left_alone_and_so_is_a_node_on_another_link(machine, caplog):
    machine.net.apply([ops.AddRoute(ip_network("10.244.4.0/24"), ip_address("172.18.0.77"))])
    far = node("far", 5)._replace(addresses=(ip_address("192.168.0.5"),))
    for _ in range(3):
        assert not caplog.text  # a node that joins says things in turn
        machine.sync(node("w2", 4), far)
        machine.clock.advance(agent.PATIENCE * 0.4)
    for _ in range(2):
        machine.sync(node("w2", 4), far)
    assert caplog.text.count("10.244.5.0/24") == 1
    assert machine.routes() == OWN | {("fd00:244:0:4::/64", "fd00:18::4", "eth0")}
    assert "10.244.5.0/24 on far: it is on no link of this node" in caplog.text
    assert "10.244.4.0/24 via 172.18.0.4: somebody else has a route there" in caplog.text


# -- vxlan


def test_a_tunnel_is_flannels(tmp_path):
    machine = Machine(tmp_path, VXLAN)
    want = machine.sync(tunnelled("w2", 4), node("silent", 5))
    state = machine.net.observe()
    four, six = state.links["flannel.1"], state.links["flannel-v6.1"]
    assert four.vxlan == states.Vxlan(1, ip_address("172.18.0.3"), 8472, "eth0")
    assert six.vxlan == states.Vxlan(1, ip_address("fd00:18::3"), 8472, "eth0")
    assert (four.mtu, six.mtu, four.up, six.up) == (1450, 1430, True, True)
    held = {(a.link, str(a.ip)) for a in state.addresses if a.link.startswith("flannel")}
    assert held == {("flannel.1", "10.244.3.0/32"), ("flannel-v6.1", "fd00:244:0:3::/128")}
    assert state.neighbours == {
        ("flannel.1", ip_address("10.244.4.0"), lease(4, 4).mac),
        ("flannel-v6.1", ip_address("fd00:244:0:4::"), lease(4, 6).mac),
    }
    assert state.forwarding == {
        ("flannel.1", lease(4, 4).mac, ip_address("172.18.0.4")),
        ("flannel-v6.1", lease(4, 6).mac, ip_address("fd00:18::4")),
    }
    assert machine.routes() == OWN | {
        ("10.244.4.0/24", "10.244.4.0", "flannel.1"),
        ("fd00:244:0:4::/64", "fd00:244:0:4::", "flannel-v6.1"),
    }
    assert want.leases == (
        flannel.Lease(1, four.mac, ip_address("172.18.0.3")),
        flannel.Lease(1, six.mac, ip_address("fd00:18::3")),
    )
    assert json.loads(machine.path.read_text())["plugins"][0]["mtu"] == 1430
    onlink = [op for op in machine.net.applied if isinstance(op, ops.AddRoute) and op.via is not None]
    assert all(op.onlink for op in onlink)


def test_neighbours_on_the_same_link_can_do_without_a_tunnel(tmp_path):
    machine = Machine(tmp_path, VXLAN._replace(direct_routing=True))
    far = tunnelled("far", 5)._replace(addresses=(ip_address("10.9.0.5"), ip_address("fd00:9::5")))
    machine.sync(tunnelled("w2", 4), far)
    assert {row for row in machine.routes() if row[1] != "None"} == {
        ("10.244.4.0/24", "172.18.0.4", "eth0"),
        ("fd00:244:0:4::/64", "fd00:18::4", "eth0"),
        ("10.244.5.0/24", "10.244.5.0", "flannel.1"),
        ("fd00:244:0:5::/64", "fd00:244:0:5::", "flannel-v6.1"),
    }


def test_a_daemons_tunnel_is_taken_over_and_one_that_differs_is_made_anew(tmp_path):
    machine = Machine(tmp_path, VXLAN)
    drawn = "fe:b0:67:fc:46:f6"
    machine.net.apply([ops.AddVxlan("flannel.1", 1, ip_address("172.18.0.3"), 8472, drawn, "eth0", 1450)])
    machine.net.apply([ops.AddVxlan("flannel-v6.1", 7, ip_address("fd00:18::3"), 8472, drawn, "eth0")])
    machine.sync()
    links = machine.net.observe().links
    assert links["flannel.1"].mac == drawn
    assert (links["flannel-v6.1"].mac != drawn, links["flannel-v6.1"].vxlan.vni) == (True, 1)


def test_a_backend_without_tunnels_removes_those_left_behind(tmp_path):
    Machine(tmp_path, VXLAN)
    machine = Machine(tmp_path)
    machine.net.apply([ops.AddVxlan("flannel.1", 1, ip_address("172.18.0.3"), link="eth0")])
    machine.net.apply([ops.AddVxlan("mine", 9, ip_address("172.18.0.3"), link="eth0")])
    machine.sync()
    assert set(machine.net.observe().links) == {"lo", "eth0", "mine"}


@pytest.mark.parametrize(
    ("release", "spoilt"),
    [("5.4.0-150-generic", True), ("5.6.19", True), ("5.7.0", False), ("6.18.44+", False), ("10.0", False)],
)
def test_checksums_are_made_early_where_translation_spoils_them_in_tunnels(tmp_path, release, spoilt):
    assert plan.software_checksums(release) is spoilt
    machine = Machine(tmp_path, VXLAN)
    machine.podnet._software = spoilt
    machine.sync()
    off = [op for op in machine.net.applied if isinstance(op, ops.SetTxChecksum)]
    assert off == (
        [ops.SetTxChecksum(name, False) for name in ("flannel.1", "flannel-v6.1")] if spoilt else []
    )


# -- all of them

SETTINGS = {
    "host-gw": HOST_GW,
    "vxlan": VXLAN,
    "vxlan, direct": VXLAN._replace(direct_routing=True),
    "bgp": backends.Settings(backends.BGP),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("pods", backends.KINDS)
@pytest.mark.parametrize("families", [(4,), (6,), (4, 6)], ids=str)
def test_single_families_need_nothing_of_the_other(tmp_path, settings, pods, families):
    def of(one):
        return one._replace(
            addresses=tuple(a for a in one.addresses if a.version in families),
            subnets=tuple(s for s in one.subnets if s.version in families),
            leases=tuple(each for each in one.leases if each.version in families),
        )

    held = {4: "172.18.0.3/16", 6: "fd00:18::3/64"}
    machine = Machine(tmp_path, settings._replace(pods=pods), [held[f] for f in families], mtu=9000)
    machine.podnet.nodes["w1"] = of(node("w1", 3))
    machine.sync(of(tunnelled("w2", 4)))
    assert {ip_network(row[0]).version for row in machine.routes()} == set(families)
    links = {"flannel.1": 4, "flannel-v6.1": 6} if settings.backend == backends.VXLAN else {}
    assert set(machine.net.observe().links) == {"lo", "eth0", *(n for n, v in links.items() if v in families)}
    plugin, *_ = json.loads(machine.path.read_text())["plugins"]
    assert plugin["type"] == {"bridged": "bridge", "routed": "ptp"}[pods]
    ranges = [ip_network(r["subnet"]) for (r,) in plugin["ipam"]["ranges"]]
    assert [net.version for net in ranges] == list(families)
    cost = max({4: 50, 6: 70}[f] for f in families) if settings.backend == backends.VXLAN else 0
    assert plugin["mtu"] == 9000 - cost
    env = dict(line.split("=", 1) for line in machine.subnet_file.read_text().splitlines())
    assert env["FLANNEL_MTU"] == str(9000 - cost)
    assert ("FLANNEL_SUBNET" in env, "FLANNEL_IPV6_SUBNET" in env) == (4 in families, 6 in families)


def test_without_subnets_nothing_is_configured(machine):
    machine.podnet.nodes["w1"] = node("w1", 3, ())
    assert not machine.podnet.sync().own
    assert not machine.path.exists()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_second_sync_changes_nothing(tmp_path, settings):
    machine = Machine(tmp_path, settings)
    machine.podnet.prepare()
    others = [tunnelled("w2", 4), tunnelled("w3", 5)]
    machine.sync(*others)
    assert json.loads(machine.path.read_text())["name"] == "netemu"
    before = (list(machine.net.applied), list(machine.door.transactions), machine.path.stat())
    machine.sync(*others)
    assert (machine.net.applied, machine.door.transactions, machine.path.stat()) == before
    assert os.listdir(machine.path.parent) == [agent.CONFIGURATION]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_walk_over_clusters_always_ends_where_it_should(tmp_path, settings):
    """Whatever nodes and tunnels were before: nothing is left to do, and nobody else's is touched."""
    machine = Machine(tmp_path, settings)
    machine.net.apply([ops.AddRoute(ip_network("192.0.2.0/24"), ip_address("172.18.0.77"))])
    machine.net.apply([ops.AddNeighbour("eth0", ip_address("172.18.0.77"), "02:00:00:00:00:77")])
    rng = random.Random(1)
    others = {}
    for _ in range(150):
        name, number = f"x{rng.randrange(6)}", rng.randrange(10, 40)
        if rng.random() < 0.3:
            others.pop(name, None)
        elif not any(other.addresses == node(name, number).addresses for other in others.values()):
            made = tunnelled(name, number)
            moved = tuple(
                each._replace(mac=f"0e:00:00:00:00:{rng.randrange(99):02d}") for each in made.leases
            )
            others[name] = made._replace(leases=moved) if rng.random() < 0.3 else made
        if rng.random() < 0.1 and settings.backend == backends.VXLAN:
            machine.net.apply([ops.SetDown("flannel.1")])
        want = machine.sync(*others.values())
        have = machine.net.observe()
        assert not plan.plan(want, have).operations
        assert any(r.dst == ip_network("192.0.2.0/24") for r in have.routes)
        assert states.Neighbour("eth0", ip_address("172.18.0.77"), "02:00:00:00:00:77") in have.neighbours


def test_what_the_kernel_refuses_does_not_keep_back_the_rest(machine):
    class Refusing(network.FakeNetwork):
        def _apply(self, operation):
            if isinstance(operation, ops.AddRoute) and operation.dst == ip_network("10.244.4.0/24"):
                raise OSError(12, "Cannot allocate memory")
            super()._apply(operation)

    machine.net.__class__ = Refusing
    with pytest.raises(agent.errors.Transient, match=r"10\.244\.4\.0/24.*Cannot allocate memory"):
        machine.sync(node("w2", 4), node("w3", 5))
    assert ("10.244.5.0/24", "172.18.0.5", "eth0") in machine.routes()


def test_an_ordinary_user_may_not_set_all_and_needs_not(machine, caplog):
    """In a user namespace some values are refused (EINVAL, EPERM), and br_netfilter may be missing."""

    class Refusing(network.FakeNetwork):
        def _apply(self, operation):
            if isinstance(operation, ops.SetSysctl) and operation.key == "net.ipv4.ping_group_range":
                raise OSError(errno.EINVAL, "Invalid argument")
            if isinstance(operation, ops.SetSysctl) and operation.key.startswith("net.bridge."):
                raise OSError(errno.ENOENT, "No such file or directory")
            if isinstance(operation, ops.SetSysctl) and operation.key == self.essential:
                raise OSError(errno.EACCES, "Permission denied")
            super()._apply(operation)

    machine.net.__class__, machine.net.essential = Refusing, ""
    machine.podnet.prepare()
    assert caplog.text.count("no sysctl net.bridge.bridge-nf-call-") == 2
    assert machine.net.sysctls["net.ipv4.conf.all.rp_filter"] == "2"
    machine.net.essential = "net.ipv4.ip_forward"
    with pytest.raises(linux.KernelError, match="ip_forward"):
        machine.podnet.prepare()


@pytest.mark.parametrize("backend", [backends.NONE, backends.FLANNEL])
@pytest.mark.parametrize("pods", backends.KINDS)
def test_what_somebody_else_brings_is_left_to_them(tmp_path, backend, pods):
    machine = Machine(tmp_path, backends.Settings(backend, pods))
    before = list(machine.net.applied)
    machine.sync(tunnelled("w2", 4))
    assert (machine.net.applied, machine.door.transactions) == (before, [])
    assert not machine.subnet_file.exists()
    assert not machine.podnet.available
    if backend == backends.NONE:
        assert not machine.path.exists()
        return
    plugin, *_ = json.loads(machine.path.read_text())["plugins"]
    assert (plugin["type"], plugin["subnetFile"]) == ("flannel", "/run/flannel/subnet.env")
    assert plugin["delegate"].get("type") == {"bridged": None, "routed": "ptp"}[pods]


def test_the_masquerading_table():
    machines = [node("w1", 3), node("w2", 4)]
    four, six = masquerade.plan(machines[0].subnets, machines, INSIDE)
    assert str(four).splitlines()[2:] == [
        'add table ip netemu-podnet { comment "netemu: pods leave the cluster by their node\'s address" ; }',
        "add set ip netemu-podnet own-pods { type ipv4_addr ; flags interval ; }",
        "add set ip netemu-podnet inside { type ipv4_addr ; flags interval ; }",
        "add set ip netemu-podnet nodes { type ipv4_addr ; }",
        "add chain ip netemu-podnet postrouting { type nat hook postrouting priority 100 ; policy accept ; }",
        "add rule ip netemu-podnet postrouting ip saddr @own-pods ip daddr != @inside ip daddr != @nodes"
        " masquerade fully-random",
        "add element ip netemu-podnet own-pods { 10.244.3.0/24 }",
        "add element ip netemu-podnet inside { 10.244.0.0/16, 10.96.0.0/16 }",
        'add element ip netemu-podnet nodes { 172.18.0.3 comment "w1", 172.18.0.4 comment "w2" }',
    ]
    tunnelled4, tunnelled6 = masquerade.plan(machines[0].subnets, machines, INSIDE, tunnel_port=8472)
    assert [line for line in str(tunnelled4).splitlines() if line not in str(four).splitlines()] == [
        "add chain ip netemu-podnet raw-prerouting"
        " { type filter hook prerouting priority -300 ; policy accept ; }",
        "add rule ip netemu-podnet raw-prerouting udp dport 8472 ip saddr @nodes ip daddr @nodes notrack",
        "add chain ip netemu-podnet raw-output { type filter hook output priority -300 ; policy accept ; }",
        "add rule ip netemu-podnet raw-output udp dport 8472 ip saddr @nodes ip daddr @nodes notrack",
    ]
    assert "udp dport 8472 ip6 saddr @nodes ip6 daddr @nodes notrack" in str(tunnelled6)
    assert "ip6 daddr != @inside" in str(six)
    assert 'fd00:18::4 comment "w2"' in str(six)


def test_subnet_env_is_what_the_plugin_reads():
    text = flannel.subnet_env(INSIDE[:2], node("w1", 3).subnets, 1430)
    assert text.splitlines() == [
        "FLANNEL_IPV6_NETWORK=fd00:244::/56",
        "FLANNEL_IPV6_SUBNET=fd00:244:0:3::1/64",
        "FLANNEL_NETWORK=10.244.0.0/16",
        "FLANNEL_SUBNET=10.244.3.1/24",
        "FLANNEL_MTU=1430",
        "FLANNEL_IPMASQ=false",
    ]


# -- when


def test_nodes_that_come_move_and_go_are_followed_while_time_stands_still(machine):
    """Nothing moves the clock: no change waits for a second to pass, it takes what the work takes."""
    authority = pki.ca("test", machine.clock.now())
    identity = server.Identity(authority.certificate, authority, None, pki.key())
    control_plane = server.ApiServer(memory.MemoryStore(), identity, contexts.Config(), machine.clock)
    admin = control_plane.local_client("admin", ("system:masters",))

    def followed_to():
        return {via for dst, via, _ in machine.routes() if dst == "10.244.4.0/24"}

    async def until(holds):
        while not holds():
            await asyncio.sleep(0)

    async def moves(number):
        now = await admin.get(core.Node, "w2")
        await admin.update_status(msgspec.structs.replace(now, status=object_of(node("w2", number)).status))
        await until(lambda: followed_to() == {f"172.18.0.{number}"})

    async def story():
        await control_plane.prepare()
        await admin.create(object_of(node("w1", 3)))
        doors = (machine.net, machine.door, machine.clock, machine.config)
        running = asyncio.ensure_future(agent.run(control_plane.local_client(), "w1", *doors))
        await until(machine.path.exists)
        await admin.create(object_of(node("w2", 4)))
        for number in (4, 9):
            await moves(number)
        await admin.delete(core.Node, "w2")
        await until(lambda: not followed_to())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(story(), 60))


# -- what the API is told


class Api:
    """Remembers patches."""

    def __init__(self):
        self.patches = []

    async def patch(self, kind, name, namespace="", *, body, how="merge", subresource=""):
        self.patches.append((kind, name, body, how, subresource))


def test_the_api_is_told_once_that_the_network_is_there():
    api, now = Api(), clock.FakeClock().now()
    asyncio.run(agent.announce(api, object_of(node("w1", 3)), (), now))
    ((kind, name, body, how, subresource),) = api.patches
    assert (kind, name, how, subresource) == (core.Node, "w1", "strategic", "status")
    (condition,) = body["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("NetworkUnavailable", "False")
    asyncio.run(agent.announce(api, object_of(node("w1", 3), [condition]), (), now))
    assert len(api.patches) == 1


def test_the_api_is_told_where_tunnels_end_and_again_only_what_changed():
    api, now = Api(), clock.FakeClock().now()
    leases = (lease(3, 4), lease(3, 6))
    asyncio.run(agent.announce(api, object_of(node("w1", 3)), leases, now, available=False))
    ((_, _, body, _, _),) = api.patches
    assert body == {"metadata": {"annotations": flannel.notes(leases)}}
    told = object_of(node("w1", 3, leases=leases))
    asyncio.run(agent.announce(api, told, leases, now, available=False))
    assert len(api.patches) == 1
    asyncio.run(agent.announce(api, told, (lease(9, 4), lease(3, 6)), now, available=False))
    assert set(api.patches[1][2]["metadata"]["annotations"]) == {
        f"{PREFIX}backend-data",
        f"{PREFIX}public-ip",
    }
