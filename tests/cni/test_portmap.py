"""portmap: who reaches a container by a port of its host, and seen as whom; told by real connections."""

import socket

import pytest

from netemu.kernel import netns
from netemu.wire import cni

pytestmark = pytest.mark.root

RULESET = ("nft", "list", "ruleset")


@pytest.fixture
def town(machine, network):
    """A host with containers a and b, a client beyond it, and a server in a on port 8080."""
    machine.outside()
    results = {}
    for name in ("a", "b"):
        machine.namespace(name)
        results[name] = machine.within("ADD", network, name).document
        assert machine.pings(name, "10.244.1.1")
    assert machine.pings("outside", "192.0.2.1")
    machine.run("host", "ip", "addr", "add", "192.0.2.77/24", "dev", "up0")
    return machine, results


def ports(network, previous, *mappings, **more):
    document = {key: network[key] for key in ("cniVersion", "name")} | {
        "type": "portmap",
        "prevResult": previous,
    }
    return document | {"runtimeConfig": {"portMappings": list(mappings)}} | more


WEB = {"hostPort": 8000, "containerPort": 8080, "protocol": "tcp"}


@pytest.mark.parametrize("how", ["call", "within"])
def test_everybody_reaches_the_container_and_is_seen_as_himself_where_that_works(town, network, how):
    machine, results = town
    call = getattr(machine, how)
    document = ports(network, results["a"], WEB)
    outcome = call("ADD", document, "a")
    assert outcome.code == 0, outcome.document
    assert outcome.document == results["a"]
    seen = {}
    with machine.serve("a", 8080) as server:
        for place, target in (
            ("outside", "192.0.2.1"), ("outside", "192.0.2.77"), ("outside", "2001:db8::1"),
            ("host", "192.0.2.1"), ("host", "127.0.0.1"), ("host", "2001:db8::1"),
            ("b", "192.0.2.1"), ("a", "192.0.2.1"), ("a", "2001:db8::1"),
        ):  # fmt: skip
            seen[place, target] = machine.ask(place, target, 8000, server)
        assert machine.ask("outside", "192.0.2.1", 8001, server) == ""
    assert seen == {
        ("outside", "192.0.2.1"): "192.0.2.2",
        ("outside", "192.0.2.77"): "192.0.2.2",
        ("outside", "2001:db8::1"): "2001:db8::2",
        ("host", "192.0.2.1"): "192.0.2.1",
        ("host", "127.0.0.1"): "10.244.1.1",
        ("host", "2001:db8::1"): "2001:db8::1",
        ("b", "192.0.2.1"): "10.244.1.1",
        ("a", "192.0.2.1"): "10.244.1.1",
        ("a", "2001:db8::1"): "fd00:244:0:1::1",
    }
    assert call("CHECK", document, "a").code == 0
    for _ in range(2):
        assert call("DEL", document, "a").code == 0
    assert call("CHECK", document, "a").document["code"] == 100
    assert "10.244.1.2" not in machine.run("host", *RULESET)
    with machine.serve("a", 8080) as server:
        assert machine.ask("outside", "192.0.2.1", 8000, server) == ""


def test_a_port_of_each_protocol(town, network):
    """There is no SCTP to connect with everywhere, but its place in the map is there."""
    machine, results = town
    mappings = [WEB | {"protocol": protocol} for protocol in ("tcp", "udp", "SCTP")]
    assert machine.within("ADD", ports(network, results["a"], *mappings), "a").code == 0
    rules = machine.run("host", *RULESET)
    for protocol in ("tcp", "udp", "sctp"):
        assert f'{protocol} . 8000 comment "netemu a eth0" : 10.244.1.2 . 8080' in rules, rules
    with machine.serve("a", 8080, socket.SOCK_DGRAM) as server:
        assert machine.ask("outside", "192.0.2.1", 8000, server) == "192.0.2.2"


def test_a_port_of_one_address_only(town, network):
    machine, results = town
    document = ports(network, results["a"], WEB | {"hostIP": "192.0.2.77"}, WEB | {"hostIP": "2001:db8::1"})
    assert machine.within("ADD", document, "a").code == 0
    with machine.serve("a", 8080) as server:
        assert machine.ask("outside", "192.0.2.77", 8000, server) == "192.0.2.2"
        assert machine.ask("outside", "2001:db8::1", 8000, server) == "2001:db8::2"
        assert machine.ask("outside", "192.0.2.1", 8000, server) == ""
    # Somebody else may have the same port of the other address, but not of this one.
    other = ports(network, results["b"], WEB | {"hostIP": "192.0.2.1"})
    assert machine.within("ADD", other, "b").code == 0
    clash = ports(network, results["b"], WEB | {"hostIP": "192.0.2.77"})
    refused = machine.within("ADD", clash, "c").document
    assert refused["code"] == cni.TRY_AGAIN
    assert refused["msg"] == "port 192.0.2.77:8000/tcp of the host is in use by netemu a eth0"
    assert '"netemu c eth0"' not in machine.run("host", *RULESET)


