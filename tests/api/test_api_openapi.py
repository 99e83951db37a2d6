"""Schemas for clients: every reference leads somewhere, and a fitting object fits the schema, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from netemu.api import kinds, openapi

VERSIONS = sorted({kind.api_version for kind in kinds.SERVED})


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


@pytest.mark.parametrize("version", VERSIONS)
def test_references_lead_somewhere(version: str) -> None:
    served = [kind for kind in kinds.SERVED if kind.api_version == version]
    found = openapi.definitions(served)
    for reference in _references(found):
        assert reference.removeprefix("#/components/schemas/") in found
    for kind in served:
        identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        assert identity in found[openapi.of(kind)]["x-kubernetes-group-version-kind"]


def test_what_kubectl_merges_by() -> None:
    found = openapi.definitions([kind for kind in kinds.SERVED if kind.api_version == "v1"])
    containers = found["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    ports = found["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert found["io.k8s.api.core.v1.PodSpec"]["required"] == ["containers"]
