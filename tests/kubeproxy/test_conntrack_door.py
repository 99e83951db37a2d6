"""The kernel's connection table: what was translated is listed so, and what is forgotten is gone."""

import os
import socket

import pytest

from netemu.kernel import conntrack, firewall, netns, network
from netemu.kernel import operations as ops

NAT = """
add table ip t
add chain ip t output { type nat hook output priority -100 ; }
add rule ip t output ip daddr 127.9.9.9 udp dport 53 dnat to 127.0.0.1:5353
add table ip6 t
add chain ip6 t output { type nat hook output priority -100 ; }
add rule ip6 t output udp dport 53 dnat to [::1]:5353
"""


@pytest.fixture
def place():
    fd = netns.open_new()
    with network.LinuxNetwork(fd) as net:
        net.apply([ops.SetUp("lo")])
    yield fd
    os.close(fd)


@pytest.mark.root
@pytest.mark.parametrize(
    ("family", "asked", "answers"), [("ip", "127.9.9.9", "127.0.0.1"), ("ip6", "::1", "::1")]
)
def test_a_translated_flow_is_listed_and_forgotten(place, family, asked, answers):
    firewall.LibNftables(place).apply(NAT)
    door = conntrack.NetlinkConntrack(place)
    kind = socket.AF_INET6 if family == "ip6" else socket.AF_INET
    with netns.inside(place):
        client = socket.socket(kind, socket.SOCK_DGRAM)
    with client:
        client.connect((asked, 53))
        client.send(b"x")
        (flow,) = door.flows(conntrack.UDP)
        assert flow[:5] == (17, client.getsockname()[0], client.getsockname()[1], asked, 53)
        assert (flow.answerer, flow.answerer_port) == (answers, 5353)
    assert door.flows(conntrack.TCP) == []
    assert door.forget([flow]) == 1
    assert door.forget([flow]) == 0  # it is gone already
    assert door.flows(conntrack.UDP) == []
    door.close()


def test_the_fake_forgets_only_what_it_has():
    one = conntrack.Flow(17, "10.0.0.1", 1, "10.0.0.2", 53, "10.0.0.3", 53, b"")
    other = one._replace(source_port=2)
    door = conntrack.FakeConntrack([one])
    assert door.flows(17) == [one]
    assert door.flows(6) == []
    assert door.forget([one, other]) == 1
    assert door.flows(17) == []
