"""StatefulSets on a real API server, told as stories: numbers, order, versions."""

import msgspec
import pytest

from netemu.api import apps, core, meta


def stateful_set(make, replicas=3, *, policy="OrderedReady", partition=None, **spec):
    rolling = apps.RollingUpdateStatefulSetStrategy(partition=partition)
    return apps.StatefulSet(
        metadata=meta.ObjectMeta(name="db", namespace="default"),
        spec=apps.StatefulSetSpec(
            replicas=replicas,
            serviceName="db",
            selector=meta.LabelSelector(matchLabels={"app": "web"}),
            template=make.template(),
            podManagementPolicy=policy,
            updateStrategy=apps.StatefulSetUpdateStrategy(rollingUpdate=rolling),
            **spec,
        ),
    )


async def images(cluster):
    pods = (await cluster.admin.list(core.Pod, "default")).items
    return {pod.metadata.name: pod.spec.containers[0].image for pod in pods}


async def update(cluster, **spec):
    return await cluster.admin.patch(apps.StatefulSet, "db", "default", body={"spec": spec})


def new_image(version):
    return {"spec": {"containers": [{"name": "c", "image": f"app:{version}"}]}}


def test_pods_are_numbered_and_named_and_made_in_order(play, make):
    async def story(cluster):
        cluster.kubelet.unready = True
        await cluster.admin.create(stateful_set(make))
        await cluster.settle()
        assert await cluster.names(core.Pod) == ["db-0"]  # db-1 waits until db-0 serves
        cluster.kubelet.unready = False
        await cluster.admin.delete(core.Pod, "db-0", "default")
        await cluster.settle(5)
        assert await cluster.names(core.Pod) == ["db-0", "db-1", "db-2"]
        pod = await cluster.admin.get(core.Pod, "db-1", "default")
        assert (pod.spec.hostname, pod.spec.subdomain) == ("db-1", "db")
        assert pod.metadata.labels["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert pod.metadata.labels["apps.kubernetes.io/pod-index"] == "1"
        status = (await cluster.admin.get(apps.StatefulSet, "db", "default")).status
        assert (status.replicas, status.readyReplicas, status.availableReplicas) == (3, 3, 3)
        assert status.currentRevision == status.updateRevision != ""

    play(story)


def test_it_shrinks_from_the_top_and_a_lost_one_returns_under_its_name(play, make):
    async def story(cluster):
        await cluster.admin.create(stateful_set(make))
        await cluster.settle(5)
        first = await cluster.admin.get(core.Pod, "db-0", "default")
        await cluster.admin.delete(core.Pod, "db-0", "default")
        await cluster.settle(3)
        again = await cluster.admin.get(core.Pod, "db-0", "default")
        assert again.metadata.uid != first.metadata.uid
        gone = []
        cluster.known.of(core.Pod).subscribe(lambda c: gone.append(c.key.name) if c.current is None else None)
        await update(cluster, replicas=1)
        await cluster.settle(5)
        assert await cluster.names(core.Pod) == ["db-0"]
        assert gone == ["db-2", "db-1"]

    play(story)


def test_all_at_once_when_the_order_does_not_matter(play, make):
    async def story(cluster):
        cluster.kubelet.unready = True
        await cluster.admin.create(
            stateful_set(make, policy="Parallel", ordinals=apps.StatefulSetOrdinals(start=5))
        )
        await cluster.settle()
        assert await cluster.names(core.Pod) == ["db-5", "db-6", "db-7"]

    play(story)


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_new_template_goes_from_the_top_down_to_the_partition(play, make, policy):
    async def story(cluster):
        await cluster.admin.create(stateful_set(make, partition=2, policy=policy))
        await cluster.settle(5)
        before = (await cluster.admin.get(apps.StatefulSet, "db", "default")).status.currentRevision
        await update(cluster, template=new_image(2))
        await cluster.settle(5)
        assert await images(cluster) == {"db-0": "app:1", "db-1": "app:1", "db-2": "app:2"}
        status = (await cluster.admin.get(apps.StatefulSet, "db", "default")).status
        assert status.currentRevision == before != status.updateRevision
        assert (status.currentReplicas, status.updatedReplicas) == (2, 1)
        # Below the partition a lost pod comes back as it was.
        await cluster.admin.delete(core.Pod, "db-1", "default")
        await cluster.settle(3)
        assert (await images(cluster))["db-1"] == "app:1"
        await update(cluster, updateStrategy={"rollingUpdate": {"partition": 0}})
        await cluster.settle(5)
        assert set((await images(cluster)).values()) == {"app:2"}
        status = (await cluster.admin.get(apps.StatefulSet, "db", "default")).status
        assert status.currentRevision == status.updateRevision
        revisions = (await cluster.admin.list(apps.ControllerRevision, "default")).items
        assert sorted(one.revision for one in revisions) == [1, 2]

    play(story)


def test_a_broken_version_stops_at_the_first_pod(play, make):
    async def story(cluster):
        await cluster.admin.create(stateful_set(make))
        await cluster.settle(5)
        cluster.kubelet.unready = True
        await update(cluster, template=new_image(2))
        await cluster.settle(10)
        assert await images(cluster) == {"db-0": "app:1", "db-1": "app:1", "db-2": "app:2"}

    play(story)


def test_each_pod_has_claims_of_its_own_that_outlive_it(play, make):
    async def story(cluster):
        claim = core.PersistentVolumeClaim(
            metadata=meta.ObjectMeta(name="data"),
            spec=core.PersistentVolumeClaimSpec(
                accessModes=("ReadWriteOnce",),
                resources=core.VolumeResourceRequirements(requests={"storage": "1Gi"}),
            ),
        )
        await cluster.admin.create(stateful_set(make, 2, volumeClaimTemplates=(claim,)))
        await cluster.settle(5)
        assert await cluster.names(core.PersistentVolumeClaim) == ["data-db-0", "data-db-1"]
        pod = await cluster.admin.get(core.Pod, "db-1", "default")
        volume = next(one for one in pod.spec.volumes if one.name == "data")
        assert volume.persistentVolumeClaim.claimName == "data-db-1"
        await update(cluster, replicas=0)
        await cluster.settle(5)
        assert await cluster.names(core.Pod) == []
        assert await cluster.names(core.PersistentVolumeClaim) == ["data-db-0", "data-db-1"]

    play(story)


def test_a_pod_that_ended_makes_room_for_its_successor(play, make):
    async def story(cluster):
        await cluster.admin.create(stateful_set(make, 1))
        await cluster.settle()
        pod = await cluster.admin.get(core.Pod, "db-0", "default")
        ended = msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, phase="Failed"))
        await cluster.admin.update_status(ended)
        await cluster.settle(3)
        again = await cluster.admin.get(core.Pod, "db-0", "default")
        assert (again.metadata.uid != pod.metadata.uid, again.status.phase) == (True, "Running")

    play(story)
