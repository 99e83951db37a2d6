"""Services, nodes, ownership and namespaces on a real API server, told as stories."""

import asyncio

import msgspec
import pytest

from netemu.api import apps, coordination, core, discovery, extensions, kinds, meta
from netemu.base import clock
from netemu.client import errors as api_errors


def fresh(thing):
    return msgspec.structs.replace(
        thing,
        metadata=meta.ObjectMeta(name=thing.metadata.name, namespace="default", labels=thing.metadata.labels),
    )


def web_service(**more):
    spec = {"selector": {"app": "web"}, "ports": (core.ServicePort(port=80, targetPort=8080),), **more}
    return core.Service(
        metadata=meta.ObjectMeta(name="web", namespace="default"), spec=core.ServiceSpec(**spec)
    )


async def slices(cluster, name="web"):
    found = await cluster.admin.list(
        discovery.EndpointSlice, "default", labels=f"kubernetes.io/service-name={name}"
    )
    return found.items


async def ready_addresses(cluster, name="web"):
    return sorted(
        address
        for one in await slices(cluster, name)
        for endpoint in one.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    )


def test_a_service_follows_its_pods(play, make):
    async def story(cluster):
        await cluster.admin.create(web_service())
        await cluster.settle()
        (placeholder,) = await slices(cluster)
        assert placeholder.endpoints == ()
        await cluster.admin.create(fresh(make.deployment(3)))
        await cluster.settle()
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert await ready_addresses(cluster) == sorted(pod.status.podIP for pod in pods)
        assert len(await slices(cluster)) == 1
        endpoints = await cluster.admin.get(core.Endpoints, "web", "default")
        assert [a.ip for s in endpoints.subsets for a in s.addresses] == await ready_addresses(cluster)
        await cluster.admin.patch(apps.Deployment, "web", "default", body={"spec": {"replicas": 1}})
        await cluster.settle()
        assert len(await ready_addresses(cluster)) == 1
        await cluster.admin.delete(core.Service, "web", "default")
        await cluster.settle(3)
        assert await slices(cluster) == ()
        assert await cluster.gone(core.Endpoints, "web", "default")

    play(story)


def test_dual_stack_has_a_slice_in_each_family(play, make):
    async def story(cluster):
        await cluster.admin.create(web_service(ipFamilyPolicy="PreferDualStack"))
        await cluster.admin.create(fresh(make.deployment(2)))
        await cluster.settle()
        found = {one.addressType: len(one.endpoints) for one in await slices(cluster)}
        assert found == {"IPv4": 2, "IPv6": 2}

    play(story)


def test_a_slice_somebody_meddled_with_is_put_right(play, make):
    async def story(cluster):
        await cluster.admin.create(web_service())
        await cluster.admin.create(fresh(make.deployment(2)))
        await cluster.settle()
        before = await ready_addresses(cluster)
        (one,) = await slices(cluster)
        await cluster.admin.patch(
            discovery.EndpointSlice, one.metadata.name, "default", body={"endpoints": []}
        )
        await cluster.settle()
        assert await ready_addresses(cluster) == before
        await cluster.admin.delete(discovery.EndpointSlice, one.metadata.name, "default")
        await cluster.settle()
        assert await ready_addresses(cluster) == before

    play(story)


def test_a_service_without_a_selector_is_left_alone(play):
    async def story(cluster):
        await cluster.admin.create(web_service(selector={}))
        await cluster.settle()
        assert await slices(cluster) == ()

    play(story)


def hand_made(*ips, not_ready=(), labels=None):
    return core.Endpoints(
        metadata=meta.ObjectMeta(name="web", namespace="default", labels=labels or {}),
        subsets=(
            core.EndpointSubset(
                addresses=tuple(core.EndpointAddress(ip=ip) for ip in ips),
                notReadyAddresses=tuple(core.EndpointAddress(ip=ip) for ip in not_ready),
                ports=(core.EndpointPort(name="", port=8080, protocol="TCP"),),
            ),
        ),
    )


