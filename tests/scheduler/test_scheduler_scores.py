"""Which of several fitting nodes is taken, and by how much. Numbers are worked out by hand."""

import random

import pytest

from netemu.api import core, meta
from netemu.scheduler import plan, pods
from netemu.scheduler.plugins import (
    balanced_allocation,
    inter_pod_affinity,
    node_affinity,
    node_resources_fit,
    pod_topology_spread,
    taint_toleration,
)


def scores(plugin, snapshot, pod):
    """Normalized scores of one plugin over all nodes."""
    info = pods.of(pod)
    nodes = list(snapshot.nodes.values())
    state = plugin.pre_score(info, snapshot, nodes)
    raw = {node.name: plugin.score(state, info, node) for node in nodes}
    return plugin.normalize(state, raw)


def test_least_allocated(make):
    # free after the pod: cpu (4000-1000-1000)/4000 = 50, memory (8Gi-2Gi-2Gi)/8Gi = 50; and 75, 75 when empty
    nodes = [make.node("used"), make.node("empty")]
    running = [make.pod("a", on="used", containers=(make.container(cpu="1", memory="2Gi"),))]
    pod = make.pod(containers=(make.container(cpu="1", memory="2Gi"),))
    assert scores(node_resources_fit.NodeResourcesFit(), make.snapshot(nodes, running), pod) == {
        "used": 50,
        "empty": 75,
    }


def test_pods_without_requests_count_a_little_so_that_they_do_not_pile_up(make):
    nodes = [make.node("one", cpu="1", memory="1000Mi"), make.node("two", cpu="1", memory="1000Mi")]
    running = [make.pod(f"p{i}", on="one") for i in range(2)]
    # one: cpu 1000-300 of 1000 = 70, memory 1000-600 of 1000 = 40, mean 55; two: 90 and 80, mean 85
    found = scores(node_resources_fit.NodeResourcesFit(), make.snapshot(nodes, running), make.pod())
    assert found == {"one": 55, "two": 85}


def test_balanced_allocation(make):
    nodes = [make.node("n", cpu="4", memory="8Gi")]
    pod = make.pod(containers=(make.container(cpu="3", memory="2Gi"),))
    # shares 0.75 and 0.25: deviation 0.25
    assert scores(balanced_allocation.BalancedAllocation(), make.snapshot(nodes), pod) == {"n": 75}


def test_prefer_no_schedule_taints_count_against_a_node(make):
    def soft(key):
        return core.Taint(key=key, effect="PreferNoSchedule")

    nodes = [
        make.node("none"),
        make.node("one", taints=[soft("a")]),
        make.node("two", taints=[soft("a"), soft("b")]),
    ]
    found = scores(taint_toleration.TaintToleration(), make.snapshot(nodes), make.pod())
    assert found == {"none": 100, "one": 50, "two": 0}


def test_preferred_node_affinity_adds_weights(make):
    def preferred(weight, key):
        return core.PreferredSchedulingTerm(
            weight=weight,
            preference=core.NodeSelectorTerm(
                matchExpressions=(core.NodeSelectorRequirement(key=key, operator="Exists"),)
            ),
        )

    affinity = core.Affinity(
        nodeAffinity=core.NodeAffinity(
            preferredDuringSchedulingIgnoredDuringExecution=(preferred(30, "ssd"), preferred(10, "fast"))
        )
    )
    nodes = [
        make.node("both", labels={"ssd": "", "fast": ""}),
        make.node("fast", labels={"fast": ""}),
        make.node("none"),
    ]
    found = scores(node_affinity.NodeAffinity(), make.snapshot(nodes), make.pod(affinity=affinity))
    assert found == {"both": 100, "fast": 25, "none": 0}


def weighted(make, weight, selector):
    return core.WeightedPodAffinityTerm(weight=weight, podAffinityTerm=make.affinity_term(selector))


def test_preferred_pod_affinity_attracts_and_repels(make):
    nodes = [make.node("near"), make.node("far"), make.node("empty")]
    running = [
        make.pod("friend", labels={"app": "friend"}, on="near"),
        make.pod("foe", labels={"app": "foe"}, on="far"),
    ]
    affinity = core.Affinity(
        podAffinity=core.PodAffinity(
            preferredDuringSchedulingIgnoredDuringExecution=(weighted(make, 10, {"app": "friend"}),)
        ),
        podAntiAffinity=core.PodAntiAffinity(
            preferredDuringSchedulingIgnoredDuringExecution=(weighted(make, 10, {"app": "foe"}),)
        ),
    )
    plugin = inter_pod_affinity.InterPodAffinity()
    found = scores(plugin, make.snapshot(nodes, running), make.pod(affinity=affinity))
    assert found == {"near": 100, "far": 0, "empty": 50}


