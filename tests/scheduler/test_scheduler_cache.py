"""The cache, change by change, is what a fresh look at the whole cluster would give."""

import random

import msgspec

from netemu.api import core
from netemu.scheduler import caches, nodes, pods


def placed(make, name, node, uid="u", **more):
    pod = make.pod(name, on=node, **more)
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, uid=uid))


def shape(cache):
    """Everything that decisions look at."""
    return {
        name: (
            sorted(node.placed),
            {k: v for k, v in node.requested.items() if v},
            node.scored_cpu,
            sorted(node.host_ports),
            sorted(p.name for p in node.with_affinity),
            sorted(p.name for p in node.with_anti_affinity),
        )
        for name, node in cache.snapshot().nodes.items()
    }


def test_an_assumed_pod_counts_at_once_and_an_older_view_does_not_undo_it(make):
    cache = caches.Cache()
    cache.node_changed("n", make.node("n"))
    waiting = make.pod("p")
    cache.reserve(pods.of(waiting), "n")
    cache.pod_changed(("default", "p"), waiting)  # the informer is behind
    assert ("default", "p") in cache.snapshot().nodes["n"].placed
    cache.unreserve(pods.of(waiting))
    assert cache.snapshot().nodes["n"].placed == {}


def test_another_pod_of_the_same_name_ends_the_assumption(make):
    cache = caches.Cache()
    cache.node_changed("n", make.node("n"))
    cache.reserve(pods.of(placed(make, "p", "", uid="old")), "n")
    cache.pod_changed(("default", "p"), placed(make, "p", "", uid="new"))
    assert cache.snapshot().nodes["n"].placed == {}


def test_pods_of_a_node_not_seen_yet_count_when_it_comes_and_when_it_comes_back(make):
    cache = caches.Cache()
    cache.pod_changed(("default", "p"), make.pod("p", on="n"))
    cache.node_changed("n", make.node("n"))
    assert list(cache.snapshot().nodes["n"].placed) == [("default", "p")]
    cache.node_changed("n", None)
    cache.node_changed("n", make.node("n"))
    assert list(cache.snapshot().nodes["n"].placed) == [("default", "p")]


def test_a_walk_ends_where_a_fresh_look_begins(make):
    chance = random.Random(20260101)
    for _ in range(30):
        cache = caches.Cache()
        node_objects, pod_objects = {}, {}
        for _ in range(60):
            step(make, chance, cache, node_objects, pod_objects)
        fresh = {
            name: nodes.of(
                node,
                [
                    pods.of(p)
                    for p in pod_objects.values()
                    if p.spec.nodeName == name and p.status.phase not in ("Succeeded", "Failed")
                ],
            )
            for name, node in node_objects.items()
        }

        class Fresh:
            def snapshot(self, nodes_=fresh):
                return type("S", (), {"nodes": nodes_})

        assert shape(cache) == shape(Fresh())


def step(make, chance, cache, node_objects, pod_objects):
    """One random change, told to the cache and kept in the two dictionaries."""
    name = f"n{chance.randrange(3)}"
    what = chance.randrange(5)
    if what == 0:
        node_objects[name] = make.node(name, cpu=str(chance.randrange(1, 9)))
        cache.node_changed(name, node_objects[name])
    elif what == 1:
        node_objects.pop(name, None)
        cache.node_changed(name, None)
    else:
        key = ("default", f"p{chance.randrange(6)}")
        pod = None
        if chance.random() < 0.8:
            pod = random_pod(make, chance, key[1], name)
            pod_objects[key] = pod
        else:
            pod_objects.pop(key, None)
        cache.pod_changed(key, pod)


def random_pod(make, chance, name, node):
    affinity = None
    if chance.random() < 0.3:
        term = make.affinity_term({"a": "b"})
        affinity = core.Affinity(
            podAntiAffinity=core.PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=(term,))
        )
    pod = make.pod(
        name,
        on=chance.choice(["", node]),
        affinity=affinity,
        containers=(
            make.container(cpu=f"{chance.randrange(1, 500)}m", host_port=chance.choice([0, 80, 81])),
        ),
    )
    phase = chance.choice(["Pending", "Running", "Succeeded"])
    return msgspec.structs.replace(pod, status=core.PodStatus(phase=phase))