def test_hand_made_endpoints_are_mirrored_into_slices(play):
    async def story(cluster):
        await cluster.admin.create(web_service(selector={}))
        await cluster.admin.create(hand_made("192.0.2.1", "2001:db8::1", not_ready=("192.0.2.9",)))
        await cluster.settle()
        found = {one.addressType: one for one in await slices(cluster)}
        manager = found["IPv4"].metadata.labels["endpointslice.kubernetes.io/managed-by"]
        assert manager == "endpointslicemirroring-controller.k8s.io"
        assert [(e.addresses, e.conditions.ready) for e in found["IPv4"].endpoints] == [
            (("192.0.2.1",), True),
            (("192.0.2.9",), False),
        ]
        assert [(p.name, p.port, p.protocol) for p in found["IPv4"].ports] == [("", 8080, "TCP")]
        assert [e.addresses for e in found["IPv6"].endpoints] == [("2001:db8::1",)]
        await cluster.admin.update(hand_made("192.0.2.2"))
        await cluster.settle()
        assert await ready_addresses(cluster) == ["192.0.2.2"]
        await cluster.admin.update(
            hand_made("192.0.2.2", labels={"endpointslice.kubernetes.io/skip-mirror": "true"})
        )
        await cluster.settle()
        assert await slices(cluster) == ()

    play(story)


def test_a_service_which_gets_a_selector_has_its_own_slices_instead(play, make):
    async def story(cluster):
        await cluster.admin.create(web_service(selector={}))
        await cluster.admin.create(hand_made("192.0.2.1"))
        await cluster.admin.create(fresh(make.deployment(2)))
        await cluster.settle()
        assert await ready_addresses(cluster) == ["192.0.2.1"]
        await cluster.admin.patch(core.Service, "web", "default", body={"spec": {"selector": {"app": "web"}}})
        await cluster.settle()
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert await ready_addresses(cluster) == sorted(pod.status.podIP for pod in pods)

    play(story)


# --- nodes


async def heartbeat(cluster, name):
    renewed = clock.rfc3339_micro(cluster.clock.now())
    lease = coordination.Lease(
        metadata=meta.ObjectMeta(name=name, namespace="kube-node-lease"),
        spec=coordination.LeaseSpec(holderIdentity=name, leaseDurationSeconds=40, renewTime=renewed),
    )
    try:
        await cluster.admin.create(lease)
    except api_errors.AlreadyExists:
        body = {"spec": {"renewTime": renewed}}
        await cluster.admin.patch(coordination.Lease, name, "kube-node-lease", body=body)


async def node(cluster, name):
    return await cluster.admin.get(core.Node, name)


def taints(of_node):
    return sorted(
        (taint.key.removeprefix("node.kubernetes.io/"), taint.effect) for taint in of_node.spec.taints
    )


def test_every_node_gets_subnets_of_its_own(play):
    async def story(cluster):
        found = {n.metadata.name: n.spec.podCIDRs for n in (await cluster.admin.list(core.Node)).items}
        assert found == {
            "worker-1": ("10.244.0.0/24", "fd00:244::/64"),
            "worker-2": ("10.244.1.0/24", "fd00:244:0:1::/64"),
        }

    play(story)


