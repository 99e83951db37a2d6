"""Routes between nodes, CNI configuration, masquerading: planned, applied to a fake, then with packets."""

import asyncio
import json
import os
import random
import socket
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from netemu.api import codec, core
from netemu.base import clock
from netemu.kernel import firewall, netns, network
from netemu.kernel import operations as ops
from netemu.podnet import agent, plan

CONFIG = agent.Config(("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112"))


def node(name, number, subnets=None):
    addresses = (ip_address(f"172.18.0.{number}"), ip_address(f"fd00:18::{number}"))
    if subnets is None:
        subnets = (ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:244:0:{number}::/64"))
    return plan.Node(name, addresses, tuple(subnets))


def route(subnet, via):
    return plan.Route(ip_network(subnet), ip_address(via))


def object_of(one, conditions=()):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": one.name},
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


def test_a_node_object_says_where_its_pods_are():
    assert plan.parse(object_of(node("w1", 3))) == node("w1", 3)


def test_the_others_subnets_are_reached_through_their_nodes():
    want = plan.wanted([node("w1", 3), node("w2", 4), node("fresh", 5, ())], "w1")
    assert want.own == node("w1", 3).subnets
    assert want.routes == {route("10.244.4.0/24", "172.18.0.4"), route("fd00:244:0:4::/64", "fd00:18::4")}


def test_a_node_without_an_address_of_a_family_is_not_reached_in_it():
    only_four = plan.Node("w2", (ip_address("172.18.0.4"),), node("w2", 4).subnets)
    assert plan.wanted([node("w1", 3), only_four], "w1").routes == {route("10.244.4.0/24", "172.18.0.4")}


LINK = frozenset({ip_network("172.18.0.0/16"), ip_network("fd00:18::/64")})


@pytest.mark.parametrize(
    ("want", "ours", "foreign", "expected"),
    [
        ({"10.244.4.0/24": "172.18.0.4"}, {}, [], ([], ["10.244.4.0/24"], [])),
        ({"10.244.4.0/24": "172.18.0.4"}, {"10.244.4.0/24": "172.18.0.4"}, [], ([], [], [])),
        ({}, {"10.244.4.0/24": "172.18.0.4"}, [], (["10.244.4.0/24"], [], [])),
        # a node that moved
        (
            {"10.244.4.0/24": "172.18.0.9"},
            {"10.244.4.0/24": "172.18.0.4"},
            [],
            (["10.244.4.0/24"],) * 2 + ([],),
        ),
        # somebody else's route is left alone, and so is a node on another link
        ({"10.244.4.0/24": "172.18.0.4"}, {}, ["10.244.4.0/24"], ([], [], ["10.244.4.0/24"])),
        ({"10.244.4.0/24": "192.168.0.4"}, {}, [], ([], [], ["10.244.4.0/24"])),
    ],
)
def test_only_the_difference_is_done(want, ours, foreign, expected):
    changes = plan.plan(
        plan.Wanted((), frozenset(route(*pair) for pair in want.items()), ()),
        plan.Observed(
            frozenset(route(*pair) for pair in ours.items()), frozenset(map(ip_network, foreign)), LINK
        ),
    )
    found = (changes.delete, changes.add, [r for r, _ in changes.impossible])
    assert tuple([str(r.subnet) for r in part] for part in found) == expected


def test_the_masquerading_table():
    want = plan.wanted([node("w1", 3), node("w2", 4)], "w1")
    four, six = plan.masquerade(want, CONFIG.inside)
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
    assert "ip6 daddr != @inside" in str(six)
    assert 'fd00:18::4 comment "w2"' in str(six)


def test_the_cni_configuration_is_a_bridge_of_both_families():
    found = plan.cni_configuration(node("w1", 3).subnets, mtu=1400)
    (bridge,) = found["plugins"]
    assert (found["cniVersion"], found["name"]) == ("1.0.0", "netemu")
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd00:244:0:3::/64"}]]
    assert (bridge["type"], bridge["hairpinMode"], bridge["mtu"]) == ("bridge", True, 1400)


@pytest.fixture
def machine(tmp_path):
    net = network.FakeNetwork()
    net.apply([ops.AddBridge("eth0"), ops.SetUp("eth0")])
    net.apply([ops.AddAddress("eth0", ip_interface(a)) for a in ("172.18.0.3/16", "fd00:18::3/64")])
    door = firewall.FakeFirewall()
    config = agent.Config(CONFIG.cluster_cidrs, CONFIG.service_cidrs, str(tmp_path / "net.d"))
    return agent.Podnet("w1", net, door, config), net, door, tmp_path / "net.d" / agent.CONFIGURATION


def test_without_subnets_nothing_is_configured(machine):
    podnet, _, _, path = machine
    podnet.nodes["w1"] = node("w1", 3, ())
    assert not podnet.sync()
    assert not path.exists()


def test_a_second_sync_changes_nothing(machine):
    podnet, net, door, path = machine
    podnet.prepare()
    podnet.nodes.update({f"w{n - 2}": node(f"w{n - 2}", n) for n in (3, 4, 5)})
    assert podnet.sync()
    assert json.loads(path.read_text())["name"] == "netemu"
    before = (list(net.applied), list(door.transactions), path.stat())
    assert podnet.sync()
    assert (net.applied, door.transactions, path.stat()) == before
    assert os.listdir(path.parent) == [agent.CONFIGURATION]


def test_a_walk_over_clusters_always_ends_where_it_should(machine):
    """Whatever the nodes were before: after a sync the routes are those wanted, and another route stays."""
    podnet, net, _, _ = machine
    net.apply([ops.AddRoute(ip_network("192.0.2.0/24"), ip_address("172.18.0.77"))])
    rng = random.Random(1)
    podnet.nodes["w1"] = node("w1", 3)
    for _ in range(200):
        name, number = f"x{rng.randrange(6)}", rng.randrange(10, 40)
        if rng.random() < 0.3:
            podnet.nodes.pop(name, None)
        elif not any(other.addresses == node(name, number).addresses for other in podnet.nodes.values()):
            podnet.nodes[name] = node(name, number)
        podnet.sync()
        have = agent.observed(net.observe())
        want = plan.wanted(podnet.nodes.values(), "w1")
        assert have.ours == want.routes
        assert ip_network("192.0.2.0/24") in have.foreign
        assert plan.plan(want, have) == plan.Changes()


class Api:
    """Remembers patches."""

    def __init__(self):
        self.patches = []

    async def patch(self, kind, name, namespace="", *, body, how="merge", subresource=""):
        self.patches.append((kind, name, body, how, subresource))


def test_the_api_is_told_once_that_the_network_is_there():
    api, now = Api(), clock.FakeClock().now()
    asyncio.run(agent.announce(api, object_of(node("w1", 3)), now))
    ((kind, name, body, how, subresource),) = api.patches
    assert (kind, name, how, subresource) == (core.Node, "w1", "strategic", "status")
    (condition,) = body["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("NetworkUnavailable", "False")
    asyncio.run(agent.announce(api, object_of(node("w1", 3), [condition]), now))
    asyncio.run(agent.announce(api, None, now))
    assert len(api.patches) == 1


@pytest.mark.root
@pytest.mark.parametrize("family", [4, 6])
def test_pods_keep_their_address_inside_and_lose_it_outside(tmp_path, family):
    """pod (own namespace) - node - neighbour node, which is the outside at another of its addresses."""
    places = [netns.open_new() for _ in range(3)]
    pod, here, there = (network.LinuxNetwork(place) for place in places)
    try:
        for net in (pod, here, there):
            net.apply([ops.SetUp("lo"), ops.SetSysctl("net.ipv6.conf.default.accept_dad", "0")])
        there.apply([ops.AddVeth("eth0", "eth0", f"/proc/self/fd/{places[1]}"), ops.SetUp("eth0")])
        here.apply(
            [ops.SetUp("eth0"), ops.AddVeth("p", "eth0", f"/proc/self/fd/{places[0]}"), ops.SetUp("p")]
        )
        pod.apply([ops.SetUp("eth0")])
        for net, link, address in (
            (there, "eth0", "172.18.0.4/16"),
            (there, "eth0", "fd00:18::4/64"),
            (there, "lo", "203.0.113.10/32"),
            (there, "lo", "2001:db8:113::10/128"),
            (here, "eth0", "172.18.0.3/16"),
            (here, "eth0", "fd00:18::3/64"),
            (here, "p", "10.244.3.1/24"),
            (here, "p", "fd00:244:0:3::1/64"),
            (pod, "eth0", "10.244.3.2/24"),
            (pod, "eth0", "fd00:244:0:3::2/64"),
        ):
            net.apply([ops.AddAddress(link, ip_interface(address))])
        for net, gateways in ((pod, ("10.244.3.1", "fd00:244:0:3::1")), (here, ("172.18.0.4", "fd00:18::4"))):
            for gateway in map(ip_address, gateways):
                net.apply(
                    [ops.AddRoute(ip_network("0.0.0.0/0" if gateway.version == 4 else "::/0"), gateway)]
                )
        door = firewall.LibNftables(places[1])
        podnet = agent.Podnet(
            "w1", here, door, agent.Config(CONFIG.cluster_cidrs, CONFIG.service_cidrs, str(tmp_path))
        )
        podnet.nodes.update({"w1": node("w1", 3), "w2": node("w2", 4)})
        podnet.prepare()
        podnet.sync()
        agent.Podnet("w2", there, firewall.LibNftables(places[2]), CONFIG)._route(
            plan.plan(plan.wanted(podnet.nodes.values(), "w2"), agent.observed(there.observe()))
        )
        inside, outside = {4: ("172.18.0.4", "203.0.113.10"), 6: ("fd00:18::4", "2001:db8:113::10")}[family]
        own, masked = {4: ("10.244.3.2", "172.18.0.3"), 6: ("fd00:244:0:3::2", "fd00:18::3")}[family]
        assert seen(places[0], places[2], inside) == own
        assert seen(places[0], places[2], outside) == masked
    finally:
        for net in (pod, here, there):
            net.close()
        for place in places:
            os.close(place)


def seen(client, server, address):
    """The source address that a server in one namespace sees of a client in another."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.inside(server):
        listener = socket.create_server((address, 8080), family=family)
    with netns.inside(client):
        asker = socket.socket(family)
    with listener, asker:
        asker.settimeout(3)
        asker.connect((address, 8080))
        connection, peer = listener.accept()
        connection.close()
        return peer[0]
