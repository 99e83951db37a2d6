"""The planned table against the model: every flow of made-up clusters, after every change, on both nodes."""

import importlib.util
import ipaddress
import itertools
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from netemu.model import expect, flows
from netemu.netpol import agent, changes, ledger, policies, resolve, terms, walk

sys.path.insert(0, str(Path(__file__).parent))
import clusters
import stories

PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)


def probes(world):
    for source in world.parties():
        pod = world.pod(source.name, source.namespace) if source.kind == "pod" else None
        if source.kind != "pod" or pod.spec.hostNetwork:
            continue
        for address, target in world.owners.items():
            if address not in source.addresses:
                for protocol, port in (
                    *(("TCP", port) for port in clusters.PORTS),
                    ("UDP", 80),
                    ("SCTP", 81),
                    ("ICMP", 0),
                ):
                    yield source, target, address, protocol, port


@settings(SLOW, max_examples=6)
@given(clusters.histories())
def test_every_flow_meets_in_the_table_what_the_model_says(history):
    compare(history)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(SLOW, max_examples=300)
@given(clusters.histories())
def test_every_flow_of_many_clusters_meets_what_the_model_says(history):
    compare(history)


def compare(history):
    first, steps = history
    story = stories.Story()
    story.apply(first)
    for step in (None, *steps):
        if step is not None:
            story.apply([step])
        world = story.world()
        model = expect.of(world)
        held = {name: walk.of(book.elements()) for name, book in story.books.items()}
        for source, target, address, protocol, port in probes(world):
            family = 6 if ":" in address else 4
            mine = next(a for a in source.addresses if (":" in a) == (family == 6))
            packet = walk.Packet(
                ipaddress.ip_address(mine), ipaddress.ip_address(address), protocol.lower(), port
            )
            said = model.judge(flows.Flow(source, address, port, protocol, family))
            if target.kind == "node" and address not in clusters.NODE_ADDRESSES[target.name]:
                continue  # a gateway: the API does not know it for the node's
            dropped = "dropped" in said.words
            assert stories.passes(held, source, target, packet) is not dropped, (packet, said)


@SLOW
@given(clusters.histories())
def test_step_by_step_or_all_at_once_is_the_same(history):
    first, steps = history
    story = stories.Story()
    story.apply(first)
    for step in steps:
        story.apply([step])
    for name, book in story.books.items():
        cluster = book.state.cluster
        wanted = resolve.resolve(cluster, name)
        assert book.state.standings == wanted.standings
        assert book.state.signatures == wanted.signatures
        assert not book.update(changes.everything(cluster))
        fresh = ledger.Ledger(name)
        fresh.update(changes.everything(cluster))
        assert shape(fresh) == shape(book)


def shape(book):
    """The keys of each set that has no numbers in its keys."""
    held = walk.of(book.elements())
    return {
        name: set(found)
        for name, found in held.items()
        if name.startswith(("peers", "ranges", "egress", "ingress"))
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_numbers_follow_their_values(moves):
    from netemu.netpol import numbers

    found, holders, meaning = numbers.Numbers(1, 100), {}, {}
    for who, value in moves:
        new = value or None
        moved = found.move([(holders.get(who), new)])
        for _, number in moved.gone:
            del meaning[number]
        meaning.update(moved.changed)
        holders[who] = new
        used = {one for one in holders.values() if one}
        assert {found[one]: one for one in used} == meaning


def sentences():
    """The model's table: a sentence of the two specifications a row."""
    path = Path(__file__).parent.parent / "model" / "test_model_policies.py"
    spec = importlib.util.spec_from_file_location("sentences_of_the_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SENTENCES = sentences()


def tables(world):
    """What each node's table holds in a world."""
    given_ = changes.none()
    for pod in world.pods:
        given_.pods[terms.Key(pod.metadata.namespace, pod.metadata.name)] = agent.parse(pod)
    for space in world.namespaces:
        name = space.metadata.name
        given_.spaces[name] = {**space.metadata.labels, terms.NAME_LABEL: name}
    for policy in (
        *map(policies.of_namespace, world.policies),
        *map(policies.of_cluster, world.cluster_policies),
    ):
        given_.policies[policy.key] = policy
    for node in world.nodes:
        name = node.metadata.name
        own = tuple(agent.addresses(a.address for a in node.status.addresses))
        given_.nodes[name] = terms.Node(name, node.metadata.labels, own)
    held = {}
    for node in world.nodes:
        book = ledger.Ledger(node.metadata.name)
        book.update(given_)
        held[node.metadata.name] = walk.of(book.elements())
    return held


@pytest.mark.parametrize("sentence", SENTENCES.ROWS)
def test_every_sentence_holds_in_the_table(sentence):
    text, flows_ = SENTENCES.ROWS[sentence]
    world = SENTENCES.world(text)
    held, model, asked = tables(world), expect.of(world), 0
    for row, family in itertools.product(flows_.split(" | "), (4, 6)):
        try:
            flow = SENTENCES.flow_of(world, row.partition(" ")[2], family)
        except StopIteration:
            continue  # written with an address of one family
        mine = [a for a in flow.source.addresses if (":" in a) == (":" in flow.host)]
        own = world.owner(mine[0]) if mine else None
        if own is None or own.kind != "pod" or flow.host in mine:
            continue  # whom nobody polices, or the pod itself
        for outcome in model.judge(flow).outcomes:
            address, port = outcome.address or flow.host, outcome.port or flow.port
            owner = world.owner(address)
            if owner is None or address in mine or (owner.kind == "pod") != (flow.host not in NODE_ADDRESSES):
                continue  # another node translates it
            packet = walk.Packet(
                ipaddress.ip_address(mine[0]), ipaddress.ip_address(address), flow.protocol.lower(), port
            )
            passes = stories.passes(held, flow.source, owner, packet)
            assert passes is (outcome.word != "dropped"), (row, packet, outcome)
            asked += 1
    if not asked:
        pytest.skip("all its flows are nobody's, a pod's to itself, or translated by another node")


NODE_ADDRESSES = [
    a for node in SENTENCES.NODES.values() for a in (f"172.18.0.{node + 2}", f"fd00:18::{node + 2}")
]
