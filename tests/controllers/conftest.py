"""Builders for workloads, so that a case is one readable row; and a control plane to play stories on."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from netemu.api import apps, core, meta

sys.path.insert(0, str(Path(__file__).parent))
import control_planes

NOW = "2026-01-01T00:00:00Z"


def template(image="app:1", labels=None):
    return core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels=labels or {"app": "web"}),
        spec=core.PodSpec(containers=(core.Container(name="c", image=image),)),
    )


def deployment(
    replicas=3, *, image="app:1", surge="25%", unavailable="25%", kind="RollingUpdate", name="web", **spec
):
    rolling = apps.RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable)
    return apps.Deployment(
        metadata=meta.ObjectMeta(
            name=name, namespace="default", uid=f"uid-{name}", generation=1, creationTimestamp=NOW
        ),
        spec=apps.DeploymentSpec(
            replicas=replicas,
            selector=meta.LabelSelector(matchLabels={"app": "web"}),
            template=template(image),
            strategy=apps.DeploymentStrategy(
                type=kind, rollingUpdate=rolling if kind == "RollingUpdate" else None
            ),
            **{"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10, **spec},
        ),
    )


def replica_set(
    name, replicas, *, available=None, image="app:1", created=NOW, annotations=None, observed=None
):
    ready = replicas if available is None else available
    return apps.ReplicaSet(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            generation=1,
            creationTimestamp=created,
            annotations=annotations or {},
            ownerReferences=(
                meta.OwnerReference(
                    apiVersion="apps/v1", kind="Deployment", name="web", uid="uid-web", controller=True
                ),
            ),
        ),
        spec=apps.ReplicaSetSpec(
            replicas=replicas,
            selector=meta.LabelSelector(matchLabels={"app": "web"}),
            template=template(image, {"app": "web", "pod-template-hash": name}),
        ),
        status=apps.ReplicaSetStatus(
            replicas=replicas if observed is None else observed,
            readyReplicas=ready,
            availableReplicas=ready,
            observedGeneration=1,
        ),
    )


def pod(
    name,
    *,
    ready=True,
    phase="Running",
    ips=("10.244.1.2",),
    node="worker-1",
    labels=None,
    annotations=None,
    deleting=False,
    ready_since=NOW,
    created=NOW,
    restarts=0,
    owner=None,
    **spec,
):
    condition = core.PodCondition(
        type="Ready", status="True" if ready else "False", lastTransitionTime=ready_since
    )
    owners = (
        (
            meta.OwnerReference(
                apiVersion="apps/v1", kind="ReplicaSet", name=owner, uid=f"uid-{owner}", controller=True
            ),
        )
        if owner
        else ()
    )
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels={"app": "web"} if labels is None else labels,
            annotations=annotations or {},
            creationTimestamp=created,
            deletionTimestamp=NOW if deleting else None,
            ownerReferences=owners,
        ),
        spec=core.PodSpec(
            containers=spec.pop("containers", (core.Container(name="c", image="app:1"),)),
            nodeName=node,
            **spec,
        ),
        status=core.PodStatus(
            phase=phase,
            podIP=ips[0] if ips else "",
            podIPs=tuple(core.PodIP(ip=ip) for ip in ips),
            conditions=(condition,),
            containerStatuses=(core.ContainerStatus(name="c", restartCount=restarts),),
        ),
    )


def service(name="web", *, ports=None, families=("IPv4",), cluster_ip="10.96.0.10", labels=None, **spec):
    annotations = spec.pop("annotations", {})
    return core.Service(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels=labels or {},
            annotations=annotations,
            creationTimestamp=NOW,
        ),
        spec=core.ServiceSpec(
            selector={"app": "web"},
            clusterIP=cluster_ip,
            ipFamilies=tuple(families),
            ports=(core.ServicePort(port=80, targetPort=8080, protocol="TCP"),)
            if ports is None
            else tuple(ports),
            **spec,
        ),
    )


def node(name, *, conditions=(), taints=(), labels=None, created=NOW, cidrs=(), unschedulable=False):
    return core.Node(
        metadata=meta.ObjectMeta(
            name=name, uid=f"uid-{name}", labels=labels or {}, creationTimestamp=created
        ),
        spec=core.NodeSpec(
            taints=tuple(taints),
            unschedulable=unschedulable,
            podCIDRs=tuple(cidrs),
            podCIDR=cidrs[0] if cidrs else "",
        ),
        status=core.NodeStatus(
            conditions=tuple(core.NodeCondition(type=kind, status=status) for kind, status in conditions)
        ),
    )


def change(obj, **fields):
    """A copy with other metadata fields."""
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, **fields))


@pytest.fixture(scope="session")
def make():
    return SimpleNamespace(
        template=template,
        deployment=deployment,
        replica_set=replica_set,
        pod=pod,
        service=service,
        node=node,
        change=change,
        now=NOW,
    )


@pytest.fixture
def play():
    """Run a story: an async function that gets a running cluster."""

    def run(story, *, nodes=2, **config):
        async def whole():
            async with asyncio.timeout(60):
                cluster = control_planes.Cluster(control_planes.controllers.Config(ca_pem="CA", **config))
                async with cluster.running(nodes=nodes):
                    await story(cluster)

        asyncio.run(whole())

    return run
