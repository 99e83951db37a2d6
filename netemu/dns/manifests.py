"""The cluster's name server as Kubernetes objects: as kubeadm installs it, with probes that start fast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netemu.api import wellknown

IMAGE = "registry.k8s.io/coredns/coredns:v1.12.0"
LABELS = {"k8s-app": "kube-dns"}
_RBAC = "rbac.authorization.k8s.io/v1"
_ROLE = "system:coredns"


def documents(
    cluster_ips: Iterable[str], *, domain: str = "cluster.local", replicas: int = 1
) -> list[dict[str, Any]]:
    """What to create, in this order. `cluster_ips`: the Service's addresses, the primary family's first."""
    return [_account(), _role(), _role_binding(), _service(tuple(cluster_ips)), _deployment(domain, replicas)]


def _named(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "kube-system", "labels": dict(LABELS), **more}


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named("coredns")}


def _role() -> dict[str, Any]:
    watched = {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"]}
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}
    return {
        "apiVersion": _RBAC,
        "kind": "ClusterRole",
        "metadata": {"name": _ROLE},
        "rules": [{"verbs": ["list", "watch"], **what} for what in (watched, slices)],
    }


def _role_binding() -> dict[str, Any]:
    return {
        "apiVersion": _RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
    }


def _service(addresses: tuple[str, ...]) -> dict[str, Any]:
    families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            **_named("kube-dns"),
            "labels": {**LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "selector": dict(LABELS),
            "clusterIP": addresses[0],
            "clusterIPs": list(addresses),
            "ipFamilies": families,
            "ipFamilyPolicy": "SingleStack" if len(addresses) == 1 else "RequireDualStack",
            "ports": [
                {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
                {"name": "metrics", "port": 9153, "targetPort": 9153, "protocol": "TCP"},
            ],
        },
    }


def _deployment(domain: str, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _named("coredns"),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(LABELS)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": dict(LABELS)}, "spec": _pod(domain)},
        },
    }


def _pod(domain: str) -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "nodeSelector": {wellknown.OS: "linux"},
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": wellknown.CONTROL_PLANE, "effect": "NoSchedule"},
        ],
        "containers": [
            {
                "name": "coredns",
                "image": IMAGE,
                "args": ["-zone", domain],
                "ports": [
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                    {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
                ],
                "livenessProbe": {
                    "httpGet": {"path": "/health", "port": 8080},
                    "periodSeconds": 10,
                    "timeoutSeconds": 5,
                    "failureThreshold": 5,
                },
                # as often as Kubernetes allows: until it is ready nobody's names resolve
                "readinessProbe": {
                    "httpGet": {"path": "/ready", "port": 8181},
                    "periodSeconds": 1,
                    "timeoutSeconds": 1,
                },
            }
        ],
    }
