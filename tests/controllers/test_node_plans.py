"""Nodes: subnets, silence, taints, evictions, and pods nobody keeps. By table."""

import random
from ipaddress import ip_network

import msgspec
import pytest

from netemu.api import core, wellknown
from netemu.controllers.nodeipam import plan as ipam
from netemu.controllers.nodelifecycle import plan as lifecycle
from netemu.controllers.podgc import plan as podgc
from netemu.controllers.replicaset import plan as replicaset
from netemu.controllers.tainteviction import plan as eviction

V4, V6 = ip_network("10.244.0.0/16"), ip_network("fd00:244::/56")


def assigned(plan):
    return {name: [str(n) for n in networks] for name, networks in plan.assign.items()}


def test_subnets_in_order_and_in_both_families(make):
    plan = ipam.plan([make.node("a"), make.node("b")], (V4, V6), {})
    assert assigned(plan) == {
        "a": ["10.244.0.0/24", "fd00:244::/64"],
        "b": ["10.244.1.0/24", "fd00:244:0:1::/64"],
    }


def test_a_node_keeps_its_subnets_and_a_freed_one_is_used_again(make):
    have = make.node("old", cidrs=("10.244.1.0/24", "fd00:244:0:1::/64"))
    plan = ipam.plan([have, make.node("x"), make.node("y")], (V4, V6), {})
    assert assigned(plan) == {
        "x": ["10.244.0.0/24", "fd00:244::/64"],
        "y": ["10.244.2.0/24", "fd00:244:0:2::/64"],
    }


def test_no_subnet_left(make):
    plan = ipam.plan([make.node("a"), make.node("b"), make.node("c")], (ip_network("10.0.0.0/23"),), {})
    assert (sorted(plan.assign), plan.exhausted) == (["a", "b"], ("c",))


def test_what_is_on_its_way_to_the_server_is_taken(make):
    plan = ipam.plan([make.node("b")], (V4,), {"a": (ip_network("10.244.0.0/24"),)})
    assert assigned(plan) == {"b": ["10.244.1.0/24"]}


@pytest.mark.parametrize("seed", range(10))
def test_subnets_never_overlap_whatever_comes_and_goes(make, seed):
    chance = random.Random(seed)
    nodes = {}
    for step in range(80):
        if chance.random() < 0.35 and nodes:
            del nodes[chance.choice(sorted(nodes))]
        else:
            cidrs = (f"10.244.{chance.randrange(8) * 2}.0/23",) if chance.random() < 0.1 else ()
            taken = [ip_network(c) for n in nodes.values() for c in n.spec.podCIDRs]
            if any(ip_network(c).overlaps(t) for c in cidrs for t in taken if t.version == 4):
                cidrs = ()
            nodes[f"n{step}"] = make.node(f"n{step}", cidrs=cidrs)
        plan = ipam.plan(nodes.values(), (V4, V6), {})
        for name, networks in plan.assign.items():
            nodes[name] = make.node(name, cidrs=tuple(str(n) for n in networks))
        assert ipam.plan(nodes.values(), (V4, V6), {}).assign == {}
        every = [ip_network(c) for node in nodes.values() for c in node.spec.podCIDRs]
        for i, one in enumerate(every):
            assert not any(one.overlaps(other) for other in every[i + 1 :] if other.version == one.version)


NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"
TAINTS = [
    ("ready", [("Ready", "True")], False, []),
    (
        "not ready",
        [("Ready", "False")],
        False,
        [(wellknown.NOT_READY, NO_EXECUTE), (wellknown.NOT_READY, NO_SCHEDULE)],
    ),
    (
        "silent",
        [("Ready", "Unknown")],
        False,
        [(wellknown.UNREACHABLE, NO_EXECUTE), (wellknown.UNREACHABLE, NO_SCHEDULE)],
    ),
    (
        "pressure",
        [("Ready", "True"), ("DiskPressure", "True"), ("MemoryPressure", "False")],
        False,
        [("node.kubernetes.io/disk-pressure", NO_SCHEDULE)],
    ),
    ("cordoned", [("Ready", "True")], True, [(wellknown.UNSCHEDULABLE, NO_SCHEDULE)]),
    (
        "no network",
        [("Ready", "True"), ("NetworkUnavailable", "True")],
        False,
        [("node.kubernetes.io/network-unavailable", NO_SCHEDULE)],
    ),
]


@pytest.mark.parametrize(("what", "conditions", "cordoned", "expected"), TAINTS)
def test_taints_follow_conditions_and_leave_others_alone(make, what, conditions, cordoned, expected):
    foreign = core.Taint(key="dedicated", value="db", effect=NO_SCHEDULE)
    stale = core.Taint(key=wellknown.NOT_READY, effect=NO_SCHEDULE)
    node = make.node("n", conditions=conditions, taints=[foreign, stale], unschedulable=cordoned)
    found = lifecycle.taints(node, make.now)
    assert found[0] == foreign, what
    assert sorted((t.key, t.effect) for t in found[1:]) == sorted(expected), what
    again = msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, taints=found))
    assert lifecycle.taints(again, "later") == found


def test_a_taint_that_stays_keeps_its_time(make):
    node = make.node("n", conditions=[("Ready", "False")])
    first = lifecycle.taints(node, "2026-01-01T00:00:00Z")
    node = msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, taints=first))
    assert {t.timeAdded for t in lifecycle.taints(node, "2026-01-01T01:00:00Z")} == {"2026-01-01T00:00:00Z"}


