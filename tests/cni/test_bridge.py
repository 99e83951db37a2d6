"""bridge and loopback in real namespaces, called as any runtime calls them; the reference as a yardstick."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netemu.wire import cni

REFERENCE = Path(os.environ.get("NETEMU_REFERENCE_CNI", "/usr/lib/cni"))
pytestmark = pytest.mark.root


def ips(result):
    return [ip["address"].split("/")[0] for ip in result["ips"]]


def test_a_pod_reaches_its_gateway_and_its_neighbour_in_both_families(machine, network):
    results = []
    for name in ("a", "b"):
        machine.namespace(name)
        outcome = machine.call("ADD", network, name)
        assert outcome.code == 0, outcome.document
        results.append(outcome.document)
    bridge, port, eth0 = results[0]["interfaces"]
    assert (bridge["name"], eth0["name"], eth0["sandbox"]) == ("cni0", "eth0", str(machine.root / "a"))
    assert {ip["interface"] for ip in results[0]["ips"]} == {2}
    assert [ip["gateway"] for ip in results[0]["ips"]] == ["10.244.1.1", "fd00:244:0:1::1"]
    for target in ("10.244.1.1", "fd00:244:0:1::1", *ips(results[1])):
        assert machine.pings("a", target), target
    for target in ips(results[0]):
        assert machine.pings("host", target), target
    link = machine.json("host", "-d", "link", "show", port["name"])[0]
    assert link["master"] == "cni0"
    assert link["linkinfo"]["info_slave_data"]["hairpin"] is True
    assert link["address"] == port["mac"]


def test_pod_and_gateway_are_permanent_neighbours(machine, network):
    """The neighbour table has one limit for all namespaces; permanent entries are exempt from it."""
    machine.namespace("a")
    result = machine.call("ADD", network, "a").document
    mac = {i["name"]: i["mac"] for i in result["interfaces"]}
    there = {
        n["dst"]: (n["lladdr"], n["state"]) for n in machine.json("host", "neigh", "show", "dev", "cni0")
    }
    here = {n["dst"]: (n["lladdr"], n["state"]) for n in machine.json("a", "neigh", "show", "dev", "eth0")}
    for ip in result["ips"]:
        assert there[ip["address"].split("/")[0]] == (mac["eth0"], ["PERMANENT"])
        assert here[ip["gateway"]] == (mac["cni0"], ["PERMANENT"])


def test_what_is_sent_to_a_silent_container_goes_to_nobody_else(machine, network):
    """The bridge knows where it is without having heard of it: else it would ask every port, each time."""
    machine.namespace("a")
    _, near, far = machine.call("ADD", network, "a").document["interfaces"]
    known = json.loads(machine.run("host", "bridge", "-j", "fdb", "show", "br", "cni0"))
    # Where bridges can filter by VLAN it is there for VLAN 1 as well.
    entries = {(one["ifname"], one["state"]) for one in known if one["mac"] == far["mac"]}
    assert entries == {(near["name"], "static")}


def test_with_via_gateway_a_container_has_one_neighbour_for_good(machine, network):
    """All others, of its own subnet too, are reached by the gateway: no neighbour can be lost."""
    results = []
    for name in ("a", "b"):
        machine.namespace(name)
        results.append(machine.call("ADD", network | {"viaGateway": True}, name).document)
    for target in ips(results[1]):
        for _ in range(3):  # the gateway says each time that there is a shorter way
            assert machine.pings("a", target)
    gateways = {"10.244.1.1", "fd00:244:0:1::1"}
    assert {n["dst"] for n in machine.json("a", "neigh", "show", "nud", "all") if n["dst"][0] != "f" or
            n["dst"].startswith("fd")} == gateways  # fmt: skip
    # What is for everybody on the link the gateway hears, and nobody else.
    assert machine.pings("a", "ff02::1%eth0")
    (other,) = machine.json("b", "address", "show", "dev", "eth0")
    (local,) = (one["local"] for one in other["addr_info"] if one["local"].startswith("fe80"))
    assert not machine.pings("a", f"{local}%eth0", 1)
    checked = network | {"viaGateway": True, "prevResult": results[0]}
    assert machine.call("CHECK", checked, "a").code == 0
    assert machine.call("DEL", checked, "a").code == 0


@pytest.mark.skipif(not shutil.which("nft"), reason="needs nft")
def test_with_via_gateway_a_service_leads_from_port_to_port_and_back(machine, network):
    """With br_netfilter what is translated to another container of the bridge goes straight there. And who
    asks for MAC addresses, since his plugin knows no viaGateway, finds the others.
    """
    results = {}
    for name in ("a", "b", "old"):
        machine.namespace(name)
        document = network if name == "old" else network | {"viaGateway": True}
        results[name] = machine.call("ADD", document, name).document
        assert machine.pings(name, "10.244.1.1")
    for key in ("iptables", "ip6tables"):
        machine.run("host", "sh", "-c", f"echo 1 > /proc/sys/net/bridge/bridge-nf-call-{key}")
    services = ("10.96.0.80", "fd00:96::80")
    rules = [
        f"{family} daddr {service} dnat {family} to {ip}"
        for family, service, ip in zip(("ip", "ip6"), services, ips(results["b"]), strict=True)
    ]
    lines = ["table inet t {", "chain to {", "type nat hook prerouting priority dstnat", *rules, "}"]
    lines += ["chain back {", "type nat hook postrouting priority srcnat", "ct status dnat masquerade", "}"]
    assert machine.run("host", "nft", "\n".join([*lines, "}"])) == ""
    with machine.serve("b", 7000) as server:
        for service, target in zip(services, ips(results["b"]), strict=True):
            for client in ("a", "b", "old"):
                assert machine.ask(client, service, 7000, server), (client, service)
            assert machine.ask("old", target, 7000, server), target


def test_del_leaves_nothing_and_may_be_repeated(machine, network, tmp_path):
    machine.namespace("a")
    result = machine.call("ADD", network, "a").document
    assert machine.call("DEL", network | {"prevResult": result}, "a").code == 0
    assert [link["ifname"] for link in machine.json("a", "link")] == ["lo"]
    assert [link["ifname"] for link in machine.json("host", "link")] == ["lo", "cni0"]
    assert not [
        n for n in machine.json("host", "neigh", "show", "dev", "cni0") if n["state"] == ["PERMANENT"]
    ]
    assert not list((tmp_path / "leases" / "netemu").glob("10.*"))
    for change in ({}, {"CNI_NETNS": ""}, {"CNI_NETNS": "/run/netns/never-was"}):
        outcome = machine.call("DEL", network, "a", **change)
        assert (outcome.code, outcome.document) == (0, {})


def test_del_without_the_namespace_still_frees_address_and_neighbour(machine, network, tmp_path):
    machine.namespace("a")
    result = machine.call("ADD", network, "a").document
    assert machine.call("DEL", network | {"prevResult": result}, "a", CNI_NETNS="").code == 0
    assert not list((tmp_path / "leases" / "netemu").glob("10.*"))
    assert not [
        n for n in machine.json("host", "neigh", "show", "dev", "cni0") if n["state"] == ["PERMANENT"]
    ]


def test_del_without_a_result_asks_the_namespace_for_the_addresses(machine, network):
    machine.namespace("a")
    machine.call("ADD", network, "a")
    assert machine.call("DEL", network, "a").code == 0
    assert not [
        n for n in machine.json("host", "neigh", "show", "dev", "cni0") if n["state"] == ["PERMANENT"]
    ]


@pytest.mark.parametrize(
    "damage",
    [
        ("a", "ip addr del 10.244.1.2/24 dev eth0"),
        ("a", "ip route del default"),
        (
            "a",
            "ip link set eth0 down",
            "ip link set eth0 name eth1",
        ),  # before Linux 6.2: only when down
        ("host", "ip link del cni0"),
    ],
)
def test_check_finds_damage(machine, network, damage):
    machine.namespace("a")
    result = machine.call("ADD", network, "a").document
    configured = network | {"prevResult": result}
    assert machine.call("CHECK", configured, "a").code == 0
    for command in damage[1:]:
        machine.run(damage[0], *command.split())
    outcome = machine.call("CHECK", configured, "a")
    assert (outcome.code, outcome.document["code"]) == (1, 100)


def test_a_failed_add_leaves_nothing(machine, network, tmp_path):
    machine.namespace("a")
    machine.run("a", "ip", "link", "add", "eth0", "type", "bridge")
    outcome = machine.call("ADD", network, "a")
    assert outcome.code == 1
    assert "eth0" in outcome.document["msg"]
    assert not list((tmp_path / "leases" / "netemu").glob("10.*"))
    assert [link["ifname"] for link in machine.json("host", "link")] == ["lo", "cni0"]


def test_an_ipam_plugin_that_fails_is_told_to_delete(machine, network):
    """Of another maker; specification, section 4. Its error is ours."""
    diary = machine.root / "diary"
    theirs = machine.root / "theirs"
    theirs.mkdir()
    refusal = json.dumps({"cniVersion": "1.0.0", "code": 51, "msg": "none left"})
    (theirs / "odd").write_text(f"#!/bin/sh\necho $CNI_COMMAND >> {diary}\necho '{refusal}'\nexit 1\n")
    (theirs / "odd").chmod(0o755)
    machine.namespace("a")
    way = {"CNI_PATH": f"{machine.binaries}:{theirs}"}
    refused = machine.call("ADD", network | {"ipam": {"type": "odd"}}, "a", **way).document
    assert (refused["code"], refused["msg"]) == (51, "none left")
    assert diary.read_text().split() == ["ADD", "DEL"]
    assert [link["ifname"] for link in machine.json("host", "link")] == ["lo"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"vlan": 5}, cni.UNSUPPORTED_FIELD),
        ({"vlanTrunk": [{"id": 5}]}, cni.UNSUPPORTED_FIELD),
        ({"hairpinMode": "yes"}, cni.INVALID_CONFIGURATION),
        ({"ipMasqBackend": "ebpf"}, cni.INVALID_CONFIGURATION),
        ({"disableContainerInterface": True}, cni.INVALID_CONFIGURATION),  # together with ipam
        ({"promiscMode": True}, cni.INVALID_CONFIGURATION),  # together with hairpinMode
        ({"viaGateway": True, "portIsolation": True}, cni.INVALID_CONFIGURATION),
        ({"mtu": -1}, cni.INVALID_CONFIGURATION),
        ({"bridge": "lo"}, cni.INVALID_CONFIGURATION),
        ({"ipam": {"type": "nothing"}}, cni.INVALID_CONFIGURATION),
        ({"ipam": {"type": "../bridge"}}, cni.INVALID_CONFIGURATION),
    ],
)
def test_what_it_cannot_do_it_refuses(machine, network, change, code):
    machine.namespace("a")
    outcome = machine.call("ADD", network | change, "a")
    assert (outcome.code, outcome.document["code"]) == (1, code)
    assert machine.json("a", "link")[0]["ifname"] == "lo"
    assert len(machine.json("a", "link")) == 1


def test_the_host_s_own_namespace_is_no_container(machine, network):
    outcome = machine.call("ADD", network, "a", CNI_NETNS=str(machine.root / "host"))
    assert outcome.document["code"] == cni.INVALID_NETNS
    missing = machine.call("ADD", network, "a", CNI_NETNS="/run/netns/never-was")
    assert missing.document["code"] == cni.INVALID_NETNS


@pytest.mark.parametrize(
    ("asked", "arguments"),
    [
        ({}, "IgnoreUnknown=1;MAC=02:00:00:00:00:42"),
        ({"args": {"cni": {"mac": "02:00:00:00:00:42"}}}, "MAC=02:00:00:00:00:43"),
        ({"runtimeConfig": {"mac": "02:00:00:00:00:42"}}, "MAC=02:00:00:00:00:43"),
    ],
    ids=["CNI_ARGS", "args", "capability"],
)
def test_mtu_mac_and_layer_two(machine, network, asked, arguments):
    machine.namespace("a")
    plain = {key: value for key, value in network.items() if key not in ("ipam", "isDefaultGateway")}
    outcome = machine.within("ADD", plain | {"mtu": 1400} | asked, "a", CNI_ARGS=arguments)
    assert outcome.code == 0, outcome.document
    link = machine.json("a", "link", "show", "eth0")[0]
    assert (link["mtu"], link["address"]) == (1400, "02:00:00:00:00:42")
    assert "ips" not in outcome.document


def test_a_bridge_of_somebody_else_keeps_its_mac(machine, network):
    """Permanent neighbours would go stale if the bridge took the MAC of its lowest port."""
    machine.run("host", "ip", "link", "add", "cni0", "type", "bridge")
    before = machine.json("host", "link", "show", "cni0")[0]["address"]
    for name in ("a", "b"):
        machine.namespace(name)
        assert machine.call("ADD", network, name).code == 0
    assert machine.json("host", "link", "show", "cni0")[0]["address"] == before
    assert machine.pings("a", "10.244.1.1")


def test_another_address_on_the_bridge_is_refused_or_replaced(machine, network):
    machine.run("host", "ip", "link", "add", "cni0", "type", "bridge")
    machine.run("host", "ip", "addr", "add", "10.99.0.1/16", "dev", "cni0")
    machine.namespace("a")
    outcome = machine.call("ADD", network, "a")
    assert "already has an IP address different from 10.244.1.1/24" in outcome.document["msg"]
    assert machine.call("ADD", network | {"forceAddress": True}, "a").code == 0
    have = {a["local"] for a in machine.json("host", "-4", "addr", "show", "cni0")[0]["addr_info"]}
    assert have == {"10.244.1.1"}


@pytest.mark.parametrize("mode", ["hairpinMode", "promiscMode", "enabledad"])
def test_what_else_a_bridge_is_told(machine, network, mode):
    """Each on its own: a port that sends back, a bridge that takes everything, addresses that are tried."""
    del network["hairpinMode"]
    machine.namespace("a")
    result = machine.call("ADD", network | {mode: True}, "a").document
    port = result["interfaces"][1]["name"]
    (told,) = json.loads(machine.run("host", "ip", "-j", "-d", "link", "show", port))
    (bridge,) = json.loads(machine.run("host", "ip", "-j", "link", "show", "cni0"))
    tried = machine.run("a", "cat", "/proc/sys/net/ipv6/conf/eth0/accept_dad").strip()
    assert told["linkinfo"]["info_slave_data"]["hairpin"] is (mode == "hairpinMode")
    assert ("PROMISC" in bridge["flags"]) is (mode == "promiscMode")
    assert (tried != "0") is (mode == "enabledad")


def test_many_at_once_on_a_bridge_nobody_has_made_yet(machine, network):
    names = [f"p{n}" for n in range(24)]
    for name in names:
        machine.namespace(name)
    outcomes = [machine.finish(child) for child in [machine.start("ADD", network, name) for name in names]]
    assert [o.document for o in outcomes if o.code] == []
    assert len({tuple(ips(o.document)) for o in outcomes}) == len(names)
    assert machine.pings("p0", ips(outcomes[-1].document)[0])


def test_many_threads_of_one_process_at_once(machine, network):
    """In process a call moves its own thread only: the others, and the process, stay where they are."""
    names = [f"t{n}" for n in range(16)]
    for name in names:
        machine.namespace(name)
    before = os.stat("/proc/self/ns/net").st_ino, os.getcwd(), dict(os.environ)
    with ThreadPoolExecutor(8) as pool:
        results = dict(zip(names, pool.map(lambda n: machine.within("ADD", network, n), names), strict=True))
        assert {outcome.code for outcome in results.values()} == {0}
        assert len({tuple(ips(outcome.document)) for outcome in results.values()}) == len(names)
        assert machine.pings("t0", ips(results["t15"].document)[1])
        whole = {name: network | {"prevResult": outcome.document} for name, outcome in results.items()}
        for command in ("CHECK", "DEL", "DEL"):
            done = pool.map(lambda n, c=command: machine.within(c, whole[n], n), names)
            assert {outcome.code for outcome in done} == {0}
    assert [link["ifname"] for link in machine.json("host", "link")] == ["lo", "cni0"]
    assert before == (os.stat("/proc/self/ns/net").st_ino, os.getcwd(), dict(os.environ))


@pytest.mark.skipif(not shutil.which("nft"), reason="needs nft")
def test_masquerade_hides_the_container_from_whoever_is_outside_its_subnet(machine, network):
    """The outside sees the host's address; a neighbour sees the container's own."""
    for name in ("a", "b", "outside"):
        machine.namespace(name)
    machine.run("host", "ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth9")
    machine.run("host", "ip", "link", "set", "eth9", "netns", str(machine.root / "outside"))
    for place, link, address in (("host", "up0", "192.0.2.1/24"), ("outside", "eth9", "192.0.2.2/24")):
        machine.run(place, "ip", "addr", "add", address, "dev", link)
        machine.run(place, "ip", "link", "set", link, "up")
    masked = network | {"ipMasq": True}
    assert machine.call("ADD", masked, "a").code == 0
    assert machine.call("ADD", network, "b").code == 0
    assert machine.pings("a", "192.0.2.2")  # the outside has no route to 10.244.1.2: it answers the host
    assert not machine.pings("b", "192.0.2.2", 1)
    table = ("nft", "list", "table", "inet", "netemu-cni-masquerade")
    assert '10.244.1.2 comment "netemu a eth0"' in machine.run("host", *table)
    assert machine.call("DEL", masked, "a").code == 0
    assert machine.call("DEL", masked, "a").code == 0
    assert "10.244.1.2" not in machine.run("host", *table)


def test_loopback(machine):
    machine.namespace("a")
    document = {"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"}
    outcome = machine.call("ADD", document, "a", CNI_IFNAME="lo")
    assert [ip["address"] for ip in outcome.document["ips"]] == ["127.0.0.1/8", "::1/128"]
    assert machine.pings("a", "127.0.0.1")
    checked = {**document, "cniVersion": "1.0.0"}
    assert machine.call("CHECK", checked, "a", CNI_IFNAME="lo").code == 0
    assert machine.call("DEL", document, "a", CNI_IFNAME="lo").code == 0
    assert machine.call("CHECK", checked, "a", CNI_IFNAME="lo").code == 1
    assert machine.call("DEL", document, "gone", CNI_IFNAME="lo").code == 0


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"no reference plugins at {REFERENCE}")
def test_the_reference_plugins_answer_alike(machine, network, tmp_path):
    """Same configuration, same shape of result, same addresses, routes and links in the container."""
    seen = []
    for name, path in (("a", machine.binaries), ("b", REFERENCE)):
        leases = {**network["ipam"], "dataDir": str(tmp_path / f"leases-{name}")}
        machine.namespace(name)
        whole = network | {"ipam": leases, "bridge": f"br-{name}"}
        result = machine.call("ADD", whole, name, CNI_PATH=str(path)).document
        assert machine.call("CHECK", whole | {"prevResult": result}, name, CNI_PATH=str(path)).code == 0
        routes = sorted(
            (r["dst"], r.get("gateway", ""))
            for family in ("-4", "-6")
            for r in machine.json(name, family, "route")
            if not r["dst"].startswith(("fe80", "ff00"))
        )
        shape = [sorted(i) for i in result["interfaces"]]
        seen.append((result["ips"], result["routes"], shape, routes, result["dns"]))
        assert machine.call("DEL", whole | {"prevResult": result}, name, CNI_PATH=str(path)).code == 0
    assert seen[0] == seen[1]


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"no reference plugins at {REFERENCE}")
def test_our_bridge_runs_another_s_ipam(machine, network):
    (machine.root / "mixed").mkdir()
    (machine.root / "mixed" / "bridge").symlink_to(machine.binaries / "bridge")
    (machine.root / "mixed" / "host-local").symlink_to(REFERENCE / "host-local")
    machine.namespace("a")
    mixed = {"CNI_PATH": str(machine.root / "mixed")}
    outcome = machine.call("ADD", network, "a", **mixed)
    assert ips(outcome.document) == ["10.244.1.2", "fd00:244:0:1::2"]
    assert machine.pings("a", "10.244.1.1")
    assert machine.call("DEL", network, "a", **mixed).code == 0
