"""The same stories for the kernel and its fake: what one refuses the other must, with the same errno."""

import errno
import os
import pathlib
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

import pytest

from netemu.kernel import linux, netns, network, states
from netemu.kernel import operations as ops

ROOT = os.geteuid() == 0


class Two(NamedTuple):
    here: network.Network
    there: network.Network
    there_path: str


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.root)])
def two(request: pytest.FixtureRequest) -> Iterator[Two]:
    if request.param == "fake":
        there = network.FakeNetwork()
        yield Two(network.FakeNetwork({"/other": there}), there, "/other")
        return
    if not ROOT:
        pytest.skip("needs root: makes network namespaces")
    here, there_fd = netns.open_new(), netns.open_new()
    try:
        with network.LinuxNetwork(here) as a, network.LinuxNetwork(there_fd) as b:
            yield Two(a, b, f"/proc/self/fd/{there_fd}")
    finally:
        os.close(here)
        os.close(there_fd)


def refused(net: network.Network, operation: ops.Operation) -> int:
    with pytest.raises(linux.KernelError) as caught:
        net.apply([operation])
    assert operation.describe() in caught.value.message
    return caught.value.errno


V4, V6 = ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")
LINKED = (ops.AddVeth("a", "b"), ops.SetUp("a"), ops.SetUp("b"))
TUNNEL = ops.AddVxlan("vx0", 7, V4.ip, mac="02:00:00:00:00:07", link="a", mtu=1400)
TUNNEL6 = ops.AddVxlan("vx6", 7, V6.ip, mac="02:00:00:00:00:06", link="a")


def test_a_new_namespace_has_only_a_loopback_that_is_down(two: Two) -> None:
    state = two.here.observe()
    assert set(state.links) >= {"lo"}
    assert not state.links["lo"].up
    assert (state.addresses, state.routes, state.neighbours) == (frozenset(),) * 3


def test_a_bridge_takes_ports_and_keeps_its_mac(two: Two) -> None:
    two.here.apply(
        [
            ops.AddBridge("br0", "02:00:00:00:00:01"),
            ops.AddVeth("a", "b"),
            ops.SetMaster("a", "br0"),
            ops.SetUp("a"),
        ]
    )
    links = two.here.observe().links
    assert (links["br0"].kind, links["br0"].mac) == ("bridge", "02:00:00:00:00:01")
    assert (links["a"].kind, links["a"].master, links["a"].up, links["b"].up) == ("veth", "br0", True, False)


def test_a_veth_peer_is_born_elsewhere_and_dies_with_its_other_end(two: Two) -> None:
    two.here.apply([ops.AddVeth("a", "eth0", two.there_path), ops.SetMTU("a", 1400)])
    assert "eth0" in two.there.observe().links
    assert two.here.observe().links["a"].mtu == 1400
    two.there.apply([ops.DelLink("eth0")])
    assert "a" not in two.here.observe().links


def test_an_address_brings_its_route_once_the_link_is_up(two: Two) -> None:
    two.here.apply([ops.AddVeth("a", "b"), ops.AddAddress("a", V4), ops.AddAddress("a", V6)])
    assert {a.ip for a in two.here.observe().addresses} == {V4, V6}
    two.here.apply([ops.SetUp("a"), ops.SetUp("b")])
    routes = {r.dst: r for r in two.here.observe().routes}
    assert set(routes) == {V4.network, V6.network}
    assert {r.protocol for r in routes.values()} == {ops.PROTOCOL_KERNEL}
    two.here.apply([ops.DelAddress("a", V4)])
    assert {r.dst for r in two.here.observe().routes} == {V6.network}


def test_routes_come_and_go(two: Two) -> None:
    pods4, pods6 = ip_network("10.244.1.0/24"), ip_network("fd00:244:1::/64")
    two.here.apply([*LINKED, ops.AddAddress("a", V4), ops.AddAddress("a", V6)])
    two.here.apply(
        [
            ops.AddRoute(pods4, via=ip_address("10.9.0.2")),
            ops.AddRoute(pods6, via=ip_address("fd00:9::2"), dev="a", protocol=99),
            ops.AddRoute(ip_network("0.0.0.0/0"), via=ip_address("10.9.0.2"), metric=77),
            ops.AddRoute(ip_network("10.7.7.7/32"), dev="a"),
        ]
    )
    found = {
        r.dst: (str(r.via), r.dev, r.metric, r.protocol) for r in two.here.observe().routes if r.protocol != 2
    }
    assert found == {
        pods4: ("10.9.0.2", "a", None, 4),
        pods6: ("fd00:9::2", "a", None, 99),
        ip_network("0.0.0.0/0"): ("10.9.0.2", "a", 77, 4),
        ip_network("10.7.7.7/32"): ("None", "a", None, 4),
    }
    two.here.apply(
        [ops.DelRoute(pods4), ops.DelRoute(pods6, via=ip_address("fd00:9::2"), dev="a", protocol=99)]
    )
    assert {r.dst for r in two.here.observe().routes if r.protocol != 2} == set(found) - {pods4, pods6}


