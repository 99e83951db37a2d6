"""One real lab: everything agrees with the model; whatever is broken by hand or by dice is reported."""

import asyncio
import json
import os
import random

import pytest

from netemu.cli import main
from netemu.kernel import firewall
from netemu.lab import down, up
from netemu.verify import breaking, chance, fuzzing, fuzzlabs, hands

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


@pytest.mark.timeout(300)
def test_the_commands_say_what_differs(lab, capsys):
    async def pods(client, meter):
        around = await fuzzing.surroundings(client, lab)
        await hands.Hands(client).become(chance.Walk(0, around).state)

    asyncio.run(fuzzlabs.within(lab, pods))
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
    asked = fuzzlabs.Asked(f"faults-{os.getpid()}", 5, 25, 600, proxy)
    score = fuzzlabs.mutate(asked, lambda text: None, most=200)
    record_property("measured", "; ".join(score.lines()))
    assert len(score.tried) >= 100
    assert score.reported >= 0.95 * len(score.tried)
