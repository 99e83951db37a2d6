"""Each filter, and the sentence it leads to. Expected sentences are upstream's own."""

import random

import pytest

from netemu.api import core, meta
from netemu.scheduler import plan, pods

NO_VICTIMS = "No preemption victims found for incoming pod"
POINTLESS = "Preemption is not helpful for scheduling"


def decide(snapshot, pod, seed=1):
    return plan.plan(snapshot, pods.of(pod), random.Random(seed))


def taint(key, effect="NoSchedule", value=""):
    return core.Taint(key=key, value=value, effect=effect)


def node_affinity(*terms):
    return core.Affinity(
        nodeAffinity=core.NodeAffinity(
            requiredDuringSchedulingIgnoredDuringExecution=core.NodeSelector(nodeSelectorTerms=terms)
        )
    )


def expression(key, operator, *values):
    return core.NodeSelectorTerm(
        matchExpressions=(core.NodeSelectorRequirement(key=key, operator=operator, values=values),)
    )


def test_the_message_upstream_writes_for_a_control_plane_and_two_full_workers(make):
    nodes = [
        make.node("control-plane-1", taints=[taint("node-role.kubernetes.io/control-plane")]),
        make.node("worker-1", cpu="1"),
        make.node("worker-2", cpu="1"),
    ]
    running = [
        make.pod("a", on="worker-1", containers=(make.container(cpu="1"),)),
        make.pod("b", on="worker-2", containers=(make.container(cpu="1"),)),
    ]
    decision = decide(make.snapshot(nodes, running), make.pod(containers=(make.container(cpu="500m"),)))
    assert decision.node is None
    assert decision.message == (
        "0/3 nodes are available: "
        "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu. "
        f"preemption: 0/3 nodes are available: 1 {POINTLESS}, 2 {NO_VICTIMS}."
    )


def test_without_nodes(make):
    assert decide(make.snapshot([]), make.pod()).message.startswith("no nodes available to schedule pods")


def test_several_resources_short_on_one_node_are_all_named(make):
    pod = make.pod(containers=(make.container(cpu="8", memory="64Gi"),))
    message = decide(make.snapshot([make.node("n")]), pod).message
    assert message == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. "
        f"preemption: 0/1 nodes are available: 1 {POINTLESS}."
    )


CORDONED = core.Toleration(key="node.kubernetes.io/unschedulable", operator="Exists", effect="NoSchedule")
DEDICATED = taint("dedicated", value="db")

# what, node, pod, reason (None: it fits)
SINGLE_NODE = [
    ("a plain pod fits", {}, {}, None),
    ("cordoned", {"unschedulable": True}, {}, "node(s) were unschedulable"),
    ("cordoned, tolerated", {"unschedulable": True}, {"tolerations": (CORDONED,)}, None),
    ("taint", {"taints": [DEDICATED]}, {}, "node(s) had untolerated taint {dedicated: db}"),
    (
        "NoExecute repels, too",
        {"taints": [taint("x", "NoExecute")]},
        {},
        "node(s) had untolerated taint {x: }",
    ),
    ("PreferNoSchedule does not", {"taints": [taint("x", "PreferNoSchedule")]}, {}, None),
    (
        "taint, tolerated by value",
        {"taints": [DEDICATED]},
        {"tolerations": (core.Toleration(key="dedicated", operator="Equal", value="db"),)},
        None,
    ),
    (
        "taint, another value tolerated",
        {"taints": [DEDICATED]},
        {"tolerations": (core.Toleration(key="dedicated", operator="Equal", value="web"),)},
        "node(s) had untolerated taint {dedicated: db}",
    ),
    (
        "taint, another effect tolerated",
        {"taints": [DEDICATED]},
        {"tolerations": (core.Toleration(key="dedicated", operator="Exists", effect="NoExecute"),)},
        "node(s) had untolerated taint {dedicated: db}",
    ),
    (
        "everything tolerated",
        {"taints": [DEDICATED]},
        {"tolerations": (core.Toleration(operator="Exists"),)},
        None,
    ),
    (
        "node selector",
        {"labels": {"disk": "hdd"}},
        {"nodeSelector": {"disk": "ssd"}},
        "node(s) didn't match Pod's node affinity/selector",
    ),
    ("node selector matches", {"labels": {"disk": "ssd"}}, {"nodeSelector": {"disk": "ssd"}}, None),
    ("too many pods", {"capacity_pods": "0"}, {}, "Too many pods"),
]


