"""The 230 cases of the well-known policy suite: textbook, model and programmed tables, after every step."""

import functools
import ipaddress
import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netemu.api import codec, meta, selectors
from netemu.model import expect, flows, worlds
from netemu.netpol import walk
from netemu.verify import clusters as states

sys.path.insert(0, str(Path(__file__).parent))
import clusters
import stories
import suite
import textbook

TOPOLOGY = suite.Topology(clusters.NODES)
# Who is on which address; ranges around the one of z/c hold others of its node, but not of its sixteen.
HOSTS = {
    place: 10 + 5 * number
    for number, place in enumerate(
        (("w", "a"), ("x", "d"), ("y-2", "a"), ("y-2", "b"), *itertools.product(suite.SPACES, suite.PODS))
    )
}
ADDRESSES = {4: "10.244.2.70", 6: "fd00:244:0:2::70"}
PORTS = tuple(itertools.product(states.PROTOCOLS, states.PORTS))
KINDS = {"Namespace": "space", "Pod": "pod", "NetworkPolicy": "policy"}


@functools.cache
def document(key, text):
    """An object as the API would have it: a pod runs, and has addresses; a Namespace has its own name."""
    found = json.loads(text)
    if key.kind == "Namespace":
        found["metadata"]["labels"]["kubernetes.io/metadata.name"] = key.name
    if key.kind == "Pod":
        node, host = found["spec"]["nodeName"][1:], HOSTS[key.namespace, key.name]
        ips = [{"ip": f"10.244.{node}.{host}"}, {"ip": f"fd00:244:0:{node}::{host}"}]
        found["status"] = {"phase": "Running", "podIPs": ips}
    return found


class Asked(NamedTuple):
    """A flow, and who says that it gets there."""

    flow: flows.Flow
    textbook: bool
    model: bool
    tables: bool

    @property
    def agreed(self):
        return self.textbook == self.model == self.tables


def ask(story, documents, families, ports):
    """Every pod about every pod, itself too. `documents`: Namespaces, pods and policies."""
    book = textbook.Textbook(*documents)
    world = story.world()
    judge = expect.of(world).judge
    held = {name: walk.of(one.elements()) for name, one in story.books.items()}
    pods = [
        (pod, worlds.pod_party(world.pod(*reversed(textbook.name_of(pod)))))
        for pod in filter(is_plain, book.pods)
    ]
    for (one, source), (other, target), family in itertools.product(pods, pods, families):
        mine, theirs = (textbook.address_of(pod, family) for pod in (one, other))
        ends = ipaddress.ip_address(mine), ipaddress.ip_address(theirs)
        for protocol, port in ports:
            flow = flows.Flow(source, theirs, port, protocol, family)
            packet = walk.Packet(*ends, protocol.lower(), port)
            yield Asked(
                flow,
                book.allows(one, other, family, protocol, port),
                not judge(flow).words & {"dropped", "unreachable"},
                one is other or stories.passes(held, source, target, packet),
            )


def is_plain(pod):
    """It runs in a network of its own, and no two of its ports have one name."""
    names = [port["name"] for container in pod["spec"]["containers"] for port in container["ports"]]
    running = pod["status"]["phase"] == "Running" and not pod["spec"].get("hostNetwork")
    return running and len(set(names)) == len(names)


class Cluster:
    """Goes from state to state."""

    def __init__(self):
        self.story, self.state = stories.Story(), {}

    def become(self, state):
        self.story.apply(
            (
                KINDS[step.key.kind],
                (step.key.namespace, step.key.name),
                document(step.key, step.text) if step.verb == "put" else None,
            )
            for step in states.between(self.state, state)
            if step.key.kind in KINDS
        )
        self.state = state

    def ask(self, families):
        documents = [[document(k, t) for k, t in self.state.items() if k.kind == kind] for kind in KINDS]
        return ask(self.story, documents, families, PORTS)


@pytest.fixture(scope="module")
def cluster():
    return Cluster()


def tell(cluster, cases, families):
    """How many flows of these cases were asked, and what they do not agree about."""
    asked, wrong = 0, []
    for case in cases:
        state = TOPOLOGY.first()
        cluster.become(state)
        for number, step in enumerate(case.steps, 1):
            state = states.after(state, step)
            cluster.become(state)
            said = list(cluster.ask(families))
            asked += len(said)
            wrong += [(str(case), number, one) for one in said if not one.agreed]
    return asked, wrong


