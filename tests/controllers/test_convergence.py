"""From any state the controllers reach what the specification says, and then do nothing more.

A random walk: people and accidents change anything at any moment; after each stretch time passes, the cluster
is checked against the text of the API, and a further minute must not cost a single write.
"""

import contextlib
import random

import pytest

from netemu.api import apps, core, discovery, meta, selectors
from netemu.client import errors as api_errors

REFUSALS = (api_errors.AlreadyExists, api_errors.NotFound, api_errors.Conflict, api_errors.Invalid)
APPS = ("red", "blue", "green")


def deployment(chance, name):
    spec = core.PodSpec(containers=(core.Container(name="c", image=f"app:{chance.randrange(3)}"),))
    kind = chance.choice(["RollingUpdate", "RollingUpdate", "Recreate"])
    return apps.Deployment(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=apps.DeploymentSpec(
            replicas=chance.randrange(7),
            selector=meta.LabelSelector(matchLabels={"app": name}),
            template=core.PodTemplateSpec(metadata=meta.ObjectMeta(labels={"app": name}), spec=spec),
            strategy=apps.DeploymentStrategy(type=kind),
        ),
    )


def service(chance, name):
    families = chance.choice(["SingleStack", "PreferDualStack"])
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.ServiceSpec(
            selector={"app": chance.choice(APPS)},
            ports=(core.ServicePort(port=80, targetPort=8080),),
            ipFamilyPolicy=families,
            clusterIP=chance.choice(["", "None"]),
            publishNotReadyAddresses=chance.random() < 0.2,
        ),
    )


class Chaos:
    """One random deed at a time. What the API refuses is not done."""

    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance

    async def step(self):
        deeds = [
            self.make_deployment,
            self.change_deployment,
            self.delete_deployment,
            self.make_service,
            self.delete_service,
            self.kill_pod,
            self.relabel_pod,
            self.delete_replica_set,
            self.meddle_with_slice,
            self.cordon,
        ]
        with contextlib.suppress(*REFUSALS):
            await self.chance.choice(deeds)()

    async def one(self, kind):
        items = (await self.cluster.admin.list(kind, "default")).items
        if not items:
            raise api_errors.NotFound(meta.Status(reason="NotFound"))
        return self.chance.choice(items)

    async def make_deployment(self):
        await self.cluster.admin.create(deployment(self.chance, self.chance.choice(APPS)))

    async def change_deployment(self):
        found = await self.one(apps.Deployment)
        spec = {"replicas": self.chance.randrange(7)}
        if self.chance.random() < 0.5:
            image = f"app:{self.chance.randrange(3)}"
            spec["template"] = {"spec": {"containers": [{"name": "c", "image": image}]}}
        await self.cluster.admin.patch(apps.Deployment, found.metadata.name, "default", body={"spec": spec})

    async def delete_deployment(self):
        found = await self.one(apps.Deployment)
        how = self.chance.choice(["Background", "Foreground", "Orphan"])
        await self.cluster.admin.delete(apps.Deployment, found.metadata.name, "default", propagation=how)

    async def make_service(self):
        await self.cluster.admin.create(service(self.chance, f"svc-{self.chance.randrange(3)}"))

    async def delete_service(self):
        await self.cluster.admin.delete(core.Service, f"svc-{self.chance.randrange(3)}", "default")

    async def kill_pod(self):
        found = await self.one(core.Pod)
        grace = self.chance.choice([None, 0])
        await self.cluster.admin.delete(core.Pod, found.metadata.name, "default", grace=grace)

    async def relabel_pod(self):
        found = await self.one(core.Pod)
        labels = {"app": self.chance.choice([*APPS, "none"])}
        await self.cluster.admin.patch(
            core.Pod, found.metadata.name, "default", body={"metadata": {"labels": labels}}
        )

    async def delete_replica_set(self):
        found = await self.one(apps.ReplicaSet)
        await self.cluster.admin.delete(
            apps.ReplicaSet, found.metadata.name, "default", propagation="Background"
        )

    async def meddle_with_slice(self):
        found = await self.one(discovery.EndpointSlice)
        name = found.metadata.name
        if self.chance.random() < 0.5:
            await self.cluster.admin.delete(discovery.EndpointSlice, name, "default")
        else:
            await self.cluster.admin.patch(discovery.EndpointSlice, name, "default", body={"endpoints": []})

    async def cordon(self):
        name = f"worker-{self.chance.randrange(1, 3)}"
        body = {"spec": {"unschedulable": self.chance.random() < 0.3}}
        await self.cluster.admin.patch(core.Node, name, body=body)