def test_conditions_masq_all_marks_and_no_source_translation(town, network):
    machine, results = town
    for more, from_outside, from_host in (
        ({"masqAll": True}, "10.244.1.1", "10.244.1.1"),
        ({"snat": False}, "192.0.2.2", "192.0.2.1"),
        ({"conditionsV4": ["!", "-s", "192.0.2.2"]}, "", "192.0.2.1"),
        ({"conditionsV4": ["ip", "saddr", "192.0.2.2"]}, "192.0.2.2", ""),
        ({"markMasqBit": 5, "masqAll": True}, "10.244.1.1", "10.244.1.1"),
    ):
        document = ports(network, results["a"], WEB, **more)
        outcome = machine.within("ADD", document, "a")
        assert outcome.code == 0, (more, outcome.document)
        with machine.serve("a", 8080) as server:
            assert machine.ask("outside", "192.0.2.1", 8000, server) == from_outside, more
            assert machine.ask("host", "192.0.2.1", 8000, server) == from_host, more
        assert machine.within("DEL", document, "a").code == 0
        assert '"netemu a eth0"' not in machine.run("host", *RULESET)
    assert "meta mark set meta mark | 0x00000020 masquerade" in machine.run("host", *RULESET)


def test_a_client_of_udp_that_asked_too_early_is_answered_all_the_same(town, network):
    """What conntrack remembers of its first question would send all later ones past the container."""
    machine, results = town
    document = ports(network, results["a"], {"hostPort": 53, "containerPort": 5353, "protocol": "UDP"})

    def question():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind(("192.0.2.2", 5555))
        client.connect(("192.0.2.1", 53))
        return client

    machine.run("host", "nft", "add", "table", "ip", "watch")  # conntrack works where somebody looks at it
    machine.run(
        "host", "nft", "add chain ip watch in { type filter hook prerouting priority 0; ct state new; }"
    )
    with netns.call(machine.root / "outside", question) as client:
        client.settimeout(0.2)
        client.send(b"too early")
        with pytest.raises(OSError):  # noqa: PT011 (refused or silence, as the host likes)
            client.recv(16)
        assert machine.within("ADD", document, "a").code == 0
        with machine.serve("a", 5353, socket.SOCK_DGRAM) as server:
            server.settimeout(5)
            client.settimeout(5)
            client.send(b"now")
            assert server.recvfrom(16)[0] == b"now"
            assert machine.within("DEL", document, "a").code == 0
            client.send(b"late")
            server.settimeout(0.2)
            with pytest.raises(TimeoutError):
                server.recvfrom(16)


def test_gc_closes_the_ports_of_those_who_are_gone(town, network):
    machine, results = town
    for number, name in enumerate(("a", "b")):
        machine.within("ADD", ports(network, results[name], WEB | {"hostPort": 8000 + number}), name)
    valid = {"cni.dev/valid-attachments": [{"containerID": "b", "ifname": "eth0"}]}
    document = {"cniVersion": "1.1.0", "name": "netemu", "type": "portmap"}
    assert machine.within("GC", document | {"name": "other", "cni.dev/valid-attachments": []}, "x").code == 0
    assert machine.run("host", *RULESET).count('"netemu a eth0"') == 4
    assert machine.within("GC", document | valid, "x").code == 0
    rules = machine.run("host", *RULESET)
    assert '"netemu a eth0"' not in rules
    assert '"netemu b eth0"' in rules


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}}, cni.INVALID_CONFIGURATION),
        ({"runtimeConfig": {"portMappings": [WEB | {"hostPort": 65536}]}}, cni.INVALID_CONFIGURATION),
        ({"runtimeConfig": {"portMappings": [WEB | {"protocol": "icmp"}]}}, cni.INVALID_CONFIGURATION),
        ({"runtimeConfig": {"portMappings": [WEB | {"hostIP": "here"}]}}, cni.INVALID_CONFIGURATION),
        ({"runtimeConfig": {"portMappings": "80:80"}}, cni.DECODING_FAILURE),
        ({"markMasqBit": 32}, cni.INVALID_CONFIGURATION),
        ({"backend": "ebpf"}, cni.INVALID_CONFIGURATION),
        ({"externalSetMarkChain": "MARK"}, cni.UNSUPPORTED_FIELD),
        ({"conditionsV4": ["-m", "set"]}, cni.UNSUPPORTED_FIELD),
        ({"conditionsV4": ["accept; flush ruleset"]}, cni.INVALID_CONFIGURATION),
        ({"conditionsV4": ["no", "such", "words"]}, cni.IO_FAILURE),
        ({"prevResult": None}, cni.INVALID_CONFIGURATION),
        ({"prevResult": {"cniVersion": "1.0.0"}}, cni.INVALID_CONFIGURATION),
    ],
)
def test_what_it_cannot_do_it_refuses(machine, network, change, code):
    machine.namespace("a")
    previous = {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]}
    outcome = machine.within("ADD", ports(network, previous, WEB, **change), "a")
    assert (outcome.code, outcome.document.get("code")) == (1, code)
    assert "10.1.0.2" not in machine.run("host", *RULESET)
