"""Which group counts before which, and which version of it: the order of discovery, and APIServices' numbers.

Source: k8s.io/kubernetes pkg/controlplane/apiserver/aggregator.go (apiVersionPriorities); for custom kinds
pkg/controlplane/controller/crdregistration.
"""

from __future__ import annotations

from typing import NamedTuple


class Priority(NamedTuple):
    """groupPriorityMinimum and versionPriority; the highest comes first."""

    group: int
    version: int


_GROUPS = {
    "apiregistration.k8s.io": 20000,
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
}
_VERSIONS = {"": 1, "v1": 15, "v2": 30}
CUSTOM = Priority(1000, 100)


def of(group: str, version: str) -> Priority:
    """Of a group and version of Kubernetes' own, or of custom kinds."""
    if group not in _GROUPS:
        return CUSTOM
    return Priority(_GROUPS[group], _VERSIONS[version if group else ""])
