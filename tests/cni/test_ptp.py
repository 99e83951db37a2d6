"""ptp in real namespaces: what reaches what, what remains, what CHECK sees."""

import pytest

from netemu.wire import cni

pytestmark = pytest.mark.root


@pytest.fixture
def routed(network):
    keys = ("bridge", "isDefaultGateway", "hairpinMode")
    plain = {key: value for key, value in network.items() if key not in keys}
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    return plain | {"type": "ptp", "ipam": network["ipam"] | {"routes": routes}}


def ips(result):
    return [ip["address"].split("/")[0] for ip in result["ips"]]


def test_containers_reach_each_other_the_host_and_through_it_the_outside(machine, routed):
    machine.outside()
    results = {}
    for name in ("a", "b"):
        machine.namespace(name)
        told = {"ipMasq": True, "mtu": 1400, "dns": {"nameservers": ["10.96.0.10"]}}
        outcome = machine.call("ADD", routed | told, name)
        assert outcome.code == 0, outcome.document
        assert outcome.document["dns"] == told["dns"]
        assert machine.json(name, "link", "show", "eth0")[0]["mtu"] == 1400
        results[name] = outcome.document
    near, far = results["a"]["interfaces"]
    assert (far["name"], far["sandbox"]) == ("eth0", str(machine.root / "a"))
    assert {ip["interface"] for ip in results["a"]["ips"]} == {1}
    for target in (*ips(results["b"]), "10.244.1.1", "fd00:244:0:1::1", "192.0.2.2", "2001:db8::2"):
        assert machine.pings("a", target), target
    for target in ips(results["a"]):
        assert machine.pings("host", target), target
    neighbours = machine.json("host", "neigh", "show", "dev", near["name"], "nud", "permanent")
    assert {n["dst"] for n in neighbours} == set(ips(results["a"]))
    assert {n["lladdr"] for n in neighbours} == {far["mac"]}
    for name, result in results.items():
        checked = routed | {"ipMasq": True, "prevResult": result}
        assert machine.call("CHECK", checked, name).code == 0
        assert machine.call("DEL", checked, name).code == 0
        assert machine.call("DEL", checked, name).code == 0
        assert machine.call("CHECK", checked, name).code == 1
    assert {link["ifname"] for link in machine.json("host", "link")} == {"lo", "up0"}
    assert not [r for r in machine.json("host", "route") if r["dst"].startswith("10.")]
    assert "eth0" not in machine.run("host", "nft", "list", "ruleset")


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        ("a", "ip addr del 10.244.1.2/24 dev eth0"),
        ("a", "ip -6 route del default"),
        ("a", "ip neigh del 10.244.1.1 dev eth0"),
        ("a", "ip link set eth0 down"),
    ],
)
def test_check_finds_damage(machine, routed, place, damage):
    machine.namespace("a")
    result = machine.within("ADD", routed, "a").document
    assert machine.within("CHECK", routed | {"prevResult": result}, "a").code == 0
    machine.run(place, *damage.split())
    assert machine.within("CHECK", routed | {"prevResult": result}, "a").document["code"] == 100


def test_without_ipam_or_a_gateway_it_refuses(machine, routed, tmp_path):
    machine.namespace("a")
    assert machine.within("ADD", routed | {"ipam": {}}, "a").document["code"] == cni.INVALID_CONFIGURATION
    static = {"type": "static", "addresses": [{"address": "10.9.0.2/24"}]}
    assert machine.within("ADD", routed | {"ipam": static}, "a").document["code"] == cni.INVALID_CONFIGURATION
    taken = machine.run("a", "ip", "link", "add", "eth0", "type", "bridge")
    assert taken == ""
    assert machine.within("ADD", routed, "a").document["code"] == cni.INVALID_CONFIGURATION
    assert [link["ifname"] for link in machine.json("host", "link")] == ["lo"]
    assert not list((tmp_path / "leases" / "netemu").glob("10.*"))