@pytest.mark.parametrize(("what", "node", "pod", "reason"), SINGLE_NODE)
def test_one_node(make, what, node, pod, reason):
    decision = decide(make.snapshot([make.node("n", **node)]), make.pod(**pod))
    if reason is None:
        assert decision.node == "n", what
    else:
        assert decision.node is None, what
        assert decision.message.startswith(f"0/1 nodes are available: 1 {reason}. preemption: "), what


# https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#operators
OPERATORS = [
    ("In", ("a", "b"), {"k": "a"}, True),
    ("In", ("a", "b"), {"k": "c"}, False),
    ("In", ("a",), {}, False),
    ("NotIn", ("a",), {"k": "b"}, True),
    ("NotIn", ("a",), {"k": "a"}, False),
    ("NotIn", ("a",), {}, True),
    ("Exists", (), {"k": ""}, True),
    ("Exists", (), {}, False),
    ("DoesNotExist", (), {}, True),
    ("DoesNotExist", (), {"k": "a"}, False),
    ("Gt", ("5",), {"k": "6"}, True),
    ("Gt", ("5",), {"k": "5"}, False),
    ("Lt", ("5",), {"k": "4"}, True),
    ("Lt", ("5",), {"k": "5"}, False),
    ("Gt", ("5",), {"k": "many"}, False),
    ("Gt", ("5",), {}, False),
]


@pytest.mark.parametrize(("operator", "values", "labels", "fits"), OPERATORS)
def test_node_affinity_operators(make, operator, values, labels, fits):
    pod = make.pod(affinity=node_affinity(expression("k", operator, *values)))
    assert (decide(make.snapshot([make.node("n", labels=labels)]), pod).node == "n") is fits


def test_terms_are_alternatives_and_an_empty_one_matches_nothing(make):
    nodes = [make.node("a", labels={"k": "1"}), make.node("b", labels={"k": "2"}), make.node("c")]
    pod = make.pod(affinity=node_affinity(core.NodeSelectorTerm(), expression("k", "In", "2")))
    assert decide(make.snapshot(nodes), pod).node == "b"


def test_a_pod_that_names_nodes_by_field_looks_at_no_other(make):
    term = core.NodeSelectorTerm(
        matchFields=(core.NodeSelectorRequirement(key="metadata.name", operator="In", values=("b",)),)
    )
    nodes = [make.node("a"), make.node("b", unschedulable=True), make.node("c")]
    decision = decide(make.snapshot(nodes), make.pod(affinity=node_affinity(term)))
    assert set(decision.rejections) == {"b"}
    assert decision.message == (
        "0/3 nodes are available: 1 node(s) were unschedulable, "
        "2 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
        f"preemption: 0/3 nodes are available: 3 {POINTLESS}."
    )


PORTS = [
    ("same port", {"host_port": 80}, {"host_port": 80}, False),
    ("another port", {"host_port": 80}, {"host_port": 81}, True),
    ("another protocol", {"host_port": 80}, {"host_port": 80, "protocol": "UDP"}, True),
    (
        "another address",
        {"host_port": 80, "host_ip": "10.0.0.1"},
        {"host_port": 80, "host_ip": "10.0.0.2"},
        True,
    ),
    ("every address against one", {"host_port": 80}, {"host_port": 80, "host_ip": "10.0.0.2"}, False),
]


@pytest.mark.parametrize(("what", "taken", "wanted", "fits"), PORTS)
def test_host_ports(make, what, taken, wanted, fits):
    running = [make.pod("a", on="n", containers=(make.container(**taken),))]
    decision = decide(
        make.snapshot([make.node("n")], running), make.pod(containers=(make.container(**wanted),))
    )
    assert (decision.node == "n") is fits, what
    if not fits:
        assert "1 node(s) didn't have free ports for the requested pod ports." in decision.message


# --- pods near and far


def zones(make):
    return [make.node(f"{zone}{i}", labels={"zone": zone}) for zone in "ab" for i in (1, 2)]


def near(*terms):
    return core.Affinity(podAffinity=core.PodAffinity(requiredDuringSchedulingIgnoredDuringExecution=terms))


def far(*terms):
    return core.Affinity(
        podAntiAffinity=core.PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=terms)
    )