def test_a_silent_node_is_unknown_in_all_it_reports(make):
    node = make.node("n", conditions=[("Ready", "True"), ("DiskPressure", "False"), ("Custom", "True")])
    found = {c.type: (c.status, c.reason) for c in lifecycle.silent(node, make.now)}
    assert found == {
        "Ready": ("Unknown", "NodeStatusUnknown"),
        "DiskPressure": ("Unknown", "NodeStatusUnknown"),
        "Custom": ("True", ""),
        "MemoryPressure": ("Unknown", "NodeStatusNeverUpdated"),
        "PIDPressure": ("Unknown", "NodeStatusNeverUpdated"),
    }


T0 = 1767225600.0  # 2026-01-01T00:00:00Z


def toleration(seconds=None, key="", effect=""):
    return core.Toleration(key=key, operator="Exists", effect=effect, tolerationSeconds=seconds)


EVICTIONS = [
    ("nothing tolerated", [("x", NO_EXECUTE)], [], T0 + 7),
    ("tolerated for good", [("x", NO_EXECUTE)], [toleration()], None),
    ("tolerated for a while", [("x", NO_EXECUTE)], [toleration(300, "x")], T0 + 300),
    (
        "the shortest counts",
        [("x", NO_EXECUTE), ("y", NO_EXECUTE)],
        [toleration(300, "x"), toleration(60, "y")],
        T0 + 60,
    ),
    ("one of two not tolerated", [("x", NO_EXECUTE), ("y", NO_EXECUTE)], [toleration(300, "x")], T0 + 7),
    ("zero is at once", [("x", NO_EXECUTE)], [toleration(0, "x")], T0),
    ("NoSchedule does not evict", [("x", NO_SCHEDULE)], [], None),
    ("no taints", [], [], None),
]


@pytest.mark.parametrize(("what", "taints", "tolerations", "expected"), EVICTIONS)
def test_when_a_pod_must_go(make, what, taints, tolerations, expected):
    pod = make.pod("p", tolerations=tuple(tolerations))
    listed = [core.Taint(key=key, effect=effect, timeAdded=make.now) for key, effect in taints]
    assert eviction.evict_at(pod, listed, T0 + 7) == expected, what


def test_pods_nobody_keeps(make):
    pods = [
        make.pod("kept", node="worker-1"),
        make.pod("lost", node="ghost"),
        make.pod("unplaced", node="", deleting=True),
        make.pod("waiting", node=""),
        make.pod("old", phase="Succeeded", created="2025-01-01T00:00:00Z"),
        make.pod("newer", phase="Failed", created="2025-02-01T00:00:00Z"),
    ]
    names = lambda found: [pod.metadata.name for pod in found]  # noqa: E731
    assert names(podgc.orphaned(pods, {"worker-1"})) == ["lost"]
    assert names(podgc.never_placed(pods)) == ["unplaced"]
    assert names(podgc.surplus(pods, 1)) == ["old"]
    assert names(podgc.surplus(pods, 2)) == []


# Pairs: the first pod is deleted before the second (ActivePodsWithRanks, in its order of importance).
LONG_AGO = "2025-12-01T00:00:00Z"
FIRST_TO_GO = [
    ("unassigned", {"node": ""}, {}),
    ("pending", {"phase": "Pending"}, {}),
    ("not ready", {"ready": False}, {}),
    ("cheap", {"annotations": {replicaset.DELETION_COST: "-1"}}, {}),
    ("crowded node", {"node": "crowded"}, {"node": "worker-2"}),
    ("ready for less long", {"ready_since": "2026-01-01T00:59:00Z"}, {"ready_since": LONG_AGO}),
    ("restarted more", {"restarts": 3}, {"restarts": 1}),
    ("much younger", {"created": "2026-01-01T00:59:00Z"}, {"created": "2025-12-01T00:00:00Z"}),
    ("readiness is more than cost", {"ready": False}, {"annotations": {replicaset.DELETION_COST: "-9"}}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "one", "other"), FIRST_TO_GO)
@pytest.mark.parametrize("swapped", [False, True])
def test_who_goes_first(make, what, one, other, swapped):
    pods = [make.pod("victim", owner="rs", **one), make.pod("kept", owner="rs", **other)]
    related = [*pods, make.pod("x", node="crowded"), make.pod("y", node="crowded")]
    plan = replicaset.plan(make.replica_set("rs", 1), pods[::-1] if swapped else pods, related, T0 + 3600)
    assert [pod.metadata.name for pod in plan.delete] == ["victim"], what


def test_replica_set_status_counts(make):
    pods = [
        make.pod("a", owner="rs", labels={"app": "web", "pod-template-hash": "rs"}),
        make.pod("b", owner="rs", ready=False),
        make.pod("c", owner="rs", deleting=True),
        make.pod("d", owner="rs", phase="Failed"),
    ]
    status, wait = replicaset.status(make.replica_set("rs", 3), pods, "", make.now, T0)
    assert (status.replicas, status.fullyLabeledReplicas, status.readyReplicas) == (2, 1, 1)
    assert wait is None
    failed, _ = replicaset.status(make.replica_set("rs", 3), pods, "quota", make.now, T0)
    assert [(c.type, c.status, c.message) for c in failed.conditions] == [("ReplicaFailure", "True", "quota")]
