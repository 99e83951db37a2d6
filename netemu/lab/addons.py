"""What every lab runs in kube-system: cluster DNS, as an ordinary Deployment behind an ordinary Service.

Knows the objects; applies them through the API like anybody else, and leaves alone what is there already.
"""

from typing import Any

from netemu.api import apps, codec, core
from netemu.client import api, errors
from netemu.lab import config

NAMESPACE = "kube-system"
DNS = "kube-dns"
IMAGE = "registry.k8s.io/coredns/coredns:v1.12.0"
_LABELS = {"k8s-app": DNS}


def documents(lab: config.LabConfig) -> tuple[tuple[type, dict[str, Any]], ...]:
    """In the order in which they are to be made."""
    return (
        (core.ServiceAccount, {"metadata": {"name": "coredns", "namespace": NAMESPACE}}),
        (core.Service, _service(lab)),
        (apps.Deployment, _deployment()),
    )


async def apply(client: api.Client, lab: config.LabConfig) -> None:
    """Make what is missing."""
    for kind, document in documents(lab):
        try:
            await client.create(codec.convert(kind, document))
        except errors.AlreadyExists:
            continue


def _service(lab: config.LabConfig) -> dict[str, Any]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    return {
        "metadata": {
            "name": DNS,
            "namespace": NAMESPACE,
            "labels": {**_LABELS, "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"},
        },
        "spec": {
            "selector": _LABELS,
            "clusterIP": lab.dns_service[0],
            "clusterIPs": list(lab.dns_service),
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "ports": ports,
        },
    }


def _deployment() -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": IMAGE,
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "tolerations": [
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}
        ],
        # No readiness probe: a first one that comes too early costs a second (its shortest period), and
        # whoever asks a server that does not listen yet is refused at once and asks again.
        "containers": [container],
    }
    return {
        "metadata": {"name": "coredns", "namespace": NAMESPACE, "labels": _LABELS},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": pod},
        },
    }
