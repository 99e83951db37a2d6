"""Laws of NetworkPolicy that hold for any policies: union, order, isolation, directions."""

import hypothesis
from hypothesis import strategies as st

from netemu.api import codec, core, networking
from netemu.model import expect, flows, worlds

LABELS = [{"app": app, "tier": tier} for app in ("a", "b") for tier in ("x", "y")]
SPACES = {"one": {"team": "red"}, "two": {"team": "blue"}}


def pod(namespace, number, labels):
    host = 10 * (namespace == "two") + number + 2
    document = {
        "metadata": {"name": f"p{number}", "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": f"n{number % 2}",
            "containers": [
                {"name": "c", "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]}
            ],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.244.{number % 2}.{host}"}, {"ip": f"fd00:244::{host:x}"}],
        },
    }
    return codec.convert(core.Pod, document)


PODS = tuple(pod(space, number, labels) for space in SPACES for number, labels in enumerate(LABELS))
BASE = worlds.World(
    pods=PODS,
    namespaces=tuple(
        codec.convert(core.Namespace, {"metadata": {"name": name, "labels": labels}})
        for name, labels in SPACES.items()
    ),
    outside=worlds.Party("outside", "outside", addresses=("203.0.113.10",)),
)
PARTIES = [party for party in BASE.parties() if party.kind == "pod"]
FLOWS = [
    flows.Flow(source, target.addresses[family], port, "TCP", 6 if family else 4)
    for source in PARTIES
    for target in PARTIES
    if source != target
    for port, family in ((80, 0), (81, 1))
]

selector = st.sampled_from(
    [
        {},
        {"matchLabels": {"app": "a"}},
        {"matchLabels": {"tier": "x"}},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]},
    ]
)
spaces = st.sampled_from([{}, {"matchLabels": {"team": "red"}}, {"matchLabels": {"none": "such"}}])
peer = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, selector),
    st.builds(lambda where: {"namespaceSelector": where}, spaces),
    st.builds(lambda where, pods: {"namespaceSelector": where, "podSelector": pods}, spaces, selector),
    st.sampled_from([{"ipBlock": {"cidr": "10.244.0.0/24"}}, {"ipBlock": {"cidr": "::/0"}}]),
)
ports = st.lists(
    st.sampled_from([{"port": 80}, {"port": "web"}, {"port": 80, "endPort": 90}, {}]), max_size=2
)
rules = st.lists(st.tuples(st.lists(peer, max_size=2), ports), max_size=2)
types = st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])


@st.composite
def policies(draw):
    found = []
    for number in range(draw(st.integers(0, 4))):
        spec = {
            "podSelector": draw(selector),
            "policyTypes": draw(types),
            "ingress": [{"from": whom, "ports": what} for whom, what in draw(rules)],
            "egress": [{"to": whom, "ports": what} for whom, what in draw(rules)],
        }
        meta = {"name": f"p{number}", "namespace": draw(st.sampled_from(sorted(SPACES)))}
        found.append(codec.convert(networking.NetworkPolicy, {"metadata": meta, "spec": spec}))
    return tuple(found)


def answers(*found):
    model = expect.of(BASE._replace(policies=found))
    return [model.judge(flow).outcome for flow in FLOWS]


def isolated(found, direction):
    """The pods that some policy isolates in a direction."""
    model = expect.of(BASE._replace(policies=found))
    subjects = (model.policies.subjects[party.name, party.namespace] for party in PARTIES)
    return [bool(subject and subject.programs[direction].isolating) for subject in subjects]


@hypothesis.given(policies())
@hypothesis.settings(max_examples=40, deadline=None)
def test_order_does_not_matter(found):
    assert answers(*found) == answers(*reversed(found))


@hypothesis.given(policies())
@hypothesis.settings(max_examples=25, deadline=None)
def test_twice_is_once(found):
    assert answers(*found) == answers(*found, *found)


@hypothesis.given(policies(), policies())
@hypothesis.settings(max_examples=40, deadline=None)
def test_where_nothing_more_is_isolated_more_policies_only_open(found, more):
    before, after = answers(*found), answers(*found, *more)
    both = (*found, *more)
    if all(isolated(found, field) == isolated(both, field) for field in ("ingress", "egress")):
        opened = [was in ("dropped", now) for was, now in zip(before, after, strict=True)]
        assert all(opened)


@hypothesis.given(policies())
@hypothesis.settings(max_examples=25, deadline=None)
def test_policies_never_open_what_is_open_without_them(found):
    """And a rule for everything, in every Namespace and direction, is as good as no policy."""
    assert set(answers(*found)) <= {"ok", "dropped"}
    allow = [
        codec.convert(
            networking.NetworkPolicy,
            {
                "metadata": {"name": "all", "namespace": name},
                "spec": {
                    "podSelector": {},
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{}],
                    "egress": [{}],
                },
            },
        )
        for name in SPACES
    ]
    assert answers(*found, *allow) == answers()
