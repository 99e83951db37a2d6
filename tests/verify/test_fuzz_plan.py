"""Random clusters: the same for a seed, valid, walked from state to state, and made small when they fail."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.api import kinds, schema
from netemu.api.structural import schemas
from netemu.netpol import definitions
from netemu.verify import chance, clusters, fuzzing

AROUND = chance.Surroundings(
    ("worker-1", "worker-2"), ("10.244.0.0/16",), outside=("203.0.113.10/32",), cluster_policies=True
)
CLUSTER_POLICY = schemas.Schema(definitions.schema())


def walked(seed, steps):
    walk = chance.Walk(seed, AROUND)
    return [dict(walk.state), *((walk.step(), dict(walk.state)) for _ in range(steps))]


def test_a_seed_is_a_walk():
    assert walked(7, 40) == walked(7, 40)
    assert walked(7, 40) != walked(8, 40)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 32))
def test_every_object_is_one_the_api_server_takes(seed):
    walk = chance.Walk(seed, AROUND)
    for _ in range(40):
        step = walk.step()
        kind = kinds.named(clusters.KINDS[step.key.kind], step.key.kind)
        if step.verb == "put" and kind is not None:
            assert not tuple(schema.problems(kind, step.document)), step.text
            assert not tuple(schema.unknown(kind, step.document)), step.text
        if step.verb == "put" and step.key.kind == "ClusterNetworkPolicy":
            assert not tuple(CLUSTER_POLICY.check(step.document)), step.text


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 30), st.integers(0, 30))
def test_from_any_state_to_any_other(seed, here, there):
    _, *steps = walked(seed, max(here, there) + 1)
    have, want = steps[here][1], steps[there][1]
    assert clusters.after(have, clusters.between(have, want)) == want
    assert clusters.between(want, want) == ()
    assert clusters.after({}, clusters.between({}, want)) == want


def test_a_namespace_takes_what_is_in_it_along():
    state = walked(1, 0)[0]
    gone = clusters.after(state, [clusters.Step("delete", clusters.Key("Namespace", "", "x"))])
    assert {key.namespace for key in gone} == {"", "y", "z"}


def shrunk(state, fails):
    asked = []

    async def ask(candidate):
        asked.append(candidate)
        return fails(candidate)

    return asyncio.run(fuzzing.shrink(state, ask)), len(asked)


def test_a_failure_is_made_small():
    """It takes one pod, and a policy with that port among other rules."""
    state = walked(3, 60)[-1][1]
    spec = {
        "podSelector": {"matchLabels": {"app": "red"}},
        "ingress": [
            {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]},
            {"ports": [{"protocol": "TCP", "port": 80}, {"protocol": "UDP", "port": 81}]},
        ],
    }
    step = clusters.put({**clusters.named("NetworkPolicy", "p", "y"), "spec": spec})
    state = clusters.after(state, [step])
    pod = next(key for key in state if key.kind == "Pod" and key.namespace == "y")

    def fails(candidate):
        text = candidate.get(step.key, "{}")
        rules = json.loads(text).get("spec", {}).get("ingress", [])
        ports = [port["port"] for rule in rules for port in rule.get("ports", [])]
        return pod in candidate and 81 in ports

    small, asked = shrunk(state, fails)
    assert sorted(key.kind for key in small) == ["Namespace", "NetworkPolicy", "Pod"]
    assert json.loads(small[step.key])["spec"] == {
        "podSelector": {},
        "ingress": [{"ports": [{"protocol": "UDP", "port": 81}]}],
    }
    assert asked < 120


def test_what_always_fails_becomes_nothing():
    small, _ = shrunk(walked(3, 30)[-1][1], lambda _: True)
    assert small == {}
