"""Rules read one by one come to what the walks say that know them by heart; and miss what is missing."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given

from netemu.kubeproxy import iptables, layout, walk_iptables
from netemu.kubeproxy import walk as service_walk
from netemu.netpol import layout as policies
from netemu.netpol import mutations as policy_mutations
from netemu.netpol import walk as policy_walk
from netemu.verify import mutations, rulebreaks, rulewalk
from netemu.wire import nft

TESTS = Path(__file__).parents[1]


def other(room, name):
    """Another room's tests: their clusters and tables of packets serve here as well."""
    spec = importlib.util.spec_from_file_location(f"{room}_{name}", TESTS / room / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


histories = other("netpol", "test_netpol_walk")
stories = other("netpol", "stories")
packets = other("kubeproxy", "test_packet_table")


@histories.settings(histories.SLOW, max_examples=4)
@given(histories.clusters.histories())
def test_policies_rules_say_what_their_elements_say(history):
    first, steps = history
    story = stories.Story()
    story.apply(first)
    story.apply(steps)
    world = story.world()
    for name, book in story.books.items():
        held = policy_walk.of(book.elements())
        table = rulewalk.table(policy_mutations.things(held), held)
        for source, _, address, protocol, port in histories.probes(world):
            mine = next(a for a in source.addresses if (":" in a) == (":" in address))
            ends = map(histories.ipaddress.ip_address, (mine, address))
            packet = policy_walk.Packet(*ends, protocol.lower(), port)
            for hook in ("forward", "input"):
                said = policy_walk.accepted(held, packet, hook)
                assert rulebreaks.passes(table, name, packet, hook, ()) is said, (packet, hook)
                assert rulebreaks.passes(table, name, packet, hook, ((name, hook),)) is said  # answers pass


def texts(held):
    return {name: {key: entry.value for key, entry in of.items()} for name, of in held.items()}


def dialled(case, place):
    source = packets.LOOPBACK if case.way == "loopback" else place.addresses[case.client]
    target = case.entry.address(case.way, case.family, place)
    port = case.entry.port(case.way, case.port)
    link = packets.LINKS[case.client]
    return service_walk.Packet(case.protocol.lower(), source[case.family], target, port, link)


@pytest.mark.parametrize("group", packets.GROUPS)
def test_services_rules_say_what_their_elements_say(group):
    given_, entries = packets.GROUPS[group]
    place = packets._Place
    _, elements, around = packets.planned(given_, entries, "nftables", place.addresses)
    own = frozenset((*place.addresses["here"], *place.gateway))
    asked = packets.cases(entries, "nftables")
    assert asked
    for number, family in enumerate(layout.FAMILIES):
        of_family = [one.element for one in elements if one.family is family]
        frame = [one for one in layout.frame(family, around[family.name]) if isinstance(one, nft.Element)]
        shapes = {layout.led_to(int(one.value, 0)) for one in of_family if one.of in layout.KIND_MAPS}
        chains = layout.chains(family, shapes - {None}, around[family.name])
        kinds = [one for one in chains if isinstance(one, nft.Element)]
        held = service_walk.of((*of_family, *frame, *kinds))
        table = rulewalk.table(rulebreaks.service_things(family, around[family.name], held), texts(held))
        for case in (case for case in asked if case.family == number):
            packet = dialled(case, place)
            said = service_walk.fate(held, packet, around[family.name], own)
            assert rulebreaks.fates(table, packet, own) == mutations.fates(said, packet, own), case


def test_a_rule_that_decides_is_missed_and_one_that_only_tells_is_not():
    """Without the rule that has new connections judged all pass, answers always do; the log is for people."""
    pod, peer = "10.244.1.5", "10.244.1.6"
    packet = policy_walk.Packet(*map(histories.ipaddress.ip_address, (pod, peer)), "tcp", 80)
    back = (("n", "forward"),)

    def passing(held):
        things = policy_mutations.things(held)
        whole = rulewalk.table(things, held)
        yield "", rulebreaks.passes(whole, "n", packet, "forward", back)
        for one in rulebreaks.missing(policies.TABLE, things):
            yield one.where, rulebreaks.passes(whole.without(one.chains), "n", packet, "forward", back)

    allowed = {"egress4": {pod: "goto egress-1"}, "ingress4": {pod: "goto ingress-2"}}
    assert dict(passing({**allowed, "decisions": {"1:0": policies.ALL}}))[""]
    found = dict(passing({"egress4": {pod: "goto egress-1"}}))
    assert not found[""]
    missed = {where for where, passes in found.items() if passes}
    assert any(where.startswith("forward: ct state new") for where in missed)
    assert {"forwarded: jump egress", "egress-denied: drop"} < missed
    assert not any("log prefix" in where or "update @" in where for where in missed)


def test_iptables_rules_are_taken_out_by_number_and_lead_to_others_of_their_kind():
    given_, (entry, *_) = packets.GROUPS["default"]
    place = packets._Place
    book, _, around = packets.planned(given_, [entry], "iptables", place.addresses)
    own = frozenset((*place.addresses["here"], *place.gateway))
    asked = [dialled(case, place) for case in packets.cases([entry], "iptables") if case.family == 0]
    document = iptables.document(layout.IP, iptables.names(dict(book.items())), around["ip"], "")
    chains = walk_iptables.read(document)

    def fates(of):
        return [mutations.fates(walk_iptables.fate(of, packet, own), packet, own) for packet in asked]

    before, every = fates(chains), list(rulebreaks.of_iptables(chains))
    gone = [one for one in every if one.what == "gone"]
    assert len(gone) == sum(len(rules) for table in chains.values() for rules in table.values())
    decided = [one for one in gone if " -j DNAT" in one.where and fates(one.chains) != before]
    assert decided
    for one in every:
        table, command, _ = one.apply.splitlines()
        chain = one.where.split()[1].rstrip(":")
        assert table == f"*{one.where.split()[0]}"
        assert command.split()[:2] == (["-D", chain] if one.what == "gone" else ["-R", chain])
    other = next(one for one in every if one.what.startswith("now KUBE-SEP-"))
    assert "-j KUBE-SEP-" in other.where
    masquerade = [one for one in every if "MASQUERADE" in one.where]
    assert [one.what for one in masquerade] == ["gone", "now ACCEPT"]
    assert all(fates(one.chains) != before for one in masquerade)