def test_affinity_leads_to_the_zone_of_the_other_pod(make):
    running = [make.pod("db", labels={"app": "db"}, on="b1")]
    pod = make.pod(affinity=near(make.affinity_term({"app": "db"}, "zone")))
    for seed in range(10):
        assert decide(make.snapshot(zones(make), running), pod, seed).node in ("b1", "b2")


def test_the_first_pod_of_a_group_that_wants_to_be_together_may_go_anywhere(make):
    pod = make.pod(labels={"app": "db"}, affinity=near(make.affinity_term({"app": "db"}, "zone")))
    assert decide(make.snapshot(zones(make)), pod).node is not None


def test_affinity_to_nobody_fits_nowhere(make):
    pod = make.pod(affinity=near(make.affinity_term({"app": "db"}, "zone")))
    decision = decide(make.snapshot(zones(make)), pod)
    assert decision.message.startswith("0/4 nodes are available: 4 node(s) didn't match pod affinity rules.")


def test_all_affinity_terms_must_be_met_by_the_same_pods(make):
    running = [
        make.pod("x", labels={"one": "1"}, on="a1"),
        make.pod("y", labels={"one": "1", "two": "2"}, on="b1"),
    ]
    pod = make.pod(
        affinity=near(make.affinity_term({"one": "1"}, "zone"), make.affinity_term({"two": "2"}, "zone"))
    )
    assert decide(make.snapshot(zones(make), running), pod).node in ("b1", "b2")


def test_anti_affinity_keeps_off_the_domain(make):
    running = [make.pod("x", labels={"app": "web"}, on="a1")]
    pod = make.pod(affinity=far(make.affinity_term({"app": "web"}, "zone")))
    for seed in range(10):
        assert decide(make.snapshot(zones(make), running), pod, seed).node in ("b1", "b2")
    running.append(make.pod("y", labels={"app": "web"}, on="b2"))
    assert decide(make.snapshot(zones(make), running), pod).message.startswith(
        "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."
    )


def test_the_anti_affinity_of_pods_that_are_there_counts_too(make):
    loner = make.pod("x", on="a1", affinity=far(make.affinity_term({"app": "web"}, "zone")))
    pod = make.pod(labels={"app": "web"})
    for seed in range(10):
        assert decide(make.snapshot(zones(make), [loner]), pod, seed).node in ("b1", "b2")
    decision = decide(make.snapshot(zones(make)[:2], [loner]), pod)
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules." in decision.message


NAMESPACES = {"default": {}, "prod": {"env": "prod"}, "test": {"env": "test"}}
TERM_NAMESPACES = [
    ("own namespace by default", {}, "default", True),
    ("others not", {}, "prod", False),
    ("listed", {"namespaces": ("prod",)}, "prod", True),
    ("listing leaves the own out", {"namespaces": ("prod",)}, "default", False),
    ("selected", {"namespaceSelector": meta.LabelSelector(matchLabels={"env": "prod"})}, "prod", True),
    ("not selected", {"namespaceSelector": meta.LabelSelector(matchLabels={"env": "prod"})}, "test", False),
    ("empty selector: all", {"namespaceSelector": meta.LabelSelector()}, "test", True),
]


@pytest.mark.parametrize(("what", "more", "namespace", "meant"), TERM_NAMESPACES)
def test_namespaces_of_a_term(make, what, more, namespace, meant):
    running = [make.pod("x", namespace=namespace, labels={"app": "db"}, on="n")]
    pod = make.pod(affinity=far(make.affinity_term({"app": "db"}, **more)))
    decision = decide(make.snapshot([make.node("n")], running, namespaces=NAMESPACES), pod)
    assert (decision.node is None) is meant, what


def test_match_label_keys_look_at_the_own_revision_only(make):
    term = core.PodAffinityTerm(
        labelSelector=meta.LabelSelector(matchLabels={"app": "web"}),
        topologyKey="kubernetes.io/hostname",
        matchLabelKeys=("rev",),
    )
    running = [make.pod("old", labels={"app": "web", "rev": "1"}, on="n")]
    new = make.pod(labels={"app": "web", "rev": "2"}, affinity=far(term))
    same = make.pod(labels={"app": "web", "rev": "1"}, affinity=far(term))
    assert decide(make.snapshot([make.node("n")], running), new).node == "n"
    assert decide(make.snapshot([make.node("n")], running), same).node is None


# --- spreading


