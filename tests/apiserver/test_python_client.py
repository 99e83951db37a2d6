"""The official Python client, unmodified."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

kubernetes = pytest.importorskip("kubernetes", reason="the Python client is not installed")


def test_the_python_client(world: Any, tmp_path: Path) -> None:
    async def story(w: Any) -> None:
        await asyncio.to_thread(use, str(w.kubeconfig()))

    world(story)


def use(path: str) -> None:
    api_client = kubernetes.config.new_client_from_config(path)
    core = kubernetes.client.CoreV1Api(api_client)
    apps = kubernetes.client.AppsV1Api(api_client)
    assert "default" in [ns.metadata.name for ns in core.list_namespace().items]
    body = {
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    made = core.create_namespaced_pod("default", body)
    assert made.spec.service_account_name == "default"
    assert made.metadata.creation_timestamp.year >= 2024
    patched = core.patch_namespaced_pod("p", "default", {"metadata": {"labels": {"c": "d"}}})
    assert patched.metadata.labels == {"a": "b", "c": "d"}
    by_list = [{"op": "remove", "path": "/metadata/labels/c"}]
    assert core.patch_namespaced_pod("p", "default", by_list).metadata.labels == {"a": "b"}
    watch = kubernetes.watch.Watch()
    seen = []
    for event in watch.stream(core.list_namespaced_pod, "default", timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "ADDED":
            core.delete_namespaced_pod("p", "default")
        else:
            watch.stop()
    assert seen == [("ADDED", "p"), ("DELETED", "p")]
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.read_namespaced_pod("p", "default")
    assert refused.value.status == 404
    labels = {"app": "web"}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": body["spec"]},
        },
    }
    apps.create_namespaced_deployment("default", deployment)
    scaled = apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 3}})
    assert scaled.spec.replicas == 3
    found = apps.read_namespaced_deployment("web", "default")
    found.spec.replicas = 2
    assert apps.replace_namespaced_deployment("web", "default", found).spec.replicas == 2
    apps.delete_namespaced_deployment("web", "default")
    with pytest.raises(kubernetes.client.ApiException):
        apps.read_namespaced_deployment("web", "default")
    page = core.list_config_map_for_all_namespaces(limit=1)
    rest = core.list_config_map_for_all_namespaces(limit=10, _continue=page.metadata._continue)
    assert len(page.items) + len(rest.items) == 5
    assert kubernetes.client.VersionApi(api_client).get_code().major == "1"
    api_client.close()
