"""bandwidth, tuning, macvlan, static and flannel in real namespaces; and what bridge does to its ports."""

import json
import time

import pytest

from cni import tuning
from netemu.wire import cni

pytestmark = pytest.mark.root


def chained(network, kind, previous, **more):
    return {
        "cniVersion": network["cniVersion"],
        "name": "netemu",
        "type": kind,
        "prevResult": previous,
    } | more


def rates(machine, link):
    """bits a second of the link's token bucket, or None."""
    found = machine.run("host", "tc", "-j", "qdisc", "show", "dev", link)
    return next((q["options"]["rate"] * 8 for q in json.loads(found) if q["kind"] == "tbf"), None)


def seconds(machine, sender, receiver, address, size):
    """How long `size` bytes take from one place to another."""
    with machine.serve(receiver, 7000) as server:
        client = machine.connect(sender, address, 7000)
        accepted, _ = server.accept()
        began = time.monotonic()
        machine.send_all(client, size)
        left = size
        while left:
            left -= len(accepted.recv(1 << 16))
        accepted.close()
    return time.monotonic() - began


def test_bandwidth_shapes_both_directions(machine, network):
    """400 kB at 8 Mbit/s take 0.4 s, less what the bucket held at the start (100 kB)."""
    machine.namespace("a")
    previous = machine.within("ADD", network, "a").document
    limits = {
        "ingressRate": 8_000_000,
        "ingressBurst": 800_000,
        "egressRate": 4_000_000,
        "egressBurst": 400_000,
    }
    document = chained(network, "bandwidth", previous, runtimeConfig={"bandwidth": limits})
    outcome = machine.call("ADD", document, "a")
    assert outcome.code == 0, outcome.document
    *same, ifb = outcome.document["interfaces"]
    assert same == previous["interfaces"]
    assert (rates(machine, same[1]["name"]), rates(machine, ifb["name"])) == (8_000_000, 4_000_000)
    pod = previous["ips"][0]["address"].split("/")[0]
    assert 0.28 < seconds(machine, "host", "a", pod, 400_000) < 20
    assert 0.28 < seconds(machine, "a", "host", "10.244.1.1", 200_000) < 20
    after = document | {"prevResult": outcome.document}
    assert machine.within("CHECK", after, "a").code == 0
    machine.run("host", "tc", "qdisc", "del", "dev", ifb["name"], "root")
    assert machine.within("CHECK", after, "a").document["code"] == 100
    for _ in range(2):
        assert machine.call("DEL", after, "a").code == 0
    assert ifb["name"] not in {link["ifname"] for link in machine.json("host", "link")}


def test_bandwidth_gc_and_what_it_refuses(machine, network):
    machine.namespace("a")
    previous = machine.within("ADD", network, "a").document
    limits = {"egressRate": 8_000_000, "egressBurst": 800_000}
    machine.within("ADD", chained(network, "bandwidth", previous, **limits), "a")
    bwp = {link["ifname"] for link in machine.json("host", "link") if link["ifname"].startswith("bwp")}
    assert len(bwp) == 1
    gc = {"cniVersion": "1.1.0", "name": "netemu", "type": "bandwidth"}
    valid = [{"containerID": "a", "ifname": "eth0"}]
    machine.within("GC", gc | {"cni.dev/valid-attachments": valid}, "a")
    assert bwp <= {link["ifname"] for link in machine.json("host", "link")}
    machine.within("GC", gc | {"cni.dev/valid-attachments": []}, "a")
    assert not bwp & {link["ifname"] for link in machine.json("host", "link")}
    for change, code in (
        ({"egressRate": 8}, cni.INVALID_CONFIGURATION),
        ({"ingressBurst": 8}, cni.INVALID_CONFIGURATION),
        ({"ingressRate": -1, "ingressBurst": 8}, cni.INVALID_CONFIGURATION),
        ({"ingressRate": 80, "ingressBurst": 1 << 33}, cni.INVALID_CONFIGURATION),
        ({"egressRate": 80, "egressBurst": 80, "shapedSubnets": ["10.0.0.0/8"]}, cni.UNSUPPORTED_FIELD),
        ({"runtimeConfig": {"bandwidth": 5}}, cni.DECODING_FAILURE),
        (limits | {"prevResult": None}, cni.INVALID_CONFIGURATION),
    ):
        outcome = machine.within("ADD", chained(network, "bandwidth", previous) | change, "a")
        assert outcome.document.get("code") == code, change
        assert not [link for link in machine.json("host", "link") if link["ifname"].startswith("bwp")]