def spread(skew=1, key="zone", **more):
    return core.TopologySpreadConstraint(
        maxSkew=skew,
        topologyKey=key,
        whenUnsatisfiable="DoNotSchedule",
        labelSelector=meta.LabelSelector(matchLabels={"app": "web"}),
        **more,
    )


def web(make, *places):
    return [make.pod(f"w{i}", labels={"app": "web"}, on=place) for i, place in enumerate(places)]


SPREADING = [
    # what, running on, constraint, pod's labels, allowed nodes
    ("level: anywhere", [], {}, {"app": "web"}, {"a1", "a2", "b1", "b2"}),
    ("one ahead: the other zone", ["a1"], {}, {"app": "web"}, {"b1", "b2"}),
    ("skew 2 allows one more", ["a1"], {"skew": 2}, {"app": "web"}, {"a1", "a2", "b1", "b2"}),
    ("a pod which does not count itself", ["a1"], {}, {}, {"a1", "a2", "b1", "b2"}),
    ("too few domains: the minimum is 0", ["a1", "b1"], {"min_domains": 3}, {"app": "web"}, set()),
    ("hostnames", ["a1", "a2", "b1"], {"key": "kubernetes.io/hostname"}, {"app": "web"}, {"b2"}),
]


@pytest.mark.parametrize(("what", "places", "constraint", "labels", "allowed"), SPREADING)
def test_topology_spread(make, what, places, constraint, labels, allowed):  # noqa: PLR0917
    given = dict(constraint)
    if "min_domains" in given:
        given["minDomains"] = given.pop("min_domains")
    pod = make.pod("new", labels=labels, topologySpreadConstraints=(spread(**given),))
    snapshot = make.snapshot(zones(make), web(make, *places))
    rejected = decide(snapshot, pod).rejections
    assert {name for name in snapshot.nodes if name not in rejected} == allowed, what


def test_spread_says_what_is_wrong_with_a_node_without_the_label(make):
    pod = make.pod(labels={"app": "web"}, topologySpreadConstraints=(spread(),))
    message = decide(make.snapshot([make.node("n")]), pod).message
    assert message.startswith(
        "0/1 nodes are available: "
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_nodes_the_pod_cannot_use_do_not_count_unless_asked(make):
    nodes = [*zones(make), make.node("c1", labels={"zone": "c", "gpu": "yes"})]
    running = web(make, "a1", "b1")
    without_gpu = node_affinity(expression("gpu", "DoesNotExist"))
    honoured = make.pod(
        "h", labels={"app": "web"}, affinity=without_gpu, topologySpreadConstraints=(spread(),)
    )
    ignored = make.pod(
        "i",
        labels={"app": "web"},
        affinity=without_gpu,
        topologySpreadConstraints=(spread(nodeAffinityPolicy="Ignore"),),
    )
    assert decide(make.snapshot(nodes, running), honoured).node is not None
    assert decide(make.snapshot(nodes, running), ignored).node is None


def test_tainted_nodes_count_unless_honoured(make):
    nodes = [make.node("a", labels={"zone": "a"}), make.node("b", labels={"zone": "b"}, taints=[taint("x")])]
    running = web(make, "a")
    pod = make.pod("p", labels={"app": "web"}, topologySpreadConstraints=(spread(),))
    assert decide(make.snapshot(nodes, running), pod).node is None
    honest = make.pod(
        "q", labels={"app": "web"}, topologySpreadConstraints=(spread(nodeTaintsPolicy="Honor"),)
    )
    assert decide(make.snapshot(nodes, running), honest).node == "a"


def test_pods_on_their_way_out_do_not_count(make):
    leaving = make.pod("old", labels={"app": "web"}, on="a1", deleting="2026-01-01T00:00:00Z")
    pod = make.pod("new", labels={"app": "web"}, topologySpreadConstraints=(spread(),))
    assert decide(make.snapshot(zones(make), [leaving]), pod).rejections == {}


def test_gates(make):
    assert plan.gated(pods.of(make.pod())) is None
    gated = make.pod(schedulingGates=(core.PodSchedulingGate(name="example.com/wait"),))
    rejection = plan.gated(pods.of(gated))
    assert rejection is not None
    assert rejection.reasons == ("waiting for scheduling gates: [example.com/wait]",)


def test_preemption_policy_never(make):
    pod = make.pod(preemptionPolicy="Never", nodeSelector={"x": "y"})
    assert decide(make.snapshot([make.node("n")]), pod).message.endswith(
        "preemption: not eligible due to preemptionPolicy=Never."
    )
