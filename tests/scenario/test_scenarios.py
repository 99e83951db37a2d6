"""The scenario format: what it means, and what is said about what it does not mean."""

import pathlib

import pytest

from netemu.base import errors, yamls
from netemu.scenario import places, scenarios

HERE = pathlib.Path("scenarios/x")
QUICKSTART = pathlib.Path(__file__).parents[2] / "scenarios" / "01-quickstart"


def read(text):
    (document,) = yamls.parse(text, "scenario.yaml")
    return scenarios.read(document, HERE)


def test_a_small_scenario_and_its_defaults():
    found = read("checks:\n- name: hello\n  from: pod a in shop\n  to: service b\n")
    (check,) = found.checks
    assert check == scenarios.Check(
        name="hello",
        senders=(places.Place("pod", "a", "shop"),),
        targets=(places.Place("service", "b", "default"),),
        port=None,
        protocols=("TCP",),
        families=(4, 6),
        via=("address",),
        where=(),
        expect="ok",
        source="any",
        spread=False,
        identify=True,
        within=5.0,
        defined="scenario.yaml:2",
    )
    assert (found.name, found.manifests, len(found.lab.nodes)) == ("x", ("scenarios/x/manifests",), 3)


CHECK = "checks:\n- name: c\n  from: outside\n  to: nodes\n  port: 80\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "scenario.yaml:1: a mapping (key: value) is wanted here"),
        ("name: x\n", "scenario.yaml:1: a scenario needs at least one check"),
        ("cheks: []\n", "scenario.yaml:1: unknown field 'cheks'"),
        (CHECK + "  expcet: ok\n", "scenario.yaml:6: unknown field 'expcet'"),
        (CHECK + "  expect: maybe\n", "scenario.yaml:6: 'maybe' is not one of: ok, refused"),
        (CHECK + "  protocol: [TCP, QUIC]\n", "scenario.yaml:6: 'QUIC' is not one of: TCP, UDP, SCTP"),
        (CHECK + "  within: soon\n", "scenario.yaml:6: 'within' must be a duration"),
        (
            CHECK.replace("port: 80", "port: 99999"),
            "scenario.yaml:5: 'port' must be a number from 1 to 65535",
        ),
        (CHECK.replace("  port: 80\n", ""), "scenario.yaml:2: 'port' is missing"),
        (CHECK.replace("nodes", "the moon"), "scenario.yaml:4: 'the moon' is not a place"),
        (
            CHECK.replace("from: outside", "from: service web"),
            "scenario.yaml:3: 'from' cannot be 'service web'",
        ),
        (CHECK.replace("  from: outside\n", ""), "scenario.yaml:2: the field 'from' is missing"),
        (CHECK.replace("name: c", "name: [c]"), "scenario.yaml:2: 'name' must be a text"),
        ("lab: {nodes: 0}\n" + CHECK, "scenario.yaml:1: nodes is 0"),
        ("lab:\n  ranges: {pods: 10.96.0.0/12}\n" + CHECK, "scenario.yaml:2: ranges.pods"),
        ("serve: [{at: pod x, port: 80}]\n" + CHECK, "scenario.yaml:1: 'at' must be outside or a node"),
    ],
)
def test_bad_scenarios_are_refused_with_file_and_line(text, complaint):
    with pytest.raises(errors.Rejected) as refused:
        read(text)
    assert refused.value.message.startswith(complaint), refused.value.message


def test_a_misspelt_field_gets_a_hint():
    with pytest.raises(errors.Rejected) as refused:
        read(CHECK + "  expcet: ok\n")
    assert refused.value.hint == "did you mean 'expect'?"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("2m", 120), ("500ms", 0.5), ("1.5s", 1.5), ("7", 7)]
)
def test_durations(text, seconds):
    assert read(f"within: {text}\n" + CHECK).checks[0].within == seconds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("pod web", places.Place("pod", "web", "default")),
        ("pods app=web,tier=front in shop", places.Place("pods", "app=web,tier=front", "shop")),
        ("container log of pod web in shop", places.Place("container", "web", "shop", "log")),
        ("service web in shop", places.Place("service", "web", "shop")),
        ("node worker-1", places.Place("node", "worker-1")),
        ("nodes", places.Place("nodes")),
        ("outside", places.Place("outside")),
        ("localhost", places.Place("localhost")),
        ("address fd00::1", places.Place("address", "fd00::1")),
        ("name web.shop", places.Place("name", "web.shop")),
    ],
)
def test_places(text, place):
    assert places.parse(text) == place
    assert str(place) == text.replace(" in default", "")


@pytest.mark.parametrize(
    "text", ["", "pod", "pod a b", "pod a in", "node", "outside there", "container a of web"]
)
def test_what_is_no_place(text):
    with pytest.raises(ValueError, match="is not a place"):
        places.parse(text)


def test_the_quickstart_covers_what_it_promises():
    found = scenarios.load(str(QUICKSTART))
    senders = {place.kind for check in found.checks for place in check.senders}
    targets = {place.kind for check in found.checks for place in check.targets}
    assert {"container", "pod", "pods", "nodes", "outside"} <= senders
    assert {"localhost", "pods", "service", "outside", "name"} <= targets
    assert {via for check in found.checks for via in check.via} == {"address", "name", "node-port"}
    assert all(check.families == (4, 6) for check in found.checks)
    assert any(check.spread for check in found.checks)


def test_a_scenario_that_is_not_there(tmp_path):
    with pytest.raises(errors.Rejected, match="no such file"):
        scenarios.load(str(tmp_path))
