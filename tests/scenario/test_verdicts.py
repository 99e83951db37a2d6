"""From checks to probes to judgements to reports, on a cluster seen at a glance, without a packet."""

import json
import pathlib
from xml.etree import ElementTree

import pytest

from netemu.api import codec, core, discovery
from netemu.base import errors, yamls
from netemu.cli import matrix
from netemu.model import worlds
from netemu.probe import questions, spread
from netemu.probe.questions import Answer, Outcome
from netemu.scenario import judge, plan, report, scenarios


def node(number):
    spec = {"podCIDRs": [f"10.244.{number}.0/24"]}
    status = {
        "addresses": [{"type": "InternalIP", "address": f"172.18.0.{number + 2}"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return codec.convert(
        core.Node, {"metadata": {"name": f"worker-{number}"}, "spec": spec, "status": status}
    )


def pod(name, number, host, app, ready="True"):
    ports = [{"containerPort": 8080, "protocol": "TCP"}]
    document = {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {"nodeName": f"worker-{number}", "containers": [{"name": "main", "ports": ports}]},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.244.{number}.{host}"}],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }
    return codec.convert(core.Pod, document)


WEB = (pod("web-1", 1, 5, "web"), pod("web-2", 2, 5, "web"), pod("web-3", 2, 6, "web"))
SERVICE = codec.convert(
    core.Service,
    {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIPs": ["10.96.0.20"], "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]},
    },
)
SLICE = codec.convert(
    discovery.EndpointSlice,
    {
        "metadata": {"name": "web-x", "namespace": "default", "labels": {worlds.SERVICE_NAME: "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [p.status.podIPs[0].ip],
                "nodeName": p.spec.nodeName,
                "targetRef": {"name": p.metadata.name},
            }
            for p in WEB
        ],
    },
)
WORLD = worlds.World(
    pods=(*WEB, pod("client", 1, 9, "client")),
    nodes=(node(1), node(2)),
    services=(SERVICE,),
    slices=(SLICE,),
    outside=worlds.Party("outside", "outside", addresses=("203.0.113.10",)),
)


def check(text):
    body = "".join(f"  {line}\n" for line in text.strip().splitlines())
    (document,) = yamls.parse(f"checks:\n- name: c\n{body}", "s.yaml")
    return scenarios.read(document, pathlib.Path("x")).checks[0]


def probes(text):
    return plan.plan([check(text)], WORLD).probes


def shown(found):
    return [(str(p.sender), p.target.shown, p.target.host, p.target.port, p.where) for p in found]


def test_pods_to_pods_is_every_pair_but_oneself():
    found = probes("from: pods app=web\nto: pods app=web")
    pairs = [(str(p.sender), p.target.shown) for p in found]
    assert pairs == [(f"web-{a}", f"pod web-{b}") for a in (1, 2, 3) for b in (1, 2, 3) if a != b]


@pytest.mark.parametrize(
    ("where", "pairs"),
    [
        ("same-node", {("web-2", "pod web-3"), ("web-3", "pod web-2")}),
        ("same-pod", {(f"web-{n}", f"pod web-{n}") for n in (1, 2, 3)}),
        ("other-node", {(f"web-{a}", f"pod web-{b}") for a, b in ((1, 2), (1, 3), (2, 1), (3, 1))}),
    ],
)
def test_pairs_by_where_they_are(where, pairs):
    found = probes(f"from: pods app=web\nto: pods app=web\nwhere: {where}")
    assert {(str(p.sender), p.target.shown) for p in found} == pairs


def test_a_service_by_address_name_and_node_port():
    found = probes("from: pod client\nto: service web\nvia: [address, name, node-port]\nfamily: IPv4")
    assert shown(found) == [
        ("client", "service web", "10.96.0.20", 80, ""),
        ("client", "name web", "web", 80, ""),
        ("client", "name web.default.svc.cluster.local", "web.default.svc.cluster.local", 80, ""),
        ("client", "node port of worker-1", "172.18.0.3", 30080, "same-node"),
        ("client", "node port of worker-2", "172.18.0.4", 30080, "other-node"),
    ]


def test_spread_asks_often_enough():
    (found,) = probes("from: pod client\nto: service web\nspread: true")
    assert found.requests == spread.requests_needed([1 / 3] * 3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("from: pod nobody\nto: nodes\nport: 80", "s.yaml:2: check 'c': there is no pod nobody"),
        (
            "from: outside\nto: service nobody in shop",
            "s.yaml:2: check 'c': there is no service nobody in shop",
        ),
        ("from: node moon\nto: nodes\nport: 80", "s.yaml:2: check 'c': there is no node moon"),
        ("from: container x of pod client\nto: nodes\nport: 80", "there is no container x of pod client"),
        ("from: outside\nto: address 300.1.1.1\nport: 80", "'300.1.1.1' is not an IP address"),
        ("from: pods app in\nto: nodes\nport: 80", "is not a place"),
        ("from: pods app=(\nto: nodes\nport: 80", "is not a label selector"),
    ],
)
def test_what_is_not_there_is_refused(text, complaint):
    with pytest.raises(errors.Rejected) as refused:
        probes(text)
    assert complaint in refused.value.message


def test_a_check_without_any_pair_is_not_silently_true():
    lonely = check("from: pods app=client\nto: pods app=client\nwhere: other-node")
    planned = plan.plan([lonely], WORLD)
    assert planned == plan.Plan((), (lonely,))
    scenario = scenarios.Scenario("s", "", "s.yaml", None, (), (), 1.0, (lonely,))
    assert not report.Report(scenario, "lab", (), planned.empty).ok


# -- judging


DIRECT = "from: pod client\nto: pod web-2\nsource: unchanged"
GOOD = Answer(Outcome.OK, endpoint="web-2", seen="10.244.1.9", local="10.244.1.9", address="10.244.2.5")


def judged(text, *answers):
    (probe,) = probes(text)
    return judge.judge(probe, answers, WORLD)


def test_what_holds():
    result = judged(DIRECT, GOOD)
    assert (result.ok, result.expected, result.measured) == (True, "ok, no NAT", "ok, no NAT")
    assert result.why == "pods are reached by their own address; worker-1 to worker-2"


BY_NAME = "from: pod client\nto: name web\nport: 80\nfamily: IPv4"
DROPPED = "from: pod client\nto: pod web-2\nexpect: dropped"


@pytest.mark.parametrize(
    ("text", "answer", "wrong", "cause"),
    [
        (DIRECT, GOOD._replace(seen="172.18.0.3"), "the server saw 172.18.0.3, the client is", "translated"),
        (DIRECT, GOOD._replace(endpoint="web-1"), "web-1 answered, which is none of web-2", "wrong endpoint"),
        (DIRECT, Answer(Outcome.TIMEOUT), "dropped instead of ok", "dropped on the way"),
        (DIRECT, Answer(Outcome.REFUSED), "refused instead of ok", "nothing listens on port 8080/TCP"),
        (DIRECT, Answer(Outcome.UNREACHABLE), "unreachable instead of ok", "no route to 10.244.2.5"),
        (DIRECT, Answer(Outcome.NO_SOURCE), "no-source instead of ok", "client has gone"),
        (DROPPED, GOOD, "ok instead of dropped", "nothing forbids it"),
        (BY_NAME, Answer(Outcome.DNS_FAILURE), "no-such-name", "no cluster DNS pod"),
    ],
)
def test_what_does_not_hold_says_what_and_where_to_look(text, answer, wrong, cause):
    result = judged(text, answer)
    assert not result.ok
    assert wrong in result.wrong
    assert cause in result.cause


def test_the_model_is_compared_even_when_the_scenario_is_content():
    result = judged("from: outside\nto: pod web-1\nexpect: ok", GOOD)
    assert result.wrong == "ok, but the model says unreachable"


def test_what_the_objects_rule_out_is_not_waited_for_and_the_model_says_why():
    text = "from: outside\nto: pod web-1\nexpect: ok"
    result = judged(text, Answer(Outcome.UNREACHABLE))
    assert result.foreseen
    assert result.cause == "the objects say so: pod addresses are known inside the cluster only"
    assert not judged(text, Answer(Outcome.TIMEOUT)).foreseen  # the model does not say that, either
    assert not judged(DIRECT, Answer(Outcome.UNREACHABLE)).foreseen  # that may come to be
    assert not judged(DIRECT, GOOD).foreseen


def test_a_pod_that_is_not_ready_is_the_likely_cause():
    sick = WORLD._replace(pods=(*WEB[:1], pod("web-2", 2, 5, "web", ready="False"), WORLD.pods[-1]))
    (probe,) = plan.plan([check(DIRECT)], sick).probes
    assert judge.judge(probe, [Answer(Outcome.REFUSED)], sick).cause == "pod web-2 is not Ready"


def test_an_endpoint_that_never_answers_is_named():
    found = [GOOD, GOOD._replace(endpoint="web-1")]
    result = judged("from: pod client\nto: service web\nspread: true", *found)
    assert result.wrong == "web-3 never answered in 2 requests"
    assert result.measured == "ok, no NAT, 2 answer (1+1)"


# -- reports


def full_report():
    first, second = check(DIRECT), check("from: outside\nto: pod web-1\nport: 8080\nexpect: unreachable")
    second = second._replace(name="outside sees no pod")
    found = plan.plan([first, second], WORLD).probes
    results = (
        judge.judge(found[0], [GOOD], WORLD),
        judge.judge(found[1], [GOOD._replace(endpoint="web-1", local="203.0.113.10")], WORLD),
    )
    scenario = scenarios.Scenario("s", "", "s.yaml", None, (), (), 1.0, (first, second))
    return report.Report(scenario, "lab", results, seconds=(("up", 1.0),))


def test_the_report_as_json():
    document = json.loads(report.to_json(full_report()))
    assert (document["ok"], document["seconds"]) == (False, {"up": 1.0})
    good, bad = document["probes"]
    assert (good["ok"], good["host"], good["answers"][0]["seen"]) == (True, "10.244.2.5", "10.244.1.9")
    assert (bad["ok"], bad["wrong"], bad["model"]) == (False, "ok instead of unreachable", "unreachable")


def test_the_report_as_junit():
    root = ElementTree.fromstring(report.to_junit(full_report()))
    suites = [(s.get("name"), s.get("tests"), s.get("failures")) for s in root.iter("testsuite")]
    assert suites == [("c", "1", "0"), ("outside sees no pod", "1", "1")]
    (failure,) = root.iter("failure")
    assert failure.get("message") == "ok instead of unreachable"
    assert "likely cause: nothing forbids it" in failure.text


def test_the_report_for_people():
    lines = list(matrix.lines(full_report(), lambda _style, text: text))
    assert lines[:6] == [
        "ok   1. c",
        "     expected: ok, no NAT  (TCP, IPv4 IPv6; 1 of 1 flows hold)",
        "     because:  pods are reached by their own address; worker-1 to worker-2",
        "     WHO                  TO WHAT                       MEASURED",
        "     client on worker-1   pod web-2 on worker-2 :8080   ok, no NAT (TCP IPv4), 0.0 ms",
        "",
    ]
    assert lines[6:11] == [
        "FAIL 2. outside sees no pod",
        "     expected: unreachable  (TCP, IPv4 IPv6; 0 of 1 flows hold)",
        "     because:  pod addresses are known inside the cluster only",
        "     WHO       TO WHAT                       MEASURED",
        "     outside   pod web-1 on worker-1 :8080   ok, seen as 10.244.1.9 (TCP IPv4), 0.0 ms",
    ]
    assert lines[11].strip() == "why it failed: ok instead of unreachable"
    assert lines[-1].startswith("s: 1 FAILED  (2 checks, 2 flows, 2 requests; up 1.00 s)")


def test_outcomes_have_words():
    assert set(judge.WORDS) == set(questions.Outcome)
