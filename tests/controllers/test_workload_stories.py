"""Deployments and ReplicaSets on a real API server, told as stories."""

import msgspec

from netemu.api import apps, core, meta


async def pods(cluster, **labels):
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return (await cluster.admin.list(core.Pod, "default", labels=selector)).items


async def the_deployment(cluster):
    return await cluster.admin.get(apps.Deployment, "web", "default")


async def update(cluster, **spec):
    body = {"spec": spec}
    return await cluster.admin.patch(apps.Deployment, "web", "default", body=body)


IMAGE_2 = {"spec": {"containers": [{"name": "c", "image": "app:2"}]}}


def fresh(deployment):
    """As a user writes it: nothing the server fills in."""
    return msgspec.structs.replace(
        deployment, metadata=meta.ObjectMeta(name=deployment.metadata.name, namespace="default")
    )


def test_a_deployment_becomes_ready_pods_and_goes_with_all_it_made(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(5)))
        await cluster.settle()
        found = await pods(cluster, app="web")
        assert len(found) == 5
        assert sorted(pod.spec.nodeName for pod in found).count("worker-1") in (2, 3)
        deployment = await the_deployment(cluster)
        assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
        status = deployment.status
        assert (status.replicas, status.readyReplicas, status.availableReplicas, status.updatedReplicas) == (
            5,
            5,
            5,
            5,
        )
        assert status.observedGeneration == deployment.metadata.generation
        (replica_set,) = (await cluster.admin.list(apps.ReplicaSet, "default")).items
        digest = replica_set.metadata.labels["pod-template-hash"]
        assert all(pod.metadata.name.startswith(f"web-{digest}-") for pod in found)
        assert all(pod.metadata.ownerReferences[0].uid == replica_set.metadata.uid for pod in found)
        await cluster.admin.delete(apps.Deployment, "web", "default", propagation="Background")
        await cluster.settle()
        assert await cluster.names(apps.ReplicaSet) == []
        assert await cluster.names(core.Pod) == []

    play(story)


def test_a_new_image_rolls_out_and_an_undo_rolls_back(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(4)))
        await cluster.settle()
        first = await cluster.names(core.Pod)
        await update(cluster, template=IMAGE_2)
        await cluster.settle(5)
        found = await pods(cluster, app="web")
        assert {pod.spec.containers[0].image for pod in found} == {"app:2"}
        assert len(found) == 4
        assert not {pod.metadata.name for pod in found} & set(first)
        sets = (await cluster.admin.list(apps.ReplicaSet, "default")).items
        assert sorted(one.spec.replicas for one in sets) == [0, 4]
        deployment = await the_deployment(cluster)
        assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "2"
        await update(cluster, template={"spec": {"containers": [{"name": "c", "image": "app:1"}]}})
        await cluster.settle(5)
        assert len(await cluster.names(apps.ReplicaSet)) == 2
        deployment = await the_deployment(cluster)
        assert deployment.metadata.annotations["deployment.kubernetes.io/revision"] == "3"
        assert {pod.spec.containers[0].image for pod in await pods(cluster, app="web")} == {"app:1"}

    play(story)


def test_a_broken_image_does_not_take_the_old_pods_away(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(4, progressDeadlineSeconds=60)))
        await cluster.settle()
        cluster.kubelet.unready = True
        await update(cluster, template=IMAGE_2)
        await cluster.settle(30)
        images = sorted(pod.spec.containers[0].image for pod in await pods(cluster, app="web"))
        # 25 % of 4: one more than wanted, one fewer available
        assert images == ["app:1"] * 3 + ["app:2"] * 2
        deployment = await the_deployment(cluster)
        assert deployment.status.availableReplicas == 3
        await cluster.settle(60)
        reasons = {one.type: one.reason for one in (await the_deployment(cluster)).status.conditions}
        assert reasons["Progressing"] == "ProgressDeadlineExceeded"

    play(story)