async def check(cluster):
    """The specification, read off the API."""
    listing = {
        kind: (await cluster.admin.list(kind, "default")).items
        for kind in (apps.Deployment, apps.ReplicaSet, core.Pod, core.Service, discovery.EndpointSlice)
    }
    pods = listing[core.Pod]
    for one in listing[apps.Deployment]:
        sets = [rs for rs in listing[apps.ReplicaSet] if owned(rs, one)]
        current = [rs for rs in sets if rs.spec.replicas]
        mine = [p for p in pods if any(owned(p, rs) for rs in sets)]
        assert len(mine) == one.spec.replicas
        assert {p.spec.containers[0].image for p in mine} <= {one.spec.template.spec.containers[0].image}
        assert len(current) == (1 if one.spec.replicas else 0)
        assert one.status.observedGeneration == one.metadata.generation
        assert one.status.replicas == len(mine)
        assert one.status.readyReplicas == sum(map(ready, mine))
    for one in listing[apps.ReplicaSet]:
        mine = [p for p in pods if owned(p, one)]
        assert len(mine) == one.spec.replicas == one.status.replicas
        assert all(selectors.of(one.spec.selector).matches(p.metadata.labels) for p in mine)
    uids = {one.metadata.uid for items in listing.values() for one in items}
    for items in listing.values():
        for one in items:
            assert all(owner.uid in uids for owner in one.metadata.ownerReferences), "garbage is left"
    for one in listing[core.Service]:
        if one.spec.selector:
            check_endpoints(one, pods, listing[discovery.EndpointSlice])
    services = {one.metadata.name for one in listing[core.Service]}
    assert {s.metadata.labels["kubernetes.io/service-name"] for s in listing[discovery.EndpointSlice]} <= {
        *services,
        "kubernetes",
    }


def check_endpoints(one, pods, slices):
    mine = [s for s in slices if s.metadata.labels["kubernetes.io/service-name"] == one.metadata.name]
    for family, sign in (("IPv4", "."), ("IPv6", ":")):
        expected = {
            ip.ip: ready(p) or one.spec.publishNotReadyAddresses
            for p in pods
            if one.spec.selector.items() <= p.metadata.labels.items()
            for ip in p.status.podIPs
            if sign in ip.ip and family in one.spec.ipFamilies
        }
        found = {
            e.addresses[0]: e.conditions.ready for s in mine if s.addressType == family for e in s.endpoints
        }
        assert found == expected


def owned(one, by):
    return any(owner.uid == by.metadata.uid for owner in one.metadata.ownerReferences)


def ready(pod):
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


@pytest.mark.parametrize("seed", [*range(9), 33, 37, 68])
def test_a_random_walk_always_comes_to_rest_where_it_should(play, seed):
    async def story(cluster):
        chance = random.Random(seed)
        chaos = Chaos(cluster, chance)
        for _ in range(6):
            for _ in range(chance.randrange(1, 25)):
                await chaos.step()
                if chance.random() < 0.4:
                    await cluster.clock.run_for(
                        chance.choice([0.0, 0.01, 0.2, 1.0]), turns=chance.randrange(30)
                    )
            for name in ("worker-1", "worker-2"):
                await cluster.admin.patch(core.Node, name, body={"spec": {"unschedulable": False}})
            await cluster.settle(15)
            await check(cluster)
            revision = cluster.store.revision
            await cluster.settle(20)
            assert cluster.store.revision == revision, "somebody still writes though nothing changes"

    play(story, node_grace=1e9)