def test_neighbours_are_permanent_and_replaced(two: Two) -> None:
    ip = ip_address("10.9.0.9")
    two.here.apply([*LINKED, ops.AddNeighbour("a", ip, "02:00:00:00:00:09")])
    two.here.apply([ops.AddNeighbour("a", ip, "02:00:00:00:00:0a")])
    assert [n.mac for n in two.here.observe().neighbours] == ["02:00:00:00:00:0a"]
    two.here.apply([ops.DelNeighbour("a", ip)])
    assert not two.here.observe().neighbours


def test_sysctls_are_of_the_namespace(two: Two) -> None:
    two.here.apply([ops.SetSysctl("net.ipv4.ip_forward", "1")])
    if isinstance(two.here, network.LinuxNetwork):
        forwards = pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text
        assert netns.call(two.here._home, forwards) == "1\n"
        assert netns.call(two.there_path, forwards) == "0\n"


@pytest.mark.parametrize(
    ("before", "operation", "number"),
    [
        ((), ops.SetUp("no"), errno.ENODEV),
        ((), ops.DelLink("lo"), errno.EOPNOTSUPP),
        ((), ops.DelLink("no"), errno.ENODEV),
        ((), ops.AddBridge("sixteen-letters!"), errno.ERANGE),
        ((), ops.AddBridge("a/b"), errno.EINVAL),
        ((ops.AddBridge("br0"),), ops.AddBridge("br0"), errno.EEXIST),
        ((ops.AddBridge("br0"),), ops.AddVeth("a", "br0"), errno.EEXIST),
        ((), ops.AddVeth("a", "b", "/not/there"), errno.ENOENT),
        (LINKED, ops.SetMaster("a", "b"), errno.EOPNOTSUPP),
        (LINKED, ops.SetMTU("a", 12), errno.EINVAL),
        ((*LINKED, ops.AddAddress("a", V4)), ops.AddAddress("a", V4), errno.EEXIST),
        ((*LINKED, ops.AddAddress("a", V6)), ops.AddAddress("a", V6), errno.EEXIST),
        (LINKED, ops.DelAddress("a", V4), errno.EADDRNOTAVAIL),
        (LINKED, ops.DelAddress("a", V6), errno.EADDRNOTAVAIL),
        ((), ops.AddRoute(ip_network("10.0.0.0/8"), via=ip_address("10.9.0.2")), errno.ENETUNREACH),
        ((), ops.AddRoute(ip_network("fd01::/64"), via=ip_address("fd00:9::2")), errno.EHOSTUNREACH),
        ((ops.AddVeth("a", "b"),), ops.AddRoute(ip_network("10.0.0.0/8"), dev="a"), errno.ENETDOWN),
        ((*LINKED, ops.AddAddress("a", V4)), ops.DelRoute(ip_network("10.0.0.0/8")), errno.ESRCH),
        ((*LINKED, ops.AddAddress("a", V6)), ops.DelRoute(ip_network("fd01::/64")), errno.ESRCH),
        (
            (*LINKED, ops.AddRoute(ip_network("10.0.0.0/8"), dev="a")),
            ops.AddRoute(ip_network("10.0.0.0/8"), dev="b"),
            errno.EEXIST,
        ),
        (LINKED, ops.DelNeighbour("a", ip_address("10.9.0.9")), errno.ENOENT),
        ((), ops.SetSysctl("net.ipv4.conf.no.rp_filter", "0"), errno.ENOENT),
        ((), ops.SetSysctl("net.nonsense", "0"), errno.ENOENT),
        ((), ops.AddVxlan("vx0", 7, V4.ip, link="no"), errno.ENODEV),
        ((*LINKED, TUNNEL), TUNNEL, errno.EEXIST),
        ((*LINKED, TUNNEL), ops.AddVxlan("vx1", 7, ip_address("10.9.0.7"), link="a"), errno.EEXIST),
        (
            (*LINKED, TUNNEL),
            ops.AddForwarding("vx0", "02:00:00:00:00:09", ip_address("fd00::1")),
            errno.EAFNOSUPPORT,
        ),
        (
            (*LINKED, TUNNEL),
            ops.DelForwarding("vx0", "02:00:00:00:00:09", ip_address("10.9.0.2")),
            errno.ENOENT,
        ),
        (
            (),
            ops.AddRoute(ip_network("10.0.0.0/8"), ip_address("10.0.0.0"), "no", onlink=True),
            errno.ENODEV,
        ),
        ((), ops.SetTxChecksum("no", False), errno.ENODEV),
    ],
    ids=lambda value: value.describe() if hasattr(value, "describe") else None,
)
def test_refusals(two: Two, before: tuple[ops.Operation, ...], operation: ops.Operation, number: int) -> None:
    two.here.apply(before)
    unchanged = two.here.observe()
    assert errno.errorcode[refused(two.here, operation)] == errno.errorcode[number]
    assert two.here.observe() == unchanged


