"""One real lab: everything agrees with the model; whatever is broken by hand or by dice is reported."""

import asyncio
import contextlib
import json
import os
import pathlib
import random
from xml.etree import ElementTree

import pytest

from netemu.cli import main
from netemu.kernel import firewall, netns
from netemu.kubeproxy import layout as service_layout
from netemu.lab import down, up
from netemu.verify import (
    breaking,
    cases,
    chance,
    clusters,
    fuzzing,
    fuzzlabs,
    hands,
    measure,
    observing,
)
from netemu.wire import listings

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a lab"),
]

NAME = f"verify-{os.getpid()}"
STEPS, SECONDS, FAULTS = 5, 4.0, 8
MODES = [(proxy, pods) for proxy in ("nftables", "iptables") for pods in ("bridged", "routed")]
DROP = """table inet t { chain c { type filter hook forward priority 0;
  ct state established,related accept; udp dport 81 drop; }; }
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETEMU_STATE_DIR", str(tmp_path_factory.mktemp("labs")))
        made = up.up(fuzzlabs.Asked(NAME, 0, 0).lab)
        yield made
        down.down(NAME)


def walk(lab, seed, steps, seconds=None):
    """A walk in the lab, from nothing; and nothing is left of it."""

    async def go(client, meter):
        around = await fuzzing.surroundings(client, lab)
        fuzzer = fuzzing.Fuzzer(client, meter, chance.Walk(seed, around), lambda text: None)
        walked = await fuzzer.run(steps, seconds)
        await fuzzer.undo()
        return walked

    return asyncio.run(fuzzlabs.within(lab, go))


def shown(walked, seed):
    if walked.failure is None:
        return ""
    first = walked.failure.results[0]
    return f"seed {seed}: {first.case}: {first.wrong}\n{fuzzlabs.manifests(walked.failure)}"


@pytest.mark.timeout(300)
def test_known_steps_agree_with_the_model(lab):
    walked = walk(lab, 1, STEPS)
    assert walked.failure is None, shown(walked, 1)
    assert walked.refused == ()
    assert walked.steps == STEPS
    assert walked.flows > 500 * STEPS


@pytest.mark.timeout(300)
def test_new_steps_agree_with_the_model(lab, record_property):
    """A new seed each run; the line at the end of the run has the command that goes the same walk."""
    seed = random.SystemRandom().randrange(1 << 32)
    walked = walk(lab, seed, 1000, SECONDS)
    again = fuzzlabs.Asked(NAME, seed, 0).command(walked.steps)
    record_property("measured", f"{walked.steps} steps, {walked.flows} flows; again: {again}")
    assert walked.failure is None, shown(walked, seed)
    assert walked.refused == (), seed


@pytest.mark.timeout(300)
def test_planted_faults_are_reported(lab, record_property):
    """A representative few; `-m slow` tries more."""
    score = asyncio.run(fuzzlabs.within(lab, lambda client, meter: faults(client, meter, lab)))
    record_property("measured", "; ".join(score.lines()))
    assert len(score.tried) == FAULTS
    assert score.reported >= FAULTS - 1  # chance may send all of a round's connections past a broken slot


async def faults(client, meter, lab):
    around = await fuzzing.surroundings(client, lab)
    state = chance.Walk(5, around)
    for _ in range(25):
        state.step()
    made = hands.Hands(client)
    await made.become(state.state)
    score = await breaking.score(
        client, lab, meter, random.Random(1), most=FAULTS, seconds=None, progress=lambda text: None
    )
    await made.become({})
    return score


@contextlib.contextmanager
def pods(lab, *steps):
    """Those that walks begin with, and what these steps add; gone afterwards."""

    async def become(client, meter):
        around = await fuzzing.surroundings(client, lab)
        made = hands.Hands(client)
        made.state = dict(here)
        await made.become(clusters.after(chance.Walk(0, around).state, steps) if not here else {})
        return made.state

    here = {}
    here.update(asyncio.run(fuzzlabs.within(lab, become)))
    try:
        yield
    finally:
        asyncio.run(fuzzlabs.within(lab, become))


@pytest.mark.timeout(300)
def test_explain_answers_for_the_lab_that_is_up(lab, capsys):
    """Labels, addresses and policies are those of the API server; and what it says is measured, too."""
    deny = clusters.put(
        {
            **clusters.named("NetworkPolicy", "deny", "x"),
            "spec": {"podSelector": {"matchLabels": {"pod": "b"}}, "policyTypes": ["Ingress"]},
        }
    )
    asked = ["--name", NAME, "-n", "x"]
    with pods(lab, deny):
        assert main.run(["explain", *asked, "b", "a:80"]) == 0
        assert capsys.readouterr().out.startswith("ok: x/a answers on port 80")
        assert main.run(["explain", *asked, "a", "b:80", "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert [one["outcome"] for one in told["outcomes"]] == ["dropped"]
        assert "x/deny" in {reason.get("subject") for reason in told["because"]}
        assert main.run(["explain", *asked, "a", "nobody:80"]) == 2
        capsys.readouterr()
        ends = ["pod a in x", "pod b in x", "--port", "80", "--via", "address"]
        assert main.run(["probe", *ends, "--name", NAME, "-q"]) == 0
        assert "dropped" in capsys.readouterr().out
        for words, said in (
            (["x/b", "x/a:80", "--diff"], "all 2 flows agree with the model"),
            (["x/b", "203.0.113.10:8080"], "outside answered"),
            (["x/a", "x/b", "--icmp"], "dropped"),
        ):
            assert main.run(["probe", *words, "--name", NAME, "-q"]) == 0
            assert said in capsys.readouterr().out
        assert main.run(["probe", "x/b", "x/a", "--protocol", "SCTP", "--junit", "-", "--name", NAME]) == 0
        assert ElementTree.fromstring(capsys.readouterr().out).get("name") == "probe"
        assert main.run(["probe", "1.2.3.4", "x/b:80", "--name", NAME]) == 2


@pytest.mark.timeout(300)
def test_an_endpoint_without_connections_is_reported(lab, capsys):
    """Two pods behind a Service, and on one node both slots lead to one of them: each request is answered."""
    labels = {"spec": {"selector": {"app": "red"}, "ports": [{"port": 80}]}}
    service = clusters.put({**clusters.named("Service", "s", "x"), **labels})
    second = clusters.pod("x", "c", {"app": "red"}, node="worker-2")
    asked = ["verify", "--only", "service", "--within", "0", "--name", NAME, "-q"]
    with pods(lab, service, clusters.put(second)):
        assert main.run(asked) == 0
        assert "every endpoint of 3 shared Service ports answers (93 connections)" in capsys.readouterr().out
        door = firewall.LibNftables(lab.netns("worker-1"))
        table = service_layout.IP.table
        listed = listings.elements(door.list_json(f"list map {table} backends-tcp"))["backends-tcp"]
        (one, first), (_, other) = ((k, e.value) for k, e in sorted(listed.items()) if " . 80 . " in k)
        change = "delete element {0} backends-tcp {{ {1} }}\nadd element {0} backends-tcp {{ {1} : {2} }}\n"
        with breaking._still(lab):
            door.apply(change.format(table, one, other))
            try:
                assert main.run(asked) == 1
            finally:
                door.apply(change.format(table, one, first))
    said = capsys.readouterr().out
    assert "never answered in 31 connections" in said
    assert "the Service's rule on worker-1" in said


@pytest.mark.timeout(300)
def test_what_nodes_refuse_is_not_rationed(lab):
    """Asked only from pods, again and again: each node would refuse a pod six times, and then fall silent."""
    nobody = {"spec": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}}

    def wanted(case):
        return case.kind == "service" and case.flow.source.kind == "pod" and fuzzing.wanted(case)

    async def again_and_again(client, meter):
        assert all(result.ok for result in await meter.verify(within=30, wanted=wanted))
        world = await observing.world(client, lab)
        asked = cases.every(world, outside_port=measure.OUTSIDE_PORT, wanted=wanted)
        found = [result for _ in range(4) for result in await meter.measure(asked, world)]
        assert [str(result.case) for result in found if not result.ok] == []
        assert sum(result.measured == "refused" for result in found) > 50

    with pods(lab, clusters.put({**clusters.named("Service", "nobody", "x"), **nobody})):
        for node in lab.nodes:  # as a lab has it that was never measured
            with netns.inside(lab.netns(node)):
                pathlib.Path("/proc/sys/net/ipv4/icmp_ratemask").write_text("6168")
        asyncio.run(fuzzlabs.within(lab, again_and_again))


@pytest.mark.timeout(300)
def test_the_commands_say_what_differs(lab, capsys):
    with pods(lab):
        commands_say_what_differs(lab, capsys)


def commands_say_what_differs(lab, capsys):
    assert main.run(["verify", "--name", NAME, "-q"]) == 0
    assert "flows agree with the model" in capsys.readouterr().out
    door = firewall.LibNftables(lab.netns("worker-1"))
    door.apply(DROP)
    try:
        asked = ["--name", NAME, "-q", "--protocol", "UDP", "--family", "IPv4"]
        assert main.run(["probe", "--diff", *asked]) == 1
        text = capsys.readouterr().out
        assert "measured  dropped" in text
        assert "because pods are reached by their own address" in text
        assert "worker-1" in text
        assert main.run(["probe", *asked]) == 1
        table = capsys.readouterr().out
        assert "·≠✓" in table
        assert main.run(["verify", "--within", "0", "--only", "pod", "--json", "--name", NAME, "-q"]) == 1
    finally:
        door.apply("delete table inet t")
    found = json.loads(capsys.readouterr().out)
    wrong = [flow for flow in found["flows"] if not flow["ok"]]
    assert wrong
    assert {(flow["protocol"], flow["port"], flow["measured"]) for flow in wrong} == {("UDP", 81, "dropped")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("proxy", "pods"), MODES)
def test_a_thousand_steps_agree_in_both_modes_with_both_kinds_of_pods(
    proxy, pods, tmp_path, monkeypatch, record_property
):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path))
    asked = fuzzlabs.Asked(f"fuzz-{os.getpid()}", 1000, 1000, None, proxy, pods)
    walked = fuzzlabs.walk(asked, lambda text: None)
    record_property("measured", f"{walked.steps} steps, {walked.flows} flows ({proxy}, {pods} pods)")
    assert walked.failure is None, shown(walked, asked.seed)
    assert walked.steps == 1000


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("proxy", ["nftables", "iptables"])
def test_the_mutation_score(proxy, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path))
    asked = fuzzlabs.Asked(f"faults-{os.getpid()}", 5, 25, 300, proxy)
    score = fuzzlabs.mutate(asked, lambda text: None, most=200)
    record_property("measured", "; ".join(score.lines()))
    assert len(score.tried) >= 20  # of a quiet machine, ten times as many
    assert score.reported >= 0.95 * len(score.tried)
