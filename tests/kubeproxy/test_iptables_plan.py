"""iptables mode: upstream's chains (pkg/proxy/iptables/proxier.go), and real connections through them.

NETEMU_REGENERATE=1 writes the golden document anew; read the difference before it is committed.
"""

import asyncio
import itertools
import os
import subprocess
from collections import Counter
from ipaddress import ip_interface
from pathlib import Path

import pytest

from netemu.api import meta
from netemu.kernel import operations as ops
from netemu.kubeproxy import changes, endpoints, iptables, iptables_rules, layout, options, plan, services

CHOSEN = options.Options(("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112"))
AROUND = options.surroundings(CHOSEN, None)
GOLDEN = Path(__file__).parent / "golden" / "small-cluster.iptables"


def test_chains_are_named_as_upstream_names_them():
    """Names that every cluster has: those of default/kubernetes and of kube-dns."""
    assert iptables_rules.chain("SVC", "default/kubernetes:https", "tcp") == "KUBE-SVC-NPX46M4PTMTKRN6Y"
    assert iptables_rules.chain("SVC", "kube-system/kube-dns:dns", "udp") == "KUBE-SVC-TCOU7JCQXEZGVUNU"


def wanted(members, number=1, protocols=("tcp", "udp"), **special):
    key = meta.Key("test", f"s{number}")
    ports = tuple(services.Port(protocol, protocol, 80, 30000 + number) for protocol in protocols)
    service = services.Service(key, ports, (f"10.96.0.{number}", f"fd00:96::{number}"), **special)
    slices = tuple(
        endpoints.Slice(
            key,
            tuple((protocol, protocol, 8080) for protocol in protocols),
            tuple(endpoints.Endpoint(pair[six], True, True, False, node) for pair, node in members),
        )
        for six in (0, 1)
    )
    return plan.place(changes.State(service, slices), endpoints.Topology("here"), None, itertools.count(1))


A = (("10.244.1.2", "fd00:244:0:1::2"), "here")
FAR = (("10.244.2.2", "fd00:244:0:2::2"), "there")


def rules(document, table="nat"):
    return document.partition(f"*{table}\n")[2].partition("COMMIT")[0].splitlines()


def test_the_rules_of_a_service_are_upstreams():
    text = iptables.document(layout.IP, [wanted((A, FAR), protocols=("tcp",))], AROUND["ip"], "")
    service, external = (iptables_rules.chain(kind, "test/s1:tcp", "tcp") for kind in ("SVC", "EXT"))
    a = iptables_rules.chain("SEP", "test/s1:tcp", "tcp", "10.244.1.2:8080")
    far = iptables_rules.chain("SEP", "test/s1:tcp", "tcp", "10.244.2.2:8080")
    to_vip = "-m tcp -p tcp -d 10.96.0.1 --dport 80"
    for line in (
        f'-A KUBE-SERVICES -m comment --comment "test/s1:tcp cluster IP" {to_vip} -j {service}',
        f'-A {service} -m comment --comment "test/s1:tcp cluster IP" {to_vip}'
        " ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        f'-A {service} -m comment --comment "test/s1:tcp -> 10.244.1.2:8080"'
        f" -m statistic --mode random --probability 0.5000000000 -j {a}",
        f'-A {service} -m comment --comment "test/s1:tcp -> 10.244.2.2:8080" -j {far}',
        f'-A {a} -m comment --comment "test/s1:tcp" -s 10.244.1.2 -j KUBE-MARK-MASQ',
        f'-A {a} -m comment --comment "test/s1:tcp" -m tcp -p tcp -j DNAT --to-destination 10.244.1.2:8080',
        f'-A KUBE-NODEPORTS -m comment --comment "test/s1:tcp" -m tcp -p tcp --dport 30001 -j {external}',
        f"-A {external} -j {service}",
    ):
        assert line in rules(text), line
    assert rules(text)[-1].endswith("-j KUBE-NODEPORTS") or "KUBE-SERVICES" in rules(text)[-1]