def test_tuning_sets_and_puts_back(machine, network, tmp_path):
    machine.namespace("a")
    previous = machine.within("ADD", network, "a").document
    before = machine.json("a", "link", "show", "eth0")[0]
    wishes = {"mac": "02:00:00:00:00:77", "mtu": 1300, "promisc": True, "allmulti": True, "txQLen": 555}
    document = chained(network, "tuning", previous, dataDir=str(tmp_path / "tuning"), **wishes)
    document["sysctl"] = {"net.core.somaxconn": "500", "net/ipv4/conf/IFNAME/arp_filter": "1"}
    unkept = machine.within("ADD", document | {"dataDir": "/proc/nowhere"}, "a").document
    assert unkept["code"] == cni.IO_FAILURE
    assert machine.json("a", "link", "show", "eth0")[0] == before
    outcome = machine.call("ADD", document, "a")
    assert outcome.code == 0, outcome.document
    assert outcome.document["interfaces"][2]["mac"] == "02:00:00:00:00:77"
    assert outcome.document["ips"] == previous["ips"]
    now = machine.json("a", "link", "show", "eth0")[0]
    assert (now["address"], now["mtu"], now["txqlen"]) == ("02:00:00:00:00:77", 1300, 555)
    assert {"PROMISC", "ALLMULTI"} <= set(now["flags"])
    assert machine.run("a", "cat", "/proc/sys/net/core/somaxconn").strip() == "500"
    assert machine.run("a", "cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter").strip() == "1"
    after = document | {"prevResult": outcome.document}
    assert machine.within("CHECK", after, "a").code == 0
    for gateway in ("10.244.1.1", "fd00:244:0:1::1"):  # who knew the old address for good knows the new one
        assert machine.pings("a", gateway)
    assert machine.within("CHECK", network | {"prevResult": outcome.document}, "a").code == 0
    machine.run("a", "ip", "link", "set", "eth0", "mtu", "1200")
    assert machine.within("CHECK", after, "a").document["code"] == 100
    for _ in range(2):
        assert machine.call("DEL", after, "a").code == 0
    now = machine.json("a", "link", "show", "eth0")[0]
    assert {key: now[key] for key in ("address", "mtu", "txqlen", "flags")} == {
        key: before[key] for key in ("address", "mtu", "txqlen", "flags")
    }
    assert not list((tmp_path / "tuning").iterdir())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sysctl": {"kernel.hostname": "x"}}, cni.INVALID_CONFIGURATION),
        ({"sysctl": {"net/../kernel/hostname": "x"}}, cni.INVALID_CONFIGURATION),
        ({"sysctl": {"net.ipv4.no_such_thing": "1"}}, cni.INVALID_CONFIGURATION),
        ({"sysctl": {"net.core.somaxconn": 5}}, cni.INVALID_CONFIGURATION),
        ({"sysctl": {"net.core.somaxconn": "many"}}, cni.IO_FAILURE),
        ({"sysctl": ["net.core.somaxconn"]}, cni.DECODING_FAILURE),
        ({"mac": "01:00:00:00:00:01"}, cni.INVALID_CONFIGURATION),
        ({"mac": "red"}, cni.INVALID_CONFIGURATION),
        ({"mtu": "big"}, cni.INVALID_CONFIGURATION),
        ({"txQLen": -1}, cni.INVALID_CONFIGURATION),
        ({"promisc": True}, cni.INVALID_CONFIGURATION),  # there is no eth0
    ],
)
def test_tuning_refuses(machine, network, tmp_path, change, code):
    machine.namespace("a")
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": str(machine.root / "a")}]}
    document = chained(network, "tuning", previous, dataDir=str(tmp_path / "tuning")) | change
    assert machine.within("ADD", document, "a").document.get("code") == code