def test_apply_stops_at_the_first_refusal(two: Two) -> None:
    with pytest.raises(linux.KernelError, match="ip link set no up"):
        two.here.apply([ops.AddBridge("one"), ops.SetUp("no"), ops.AddBridge("two")])
    assert {"one"} == set(two.here.observe().links) & {"one", "two"}


def test_a_tunnel_is_made_as_asked_and_forwards_where_it_is_told(two: Two) -> None:
    two.here.apply([*LINKED, ops.AddAddress("a", V4), ops.AddAddress("a", V6), TUNNEL, TUNNEL6])
    links = two.here.observe().links
    assert (links["vx0"].kind, links["vx0"].mac, links["vx0"].mtu) == ("vxlan", "02:00:00:00:00:07", 1400)
    assert links["vx0"].vxlan == states.Vxlan(7, V4.ip, 8472, "a")
    assert (links["vx6"].vxlan, links["vx6"].mtu) == (states.Vxlan(7, V6.ip, 8472, "a"), 1430)
    there, elsewhere = ip_address("10.9.0.2"), ip_address("10.9.0.3")
    mac = "02:00:00:00:00:09"
    two.here.apply([ops.AddForwarding("vx0", mac, there), ops.AddForwarding("vx0", mac, elsewhere)])
    two.here.apply([ops.AddForwarding("vx6", mac, ip_address("fd00:9::2")), ops.SetTxChecksum("vx0", False)])
    assert two.here.observe().forwarding == {("vx0", mac, elsewhere), ("vx6", mac, ip_address("fd00:9::2"))}
    two.here.apply([ops.DelForwarding("vx0", mac, elsewhere), ops.DelLink("vx6")])
    assert not two.here.observe().forwarding


def test_a_route_by_a_neighbour_that_no_address_explains(two: Two) -> None:
    """flannel's: the gateway is the remote subnet's first address, known to be on the tunnel."""
    four, six = ip_network("10.244.1.0/24"), ip_network("fd00:244:1::/64")
    two.here.apply([*LINKED, ops.AddAddress("a", V4), ops.AddAddress("a", V6)])
    for dst in (four, six):
        route = ops.AddRoute(dst, dst.network_address, "a", protocol=158, onlink=True)
        two.here.apply([route])
    found = {r.dst: (r.via, r.dev, r.protocol) for r in two.here.observe().routes if r.protocol == 158}
    assert found == {dst: (dst.network_address, "a", 158) for dst in (four, six)}


def test_a_destination_can_be_unreachable(two: Two) -> None:
    nets = ip_network("10.244.1.0/24"), ip_network("fd00:244:1::/64")
    two.here.apply([ops.SetUp("lo"), *(ops.AddRoute(dst, protocol=158, reachable=False) for dst in nets)])
    found = {r for r in two.here.observe().routes if r.protocol == 158}
    assert {(r.dst, r.via, r.dev, r.reachable) for r in found} == {(dst, None, "lo", False) for dst in nets}
    two.here.apply(ops.DelRoute(dst, protocol=158) for dst in nets)
    assert not {r for r in two.here.observe().routes if r.protocol == 158}


def test_a_route_by_several_gateways_of_the_same_right(two: Two) -> None:
    four, six = ip_network("198.51.100.1/32"), ip_network("2001:db8:51::1/128")
    two.here.apply([*LINKED, ops.AddAddress("a", V4), ops.AddAddress("a", V6)])
    gateways = {
        four: (ip_address("10.9.0.2"), ip_address("10.9.0.3")),
        six: (ip_address("fd00:9::2"), ip_address("fd00:9::3")),
    }
    for dst, (via, *also) in gateways.items():
        two.here.apply([ops.AddRoute(dst, via, metric=159, protocol=159, also=tuple(also))])
    found = {r.dst: (r.via, *r.also) for r in two.here.observe().routes if r.protocol == 159}
    assert {dst: tuple(sorted(hops, key=int)) for dst, hops in found.items()} == gateways
    two.here.apply([ops.DelRoute(dst, metric=159, protocol=159) for dst in gateways])
    assert not [r for r in two.here.observe().routes if r.protocol == 159]
