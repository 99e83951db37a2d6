"""Which Service gets which address, and which node each address leads to."""

from ipaddress import ip_address, ip_network

import pytest

from netemu.api import codec, core, discovery, wellknown
from netemu.cloud import plan

POOLS = (ip_network("198.51.100.0/30"), ip_network("2001:db8:51::/126"))


def service(name, *, since=1, **spec):
    return codec.convert(
        core.Service,
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "creationTimestamp": f"2026-01-01T00:00:0{since}Z",
            },
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], **spec},
        },
    )


def wanted(name, **more):
    held = tuple(map(ip_address, more.pop("held", ())))
    return plan.demand(service(name, **more))._replace(held=held)


def told(demands):
    given = plan.allocate(demands, POOLS)
    return {key.name: " ".join(map(str, found)) for key, found in given.addresses.items()}, {
        key.name: why for key, why in given.lacking.items()
    }


@pytest.mark.parametrize(
    "spec",
    [{"type": "NodePort"}, {"type": "ClusterIP"}, {"loadBalancerClass": "example.com/other"}],
)
def test_only_load_balancers_without_another_class_want_addresses(spec):
    assert plan.demand(service("web", **spec)) is None


def test_our_own_class_is_ours():
    assert plan.demand(service("web", loadBalancerClass=plan.CLASS)) is not None


def test_one_address_for_each_family_in_the_order_of_making():
    both = ["IPv6", "IPv4"]
    assert told([wanted("young", since=2), wanted("old", ipFamilies=both)]) == (
        {"old": "2001:db8:51::1 198.51.100.1", "young": "198.51.100.2"},
        {},
    )


def test_who_has_an_address_keeps_it_whatever_the_older_ones_want():
    found, _ = told([wanted("old"), wanted("young", since=2, held=("198.51.100.1",))])
    assert found == {"old": "198.51.100.2", "young": "198.51.100.1"}


def test_an_address_of_no_pool_or_of_two_holders_is_given_up():
    found, _ = told([wanted("a", held=("192.0.2.1",)), wanted("b", since=2, held=("198.51.100.1",))])
    assert found == {"a": "198.51.100.2", "b": "198.51.100.1"}
    found, _ = told([wanted("a", held=("198.51.100.1",)), wanted("b", since=2, held=("198.51.100.1",))])
    assert found == {"a": "198.51.100.1", "b": "198.51.100.2"}


def test_what_is_asked_for_is_given_or_said_to_be_impossible():
    asked = "198.51.100.2"
    assert told([wanted("a", loadBalancerIP=asked)]) == ({"a": asked}, {})
    assert told([wanted("a", held=("198.51.100.1",), loadBalancerIP=asked)]) == ({"a": asked}, {})
    assert told([wanted("a", loadBalancerIP="192.0.2.1")])[1] == {"a": "192.0.2.1 is in no pool"}
    assert told([wanted("a", held=(asked,)), wanted("b", since=2, loadBalancerIP=asked)])[1] == {
        "b": f"{asked} is taken by shop/a"
    }


def test_an_empty_pool_is_said():
    found, lacking = told([wanted(f"s{n}", since=n) for n in range(3)])
    assert list(found.values()) == ["198.51.100.1", "198.51.100.2", ""]
    assert lacking == {"s2": "no IPv4 address is left in the pools"}


def node(name, number, *, ready="True", **more):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": name, "labels": more.get("labels", {})},
            "spec": {"taints": more.get("taints", [])},
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "InternalIP", "address": f"172.18.0.{number}"}],
            },
        },
    )


@pytest.mark.parametrize(
    "special",
    [
        {"ready": "False"},
        {"ready": "Unknown"},
        {"labels": {wellknown.NOT_BALANCED: ""}},
        {"taints": [{"key": wellknown.TO_BE_DELETED, "effect": "NoSchedule"}]},
    ],
)
def test_nodes_that_must_not_be_sent_to(special):
    assert plan.machine(node("n", 2, **special)) is None
    assert plan.machine(node("n", 2)) is not None


MACHINES = tuple(plan.machine(node(f"n{n}", n)) for n in range(2, 6))
VIP = ip_address("198.51.100.1")


def hops(*numbers):
    return tuple(ip_address(f"172.18.0.{n}") for n in numbers)


def test_all_nodes_that_may_have_it_announce_an_address():
    assert plan.announce(VIP, reversed(MACHINES), None) == hops(2, 3, 4, 5)
    assert plan.announce(ip_address("2001:db8:51::1"), MACHINES, None) == ()  # nobody has IPv6


def test_local_goes_only_where_endpoints_are():
    assert plan.announce(VIP, MACHINES, {"n3", "n5"}) == hops(3, 5)
    assert plan.announce(VIP, MACHINES, ()) == ()


def test_an_address_that_moves_is_never_without_a_way():
    old = plan.Route(VIP, hops(2, 3), 159)
    assert list(plan.difference({VIP: hops(2, 3)}, {old})) == []
    new = plan.Route(
        VIP,
        hops(
            3,
        ),
        160,
    )
    assert list(plan.difference({VIP: hops(3)}, {old})) == [("add", new), ("delete", old)]
    assert list(plan.difference({VIP: hops(2)}, {new})) == [
        ("add", plan.Route(VIP, hops(2), 159)),
        ("delete", new),
    ]
    assert list(plan.difference({VIP: hops(3)}, {old, new})) == [("delete", old)]
    assert list(plan.difference({}, {old})) == [("delete", old)]


def test_nodes_with_ready_endpoints_serve():
    found = codec.convert(
        discovery.EndpointSlice,
        {
            "metadata": {"name": "s", "namespace": "shop"},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.244.0.1"], "nodeName": "n1"},
                {"addresses": ["10.244.0.2"], "nodeName": "n2", "conditions": {"ready": False}},
                {"addresses": ["10.244.0.3"]},
            ],
            "ports": [],
        },
    )
    assert plan.serving([found]) == {"n1"}
