"""Builders for nodes and pods, so that a case is one readable row; and a control plane to play stories on."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from netemu.api import apps, core, meta
from netemu.scheduler import nodes, pods, snapshots

sys.path.insert(0, str(Path(__file__).parent.parent / "controllers"))
import control_planes


def node(name, *, cpu="4", memory="8Gi", capacity_pods="110", labels=None, taints=(), unschedulable=False):
    return core.Node(
        metadata=meta.ObjectMeta(name=name, labels={"kubernetes.io/hostname": name, **(labels or {})}),
        spec=core.NodeSpec(taints=tuple(taints), unschedulable=unschedulable),
        status=core.NodeStatus(allocatable={"cpu": cpu, "memory": memory, "pods": capacity_pods}),
    )


def container(name="c", *, cpu=None, memory=None, host_port=0, protocol="TCP", host_ip="", sidecar=False):
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    ports = (
        (core.ContainerPort(containerPort=80, hostPort=host_port, protocol=protocol, hostIP=host_ip),)
        if host_port
        else ()
    )
    return core.Container(
        name=name,
        image="pause",
        resources=core.ResourceRequirements(requests=requests),
        ports=ports,
        restartPolicy="Always" if sidecar else None,
    )


def pod(
    name="p", *, namespace="default", labels=None, containers=None, owner=None, on="", deleting=None, **spec
):
    owners = (
        (
            meta.OwnerReference(
                apiVersion="apps/v1", kind="ReplicaSet", name=owner, uid=owner, controller=True
            ),
        )
        if owner
        else ()
    )
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{namespace}-{name}",
            labels=labels or {},
            ownerReferences=owners,
            deletionTimestamp=deleting,
        ),
        spec=core.PodSpec(containers=containers or (container(),), nodeName=on, **spec),
    )


def snapshot(node_objects, running=(), *, namespaces=None, services=(), replica_sets=()):
    """`running`: pods with spec.nodeName set."""
    placed = [pods.of(one) for one in running]
    by_namespace = {}
    for service in services:
        by_namespace.setdefault(service.metadata.namespace, []).append(service)
    return snapshots.Snapshot(
        {
            one.metadata.name: nodes.of(one, [p for p in placed if p.pod.spec.nodeName == one.metadata.name])
            for one in node_objects
        },
        namespaces or {"default": {}},
        {name: tuple(found) for name, found in by_namespace.items()},
        {(one.metadata.namespace, one.metadata.name): one for one in replica_sets},
    )


def affinity_term(selector, key="kubernetes.io/hostname", **more):
    return core.PodAffinityTerm(
        labelSelector=meta.LabelSelector(matchLabels=selector), topologyKey=key, **more
    )


def service(name, selector, namespace="default"):
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace=namespace), spec=core.ServiceSpec(selector=selector)
    )


def replica_set(name, selector, namespace="default"):
    return apps.ReplicaSet(
        metadata=meta.ObjectMeta(name=name, namespace=namespace, uid=name),
        spec=apps.ReplicaSetSpec(selector=meta.LabelSelector(matchLabels=selector)),
    )


@pytest.fixture(scope="session")
def make():
    return SimpleNamespace(
        node=node,
        pod=pod,
        container=container,
        snapshot=snapshot,
        affinity_term=affinity_term,
        service=service,
        replica_set=replica_set,
    )


@pytest.fixture
def play():
    """Run a story: an async function that gets a running cluster."""

    def run(story, *, nodes=2):
        async def whole():
            async with asyncio.timeout(60):
                config = control_planes.controllers.Config(ca_pem="CA", node_grace=1e9)
                async with control_planes.Cluster(config).running(nodes=nodes) as cluster:
                    await story(cluster)

        asyncio.run(whole())

    return run
