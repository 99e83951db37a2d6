"""The registry of kinds: paths and names as discovery shows them; and what importing the types costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from netemu.api import apps, authentication, core, kinds, meta, networking, shapes

SERVED = {
    "configmaps", "endpoints", "events", "namespaces", "nodes", "pods", "secrets", "serviceaccounts",
    "services",
    "deployments.apps", "replicasets.apps", "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io",
    "networkpolicies.networking.k8s.io", "servicecidrs.networking.k8s.io", "ipaddresses.networking.k8s.io",
}  # fmt: skip


def test_what_is_served() -> None:
    assert {kind.qualified for kind in kinds.ALL} >= SERVED


PATHS: list[tuple[Any, tuple[str, ...], str]] = [
    (core.Pod, ("ns", "a"), "/api/v1/namespaces/ns/pods/a"),
    (core.Pod, ("ns", "a", "log"), "/api/v1/namespaces/ns/pods/a/log"),
    (core.Pod, ("ns",), "/api/v1/namespaces/ns/pods"),
    (core.Pod, (), "/api/v1/pods"),
    (core.Node, ("", "n", "status"), "/api/v1/nodes/n/status"),
    (core.Node, ("ignored", "n"), "/api/v1/nodes/n"),
    (apps.Deployment, ("ns", "a", "scale"), "/apis/apps/v1/namespaces/ns/deployments/a/scale"),
    (networking.NetworkPolicy, (), "/apis/networking.k8s.io/v1/networkpolicies"),
]


@pytest.mark.parametrize(("record", "parts", "path"), PATHS)
def test_paths(record: Any, parts: tuple[str, ...], path: str) -> None:
    assert kinds.of(record).path(*parts) == path


def test_looking_kinds_up() -> None:
    deployment = kinds.of(apps.Deployment())
    assert deployment is kinds.of(apps.Deployment)
    assert deployment is kinds.find("apps", "v1", "deployments")
    assert deployment is kinds.named("apps/v1", "Deployment")
    assert kinds.find("", "v1", "pods") is kinds.named("v1", "Pod")
    assert kinds.find("apps", "v1", "pods") is None
    assert kinds.named("v1", "Deployment") is None
    assert (deployment.api_version, deployment.singular, deployment.list_kind) == (
        "apps/v1",
        "deployment",
        "DeploymentList",
    )
    assert kinds.of(authentication.TokenReview).verbs == ("create",)
    with pytest.raises(KeyError):
        kinds.of(meta.Status)


def test_get_all_lists_what_kubectl_lists() -> None:
    assert [kind.plural for kind in kinds.ALL if "all" in kind.categories] == [
        "pods",
        "services",
        "replicationcontrollers",
        "deployments",
        "replicasets",
        "daemonsets",
        "statefulsets",
        "horizontalpodautoscalers",
        "cronjobs",
        "jobs",
    ]


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: kind.qualified)
def test_a_kind_is_consistent(kind: kinds.Kind) -> None:
    names = [sub.name for sub in kind.subresources]
    assert names == sorted(names)
    assert kind.has_status == ("status" in names)
    assert ("status" in shapes.of(kind.type).properties) or not kind.has_status
    for selectable in kind.selectable:
        for path in selectable.paths:
            assert shapes.at(kind.type, tuple(path.split("."))), path
    assert kind.subresource("nonsense") is None


def test_eviction_says_what_kubectl_drain_looks_for() -> None:
    eviction = kinds.of(core.Pod).subresource("eviction")
    assert eviction
    assert (eviction.group, eviction.version, eviction.kind) == ("policy", "v1", "Eviction")


def test_importing_the_types_brings_nothing_heavy() -> None:
    """Start-up is part of the design; budgets are counted in modules, which do not vary with the machine."""
    script = (
        "import sys; from netemu.api import kinds, codec;"
        "print(*sorted(name.partition('.')[0] for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"asyncio", "click", "yaml", "ssl", "socket", "pyroute2", "scapy", "logging"}
    assert not heavy & loaded
    assert "msgspec" in loaded


def test_kinds_few_programs_use_are_imported_when_needed() -> None:
    script = (
        "import sys; from netemu.api import kinds; late = 'netemu.api.batch';"
        "assert late not in sys.modules; job = kinds.named('batch/v1', 'Job');"
        "assert late not in sys.modules; assert kinds.of(job.type) is job; assert late in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("kind", kinds.SERVED, ids=lambda kind: f"{kind.api_version}-{kind.kind}")
def test_a_kind_is_called_as_its_record_is(kind: kinds.Kind) -> None:
    assert (kind.type.apiVersion, kind.type.kind) == (kind.api_version, kind.kind)