CASES = {family: suite.cases(TOPOLOGY, address) for family, address in ADDRESSES.items()}
TALLY = """
any-peer 2, multi-peer 90, all-pods 84, pods-by-label 54, policy-namespace 38, all-namespaces 58,
namespaces-by-label 54, namespaces-by-default-label 2, ip-block-no-except 20, ip-block-with-except 20,
any-port-protocol 2, multi-port/protocol 14, any-port 14, numbered-port 40, named-port 25, end-port 12,
pathological 6, tcp 20, udp 20, sctp 14, ingress 105, egress 103, deny-all 13, allow-all 7, conflict 17,
target-namespace 3, target-pod-selector 3, create-policy 2, update-policy 1, delete-policy 2,
create-namespace 1, set-namespace-labels 1, delete-namespace 1, create-pod 1, set-pod-labels 1,
delete-pod 1, upstream-e2e 13, example 1
"""


def test_the_suite_is_the_known_one():
    """The numbers are those of Cyclonus' own tally of its cases, by tag."""
    for cases in CASES.values():
        assert Counter(case.group for case in cases) == {
            "peers": 112,
            "ports": 70,
            "conflict": 16,
            "upstream": 13,
            "target": 6,
            "action": 6,
            "rules": 4,
            "namespaces by default label": 2,
            "example": 1,
        }
        tally = (entry.split() for entry in TALLY.split(","))
        tags = Counter(tag for case in cases for tag in case.tags)
        assert tags == {tag: int(number) for tag, number in tally}
        assert len({str(case) for case in cases}) == len(cases) == 230


@pytest.mark.parametrize("group", dict.fromkeys(case.group for case in CASES[4]))
def test_textbook_model_and_tables_agree(group, cluster):
    """The families take turns, in ranges and in flows; `-m slow` asks everything."""
    for number, (family, cases) in enumerate(CASES.items()):
        mine = [case for at, case in enumerate(cases) if at % 2 == number and case.group == group]
        asked, wrong = tell(cluster, mine, [family])
        assert asked >= len(mine) * 81 * 6
        assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", ADDRESSES)
def test_textbook_model_and_tables_agree_about_everything(family, cluster, record_property):
    asked, wrong = tell(cluster, CASES[family], ADDRESSES)
    cases = len(CASES[family])
    record_property("measured", f"{cases} cases, {asked} flows, {asked - len(wrong)} agree")
    assert not wrong


@st.composite
def policed(draw):
    """Namespaces, pods and NetworkPolicies at random; the textbook knows no ClusterNetworkPolicies."""
    spaces = [clusters.namespace(space, draw(clusters.labels)) for space in clusters.SPACES]
    pods = [draw(clusters.pods(space, name)) for space in clusters.SPACES for name in clusters.NAMES]
    policies = [draw(clusters.policies(space, name)) for space in clusters.SPACES for name in ("p", "q")]
    return spaces, pods, policies


RANDOM = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(RANDOM, max_examples=40)
@given(policed())
def test_they_agree_about_clusters_at_random(documents):
    compare(documents)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(RANDOM, max_examples=1500)
@given(policed())
def test_they_agree_about_many_clusters_at_random(documents):
    compare(documents)


def compare(documents):
    story = stories.Story()
    for kind, several in zip(KINDS.values(), documents, strict=True):
        names = ((one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in several)
        story.apply(zip(itertools.repeat(kind), names, several))
    ports = list(itertools.product(clusters.PROTOCOLS, clusters.PORTS))
    assert [one for one in ask(story, documents, (4, 6), ports) if not one.agreed] == []


def test_selectors_are_read_alike():
    """All of two requirements. Model and enforcer read selectors by the same code; the textbook does not."""
    keys, values = ("a", "b"), (["1"], ["2"], ["1", "2"])
    expressions = [
        *itertools.product(keys, ("In", "NotIn"), values),
        *itertools.product(keys, ("Exists", "DoesNotExist"), [[]]),
    ]
    requirements = [{"key": key, "operator": how, "values": found} for key, how, found in expressions]
    labelled = [
        {key: value for key, value in zip(keys, pair, strict=True) if value}
        for pair in itertools.product(("", "1", "2"), repeat=2)
    ]
    for pair, plain in itertools.product(itertools.combinations(requirements, 2), labelled):
        document = {"matchLabels": plain, "matchExpressions": list(pair)}
        selector = selectors.of(codec.convert(meta.LabelSelector, document))
        for labels in labelled:
            assert selector.matches(labels) is textbook.selects(document, labels), (document, labels)
