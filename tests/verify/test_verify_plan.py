"""What is asked of a cluster, how answers are judged, and how they are shown. Nothing here is measured."""

import json
from xml.etree import ElementTree

import pytest

from netemu.api import codec, core, discovery
from netemu.cli import truth
from netemu.kubeproxy import layout as service_layout
from netemu.kubeproxy import walk as service_walk
from netemu.model import expect, verdicts, worlds
from netemu.probe import questions
from netemu.probe.questions import Outcome
from netemu.verify import cases, judge, mutations, report, spreading


def pod(name, node, number, *, labels=None, host_network=False):
    document = {
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {
            "nodeName": node,
            "hostNetwork": host_network,
            "containers": [{"name": "c", "ports": [{"containerPort": 80}]}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.244.{number}.5"}, {"ip": f"fd00:244:0:{number}::5"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return codec.convert(core.Pod, document)


def node(number):
    document = {
        "metadata": {"name": f"worker-{number}"},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:244:0:{number}::/64"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": ip} for ip in (f"172.18.0.{number}", f"fd00:18::{number}")
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return codec.convert(core.Node, document)


SERVICE = codec.convert(
    core.Service,
    {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "clusterIP": "10.96.0.20",
            "clusterIPs": ["10.96.0.20"],
            "ports": [{"port": 8080, "nodePort": 30080}],
        },
    },
)
SLICE = codec.convert(
    discovery.EndpointSlice,
    {
        "metadata": {
            "name": "web-4",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.244.1.5"], "nodeName": "worker-1", "targetRef": {"kind": "Pod", "name": "a"}}
        ],
    },
)
WORLD = worlds.World(
    pods=(pod("a", "worker-1", 1), pod("b", "worker-2", 2), pod("agent", "worker-1", 9, host_network=True)),
    nodes=(node(1), node(2)),
    services=(SERVICE,),
    slices=(SLICE,),
    outside=worlds.Party("outside", "outside", addresses=("203.0.113.10",)),
)


def every(**wanted):
    return cases.every(WORLD, **wanted)


def test_everybody_asks_everything_in_every_family_he_has():
    asked = every(outside_port=8080)
    assert {str(case.flow.source) for case in asked} == {"a", "b", "worker-1", "worker-2", "outside"}
    by_a = [case for case in asked if str(case.flow.source) == "a"]
    assert [(case.kind, case.flow.host, case.flow.port, case.flow.protocol) for case in by_a] == [
        ("pod", "10.244.1.5", 80, "TCP"),
        ("pod", "fd00:244:0:1::5", 80, "TCP"),
        ("pod", "10.244.2.5", 80, "TCP"),
        ("pod", "fd00:244:0:2::5", 80, "TCP"),
        ("service", "10.96.0.20", 8080, "TCP"),
        ("service", "10.96.0.20", 9, "TCP"),
        ("node-port", "172.18.0.1", 30080, "TCP"),
        ("node-port", "fd00:18::1", 30080, "TCP"),
        ("node-port", "172.18.0.2", 30080, "TCP"),
        ("node-port", "fd00:18::2", 30080, "TCP"),
        ("echo", "172.18.0.1", 0, "ICMP"),
        ("echo", "fd00:18::1", 0, "ICMP"),
        ("echo", "172.18.0.2", 0, "ICMP"),
        ("echo", "fd00:18::2", 0, "ICMP"),
        ("echo", "10.244.1.5", 0, "ICMP"),
        ("echo", "fd00:244:0:1::5", 0, "ICMP"),
        ("echo", "10.244.2.5", 0, "ICMP"),
        ("echo", "fd00:244:0:2::5", 0, "ICMP"),
        ("outside", "203.0.113.10", 8080, "TCP"),
        ("outside", "203.0.113.10", 8080, "UDP"),
        ("name", "web", 8080, "TCP"),
        ("name", "web", 8080, "TCP"),
    ]
    by_outside = {case.flow.family for case in asked if case.flow.source.kind == "outside"}
    assert by_outside == {4}  # it has no other address
    assert all(case.kind != "outside" for case in every())


def found(source, host, port, outcome, *, endpoint="", seen="", mute=False, world=WORLD):
    case = next(c for c in every() if (str(c.flow.source), c.flow.host, c.flow.port) == (source, host, port))
    answer = questions.Answer(outcome, endpoint, seen, address=host)
    return judge.judge(case, expect.expect(world, case.flow), answer, world, mute=mute)


@pytest.mark.parametrize(
    ("flow", "outcome", "more", "wrong", "cause"),
    [
        (("a", "10.244.2.5", 80), Outcome.OK, {"endpoint": "b", "seen": "10.244.1.5"}, "", ""),
        (
            ("a", "10.244.2.5", 80),
            Outcome.OK,
            {"endpoint": "b", "seen": "172.18.0.1"},
            "the server saw 172.18.0.1",
            "an address is translated where it must not be",
        ),
        (("a", "10.96.0.20", 8080), Outcome.OK, {"endpoint": "b"}, "b answered", "the wrong endpoint"),
        (("a", "10.244.2.5", 80), Outcome.TIMEOUT, {}, "dropped, but", "on worker-1 or worker-2 loses it"),
        (("a", "10.244.2.5", 80), Outcome.TIMEOUT, {"mute": True}, "", ""),
        (("a", "10.244.2.5", 80), Outcome.REFUSED, {}, "refused, but", "nothing listens on port 80/TCP"),
        (("a", "10.96.0.20", 9), Outcome.OK, {}, "ok, but the model says refused", "a rule that stops it"),
        (("b", "10.244.1.5", 80), Outcome.UNREACHABLE, {}, "unreachable, but", "no route to 10.244.1.5"),
        (("b", "10.244.1.5", 80), Outcome.NO_SOURCE, {}, "no running network", "b has gone"),
        (("outside", "10.244.1.5", 80), Outcome.UNREACHABLE, {}, "", ""),
    ],
)
def test_what_is_wrong_and_why(flow, outcome, more, wrong, cause):
    result = found(*flow, outcome, **more)
    assert result.ok == (not wrong)
    assert wrong in result.wrong
    assert cause in result.cause


def test_an_unready_pod_explains_a_drop():
    sick = codec.convert(core.Pod, {**codec.document(WORLD.pods[1])})
    status = {**codec.document(sick)["status"], "conditions": []}
    sick = codec.convert(core.Pod, {**codec.document(sick), "status": status})
    world = worlds.World(*WORLD._replace(pods=(WORLD.pods[0], sick)))
    assert found("a", "10.244.2.5", 80, Outcome.TIMEOUT, world=world).cause == "pod b is not Ready"


def test_a_pod_in_the_hosts_network_is_called_as_its_node():
    host = pod("agent", "worker-1", 9, host_network=True)
    document = json.loads(codec.encode(SLICE))
    document["endpoints"][0] |= {"targetRef": {"kind": "Pod", "name": "agent"}, "addresses": ["10.244.9.5"]}
    slices = (codec.convert(discovery.EndpointSlice, document),)
    world = worlds.World(*WORLD._replace(pods=(WORLD.pods[0], host), slices=slices))
    assert found("a", "10.96.0.20", 8080, Outcome.OK, endpoint="worker-1", world=world).ok
    assert not found("a", "10.96.0.20", 8080, Outcome.OK, endpoint="worker-2", world=world).ok


def shared():
    """The world with a second endpoint of the Service, and what agrees there."""
    document = json.loads(codec.encode(SLICE))
    second = {"addresses": ["10.244.2.5"], "nodeName": "worker-2", "targetRef": {"kind": "Pod", "name": "b"}}
    document["endpoints"].append(second)
    world = worlds.World(*WORLD._replace(slices=(codec.convert(discovery.EndpointSlice, document),)))
    asked = [case for case in every() if case.kind in ("service", "node-port") and case.flow.port != 9]
    answer = questions.Answer(Outcome.OK)
    return world, [judge.judge(case, expect.expect(world, case.flow), answer, world) for case in asked]


def test_one_sender_asks_often_for_each_node_that_draws():
    world, agreed = shared()
    groups = spreading.groups(agreed, world)
    assert [(str(g.case.flow.source), g.case.flow.host, g.requests) for g in groups] == [
        ("a", "10.96.0.20", 31),  # two that are drawn evenly: 2 * (1/2)^31 < 10^-9
        ("a", "172.18.0.1", 31),
        ("a", "172.18.0.2", 31),
        ("b", "10.96.0.20", 31),
    ]
    assert spreading.groups(results(), WORLD) == ()  # one endpoint


@pytest.mark.parametrize(
    ("said", "wrong", "cause"),
    [
        (["a"] * 30 + ["b"], "", ""),
        (["a"] * 31, "b never answered in 31 connections", "the Service's rule on worker-1"),
        ([""] * 31, "", ""),  # servers that do not say who they are
        (["a", "b", "c"], "1 of 3 connections: c answered, which is none of a, b", "the wrong endpoint"),
        (["a", "b", None], "1 of 3 connections: dropped, but the model says ok", "loses it"),
    ],
)
def test_an_endpoint_that_never_answers_is_told(said, wrong, cause):
    world, agreed = shared()
    group = spreading.groups(agreed, world)[0]
    answers = [questions.Answer(Outcome.TIMEOUT if name is None else Outcome.OK, name or "") for name in said]
    result = spreading.judged(group, answers, world)
    assert result.wrong == wrong
    assert cause in result.cause
    assert result.attempts == len(said)
    lines = "\n".join(truth.differences([result], lambda _style, text: text))
    assert ("measured  dropped" if None in said else f"measured  {wrong}") in lines or not wrong


def results():
    return [
        found("a", "10.244.2.5", 80, Outcome.TIMEOUT),
        found("a", "fd00:244:0:2::5", 80, Outcome.TIMEOUT),
        found("b", "10.244.1.5", 80, Outcome.TIMEOUT),
        found("b", "fd00:244:0:1::5", 80, Outcome.OK, endpoint="a"),
        found("a", "10.244.1.5", 80, Outcome.OK, endpoint="a"),
        found("outside", "10.244.1.5", 80, Outcome.UNREACHABLE),
    ]


def test_differences_are_told_once_with_what_they_have_in_common():
    groups = report.differences(results())
    assert [(group.first.case.target, group.how) for group in groups] == [
        ("b", "TCP :80 IPv4 IPv6"),
        ("a", "TCP :80 IPv4"),
    ]
    assert report.common(results()) == "all of it is between worker-1 and worker-2"
    assert report.common(results()[1:]) == ""  # two say little
    right = results()[4]
    udp = right._replace(case=right.case._replace(flow=right.case.flow._replace(protocol="UDP")))
    assert report.common([*results(), udp]) == "all of it is between worker-1 and worker-2, TCP"


def test_the_truth_table_shows_measured_beside_expected():
    lines = list(truth.matrices(results(), lambda _style, text: text))
    assert lines[:-2] == [
        "TCP",
        "           b:80  a:80",
        "  a        ·≠✓   ✓",
        "  b              ·≠✓/✓",
        "  outside        -",
    ]
    assert truth.summary(results(), lambda _style, text: text) == "3 of 6 flows differ from the model"


def named(*targets):
    """What agrees between two senders and targets of such names."""
    case = every()[0]
    found = [case._replace(target=name) for name in targets]
    return [judge.judge(one, verdicts.one("ok"), questions.Answer(Outcome.OK), WORLD) for one in found]


def test_a_narrow_terminal_gets_numbered_columns_and_their_names_below():
    several = named("default/first", "default/second", "default/third")
    lines = list(truth.matrices(several, lambda _style, text: text, width=44))
    assert lines[:7] == [
        "TCP",
        "     1  2  3",
        "  a  ✓  ✓  ✓",
        "",
        "  1 default/first:80   3 default/third:80",
        "  2 default/second:80",
        "",
    ]
    assert all(len(line) <= 44 for line in lines[:-1])  # the last one is what "≠" means
    wide = list(truth.matrices(several, lambda _style, text: text, width=60))
    assert wide[1:3] == [
        "     default/first:80  default/second:80  default/third:80",
        "  a  ✓                 ✓                  ✓",
    ]


def test_the_narrowest_gets_the_table_in_parts():
    lines = list(truth.matrices(named("default/first", "default/second"), lambda _s, text: text, width=8))
    assert lines[:6] == ["TCP", "     1", "  a  ✓", "     2", "  a  ✓", ""]


def test_json_and_junit_say_the_same():
    document = report.document(results(), lab="l", seconds=1.0)
    assert json.loads(json.dumps(document))["differences"] == 3
    first = document["flows"][0]
    assert (first["from"], first["measured"], first["expected"], first["ok"]) == (
        "a",
        "dropped",
        ["ok"],
        False,
    )
    suites = ElementTree.fromstring(report.junit("verify", results()))
    assert {suite.get("name"): (suite.get("tests"), suite.get("failures")) for suite in suites} == {
        "a": ("3", "2"),
        "b": ("2", "1"),
        "outside": ("1", "0"),
    }
    failure = suites.find(".//failure")
    assert "likely cause: a rule or a route on worker-1 or worker-2 loses it" in failure.text


def test_what_the_model_leaves_open_is_counted_so():
    case = every()[0]
    answer = questions.Answer(Outcome.OK)
    undecided = judge.judge(case, verdicts.one(""), answer, WORLD)
    assert undecided.ok
    assert report.counts([undecided]) == {("pod", "open"): 1}


def stations(source, host):
    asked = (case for case in every() if case.kind != "node-port")
    case = next(c for c in asked if (str(c.flow.source), c.flow.host) == (source, host))
    return [journey.stations for journey in mutations.journeys(WORLD, [case])]


@pytest.mark.parametrize(
    ("source", "host", "expected"),
    [
        ("a", "10.244.2.5", [(("worker-1", "forward"), ("worker-2", "forward"))]),
        ("a", "172.18.0.1", [(("worker-1", "input"),)]),  # its own node
        ("a", "172.18.0.2", [(("worker-1", "forward"),)]),
        ("worker-1", "10.244.1.5", []),  # a node to its own pod: nobody judges it
        ("worker-2", "10.244.1.5", [(("worker-1", "forward"),)]),
        ("a", "10.244.1.5", []),  # to itself
        ("a", "10.96.0.20", []),  # a Service's: what the node port tables do with it
    ],
)
def test_which_nodes_judge_a_packet(source, host, expected):
    assert stations(source, host) == expected


def test_whose_service_tables_see_a_packet():
    asked = [case for case in every() if case.kind in ("service", "node-port") and case.flow.family == 4]
    seen = {
        (packet.source, packet.destination, packet.link)
        for packet in mutations.dialled("worker-1", WORLD, asked)
    }
    assert seen == {
        ("10.244.1.5", "10.96.0.20", "cni0"),  # its pod
        ("10.244.1.5", "172.18.0.1", "cni0"),
        ("10.244.1.5", "172.18.0.2", "cni0"),
        ("172.18.0.1", "10.96.0.20", ""),  # itself
        ("172.18.0.1", "172.18.0.1", ""),
        ("172.18.0.1", "172.18.0.2", ""),
        ("10.244.2.5", "172.18.0.1", "eth0"),  # others, at its node port
        ("172.18.0.2", "172.18.0.1", "eth0"),
        ("203.0.113.10", "172.18.0.1", "eth0"),
    }


PROXY = service_layout.IP
AROUND = service_layout.Surroundings(pods=("10.244.0.0/16",), services=("10.96.0.0/16",))


def test_a_fault_matters_if_a_flow_ends_otherwise_from_end_to_end():
    """Two slots of one backend: one gone matters; who it is for, if nobody dials it, does not."""
    found, used, unused = faults(WORLD)
    assert found[f"ip services {{ {used} }}", "gone"]
    assert not found[f"ip services {{ {unused} }}", "gone"]
    assert found["ip backends-tcp { 10.96.0.20 . 8080 . 0 }", "gone"]
    assert found["ip backends-tcp { 10.96.0.20 . 8080 . 0 }", "10.244.2.5"]
    assert not found["ip backends-tcp { 10.96.0.21 . 80 . 0 }", "gone"]
    assert not found["ip cluster-ips { 10.96.0.21 }", "gone"]
    assert found["ip pods { 10.244.0.0/16 }", "gone"]  # the source would be masqueraded


def test_a_fault_that_only_the_server_could_tell_does_not_matter():
    """An API server is no pod: it neither says who it is nor whom it sees."""
    document = codec.document(SLICE)
    document["endpoints"][0] = {"addresses": ["172.18.0.9"]}
    nobody = codec.convert(discovery.EndpointSlice, document)
    found, used, _ = faults(WORLD._replace(slices=(nobody,)))
    assert found[f"ip services {{ {used} }}", "gone"]
    assert found["ip backends-tcp { 10.96.0.20 . 8080 . 0 }", "gone"]
    assert not found["ip backends-tcp { 10.96.0.20 . 8080 . 0 }", "10.244.2.5"]
    assert not found["ip pods { 10.244.0.0/16 }", "gone"]


def faults(world):
    used, unused = "10.96.0.20 . tcp . 8080", "10.96.0.21 . tcp . 80"
    kind = "65537"
    held = {
        "services": {used: service_walk.Entry(kind), unused: service_walk.Entry(kind)},
        "cluster-ips": {"10.96.0.20": service_walk.Entry(), "10.96.0.21": service_walk.Entry()},
        "service-ranges": {"10.96.0.0/16": service_walk.Entry()},
        "pods": {"10.244.0.0/16": service_walk.Entry()},
        "backends-tcp": {
            "10.96.0.20 . 8080 . 0": service_walk.Entry("10.244.1.5 . 80"),
            "10.96.0.21 . 80 . 0": service_walk.Entry("10.244.2.5 . 80"),
        },
    }
    tables = {"worker-2": mutations.Tables({}, {"ip": held, "ip6": {}})}
    around = {"worker-2": {"ip": AROUND, "ip6": AROUND}}
    asked = [case for case in every() if case.kind == "service" and case.flow.port == 8080]
    breaks = [b for b in mutations.breaks(tables, world, asked, around) if b.of == "elements"]
    apply = next(b.apply for b in breaks if used in b.where)
    assert apply == f"delete element ip netemu-proxy services {{ {used} }}\n"
    return {(b.where, b.what.partition(" ")[0]): b.matters() for b in breaks}, used, unused
