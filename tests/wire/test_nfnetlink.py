"""Elements of sets as nft(8) lists them, and connections as the kernel tells of them."""

import json
import os
import shutil
import socket
import subprocess

import pytest

from netemu.kernel import netns, nfnl
from netemu.wire import nfnetlink

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nft")]

TABLE = "ip t"
SKELETON = """
table ip t {
    set one { type ipv4_addr; }
    set two { type ipv4_addr . ipv4_addr; flags interval; }
    map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
    chain in { type filter hook input priority 0; ct state new accept; }
}
"""


@pytest.fixture(scope="module")
def place():
    fd = netns.open_new()
    netns.call(fd, lambda: subprocess.run(["nft", "-f", "-"], input=SKELETON.encode(), check=True))
    yield fd
    os.close(fd)


def listed(place, kind, name):
    """The elements of a set as nft has them in JSON."""
    text = netns.call(place, subprocess.check_output, ["nft", "-j", "list", kind, *TABLE.split(), name])
    return json.loads(text)["nftables"][1][kind].get("elem", [])


def four(text):
    return socket.inet_aton(text)


def test_nft_reads_what_we_write_and_we_what_it_wrote(place):
    inside = four("10.0.0.0") * 2, four("10.0.255.255") * 2
    port = nfnetlink.field(b"\x06") + nfnetlink.field((80).to_bytes(2, "big"))
    target = four("10.0.0.9") + nfnetlink.field((8080).to_bytes(2, "big"))
    wanted = [
        nfnetlink.Element(TABLE, "one", four("10.0.0.1"), comment="whose it is"),
        nfnetlink.Element(TABLE, "two", inside[0], end=inside[1]),
        nfnetlink.Element(TABLE, "ports", port, target, "a port"),
    ]

    def work():
        door = nfnl.Nfnl()
        assert door.transact(nfnetlink.add_elements(wanted)) == [0, 0, 0]
        assert door.transact(nfnetlink.add_elements(wanted)) == [0, 0, 0]  # the same again is no clash
        assert door.transact(nfnetlink.add_elements(wanted[:1], exclusive=True)) == [17]  # EEXIST
        absent = wanted[0]._replace(set="none")
        assert door.transact(nfnetlink.add_elements([wanted[0], absent])) == [0, 2]  # ENOENT
        found = []
        for name in ("one", "two", "ports"):
            for body in door.ask(nfnetlink.dump_elements(TABLE, name)):
                found += nfnetlink.elements(TABLE, name, body)
        (body,) = door.ask(nfnetlink.get_element(wanted[2]))
        found += nfnetlink.elements(TABLE, "ports", body)
        return found

    assert netns.call(place, work) == [*wanted, wanted[2]]
    assert listed(place, "set", "one") == [{"elem": {"val": "10.0.0.1", "comment": "whose it is"}}]
    prefix = {"prefix": {"addr": "10.0.0.0", "len": 16}}
    assert listed(place, "set", "two") == [{"concat": [prefix, prefix]}]
    ((left, right),) = listed(place, "map", "ports")
    assert left == {"elem": {"val": {"concat": ["tcp", 80]}, "comment": "a port"}}
    assert right == {"concat": ["10.0.0.9", 8080]}
    assert netns.call(place, lambda: nfnl.Nfnl().transact(nfnetlink.delete_elements(wanted))) == [0, 0, 0]
    assert listed(place, "set", "one") == []


def test_a_transaction_is_whole_or_not_at_all(place):
    good = nfnetlink.Element(TABLE, "one", four("10.0.0.2"))
    codes = netns.call(
        place,
        lambda: nfnl.Nfnl().transact(nfnetlink.add_elements([good, good._replace(table="ip none")])),
    )
    assert codes == [0, 2]
    assert listed(place, "set", "one") == []


def test_connections_are_told_and_forgotten(place):
    def work():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        door = nfnl.Nfnl()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 5353))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"?", ("127.0.0.1", 5353))
                server.recv(4)

        def told():
            found = map(nfnetlink.flow, door.ask(nfnetlink.dump_flows(nfnetlink.IPV4)))
            return [flow for flow in found if flow is not None and flow.port == 5353]

        (flow,) = told()
        assert list(door.ask(nfnetlink.delete_flow(flow))) == []
        assert told() == []
        return flow

    flow = netns.call(place, work)
    assert (flow.family, flow.protocol, flow.destination) == (2, nfnetlink.UDP, four("127.0.0.1"))