def test_a_node_that_falls_silent_loses_its_pods_and_comes_back(play, make):
    async def story(cluster):
        await cluster.admin.create(web_service())
        await cluster.admin.create(fresh(make.deployment(4)))
        for _ in range(6):
            for name in ("worker-1", "worker-2"):
                await heartbeat(cluster, name)
            await cluster.settle(10)
        assert taints(await node(cluster, "worker-1")) == []
        assert len(await ready_addresses(cluster)) == 4
        cluster.kubelet.stalled.add("worker-2")
        for _ in range(6):
            await heartbeat(cluster, "worker-1")
            await cluster.settle(10)
        silent = await node(cluster, "worker-2")
        assert taints(silent) == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]
        assert {c.status for c in silent.status.conditions if c.type == "Ready"} == {"Unknown"}
        on_it = [
            pod
            for pod in (await cluster.admin.list(core.Pod, "default")).items
            if pod.spec.nodeName == "worker-2"
        ]
        assert len(on_it) == 2
        assert {c.status for pod in on_it for c in pod.status.conditions if c.type == "Ready"} == {"False"}
        assert len(await ready_addresses(cluster)) == 2
        # admission gave the pods 300 seconds
        for _ in range(31):
            await heartbeat(cluster, "worker-1")
            await cluster.settle(10)
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert all(pod.metadata.deletionTimestamp for pod in pods if pod.spec.nodeName == "worker-2")
        assert sum(1 for pod in pods if pod.spec.nodeName == "worker-1") == 4
        # back again: its kubelet reports and finishes the deletions
        cluster.kubelet.stalled.clear()
        await heartbeat(cluster, "worker-2")
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": "2026-01-01T01:00:00Z",
        }
        await cluster.admin.patch(
            core.Node,
            "worker-2",
            body={"status": {"conditions": [ready]}},
            how="strategic",
            subresource="status",
        )
        await cluster.settle(3)
        assert taints(await node(cluster, "worker-2")) == []

    play(story)


def test_a_node_that_says_it_is_not_ready_gets_no_pods(play, make):
    async def story(cluster):
        sick = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "no CNI"}
        await cluster.admin.patch(
            core.Node,
            "worker-2",
            body={"status": {"conditions": [sick]}},
            how="strategic",
            subresource="status",
        )
        await cluster.settle()
        assert taints(await node(cluster, "worker-2")) == [
            ("not-ready", "NoExecute"),
            ("not-ready", "NoSchedule"),
        ]
        await cluster.admin.create(fresh(make.deployment(3)))
        await cluster.settle()
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert {pod.spec.nodeName for pod in pods} == {"worker-1"}

    play(story)


def test_a_node_that_is_deleted_takes_its_pods_with_it(play, make):
    async def story(cluster):
        await cluster.admin.create(fresh(make.deployment(4)))
        await cluster.settle()
        cluster.kubelet.stalled.add("worker-2")
        await cluster.admin.delete(core.Node, "worker-2")
        await cluster.settle(30)
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert sum(1 for pod in pods if pod.spec.nodeName == "worker-2") == 2  # it might come back
        await cluster.settle(15)
        pods = (await cluster.admin.list(core.Pod, "default")).items
        assert [pod.spec.nodeName for pod in pods] == ["worker-1"] * 4

    play(story)


# --- ownership


def config_map(name, *owners):
    references = tuple(
        meta.OwnerReference(
            apiVersion="v1",
            kind="ConfigMap",
            name=o.metadata.name,
            uid=o.metadata.uid,
            blockOwnerDeletion=True,
        )
        for o in owners
    )
    return core.ConfigMap(
        metadata=meta.ObjectMeta(name=name, namespace="default", ownerReferences=references)
    )


async def family(cluster):
    """grandparent <- parent <- child, and a child of two parents."""
    grandparent = await cluster.admin.create(config_map("grandparent"))
    parent = await cluster.admin.create(config_map("parent", grandparent))
    other = await cluster.admin.create(config_map("other"))
    await cluster.admin.create(config_map("child", parent))
    await cluster.admin.create(config_map("shared", parent, other))
    await cluster.settle()


async def maps(cluster):
    return [name for name in await cluster.names(core.ConfigMap) if name != "kube-root-ca.crt"]


def test_background_deletion_reaches_the_grandchildren(play):
    async def story(cluster):
        await family(cluster)
        await cluster.admin.delete(core.ConfigMap, "grandparent", "default", propagation="Background")
        await cluster.settle()
        assert await maps(cluster) == ["other", "shared"]
        shared = await cluster.admin.get(core.ConfigMap, "shared", "default")
        assert [owner.name for owner in shared.metadata.ownerReferences] == ["other"]

    play(story)


def test_foreground_deletion_goes_from_the_leaves_to_the_root(play):
    async def story(cluster):
        await family(cluster)
        gone = []
        cluster.known.of(core.ConfigMap).subscribe(
            lambda change: gone.append(change.key.name) if change.current is None else None
        )
        await cluster.admin.delete(core.ConfigMap, "grandparent", "default", propagation="Foreground")
        await cluster.settle()
        assert gone == ["child", "parent", "grandparent"]
        assert await maps(cluster) == ["other", "shared"]

    play(story)


