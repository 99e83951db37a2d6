"""Who waits for what, and how long."""

import msgspec
import pytest

from netemu.api import core
from netemu.scheduler import pods, profiles, queues


def info(make, name, priority=0, **more):
    return pods.of(make.pod(name, priority=priority, **more))


def names(queue, now):
    found = []
    while (waiting := queue.pop(now)) is not None:
        found.append(waiting.pod.name)
    return found


def test_priority_first_then_arrival(make):
    queue = queues.Queue()
    for name, priority in (("first", 0), ("second", 0), ("urgent", 100)):
        queue.add(info(make, name, priority), 1.0)
    assert names(queue, 1.0) == ["urgent", "first", "second"]


def test_backoff_doubles_from_one_to_ten_seconds():
    assert [queues.backoff(n) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_an_unschedulable_pod_waits_for_an_event_that_may_help(make):
    queue = queues.Queue()
    queue.add(info(make, "p"), 0.0)
    queue.park(queue.pop(0.0), frozenset({"NodeResourcesFit"}), 0.0)
    assert queue.happened("node labels changed", 5.0) == 0
    assert names(queue, 5.0) == []
    assert queue.happened("pod gone", 5.0) == 1
    assert names(queue, 5.0) == ["p"]


def test_a_backoff_is_sat_out_only_behind_other_work(make):
    queue = queues.Queue()
    queue.add(info(make, "p"), 0.0)
    queue.park(queue.pop(0.0), frozenset({"NodeAffinity"}), 0.0)
    assert names(queue, 0.1) == [], "nothing has happened that may help"
    queue.happened("node added", 0.1)
    queue.add(info(make, "other"), 0.2)
    assert names(queue, 0.5) == ["other", "p"]


def test_after_five_minutes_it_is_tried_anyway(make):
    queue = queues.Queue()
    for name in ("p", "q"):
        queue.add(info(make, name), 0.0)
        queue.park(queue.pop(0.0), frozenset({"NodeAffinity"}), 0.0)
    assert queue.next_due() == 300.0
    assert names(queue, 299.0) == []
    assert names(queue, 300.0) == ["p", "q"]


def test_a_changed_specification_is_looked_at_again_a_changed_status_is_not(make):
    queue = queues.Queue()
    queue.add(info(make, "p"), 0.0)
    queue.park(queue.pop(0.0), frozenset({"NodeAffinity"}), 0.0)
    queue.add(info(make, "p"), 2.0)
    assert names(queue, 2.0) == []
    queue.add(info(make, "p", tolerations=(core.Toleration(operator="Exists"),)), 2.0)
    assert names(queue, 2.0) == ["p"]


def test_a_gated_pod_waits_until_its_gates_are_gone(make):
    queue = queues.Queue()
    queue.add(info(make, "p", schedulingGates=(core.PodSchedulingGate(name="g"),)), 0.0, gated=True)
    queue.happened("node added", 0.0)
    assert names(queue, 400.0) == []
    queue.add(info(make, "p"), 1.0)
    assert names(queue, 1.0) == ["p"]


def test_a_refused_binding_is_tried_after_the_backoff(make):
    queue = queues.Queue()
    queue.add(info(make, "p"), 0.0)
    queue.again(queue.pop(0.0), 0.0)
    assert names(queue, 0.5) == []
    assert names(queue, 1.0) == ["p"]


def test_a_removed_pod_does_not_come_back(make):
    queue = queues.Queue()
    queue.add(info(make, "p"), 0.0)
    waiting = queue.pop(0.0)
    queue.remove(("default", "p"))
    queue.again(waiting, 0.0)
    queue.park(waiting, frozenset(), 0.0)
    assert len(queue) == 0
    assert names(queue, 1000.0) == []


def test_another_pod_of_the_same_name_starts_afresh(make):
    queue = queues.Queue()
    queue.add(info(make, "p"), 0.0)
    queue.park(queue.pop(0.0), frozenset({"NodeAffinity"}), 0.0)
    other = make.pod("p")

    other = msgspec.structs.replace(other, metadata=msgspec.structs.replace(other.metadata, uid="other"))
    queue.add(pods.of(other), 3.0)
    assert [queue.pop(3.0).attempts, queue.pop(3.0)] == [1, None]


@pytest.mark.parametrize("event", queues.HELPS)
def test_every_event_helps_some_plugin_there_is(event):
    known = {plugin.name for plugin in profiles.DEFAULT.filters}
    assert queues.HELPS[event] <= known
