"""Jobs on a real API server, told as stories: what is counted stays counted."""

import msgspec
import pytest

from netemu.api import batch, core, meta
from netemu.controllers.job import plan


def job(make, **spec):
    pod = msgspec.structs.replace(make.template(labels={"app": "job"}).spec, restartPolicy="Never")
    return batch.Job(
        metadata=meta.ObjectMeta(name="sum", namespace="default"),
        spec=batch.JobSpec(template=msgspec.structs.replace(make.template(), spec=pod), **spec),
    )


async def end(cluster, phase, *, only=None):
    """Let running pods come to their end."""
    ended = []
    for pod in (await cluster.admin.list(core.Pod, "default")).items:
        if pod.status.phase == "Running" and (only is None or len(ended) < only):
            finished = msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, phase=phase))
            await cluster.admin.update_status(finished)
            ended.append(pod.metadata.name)
    await cluster.settle()
    return ended


async def status(cluster):
    found = (await cluster.admin.get(batch.Job, "sum", "default")).status
    over = [(one.type, one.reason) for one in found.conditions if one.type in ("Complete", "Failed")]
    return found.active, found.succeeded, found.failed, over


def test_as_many_at_once_as_asked_until_enough_have_succeeded(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make, completions=5, parallelism=2))
        await cluster.settle()
        assert await status(cluster) == (2, 0, 0, [])
        for _ in range(2):
            assert len(await end(cluster, "Succeeded")) == 2
        assert await status(cluster) == (1, 4, 0, [])  # one is enough now
        await end(cluster, "Succeeded")
        assert await status(cluster) == (0, 5, 0, [("Complete", "CompletionsReached")])
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert len(pods) == 5
        assert not any(pod.metadata.finalizers for pod in pods)
        found = await cluster.admin.get(batch.Job, "sum", "default")
        assert found.status.startTime
        assert found.status.completionTime

    play(story)


def test_a_result_counts_though_its_pod_is_deleted(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make, completions=2, parallelism=1))
        await cluster.settle()
        (name,) = await end(cluster, "Succeeded")
        await cluster.admin.delete(core.Pod, name, "default", grace=0)
        await cluster.settle()
        assert (await status(cluster))[:3] == (1, 1, 0)
        await end(cluster, "Succeeded")
        assert await status(cluster) == (0, 2, 0, [("Complete", "CompletionsReached")])

    play(story)


def test_failures_are_tried_again_later_and_later_and_not_for_ever(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make, backoffLimit=1))
        await cluster.settle()
        await end(cluster, "Failed")
        assert await status(cluster) == (0, 0, 1, [])
        await cluster.settle(12)  # ten seconds after the first failure
        assert await status(cluster) == (1, 0, 1, [])
        await end(cluster, "Failed")
        assert await status(cluster) == (0, 0, 2, [("Failed", "BackoffLimitExceeded")])

    play(story)


def test_time_is_up(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make, activeDeadlineSeconds=30))
        await cluster.settle(10)
        assert (await status(cluster))[0] == 1
        await cluster.settle(25)
        assert (await status(cluster))[3] == [("Failed", "DeadlineExceeded")]

    play(story)


def test_indexes_succeed_once_each(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make, completions=3, parallelism=3, completionMode="Indexed"))
        await cluster.settle()
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert sorted(pod.metadata.annotations[plan.INDEX] for pod in pods) == ["0", "1", "2"]
        assert sorted(pod.spec.hostname for pod in pods) == ["sum-0", "sum-1", "sum-2"]
        variables = {v.name: v.value for pod in pods for v in pod.spec.containers[0].env}
        assert variables["JOB_COMPLETION_INDEX"] in ("0", "1", "2")
        await end(cluster, "Failed", only=1)
        await end(cluster, "Succeeded")
        found = await cluster.admin.get(batch.Job, "sum", "default")
        assert len(plan.numbers(found.status.completedIndexes)) == 2
        await cluster.settle(12)
        await end(cluster, "Succeeded")
        found = await cluster.admin.get(batch.Job, "sum", "default")
        assert found.status.completedIndexes == "0-2"
        assert (await status(cluster))[1:] == (3, 1, [("Complete", "CompletionsReached")])

    play(story)


def test_suspended_it_has_no_pods(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make, suspend=True))
        await cluster.settle()
        assert await cluster.names(core.Pod) == []
        for suspend, pods in ((False, 1), (True, 0)):
            await cluster.admin.patch(batch.Job, "sum", "default", body={"spec": {"suspend": suspend}})
            await cluster.settle()
            assert len(await cluster.names(core.Pod)) == pods

    play(story)


def test_it_goes_with_its_pods_when_asked_or_when_its_time_has_come(play, make):
    async def story(cluster):
        await cluster.admin.create(job(make))
        await cluster.settle()
        await cluster.admin.delete(batch.Job, "sum", "default", propagation="Background")
        await cluster.settle(3)
        assert await cluster.names(core.Pod) == []
        await cluster.admin.create(job(make, ttlSecondsAfterFinished=60))
        await cluster.settle()
        await end(cluster, "Succeeded")
        assert await cluster.names(batch.Job) == ["sum"]
        await cluster.settle(62)
        assert await cluster.names(batch.Job) == []
        assert await cluster.names(core.Pod) == []

    play(story)


@pytest.mark.parametrize(
    ("indexes", "text"), [((), ""), ((0,), "0"), ((3, 4), "3,4"), ((0, 1, 2, 7, 9, 10, 11), "0-2,7,9-11")]
)
def test_indexes_are_written_as_kubernetes_does(indexes, text):
    assert plan.ranges(indexes) == text
    assert plan.numbers(text) == frozenset(indexes)