def test_orphaning_leaves_the_children(play):
    async def story(cluster):
        await family(cluster)
        await cluster.admin.delete(core.ConfigMap, "grandparent", "default", propagation="Orphan")
        await cluster.settle()
        assert await maps(cluster) == ["child", "other", "parent", "shared"]
        parent = await cluster.admin.get(core.ConfigMap, "parent", "default")
        assert parent.metadata.ownerReferences == ()

    play(story)


def test_an_object_whose_owner_never_was_is_collected(play):
    async def story(cluster):
        ghost = msgspec.structs.replace(
            config_map("ghost"),
            metadata=meta.ObjectMeta(name="ghost", namespace="default", uid="no-such-uid"),
        )
        await cluster.admin.create(config_map("haunted", ghost))
        await cluster.settle()
        assert await maps(cluster) == []

    play(story)


def test_an_owner_of_the_same_name_but_another_uid_is_no_owner(play):
    async def story(cluster):
        real = await cluster.admin.create(config_map("owner"))
        impostor = msgspec.structs.replace(
            real, metadata=msgspec.structs.replace(real.metadata, uid="another")
        )
        await cluster.admin.create(config_map("mistaken", impostor))
        await cluster.settle()
        assert await maps(cluster) == ["owner"]

    play(story)


# --- namespaces


