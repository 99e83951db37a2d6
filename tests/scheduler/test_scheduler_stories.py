"""The scheduler on a real API server, told as stories."""

import time

import msgspec

from netemu.api import core, meta


def wish(name, *, cpu=None, **spec):
    requests = {"cpu": cpu} if cpu else {}
    container = core.Container(
        name="c", image="pause", resources=core.ResourceRequirements(requests=requests)
    )
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", labels={"app": name}),
        spec=core.PodSpec(containers=(container,), **spec),
    )


async def placed(cluster, name):
    return (await cluster.admin.get(core.Pod, name, "default")).spec.nodeName


async def scheduled_condition(cluster, name):
    pod = await cluster.admin.get(core.Pod, name, "default")
    return next(one for one in pod.status.conditions if one.type == "PodScheduled")


async def events(cluster, reason):
    found = (await cluster.admin.list(core.Event, "default", fields=f"reason={reason}")).items
    return {one.message: one.count for one in found}


def test_a_pod_without_room_says_so_and_is_placed_when_there_is(play):
    async def story(cluster):
        await cluster.admin.create(wish("big", cpu="6"))
        await cluster.admin.create(wish("big-too", cpu="6"))
        await cluster.settle()
        await cluster.admin.create(wish("late", cpu="6"))
        await cluster.settle()
        assert await placed(cluster, "late") == ""
        message = (
            "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
            "2 No preemption victims found for incoming pod."
        )
        condition = await scheduled_condition(cluster, "late")
        assert (condition.status, condition.reason, condition.message) == ("False", "Unschedulable", message)
        assert await events(cluster, "FailedScheduling") == {message: 1}
        home = await placed(cluster, "big")
        await cluster.admin.delete(core.Pod, "big", "default")
        await cluster.settle(3)
        assert await placed(cluster, "late") == home
        condition = await scheduled_condition(cluster, "late")
        assert (condition.status, condition.reason, condition.message) == ("True", "", "")

    play(story)


def test_a_new_node_takes_who_is_waiting(play):
    async def story(cluster):
        await cluster.admin.create(wish("picky", nodeSelector={"disk": "ssd"}))
        await cluster.settle()
        assert await placed(cluster, "picky") == ""
        await cluster.add_node("worker-9", disk="ssd")
        await cluster.settle(15)
        assert await placed(cluster, "picky") == "worker-9"

    play(story)


def test_a_label_on_a_node_is_enough(play):
    async def story(cluster):
        await cluster.admin.create(wish("picky", nodeSelector={"disk": "ssd"}))
        await cluster.settle()
        await cluster.admin.patch(core.Node, "worker-2", body={"metadata": {"labels": {"disk": "ssd"}}})
        await cluster.settle(15)
        assert await placed(cluster, "picky") == "worker-2"

    play(story)


def test_other_schedulers_pods_and_gated_pods_are_left_alone(play):
    async def story(cluster):
        await cluster.admin.create(wish("foreign", schedulerName="mine"))
        await cluster.admin.create(wish("gated", schedulingGates=(core.PodSchedulingGate(name="x/y"),)))
        await cluster.settle()
        assert [await placed(cluster, name) for name in ("foreign", "gated")] == ["", ""]
        await cluster.admin.patch(core.Pod, "gated", "default", body={"spec": {"schedulingGates": None}})
        await cluster.settle()
        assert await placed(cluster, "gated") != ""
        assert await placed(cluster, "foreign") == ""

    play(story)


def test_room_is_never_given_away_twice(play):
    async def story(cluster):
        # Two nodes of 8 cores: exactly 16 pods of one core fit, however fast they come.
        for number in range(24):
            await cluster.admin.create(wish(f"p{number}", cpu="1"))
        await cluster.settle(5)
        homes = [await placed(cluster, f"p{number}") for number in range(24)]
        assert [homes.count(name) for name in ("worker-1", "worker-2", "")] == [8, 8, 8]

    play(story)


def test_somebody_else_was_faster(play):
    async def story(cluster):
        await cluster.admin.create(wish("p", nodeSelector={"no": "such"}))
        await cluster.settle()
        pod = await cluster.admin.get(core.Pod, "p", "default")
        await cluster.admin.bind("default", "p", pod.metadata.uid, "worker-1")
        await cluster.admin.patch(core.Node, "worker-2", body={"metadata": {"labels": {"no": "such"}}})
        await cluster.settle(15)
        assert await placed(cluster, "p") == "worker-1"
        # and its room is accounted for where it is
        await cluster.admin.create(wish("q", cpu="8"))
        await cluster.settle()
        assert await placed(cluster, "q") in ("worker-1", "worker-2")

    play(story)


def test_priority_goes_first(play):
    async def story(cluster):
        blocker = {"nodeSelector": {"ready": "yes"}}
        await cluster.admin.create(wish("low", cpu="8", **blocker))
        urgent = wish("high", cpu="8", **blocker)
        urgent = msgspec.structs.replace(
            urgent, spec=msgspec.structs.replace(urgent.spec, priorityClassName="system-cluster-critical")
        )
        await cluster.admin.create(urgent)
        await cluster.settle()
        priority = (await cluster.admin.get(core.Pod, "high", "default")).spec.priority
        await cluster.admin.patch(core.Node, "worker-1", body={"metadata": {"labels": {"ready": "yes"}}})
        await cluster.settle(15)
        if priority:  # where admission knows the class
            assert await placed(cluster, "high") == "worker-1"
            assert await placed(cluster, "low") == ""

    play(story)


def test_a_hundred_pods_cost_well_under_a_second_of_processor(play):
    async def story(cluster):
        for number in range(100):
            await cluster.admin.create(wish(f"p{number}", nodeSelector={"go": "now"}))
        await cluster.settle()
        began = time.process_time()
        await cluster.admin.patch(core.Node, "worker-1", body={"metadata": {"labels": {"go": "now"}}})
        await cluster.settle(3)
        assert time.process_time() - began < 1.0
        homes = [await placed(cluster, f"p{number}") for number in range(100)]
        assert homes == ["worker-1"] * 100

    play(story)