def test_what_running_pods_prefer_counts_too(make):
    clingy = make.pod(
        "clingy",
        on="near",
        affinity=core.Affinity(
            podAffinity=core.PodAffinity(
                requiredDuringSchedulingIgnoredDuringExecution=(make.affinity_term({"app": "web"}),)
            )
        ),
    )
    snapshot = make.snapshot([make.node("near"), make.node("far")], [clingy])
    plugin = inter_pod_affinity.InterPodAffinity()
    assert scores(plugin, snapshot, make.pod(labels={"app": "web"})) == {"near": 100, "far": 0}


def test_schedule_anyway_prefers_the_emptier_domain(make):
    constraint = core.TopologySpreadConstraint(
        maxSkew=1,
        topologyKey="zone",
        whenUnsatisfiable="ScheduleAnyway",
        labelSelector=meta.LabelSelector(matchLabels={"app": "web"}),
    )
    nodes = [make.node("a", labels={"zone": "a"}), make.node("b", labels={"zone": "b"}), make.node("none")]
    running = [make.pod(f"w{i}", labels={"app": "web"}, on="a") for i in range(3)]
    pod = make.pod(labels={"app": "web"}, topologySpreadConstraints=(constraint,))
    found = scores(pod_topology_spread.PodTopologySpread(), make.snapshot(nodes, running), pod)
    # two zones: weight ln(4), 3 pods: round(4.16) = 4 against 0; a node without the label gets nothing
    assert found == {"a": 0, "b": 100, "none": 0}


@pytest.mark.parametrize("by", ["service", "replica set"])
def test_siblings_are_spread_by_default(make, by):
    nodes = [make.node(f"n{i}") for i in range(3)]
    running = [make.pod(f"w{i}", labels={"app": "web"}, owner="rs", on="n0") for i in range(2)]
    services = [make.service("web", {"app": "web"})] if by == "service" else []
    replica_sets = [make.replica_set("rs", {"app": "web"})] if by == "replica set" else []
    snapshot = make.snapshot(nodes, running, services=services, replica_sets=replica_sets)
    pod = make.pod("new", labels={"app": "web"}, owner="rs")
    found = scores(pod_topology_spread.PodTopologySpread(), snapshot, pod)
    assert found["n1"] == found["n2"] == 100
    assert found["n0"] < 60


def test_a_hundred_pods_of_one_service_are_spread_evenly(make):
    nodes = [make.node(f"worker-{i}") for i in range(4)]
    services = [make.service("web", {"app": "web"})]
    chance = random.Random(7)
    running = []
    for i in range(100):
        snapshot = make.snapshot(nodes, running, services=services)
        decision = plan.plan(snapshot, pods.of(make.pod(f"w{i}", labels={"app": "web"})), chance)
        running.append(make.pod(f"w{i}", labels={"app": "web"}, on=decision.node))
    counts = [sum(1 for pod in running if pod.spec.nodeName == node.metadata.name) for node in nodes]
    assert max(counts) - min(counts) <= 1


def test_ties_are_broken_by_chance(make):
    snapshot = make.snapshot([make.node("a"), make.node("b")])
    chosen = {plan.plan(snapshot, pods.of(make.pod()), random.Random(seed)).node for seed in range(20)}
    assert chosen == {"a", "b"}


def test_large_clusters_are_not_searched_to_the_end(make):
    # 50 - 1000/125 = 42 per cent
    assert (plan.enough(99), plan.enough(100), plan.enough(1000), plan.enough(10_000)) == (99, 100, 420, 500)
    nodes = [make.node(f"n{i}") for i in range(300)]
    decision = plan.plan(make.snapshot(nodes), pods.of(make.pod()), random.Random(1), start=250)
    # 300 nodes: 50 - 2 = 48 per cent = 144 of them, beginning at the 251st
    assert decision.looked_at == 144
    assert set(decision.scores) == {f"n{i}" for i in [*range(250, 300), *range(94)]}