# table, base chain, new connections alone, chain
JUMPS = """
filter INPUT    new KUBE-EXTERNAL-SERVICES
filter FORWARD  new KUBE-EXTERNAL-SERVICES
filter INPUT    all KUBE-NODEPORTS
filter INPUT    all KUBE-FIREWALL
filter OUTPUT   all KUBE-FIREWALL
filter FORWARD  new KUBE-SERVICES
filter OUTPUT   new KUBE-SERVICES
filter FORWARD  all KUBE-FORWARD
filter INPUT    new KUBE-PROXY-FIREWALL
filter OUTPUT   new KUBE-PROXY-FIREWALL
filter FORWARD  new KUBE-PROXY-FIREWALL
nat    PREROUTING  all KUBE-SERVICES
nat    OUTPUT      all KUBE-SERVICES
nat    POSTROUTING all KUBE-POSTROUTING
"""


def test_built_in_chains_jump_to_upstreams():
    text = iptables.document(layout.IP, (), AROUND["ip"], "")
    found = set()
    for table in ("mangle", "filter", "nat"):
        assert ":KUBE-PROXY-CANARY - [0:0]" in rules(text, table)
        for line in rules(text, table):
            if line.startswith("-I "):
                words = line.split()
                found.add((table, words[1], "new" if "NEW" in words else "all", words[-1]))
    assert found == {tuple(line.split()) for line in JUMPS.split("\n") if line}


def small_cluster():
    """One of each that is written otherwise than the others."""
    vip = ("198.51.100.7",)
    return (
        wanted((A, FAR), 1, ("tcp", "udp")),
        wanted((A, FAR), 2, ("tcp",), affinity_seconds=60, internal_local=True),
        wanted((A, FAR), 3, ("tcp",), external_local=True, external_ips=("192.0.2.3",)),
        wanted((FAR,), 4, ("tcp",), external_local=True, internal_local=True, health_check_node_port=32000),
        wanted((A,), 5, ("tcp",), balancer_ips=vip, source_ranges=("203.0.113.0/24", "2001:db8::/32")),
        wanted((), 6, ("sctp",)),
    )


@pytest.mark.parametrize("family", layout.FAMILIES, ids=["ipv4", "ipv6"])
def test_only_what_has_a_port_is_translated_or_refused(family):
    """So an echo request to a Service's address follows the routes."""
    for rule in iptables_rules.everything(family, small_cluster(), AROUND[family.name]):
        ends = rule.text.rsplit("-j ", 1)[-1].split(" ")[0]
        if ends in ("DNAT", "REJECT") or ends.startswith(("KUBE-SVC", "KUBE-SVL", "KUBE-FW", "KUBE-EXT")):
            assert " -p " in rule.text or rule.chain.startswith(("KUBE-EXT-", "KUBE-FW-")), rule