def test_macvlan_is_another_host_on_the_wire(machine, network, tmp_path):
    machine.outside()
    ipam = {"type": "static", "addresses": [{"address": "192.0.2.50/24", "gateway": "192.0.2.2"}]}
    ipam["routes"] = [{"dst": "0.0.0.0/0"}]
    document = {"cniVersion": "1.0.0", "name": "netemu", "type": "macvlan", "master": "up0", "ipam": ipam}
    machine.namespace("a")
    outcome = machine.call("ADD", document, "a", CNI_ARGS="MAC=02:00:00:00:00:50")
    assert outcome.code == 0, outcome.document
    assert outcome.document["interfaces"] == [
        {"name": "eth0", "mac": "02:00:00:00:00:50", "sandbox": str(machine.root / "a")}
    ]
    assert outcome.document["ips"] == [{"address": "192.0.2.50/24", "gateway": "192.0.2.2", "interface": 0}]
    assert machine.pings("a", "192.0.2.2")
    assert machine.json("a", "route")[0]["gateway"] == "192.0.2.2"
    after = document | {"prevResult": outcome.document}
    assert machine.within("CHECK", after, "a").code == 0
    assert machine.within("ADD", document, "a").document["code"] == cni.INVALID_CONFIGURATION  # eth0 is taken
    for _ in range(2):
        assert machine.call("DEL", after, "a").code == 0
    assert [link["ifname"] for link in machine.json("a", "link")] == ["lo"]
    for change in ({"mode": "odd"}, {"master": "none"}, {"master": ""}, {"mtu": 9000}):
        refused = machine.within("ADD", document | change, "a").document
        assert refused["code"] == cni.INVALID_CONFIGURATION, change
    machine.run("host", "ip", "route", "add", "default", "via", "192.0.2.2")
    assert machine.within("ADD", document | {"master": "", "mode": "private"}, "a").code == 0
    machine.call("DEL", document, "a")
    machine.run("a", "ip", "link", "add", "own0", "type", "veth", "peer", "name", "own1")
    inside = document | {"master": "own0", "linkInContainer": True, "mode": "passthru"}
    assert machine.call("ADD", inside, "a").code == 0
    (made,) = json.loads(machine.run("a", "ip", "-j", "-d", "link", "show", "eth0"))
    assert (made["link"], made["linkinfo"]["info_data"]["mode"]) == ("own0", "passthru")


def test_tuning_sets_what_the_list_of_the_machine_allows(machine, network, tmp_path, monkeypatch):
    allowed = tmp_path / "allowlist.conf"
    allowed.write_text("^net.core.somaxconn=[0-9]+$\n\n")
    monkeypatch.setattr(tuning, "_ALLOWLIST", str(allowed))
    machine.namespace("a")
    previous = machine.within("ADD", network, "a").document
    document = chained(network, "tuning", previous, dataDir=str(tmp_path / "tuning"))
    for sysctl, code in (
        ({"net.core.somaxconn": "500"}, None),
        ({"net.ipv4.ip_forward": "1"}, cni.INVALID_CONFIGURATION),
        ({"net.core.somaxconn": "500 1"}, cni.INVALID_CONFIGURATION),
    ):
        outcome = machine.within("ADD", document | {"sysctl": sysctl}, "a")
        assert outcome.document.get("code") == code, sysctl


@pytest.mark.parametrize(
    ("change", "arguments", "code"),
    [
        ({"addresses": [{"address": "10.9.0.2"}]}, "", cni.INVALID_CONFIGURATION),
        ({"addresses": [{"address": "10.9.0.2/24", "gateway": "fd00::1"}]}, "", cni.INVALID_CONFIGURATION),
        ({"addresses": []}, "", cni.INVALID_CONFIGURATION),
        ({"addresses": ["10.9.0.2/24"]}, "", cni.INVALID_CONFIGURATION),
        ({"addresses": [{"address": "10.9.0.2/24"}], "routes": [{"gw": "x"}]}, "", cni.INVALID_CONFIGURATION),
        ({}, "IP=10.9.0.300/24", cni.INVALID_CONFIGURATION),
        ({}, "IP=10.9.0.3/24,fd00:9::3/64;GATEWAY=10.9.0.1", 0),
    ],
)
def test_static_gives_what_is_written(machine, change, arguments, code):
    document = {"cniVersion": "1.0.0", "name": "n", "type": "static", "ipam": {"type": "static"} | change}
    outcome = machine.within("ADD", document, "a", CNI_ARGS=arguments)
    assert outcome.document.get("code", 0) == code
    if not code:
        assert outcome.document["ips"] == [
            {"address": "10.9.0.3/24", "gateway": "10.9.0.1"},
            {"address": "fd00:9::3/64"},
        ]
        assert (
            machine.within("CHECK", document | {"prevResult": outcome.document}, "a", CNI_ARGS=arguments).code
            == 0
        )
        assert machine.within("DEL", document, "a").code == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"runtimeConfig": {"ips": ["10.9.0.4/24", "fd00:9::4/64"]}},
        {"args": {"cni": {"ips": ["10.9.0.4/24", "fd00:9::4/64"]}}},
    ],
    ids=["capability", "args"],
)
def test_static_gives_what_is_asked_for_instead(machine, asked):
    ipam = {"type": "static", "addresses": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}]}
    ipam |= {"routes": [{"dst": "10.0.0.0/8"}], "dns": {"nameservers": ["10.9.0.53"]}}
    document = {"cniVersion": "1.0.0", "name": "n", "type": "static", "ipam": ipam}
    found = machine.within("ADD", document | asked, "a", CNI_ARGS="IP=10.9.0.5/24").document
    assert found["ips"] == [{"address": "10.9.0.4/24"}, {"address": "fd00:9::4/64"}]
    assert found["routes"] == [{"dst": "10.0.0.0/8"}]
    assert found["dns"] == {"nameservers": ["10.9.0.53"]}


