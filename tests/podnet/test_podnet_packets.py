"""Packets between pods over each backend, in the namespaces of a lab's plan: two segments and a router.

No lab runs: podnet's parts are made node by node, and each hears of the others what the API would tell it.
"""

import itertools
import os
import shutil
import socket
from ipaddress import ip_address

import pytest

from netemu.kernel import ethtool, netns
from netemu.kernel import operations as ops
from netemu.lab import config, layout
from netemu.podnet import backends

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]

LAB = config.parse({"nodes": 3, "network": {"backend": "vxlan", "segments": 2}})
FIRST, FAR, NEAR = (node.name for node in LAB.nodes)  # NEAR is on the segment of FIRST, FAR on the other
BIRD = shutil.which("bird", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")


@pytest.fixture(scope="module")
def world(world_of):
    return world_of(LAB)


def check(world, pairs):
    for (here, there), version in itertools.product(pairs, (4, 6)):
        source = world.seen(f"pod {here}", f"pod {there}", world.pod(there, version), b"x" * 300_000)
        assert source == world.pod(here, version), (here, there, version)


@pytest.mark.parametrize("direct", [False, True], ids=["tunnels", "direct"])
def test_vxlan_joins_segments_and_pods_keep_their_address(world, direct):
    world.join(backends.VXLAN, direct_routing=direct)
    check(world, [(FIRST, FAR), (FAR, FIRST), (FIRST, NEAR)])
    state = world.doors[FIRST].observe()
    ways = {str(r.dst): r.dev for r in state.routes if r.protocol == 158 and r.reachable}
    assert ways["10.244.1.0/24"] == "flannel.1"
    assert ways["10.244.2.0/24"] == ("eth0" if direct else "flannel.1")


def test_a_node_speaks_to_pods_over_its_tunnel_and_is_answered(world):
    world.join(backends.VXLAN)
    for version, own in ((4, "10.244.0.0"), (6, "fd00:244::")):
        assert world.seen(FIRST, f"pod {FAR}", world.pod(FAR, version)) == own


@pytest.mark.parametrize("version", [4, 6])
def test_pods_lose_their_address_outside_only(world, version):
    world.join(backends.VXLAN)
    outside = str({i.version: i.ip for i in LAB.outside_client}[version])
    assert world.seen(f"pod {FAR}", layout.OUTSIDE, outside) == world.address(FAR, version)
    assert world.seen(f"pod {FAR}", FIRST, world.address(FIRST, version)) == world.pod(FAR, version)


def test_host_gateways_join_neighbours_only(world):
    parts = world.join(backends.HOST_GW)
    check(world, [(FIRST, NEAR), (NEAR, FIRST)])
    links = world.doors[FIRST].observe().links
    assert not [name for name in links if name.startswith("flannel")]
    assert [what for what, _ in parts[FIRST].sync().impossible] == [
        f"10.244.1.0/24 on {FAR}",
        f"fd00:244:0:1::/64 on {FAR}",
    ]
    for version in (4, 6):
        with pytest.raises(OSError):  # noqa: PT011 (refused by the router or by nobody: it has no way there)
            connect_briefly(world, FIRST, world.pod(FAR, version), patience=0.3)


def test_a_pod_that_is_not_there_is_unreachable_at_once(world):
    """By the fallback route of its node: the packet does not go round between default routes."""
    world.join(backends.VXLAN)
    for address in ("10.244.1.77", "fd00:244:0:1::77"):
        with pytest.raises(OSError, match=r"unreachable|No route to host"):
            connect_briefly(world, FIRST, address)


def connect_briefly(world, name, address, patience=30.0):
    with netns.inside(world.fds[f"pod {name}"]):
        asker = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    with asker:
        asker.settimeout(patience)
        asker.connect((address, 8080))


def test_checksums_are_made_in_software_where_the_kernel_needs_it(world):
    parts = world.join(backends.VXLAN)
    world.doors[FIRST].apply([ops.DelLink("flannel.1")])
    parts[FIRST]._software = True
    parts[FIRST].sync()
    assert not netns.call(world.fds[FIRST], ethtool.tx_checksum, "flannel.1")
    assert netns.call(world.fds[FIRST], ethtool.tx_checksum, "flannel-v6.1")
    check(world, [(FIRST, FAR)])


@pytest.mark.skipif(BIRD is None, reason="BIRD is not installed")
def test_bgp_finds_the_way_through_the_router_and_past_it(world):
    world.join(backends.BGP)
    with world.speaking():
        assert world.learned(FIRST) == {
            ("10.244.1.0/24", "172.18.0.1"),
            ("10.244.2.0/24", "172.18.0.3"),
            ("fd00:244:0:1::/64", "fd00:18::1"),
            ("fd00:244:0:2::/64", "fd00:18::3"),
        }
        check(world, [(FIRST, FAR), (FAR, NEAR), (FIRST, NEAR)])


def test_what_a_node_says_is_what_the_others_do(world):
    """A node that moves its tunnel (another MAC address) is followed at the next look."""
    parts = world.join(backends.VXLAN)
    world.doors[FAR].apply([ops.DelLink("flannel.1"), ops.DelLink("flannel-v6.1")])
    leases = parts[FAR].sync().leases
    moved = tuple(lease._replace(mac="0e:00:00:00:00:99") for lease in leases)
    for link in ("flannel.1", "flannel-v6.1"):
        world.doors[FAR].apply([ops.SetMAC(link, "0e:00:00:00:00:99")])
    for part in parts.values():
        part.nodes[FAR] = part.nodes[FAR]._replace(leases=moved)
        part.sync()
    check(world, [(FIRST, FAR)])
    public = ip_address(world.address(FAR, 4))
    entries = {f.ip for f in world.doors[FIRST].observe().forwarding if f.mac == "0e:00:00:00:00:99"}
    assert public in entries
