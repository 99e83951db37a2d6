"""Events: written once, counted afterwards, and never in anybody's way."""

import asyncio

from netemu.api import core
from netemu.reconcile import recorders


async def events(cluster, component):
    found = (await cluster.admin.list(core.Event)).items
    return [one for one in found if one.source.component == component]


def test_a_repeat_counts_up_and_another_message_is_another_event(play):
    async def story(cluster):
        recorder = recorders.Recorder(cluster.admin, "tester", cluster.clock)
        namespace = await cluster.admin.get(core.Namespace, "default")
        worker = asyncio.ensure_future(recorder.run())
        for message in ("no", "no", "yes", "no"):
            recorder.record(namespace, "Warning", "Asked", message)
            await cluster.settle(1)
        found = {one.message: one for one in await events(cluster, "tester")}
        assert {message: one.count for message, one in found.items()} == {"no": 3, "yes": 1}
        event = found["no"]
        assert event.metadata.namespace == "default"  # cluster-wide objects' events live there
        assert (event.type, event.reason, event.involvedObject.kind) == ("Warning", "Asked", "Namespace")
        assert event.firstTimestamp < event.lastTimestamp
        await cluster.settle(700)
        recorder.record(namespace, "Warning", "Asked", "no")
        await cluster.settle(1)
        assert sorted(one.count for one in await events(cluster, "tester")) == [1, 1, 3]
        worker.cancel()

    play(story)


def test_a_flood_is_cut_off_and_a_refusal_is_swallowed(play):
    async def story(cluster):
        recorder = recorders.Recorder(cluster.admin, "tester", cluster.clock)
        namespace = await cluster.admin.get(core.Namespace, "default")
        for number in range(1500):
            recorder.record(namespace, "Normal", "Flood", f"{number}")
        refused = core.Namespace(metadata=type(namespace.metadata)(name="Not A Name", namespace="nowhere"))
        worker = asyncio.ensure_future(recorder.run())
        await cluster.settle(10)
        assert len(await events(cluster, "tester")) == 1000
        recorder.record(refused, "Normal", "Refused", "x")
        recorder.record(namespace, "Normal", "After", "still alive")
        await cluster.settle(1)
        assert [one.reason for one in await events(cluster, "tester")].count("After") == 1
        worker.cancel()

    play(story)