def test_flannel_delegates_what_flanneld_has_leased(machine, tmp_path):
    lease = tmp_path / "subnet.env"
    document = {
        "cniVersion": "1.1.0",
        "name": "cbr0",
        "type": "flannel",
        "subnetFile": str(lease),
        "dataDir": str(tmp_path / "flannel"),
        "ipam": {"dataDir": str(tmp_path / "leases")},
        "delegate": {"hairpinMode": True, "isDefaultGateway": True},
    }
    machine.namespace("a")
    assert machine.within("STATUS", document, "a").document["code"] == cni.NOT_AVAILABLE
    assert machine.within("ADD", document, "a").document["code"] == cni.TRY_AGAIN
    lease.write_text("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\n")
    assert machine.within("ADD", document, "a").document["code"] == cni.INVALID_CONFIGURATION
    lease.write_text(
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        "FLANNEL_IPV6_NETWORK=fd00:244::/48\nFLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64\n"
    )
    assert machine.within("STATUS", document, "a").code == 0
    unkept = machine.within("ADD", document | {"dataDir": "/proc/nowhere"}, "a").document
    assert unkept["code"] == cni.IO_FAILURE
    assert [link["ifname"] for place in ("host", "a") for link in machine.json(place, "link")] == ["lo", "lo"]
    outcome = machine.call("ADD", document, "a")
    assert outcome.code == 0, outcome.document
    assert [ip["address"] for ip in outcome.document["ips"]] == ["10.244.7.2/24", "fd00:244:0:7::2/64"]
    assert {"10.244.0.0/16", "fd00:244::/48", "0.0.0.0/0"} <= {r["dst"] for r in outcome.document["routes"]}
    assert machine.json("a", "link", "show", "eth0")[0]["mtu"] == 1450
    assert machine.pings("a", "10.244.7.1")
    after = document | {"prevResult": outcome.document}
    assert machine.within("CHECK", after, "a").code == 0
    lease.unlink()  # flanneld's lease may be gone by then
    for _ in range(2):
        assert machine.call("DEL", after, "a").code == 0
    assert [link["ifname"] for link in machine.json("a", "link")] == ["lo"]
    assert not list((tmp_path / "leases" / "cbr0").glob("10.*"))
    assert machine.within("CHECK", after, "a").document["code"] == 100


def test_ports_of_a_bridge_isolated_and_held_to_their_mac(machine, network):
    results = {}
    for name in ("a", "b"):
        machine.namespace(name)
        document = network | {"portIsolation": True, "macspoofchk": True}
        results[name] = machine.call("ADD", document, name).document
    theirs = [ip["address"].split("/")[0] for ip in results["b"]["ips"]]
    assert not machine.pings("a", theirs[0], 1)
    assert machine.pings("a", "10.244.1.1")
    machine.run("a", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    machine.run("host", "ip", "neigh", "flush", "dev", "cni0", "nud", "all")
    assert not machine.pings("a", "10.244.1.1", 1)
    assert '"netemu a eth0"' in machine.run("host", "nft", "list", "ruleset")
    assert machine.call("DEL", document | {"prevResult": results["a"]}, "a").code == 0
    rules = machine.run("host", "nft", "list", "ruleset")
    assert '"netemu a eth0"' not in rules
    gc = document | {"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
    assert machine.within("GC", gc, "b").code == 0
    assert '"netemu b eth0"' not in machine.run("host", "nft", "list", "ruleset")
