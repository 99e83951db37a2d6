"""rtnetlink messages, read back by pyroute2 (an implementation of somebody else's)."""

import ipaddress
import struct

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netemu.wire import netlink, rtnetlink

IF4, IF6 = ipaddress.ip_interface("10.244.1.5/24"), ipaddress.ip_interface("fd00:244:0:1::5/64")


def decoded(kind, message):
    found = kind(message)
    found.decode()
    assert found["header"]["length"] == len(message)
    return found


def test_a_veth_pair_is_one_message():
    message = rtnetlink.new_veth("veth1", "eth0", 7, peer_mac="0a:58:0a:f4:01:05", mtu=1400, master=3)
    link = decoded(ifinfmsg, message)
    assert link["header"]["type"] == 16  # RTM_NEWLINK
    assert link["header"]["flags"] == 0x1 | 0x4 | 0x400 | 0x200  # REQUEST ACK CREATE EXCL
    assert (link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU")) == ("veth1", 1400)
    assert link.get_attr("IFLA_MASTER") == 3
    info = link.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "0a:58:0a:f4:01:05"
    assert peer.get_attr("IFLA_NET_NS_FD") == 7


def test_link_changes():
    link = decoded(ifinfmsg, rtnetlink.set_link("eth0", up=True, promiscuous=False, mac="02:00:00:00:00:01"))
    assert (link["flags"], link["change"]) == (0x1, 0x101)
    assert link.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:01"
    assert link.get_attr("IFLA_MASTER") is None
    assert decoded(ifinfmsg, rtnetlink.set_link(index=4, master=0)).get_attr("IFLA_MASTER") == 0
    port = decoded(ifinfmsg, rtnetlink.set_port("veth1", hairpin=True)).get_attr("IFLA_LINKINFO")
    assert port.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    names = ("MODE", "ISOLATED", "MCAST_FLOOD", "NEIGH_SUPPRESS")

    def told(message):
        data = decoded(ifinfmsg, message).get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_SLAVE_DATA")
        return [data.get_attr(f"IFLA_BRPORT_{name}") for name in names]

    assert told(rtnetlink.set_port("veth1", hairpin=True)) == [1, 0, 1, 0]
    assert told(rtnetlink.set_port("veth1", spared=True)) == [0, 0, 0, 1]


@pytest.mark.parametrize(("interface", "family", "flags"), [(IF4, 2, 0x80), (IF6, 10, 0x82)])
def test_an_address(interface, family, flags):
    found = decoded(ifaddrmsg, rtnetlink.new_address(5, interface))
    assert (found["family"], found["prefixlen"], found["index"]) == (
        family,
        interface.network.prefixlen,
        5,
    )
    assert found.get_attr("IFA_LOCAL") == found.get_attr("IFA_ADDRESS") == str(interface.ip)
    assert found.get_attr("IFA_FLAGS") == flags
    assert found.get_attr("IFA_BROADCAST") == ("10.244.1.255" if family == 2 else None)


@pytest.mark.parametrize(
    ("dst", "via", "scope"),
    [("0.0.0.0/0", "10.244.1.1", 0), ("10.9.0.0/16", None, 253), ("fd00:9::/48", "fd00::1", 0)],
)
def test_a_route(dst, via, scope):
    network = ipaddress.ip_network(dst)
    gateway = ipaddress.ip_address(via) if via else None
    found = decoded(rtmsg, rtnetlink.new_route(network, 5, via=gateway, metric=9, mtu=1300))
    assert (found["dst_len"], found["scope"], found["type"]) == (network.prefixlen, scope, 1)
    assert found.get_attr("RTA_DST") == (str(network.network_address) if network.prefixlen else None)
    assert found.get_attr("RTA_GATEWAY") == via
    assert (found.get_attr("RTA_OIF"), found.get_attr("RTA_PRIORITY")) == (5, 9)
    assert found.get_attr("RTA_TABLE") == 254
    assert found.get_attr("RTA_METRICS").get_attr("RTAX_MTU") == 1300


def test_a_route_in_a_table_above_255_and_onlink():
    message = rtnetlink.new_route(ipaddress.ip_network("10.9.0.0/16"), 5, table=1000, onlink=True)
    found = decoded(rtmsg, message)
    assert (found["table"], found.get_attr("RTA_TABLE"), found["flags"]) == (0, 1000, 4)


def test_a_permanent_neighbour():
    found = decoded(ndmsg, rtnetlink.new_neighbour(5, IF6.ip, "0a:58:0a:f4:01:05"))
    assert (found["ifindex"], found["state"], found["family"]) == (5, 0x80, 10)
    assert found.get_attr("NDA_DST") == str(IF6.ip)
    assert found.get_attr("NDA_LLADDR") == "0a:58:0a:f4:01:05"
    assert found["header"]["flags"] & 0x500 == 0x500  # CREATE | REPLACE


def test_a_batch_is_numbered_and_nothing_else_changes():
    messages = [rtnetlink.get_link("a"), rtnetlink.del_link("veth12"), rtnetlink.dump_links()]
    buffer = netlink.number(messages, 41)
    at, numbers = 0, []
    for message in messages:
        length, _, _, sequence, _ = struct.unpack_from("=LHHLL", buffer, at)
        assert length == len(message)
        assert buffer[at + 16 : at + length] == message[16:]
        numbers.append(sequence)
        at += (length + 3) & ~3
    assert (numbers, at) == ([41, 42, 43], len(buffer))


def test_replies_are_split_and_errors_read():
    ack = struct.pack("=LHHLLi", 20, 2, 0, 41, 0, 0)
    refused = struct.pack("=LHHLLi", 20, 2, 0, 42, 0, -17)
    done = struct.pack("=LHHLLi", 20, 3, 2, 43, 0, 0)
    found = [(r.type, r.sequence, r.error) for r in netlink.replies(ack + refused + done)]
    assert found == [(2, 41, 0), (2, 42, 17), (3, 43, 0)]
    with pytest.raises(ValueError, match="does not fit"):
        list(netlink.replies(ack[:-1]))


def test_what_was_asked_for_is_read_back():
    """The requests double as answers: the kernel uses the same layouts."""
    link = rtnetlink.parse(next(netlink.replies(rtnetlink.new_bridge("cni0", mac="02:00:00:00:00:01"))))
    assert (link.name, link.mac, link.kind) == ("cni0", "02:00:00:00:00:01", "bridge")
    address = rtnetlink.parse(next(netlink.replies(rtnetlink.new_address(5, IF6))))
    assert address == (5, IF6, 0x82)
    via = ipaddress.ip_address("10.244.1.1")
    message = rtnetlink.new_route(ipaddress.ip_network("0.0.0.0/0"), 5, via=via)
    route = rtnetlink.parse(next(netlink.replies(message)))
    assert (str(route.dst), route.via, route.index, route.table) == ("0.0.0.0/0", via, 5, 254)


@pytest.mark.parametrize("address", ["172.18.0.3", "fd00:18::3"])
def test_a_tunnel_and_where_it_sends_frames(address):
    local = ipaddress.ip_address(address)
    message = rtnetlink.new_vxlan("flannel.1", 1, local, link=4, port=8472, mac="0e:00:00:00:00:01", mtu=1450)
    link = decoded(ifinfmsg, message)
    assert (link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU")) == ("flannel.1", 1450)
    data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert data.get_attr("IFLA_VXLAN_ID") == 1
    assert data.get_attr("IFLA_VXLAN_LINK") == 4
    assert data.get_attr("IFLA_VXLAN_PORT") == 8472
    assert data.get_attr("IFLA_VXLAN_LEARNING") == 0
    assert data.get_attr("IFLA_VXLAN_LOCAL" if local.version == 4 else "IFLA_VXLAN_LOCAL6") == address
    entry = decoded(ndmsg, rtnetlink.new_forwarding(7, "0e:00:00:00:00:02", local))
    assert (entry["family"], entry["ifindex"], entry["state"], entry["flags"]) == (7, 7, 0x80, 0x2)
    assert entry.get_attr("NDA_LLADDR") == "0e:00:00:00:00:02"
    assert entry.get_attr("NDA_DST") == address
    station = decoded(ndmsg, rtnetlink.new_station(7, "0e:00:00:00:00:02"))
    assert (station["family"], station["ifindex"], station["state"], station["flags"]) == (7, 7, 0x40, 0x4)


def test_routes_onlink_and_unreachable():
    subnet = ipaddress.ip_network("10.244.2.0/24")
    route = decoded(rtmsg, rtnetlink.new_route(subnet, 5, via=subnet[0], onlink=True, protocol=158))
    assert (route["flags"], route["scope"], route["proto"], route["type"]) == (4, 0, 158, 1)
    assert (route.get_attr("RTA_GATEWAY"), route.get_attr("RTA_OIF")) == ("10.244.2.0", 5)
    nowhere = decoded(rtmsg, rtnetlink.new_route(subnet, 0, kind=rtnetlink.RTN_UNREACHABLE, metric=4096))
    assert (nowhere["type"], nowhere["scope"]) == (7, 0)
    assert (nowhere.get_attr("RTA_PRIORITY"), nowhere.get_attr("RTA_OIF")) == (4096, None)
