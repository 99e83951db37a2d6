"""DaemonSets on a real API server, told as stories; and the rules of their nodes, case by case."""

import msgspec
import pytest

from netemu.api import apps, core, meta
from netemu.controllers.daemonset import plan


def daemon_set(make, image="app:1", *, update=None, **spec):
    pod = msgspec.structs.replace(make.template(image).spec, **spec)
    return apps.DaemonSet(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=apps.DaemonSetSpec(
            selector=meta.LabelSelector(matchLabels={"app": "web"}),
            template=msgspec.structs.replace(make.template(image), spec=pod),
            updateStrategy=apps.DaemonSetUpdateStrategy(
                rollingUpdate=None if update is None else apps.RollingUpdateDaemonSet(**update)
            ),
        ),
    )


async def placed(cluster):
    pods = (await cluster.admin.list(core.Pod, "default")).items
    return sorted((pod.spec.nodeName, pod.spec.containers[0].image) for pod in pods)


async def counts(cluster):
    status = (await cluster.admin.get(apps.DaemonSet, "web", "default")).status
    return (
        status.desiredNumberScheduled,
        status.currentNumberScheduled,
        status.numberReady,
        status.updatedNumberScheduled,
    )


def test_every_node_has_one_and_a_new_node_gets_one(play, make):
    async def story(cluster):
        await cluster.admin.create(daemon_set(make))
        await cluster.settle()
        assert await placed(cluster) == [("worker-1", "app:1"), ("worker-2", "app:1")]
        assert await counts(cluster) == (2, 2, 2, 2)
        await cluster.add_node("worker-3")
        await cluster.settle()
        assert [node for node, _ in await placed(cluster)] == ["worker-1", "worker-2", "worker-3"]
        (gone, *_) = (await cluster.admin.list(core.Pod, "default")).items
        await cluster.admin.delete(core.Pod, gone.metadata.name, "default")
        await cluster.settle()
        assert len(await placed(cluster)) == 3

    play(story)


def test_a_node_with_the_label_only_and_no_longer_when_it_loses_it(play, make):
    async def story(cluster):
        await cluster.admin.create(daemon_set(make, nodeSelector={"disk": "ssd"}))
        await cluster.settle()
        assert await placed(cluster) == []
        assert await counts(cluster) == (0, 0, 0, 0)
        for value, expected in (("ssd", [("worker-2", "app:1")]), (None, [])):
            body = {"metadata": {"labels": {"disk": value}}}
            await cluster.admin.patch(core.Node, "worker-2", "", body=body)
            await cluster.settle()
            assert await placed(cluster) == expected

    play(story)


@pytest.mark.parametrize("update", [None, {"maxSurge": 1, "maxUnavailable": 0}], ids=["replace", "surge"])
def test_a_new_template_rolls_out_node_by_node_and_is_remembered(play, make, update):
    async def story(cluster):
        await cluster.admin.create(daemon_set(make, update=update))
        await cluster.settle()
        serving = []
        pods = cluster.known.of(core.Pod)
        pods.subscribe(lambda _: serving.append(_serving(pods.objects.values())))
        image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "app:2"}]}}}}
        await cluster.admin.patch(apps.DaemonSet, "web", "default", body=image)
        await cluster.settle(5)
        assert await placed(cluster) == [("worker-1", "app:2"), ("worker-2", "app:2")]
        assert min(serving) == (2 if update else 1)
        revisions = (await cluster.admin.list(apps.ControllerRevision, "default")).items
        assert sorted(one.revision for one in revisions) == [1, 2]
        # What `kubectl rollout undo` does: put the recorded template back
        first = min(revisions, key=lambda one: one.revision)
        await cluster.admin.patch(apps.DaemonSet, "web", "default", body=first.data, how="strategic")
        await cluster.settle(5)
        assert await placed(cluster) == [("worker-1", "app:1"), ("worker-2", "app:1")]
        revisions = (await cluster.admin.list(apps.ControllerRevision, "default")).items
        assert sorted(one.revision for one in revisions) == [2, 3]

    play(story)


def _serving(pods):
    return len(
        {p.spec.nodeName for p in pods if p.status.phase == "Running" and not p.metadata.deletionTimestamp}
    )


def taint(key, effect):
    return core.Taint(key=key, effect=effect)


@pytest.mark.parametrize(
    ("taints", "runs", "continues"),
    [
        ((), True, True),
        ((taint("node.kubernetes.io/not-ready", "NoExecute"),), True, True),
        ((taint("node.kubernetes.io/unschedulable", "NoSchedule"),), True, True),
        ((taint("node-role.kubernetes.io/control-plane", "NoSchedule"),), False, True),
        ((taint("gpu", "NoExecute"),), False, False),
    ],
)
def test_taints(make, taints, runs, continues):
    node = make.node("worker-1", taints=taints)
    assert plan.runs_on(daemon_set(make), node) is runs
    assert plan.continues_on(daemon_set(make), node) is continues


def test_the_network_need_not_be_there_for_those_who_do_not_use_it(make):
    node = make.node("worker-1", taints=(taint("node.kubernetes.io/network-unavailable", "NoSchedule"),))
    assert not plan.runs_on(daemon_set(make), node)
    assert plan.runs_on(daemon_set(make, hostNetwork=True), node)