def test_recreate_never_has_two_versions_at_once(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(3, kind="Recreate")))
        await cluster.settle()
        versions = []
        informer = cluster.known.of(core.Pod)
        informer.subscribe(
            lambda _: versions.append({p.spec.containers[0].image for p in informer.objects.values()})
        )
        await update(cluster, template=IMAGE_2)
        await cluster.settle(5)
        assert {"app:1"} in versions
        assert {"app:2"} in versions
        assert not [images for images in versions if len(images) > 1]
        assert len(await pods(cluster, app="web")) == 3

    play(story)


def test_scaling_down_takes_the_cheapest_pods(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(4)))
        await cluster.settle()
        keep, *cheap = await cluster.names(core.Pod)
        costs = {keep: "10", cheap[0]: "-5"}
        for name, cost in costs.items():
            body = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}}}
            await cluster.admin.patch(core.Pod, name, "default", body=body)
        await update(cluster, replicas=3)
        await cluster.settle()
        assert cheap[0] not in await cluster.names(core.Pod)
        await update(cluster, replicas=1)
        await cluster.settle()
        assert await cluster.names(core.Pod) == [keep]
        await update(cluster, replicas=0)
        await cluster.settle()
        assert await cluster.names(core.Pod) == []

    play(story)


def test_a_pod_that_is_deleted_comes_back_under_another_name(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(2)))
        await cluster.settle()
        victim, other = await cluster.names(core.Pod)
        await cluster.admin.delete(core.Pod, victim, "default")
        await cluster.settle()
        found = await cluster.names(core.Pod)
        assert len(found) == 2
        assert victim not in found
        assert other in found

    play(story)


def test_a_relabelled_pod_is_released_and_replaced_and_taken_back(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(2)))
        await cluster.settle()
        name = (await cluster.names(core.Pod))[0]
        await cluster.admin.patch(core.Pod, name, "default", body={"metadata": {"labels": {"app": "debug"}}})
        await cluster.settle()
        released = await cluster.admin.get(core.Pod, name, "default")
        assert released.metadata.ownerReferences == ()
        assert len(await pods(cluster, app="web")) == 2
        await cluster.admin.patch(core.Pod, name, "default", body={"metadata": {"labels": {"app": "web"}}})
        await cluster.settle()
        found = await pods(cluster, app="web")
        assert len(found) == 2
        assert all(pod.metadata.ownerReferences for pod in found)

    play(story)


def test_min_ready_seconds_delays_availability(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(1, minReadySeconds=20)))
        await cluster.settle(10)
        status = (await the_deployment(cluster)).status
        assert (status.readyReplicas, status.availableReplicas) == (1, 0)
        await cluster.settle(15)
        assert (await the_deployment(cluster)).status.availableReplicas == 1

    play(story)


def test_events_tell_the_story(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(1)))
        await cluster.settle()
        (replica_set,) = await cluster.names(apps.ReplicaSet)
        (pod,) = await pods(cluster, app="web")
        name = pod.metadata.name
        events = (await cluster.admin.list(core.Event, "default")).items
        told = {(e.source.component, e.reason, e.message) for e in events}
        assert told == {
            (
                "deployment-controller",
                "ScalingReplicaSet",
                f"Scaled up replica set {replica_set} from 0 to 1",
            ),
            ("replicaset-controller", "SuccessfulCreate", f"Created pod: {name}"),
            (
                "default-scheduler",
                "Scheduled",
                f"Successfully assigned default/{name} to {pod.spec.nodeName}",
            ),
        }

    play(story)


def test_two_hundred_pods_are_made_once_each(play, make):
    async def story(cluster):
        created = []
        cluster.known.of(core.Pod).subscribe(lambda c: created.append(c.key) if c.previous is None else None)
        await cluster.admin.create(fresh(make.deployment(200)))
        await cluster.settle(5)
        assert len(created) == len(set(created)) == 200
        assert (await the_deployment(cluster)).status.readyReplicas == 200

    play(story)


def test_a_paused_rollout_waits(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(2)))
        await cluster.settle()
        await update(cluster, paused=True, template=IMAGE_2)
        await cluster.settle()
        assert {pod.spec.containers[0].image for pod in await pods(cluster, app="web")} == {"app:1"}
        await update(cluster, paused=False)
        await cluster.settle(5)
        assert {pod.spec.containers[0].image for pod in await pods(cluster, app="web")} == {"app:2"}

    play(story)
