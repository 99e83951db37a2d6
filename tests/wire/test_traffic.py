"""Queueing disciplines as pyroute2 reads them, and as the kernel gives them back."""

import struct

import pytest

from netemu.kernel import netns, rtnl
from netemu.wire import netlink, rtnetlink, traffic

tcmsg = pytest.importorskip("pyroute2.netlink.rtnl.tcmsg").tcmsg


def read(message):
    found = tcmsg(netlink.number([message], 7))
    found.decode()
    return found


@pytest.mark.parametrize("rate", [1000, 1 << 33])
def test_a_token_bucket(rate):
    found = read(traffic.new_tbf(5, rate=rate, burst=9000, limit=20_000))
    assert (found["index"], found["parent"], found["handle"]) == (5, 0xFFFFFFFF, 0x10000)
    assert found.get_attr("TCA_KIND") == "tbf"
    options = dict(netlink.split(message_body(traffic.new_tbf(5, rate=rate, burst=9000, limit=20_000)), 20))
    inner = dict(netlink.split(options[traffic.TCA_OPTIONS], 0))
    assert struct.unpack_from("=I", inner[1], 8)[0] == min(rate, 0xFFFFFFFF)  # tc_tbf_qopt.rate.rate
    assert struct.unpack_from("=I", inner[1], 24)[0] == 20_000  # .limit
    assert struct.unpack("=I", inner[6])[0] == 9000
    assert (4 in inner) == (rate > 0xFFFFFFFF)


def message_body(message):
    return message[16:]


def test_where_all_that_arrives_goes():
    assert read(traffic.new_ingress(5)).get_attr("TCA_KIND") == "ingress"
    found = read(traffic.new_redirect(5, 9))
    assert (found["index"], found["parent"], found.get_attr("TCA_KIND")) == (5, 0xFFFF0000, "u32")
    assert found["info"] & 0xFFFF == int.from_bytes(b"\x00\x03", "little")  # ETH_P_ALL, network byte order


@pytest.mark.root
def test_the_kernel_gives_back_what_it_was_told():
    def work():
        with rtnl.Rtnl() as socket:
            socket.run([rtnetlink.new_ifb("i0"), rtnetlink.set_alias("i0", "whose it is")])
            link = socket.link("i0")
            for rate in (1000, 1 << 33):
                socket.run([traffic.new_tbf(link.index, rate=rate, burst=9000, limit=20_000)])
                found = [
                    q for q in socket.dump(traffic.dump_qdiscs(), traffic.parse) if q.index == link.index
                ]
                assert found == [traffic.Qdisc(link.index, "tbf", 0xFFFFFFFF, rate, 20_000)]
            return link

    assert netns.call(netns.open_new(), work).alias == "whose it is"