def test_the_document_of_a_small_cluster():
    around = AROUND["ip"]._replace(node_ports=("172.18.0.2", "127.0.0.1"))
    text = iptables.document(layout.IP, small_cluster(), around, "")
    if os.environ.get("NETEMU_REGENERATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize("localhost", [True, False])
def test_node_ports_at_chosen_addresses_are_a_rule_for_each_and_never_at_ipv6s_loopback(localhost):
    for family, address, loopback in ((layout.IP, "172.18.0.2", "127.0.0.1"), (layout.IP6, "fd00::2", "::1")):
        chosen = {"node_ports": (address, loopback), "localhost_node_ports": localhost}
        around = AROUND[family.name]._replace(**chosen)
        last = [r.text for r in iptables_rules.everything(family, (), around) if r.chain == "KUBE-SERVICES"]
        assert [text.split(" -d ")[1] for text in last] == [
            f"{one} -j KUBE-NODEPORTS"
            for one in (address, loopback)
            if one == address or (localhost and family is layout.IP)
        ]
        assert not any("addrtype" in text for text in last)


def test_the_addresses_are_those_of_the_node_in_the_ranges():
    own = ("10.244.1.1", "127.0.0.1", "172.18.0.2", "172.19.0.2", "fd00:18::2")
    around = AROUND["ip"]._replace(node_ports=("172.18.0.0/16", "127.0.0.0/8"))
    assert options.taking(around, own) == ("127.0.0.1", "172.18.0.2")
    assert options.taking(AROUND["ip"], own) == ()


@pytest.mark.parametrize("liberal", [True, False])
def test_what_belongs_to_no_connection_is_dropped_unless_tracking_is_liberal(liberal):
    around = AROUND["ip"]._replace(tcp_be_liberal=liberal)
    forward = [r.text for r in iptables_rules.everything(layout.IP, (), around) if r.chain == "KUBE-FORWARD"]
    assert [text.rsplit(" ", 1)[-1] for text in forward] == ["DROP"] * (not liberal) + ["ACCEPT"] * 2
    assert ("INVALID" in forward[0]) != liberal


def test_chains_nobody_wants_are_removed_and_jumps_made_once():
    first = iptables.document(layout.IP, [wanted((A,))], AROUND["ip"], "")
    saved = "\n".join(
        line.replace("-I ", "-A ") if line.startswith("-I ") else line for line in first.splitlines()
    )
    second = iptables.document(layout.IP, [], AROUND["ip"], saved + "\n")
    gone = {line[3:] for line in second.splitlines() if line.startswith("-X ")}
    assert gone == {
        line[1:].split()[0] for line in first.splitlines() if iptables._OURS.match(line[1:].split()[0])
    }
    assert Counter(line[:2] for line in first.splitlines())["-I"] == len(iptables.JUMPS)
    assert "-I " not in second


def run(world, command, text=""):
    fd = world.places["here"]
    done = subprocess.run(
        ["nsenter", f"--net=/proc/self/fd/{fd}", *command],
        input=text,
        text=True,
        capture_output=True,
        pass_fds=(fd,),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ROWS = {1: wanted((A,), 1), 7: wanted((A, FAR), 7, affinity_seconds=60)}


@pytest.mark.root
def test_a_proxy_in_iptables_mode_notices_foreign_changes_and_leaves_nothing_stale(world):
    with world.serving("iptables") as one:
        for number in (1, 7):
            one.changes.service(ROWS[number].service.key, ROWS[number].service)
            for index, slice_ in enumerate(slices_of(ROWS[number].service.key, (A, FAR))):
                one.changes.slice(f"s{number}-{index}", None, slice_)
        asyncio.run(changed(world, one))
        assert isinstance(world.ask("b", ROWS[1].service.cluster_ips[0], 80), tuple)
        assert "s7" not in run(world, ["iptables-save"])
    assert "KUBE" not in run(world, ["iptables-save"]) + run(world, ["ip6tables-save"])


@pytest.mark.root
def test_node_ports_move_to_an_address_that_takes_anothers_place(world):
    """As many rules as before, for another address."""
    here, links = world.networks["here"], [ip_interface(f"172.20.0.{last}/32") for last in (2, 3)]
    here.apply([ops.AddAddress("lo", links[0])])
    try:
        with world.serving("iptables", node_port_addresses=("172.20.0.0/16",)) as one:

            def there():
                asyncio.run(one.sync())
                assert asyncio.run(one.check())
                rules = run(world, ["iptables", "-t", "nat", "-S", "KUBE-SERVICES"]).splitlines()
                return [
                    rule.split(" -d ")[1].split("/")[0] for rule in rules if rule.endswith("KUBE-NODEPORTS")
                ]

            assert there() == ["172.20.0.2"]
            here.apply([ops.DelAddress("lo", links[0]), ops.AddAddress("lo", links[1])])
            assert not asyncio.run(one.check())
            one.start_over()
            assert there() == ["172.20.0.3"]
    finally:
        here.apply([ops.DelAddress("lo", held.ip) for held in here.observe().addresses if held.ip in links])


async def changed(world, one):
    assert await one.sync()
    assert await one.check()
    assert not one.pending
    run(world, ["iptables", "-t", "nat", "-F", "KUBE-SERVICES"])
    assert not await one.check()
    one.start_over()
    await one.sync()
    assert await one.check()
    owned, written = one.rules()
    assert written[("ip", "nat")] == owned[("ip", "nat")]  # all of them
    before = run(world, ["iptables-save", "-t", "nat"])
    one.changes.service(ROWS[7].service.key, None)
    await one.sync()
    fewer, little = one.rules()
    assert fewer[("ip", "nat")] < owned[("ip", "nat")]
    assert little[("ip", "nat")] < fewer[("ip", "nat")]  # the other's chains were let alone
    assert "test/s7" in before
    one.start_over()
    left = run(world, ["iptables-save"])
    await one.sync()
    assert sorted(_rules_of(run(world, ["iptables-save"]))) == sorted(_rules_of(left))


def _rules_of(saved):
    return [line for line in saved.splitlines() if line.startswith("-A")]


def slices_of(key, members):
    ports = tuple((protocol, protocol, 8080) for protocol in ("tcp", "udp"))
    for six in (0, 1):
        made = tuple(endpoints.Endpoint(pair[six], True, True, False, node) for pair, node in members)
        yield endpoints.Slice(key, ports, made)