async def define(cluster):
    """A namespaced custom kind, as other clients see it."""
    version = {"name": "v1", "served": True, "storage": True}
    definition = {
        "metadata": {"name": "wheels.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "wheels", "kind": "Wheel"},
            "versions": [{**version, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    }
    path = kinds.of(extensions.CustomResourceDefinition).path()
    json = (("content-type", "application/json"),)
    made = await cluster.admin.raw("POST", path, body=msgspec.json.encode(definition), headers=json)
    assert made.status == 201
    wheel = kinds.nameless("example.com/v1", "Wheel")
    kinds.custom(wheel, "wheels")
    await cluster.settle()
    return wheel


def test_custom_objects_own_and_are_owned(play):
    async def story(cluster):
        wheel = await define(cluster)
        top = await cluster.admin.create(
            core.ConfigMap(metadata=meta.ObjectMeta(name="top", namespace="default"))
        )
        owner = meta.OwnerReference(apiVersion="v1", kind="ConfigMap", name="top", uid=top.metadata.uid)
        middle = await cluster.admin.create(
            wheel(metadata=meta.ObjectMeta(name="middle", namespace="default", ownerReferences=(owner,)))
        )
        above = meta.OwnerReference(
            apiVersion="example.com/v1", kind="Wheel", name="middle", uid=middle.metadata.uid
        )
        await cluster.admin.create(
            core.Secret(
                metadata=meta.ObjectMeta(name="bottom", namespace="default", ownerReferences=(above,))
            )
        )
        await cluster.settle()
        assert await cluster.names(wheel) == ["middle"]
        assert "bottom" in await cluster.names(core.Secret)
        await cluster.admin.delete(core.ConfigMap, "top", "default", propagation="Background")
        await cluster.settle()
        assert await cluster.names(wheel) == []
        assert "bottom" not in await cluster.names(core.Secret)

    play(story)


def test_what_custom_objects_owned_goes_with_their_definition(play):
    async def story(cluster):
        wheel = await define(cluster)
        server_loop = asyncio.ensure_future(cluster.server._definitions.run(cluster.admin))
        one = await cluster.admin.create(wheel(metadata=meta.ObjectMeta(name="one", namespace="default")))
        above = meta.OwnerReference(
            apiVersion="example.com/v1", kind="Wheel", name="one", uid=one.metadata.uid
        )
        for name, owners in (("owned", (above,)), ("free", ())):
            about = meta.ObjectMeta(name=name, namespace="default", ownerReferences=owners)
            await cluster.admin.create(core.Secret(metadata=about))
        await cluster.settle()
        await cluster.admin.delete(extensions.CustomResourceDefinition, "wheels.example.com")
        await cluster.settle()
        assert await cluster.gone(extensions.CustomResourceDefinition, "wheels.example.com")
        names = await cluster.names(core.Secret)
        assert ("owned" in names, "free" in names) == (False, True)
        again = await define(cluster)
        await cluster.admin.create(again(metadata=meta.ObjectMeta(name="two", namespace="default")))
        await cluster.settle()
        assert await cluster.names(again) == ["two"]
        server_loop.cancel()

    play(story)


def test_a_namespace_waits_for_its_custom_objects(play):
    async def story(cluster):
        wheel = await define(cluster)
        await cluster.admin.create(core.Namespace(metadata=meta.ObjectMeta(name="team")))
        await cluster.settle()
        held = meta.ObjectMeta(name="held", namespace="team", finalizers=("example.com/hold",))
        for about in (held, meta.ObjectMeta(name="free", namespace="team")):
            await cluster.admin.create(wheel(metadata=about))
        await cluster.admin.delete(core.Namespace, "team")
        await cluster.settle()
        assert await cluster.names(wheel, "team") == ["held"]
        said = {
            c.type: c.message for c in (await cluster.admin.get(core.Namespace, "team")).status.conditions
        }
        assert "wheels.example.com has 1 resource instances" in said["NamespaceContentRemaining"]
        await cluster.admin.patch(wheel, "held", "team", body={"metadata": {"finalizers": None}})
        await cluster.settle(10)
        assert await cluster.gone(core.Namespace, "team")

    play(story)


def test_every_namespace_gets_an_account_and_the_ca(play):
    async def story(cluster):
        await cluster.admin.create(core.Namespace(metadata=meta.ObjectMeta(name="team")))
        await cluster.settle()
        assert await cluster.names(core.ServiceAccount, "team") == ["default"]
        trust = await cluster.admin.get(core.ConfigMap, "kube-root-ca.crt", "team")
        assert trust.data == {"ca.crt": "CA"}
        await cluster.admin.delete(core.ServiceAccount, "default", "team")
        await cluster.admin.patch(
            core.ConfigMap, "kube-root-ca.crt", "team", body={"data": {"ca.crt": "evil"}}
        )
        await cluster.settle()
        assert await cluster.names(core.ServiceAccount, "team") == ["default"]
        trust = await cluster.admin.get(core.ConfigMap, "kube-root-ca.crt", "team")
        assert trust.data == {"ca.crt": "CA"}

    play(story)


def test_a_deleted_namespace_is_emptied_before_it_goes(play, make):
    async def story(cluster):
        await cluster.admin.create(core.Namespace(metadata=meta.ObjectMeta(name="team")))
        await cluster.settle()
        deployment = msgspec.structs.replace(
            make.deployment(2), metadata=meta.ObjectMeta(name="web", namespace="team")
        )
        await cluster.admin.create(deployment)
        held = core.ConfigMap(
            metadata=meta.ObjectMeta(name="held", namespace="team", finalizers=("example.com/hold",))
        )
        await cluster.admin.create(held)
        await cluster.settle()
        await cluster.admin.delete(core.Namespace, "team")
        await cluster.settle()
        namespace = await cluster.admin.get(core.Namespace, "team")
        assert namespace.status.phase == "Terminating"
        said = {c.type: (c.status, c.message) for c in namespace.status.conditions}
        assert said["NamespaceFinalizersRemaining"] == (
            "True",
            "Some content in the namespace has finalizers remaining: "
            "example.com/hold in 1 resource instances",
        )
        assert await cluster.names(core.Pod, "team") == []
        with pytest.raises(api_errors.Forbidden):
            await cluster.admin.create(
                core.ConfigMap(metadata=meta.ObjectMeta(name="late", namespace="team"))
            )
        await cluster.admin.patch(core.ConfigMap, "held", "team", body={"metadata": {"finalizers": None}})
        await cluster.settle()
        assert await cluster.gone(core.Namespace, "team")

    play(story)
