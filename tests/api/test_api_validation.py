"""Validation: a good object of every kind, then one row for each rule with the sentence Kubernetes gives.

A `*` in an expected sentence stands for any text.
"""
# ruff: noqa: E501  (one rule a row reads better than the same over ten lines)

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from netemu.api import (
    admission,
    apps,
    autoscaling2,
    batch,
    certificates,
    coordination,
    core,
    defaults,
    discovery,
    extensions,
    kinds,
    networking,
    node,
    policy,
    rbac,
    registration,
    scheduling,
    schema,
    storage,
    validation,
)

META = {"name": "x", "namespace": "ns"}
TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "a", "image": "nginx:1"}]},
}
ONCE = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
BACKEND = {"service": {"name": "x", "port": {"number": 80}}}
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
WEBHOOK = {
    "name": "x.example.com",
    "clientConfig": {"url": "https://example.com"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
GOOD: dict[type, dict[str, Any]] = {
    core.ConfigMap: {"metadata": META, "data": {"a": "b"}},
    core.Endpoints: {
        "metadata": META,
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}],
    },
    core.Event: {"metadata": META, "involvedObject": {"namespace": "ns", "name": "x"}},
    core.Namespace: {"metadata": {"name": "x"}},
    core.Node: {"metadata": {"name": "x"}, "spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}},
    core.Pod: {"metadata": META, "spec": {"containers": [{"name": "a", "image": "nginx:1"}]}},
    core.Secret: {"metadata": META, "data": {"a": "eA=="}},
    core.ServiceAccount: {"metadata": META},
    core.Service: {"metadata": META, "spec": {"ports": [{"port": 80}], "selector": {"app": "x"}}},
    apps.Deployment: {
        "metadata": META,
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    apps.ReplicaSet: {
        "metadata": META,
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    coordination.Lease: {"metadata": META, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 40}},
    discovery.EndpointSlice: {
        "metadata": META,
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    },
    networking.IPAddress: {
        "metadata": {"name": "10.96.0.1"},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}},
    },
    networking.NetworkPolicy: {
        "metadata": META,
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
    },
    networking.ServiceCIDR: {"metadata": {"name": "x"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00::/112"]}},
    core.ReplicationController: {"metadata": META, "spec": {"template": TEMPLATE}},
    core.ComponentStatus: {"metadata": {"name": "x"}},
    core.LimitRange: {"metadata": META, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    core.PersistentVolume: {
        "metadata": {"name": "x"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/x"},
        },
    },
    core.PersistentVolumeClaim: {
        "metadata": META,
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
    core.PodTemplate: {"metadata": META, "template": TEMPLATE},
    core.ResourceQuota: {"metadata": META, "spec": {"hard": {"pods": "10"}}},
    apps.ControllerRevision: {"metadata": META, "revision": 1, "data": {"spec": {}}},
    apps.DaemonSet: {
        "metadata": META,
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    },
    apps.StatefulSet: {
        "metadata": META,
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE, "serviceName": "x"},
    },
    autoscaling2.HorizontalPodAutoscaler: {
        "metadata": META,
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "x"}, "maxReplicas": 3},
    },
    batch.Job: {"metadata": META, "spec": {"template": ONCE}},
    batch.CronJob: {
        "metadata": META,
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": ONCE}}},
    },
    networking.Ingress: {
        "metadata": META,
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}]},
    },
    networking.IngressClass: {"metadata": {"name": "x"}, "spec": {"controller": "example.com/x"}},
    policy.PodDisruptionBudget: {"metadata": META, "spec": {"minAvailable": 1, "selector": {}}},
    rbac.ClusterRole: {"metadata": {"name": "system:x"}, "rules": [RULE]},
    rbac.ClusterRoleBinding: {
        "metadata": {"name": "system:x"},
        "roleRef": {"kind": "ClusterRole", "name": "x"},
        "subjects": [{"kind": "User", "name": "x"}],
    },
    rbac.Role: {"metadata": META, "rules": [RULE]},
    rbac.RoleBinding: {"metadata": META, "roleRef": {"kind": "Role", "name": "x"}},
    scheduling.PriorityClass: {"metadata": {"name": "x"}, "value": 10},
    storage.CSIDriver: {"metadata": {"name": "x"}, "spec": {}},
    storage.CSINode: {"metadata": {"name": "x"}, "spec": {"drivers": []}},
    storage.CSIStorageCapacity: {"metadata": META, "storageClassName": "x"},
    storage.StorageClass: {"metadata": {"name": "x"}, "provisioner": "example.com/x"},
    storage.VolumeAttachment: {
        "metadata": {"name": "x"},
        "spec": {"attacher": "x", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
    },
    storage.VolumeAttributesClass: {"metadata": {"name": "x"}, "driverName": "x"},
    node.RuntimeClass: {"metadata": {"name": "x"}, "handler": "runc"},
    certificates.CertificateSigningRequest: {
        "metadata": {"name": "x"},
        "spec": {"request": "eA==", "signerName": "example.com/x", "usages": ["client auth"]},
    },
    admission.MutatingWebhookConfiguration: {"metadata": {"name": "x"}, "webhooks": [WEBHOOK]},
    admission.ValidatingWebhookConfiguration: {"metadata": {"name": "x"}, "webhooks": [WEBHOOK]},
    admission.ValidatingAdmissionPolicy: {
        "metadata": {"name": "x"},
        "spec": {"validations": [{"expression": "true"}]},
    },
    admission.ValidatingAdmissionPolicyBinding: {"metadata": {"name": "x"}, "spec": {"policyName": "x"}},
    extensions.CustomResourceDefinition: {
        "metadata": {"name": "wheels.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "wheels", "kind": "Wheel"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    },
    registration.APIService: {
        "metadata": {"name": "v1.example.com"},
        "spec": {
            "group": "example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
            "service": {"namespace": "ns", "name": "x"},
        },
    },
}

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
REMOVE = object()


def _path(text: str) -> list[str | int]:
    return [found[1] or int(found[2]) for found in _STEP.finditer(text)]


def changed(record: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """The good object of the kind with values set at paths, as a user would send it."""
    document: Any = copy.deepcopy(GOOD[record])
    for text, value in changes.items():
        *parents, last = _path(text.replace("\\.", "\0"))
        place = document
        for step in parents:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})
        if value is REMOVE:
            del place[last]
        elif isinstance(last, int) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return document


def found(record: Any, new: dict[str, Any], old: dict[str, Any] | None = None, sub: str = "") -> list[str]:
    kind = kinds.of(record)
    assert schema.problems(kind, new) == ()
    before = defaults.apply(kind, old) if old else None
    wrong = validation.check(kind, defaults.apply(kind, new), before, subresource=sub)
    return [str(one) for one in wrong]


def test_there_is_a_good_object_of_every_kind() -> None:
    assert set(GOOD) == {kind.type for kind in kinds.ALL}


@pytest.mark.parametrize("record", GOOD, ids=lambda record: record.__name__)
def test_good_objects_may_be_made_and_written_again(record: Any) -> None:
    good = GOOD[record]
    assert found(record, good) == []
    assert found(record, good, good) == []


C0 = "spec.containers[0]"
BETWEEN = "must be between 1 and 65535, inclusive"

ON_CREATE: list[tuple[str, Any, dict[str, Any], list[str]]] = [
    # metadata
    ("no name", core.ConfigMap, {"metadata.name": ""}, ["metadata.name: Required value: name or generateName is required"]),
    ("name", core.ConfigMap, {"metadata.name": "A_b"}, ['metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain*']),
    ("namespace of a cluster kind", core.Node, {"metadata.namespace": "ns"}, ["metadata.namespace: Forbidden: not allowed on this type"]),
    ("no namespace", core.ConfigMap, {"metadata.namespace": ""}, ["metadata.namespace: Required value"]),
    ("a service is a DNS-1035 label", core.Service, {"metadata.name": "0x"}, ['metadata.name: Invalid value: "0x": a DNS-1035 label*']),
    ("a namespace is a label", core.Namespace, {"metadata.name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
    ("an address names an IPAddress", networking.IPAddress, {"metadata.name": "fd00:0::1"}, ['metadata.name: Invalid value: "fd00:0::1": must be in canonical form ("fd00::1")']),
    ("label key", core.ConfigMap, {"metadata.labels": {"a b": "x"}}, ['metadata.labels: Invalid value: "a b": name part must consist of*']),
    ("label value", core.ConfigMap, {"metadata.labels": {"a": "-"}}, ['metadata.labels: Invalid value: "-": a valid label must be*']),
    ("annotation key", core.ConfigMap, {"metadata.annotations": {"a/b/c": "x"}}, ['metadata.annotations: Invalid value: "a/b/c": a qualified name must consist*']),
    ("annotations too long", core.ConfigMap, {"metadata.annotations": {"a": "x" * 262144}}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    ("finalizer", core.ConfigMap, {"metadata.finalizers": ["/x"]}, ['metadata.finalizers: Invalid value: "/x": prefix part must be non-empty']),
    ("owner", core.ConfigMap, {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]}, ["metadata.ownerReferences[0].uid: Required value: must not be empty"]),
    ("two controllers", core.ConfigMap, {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in "ab"]}, ["metadata.ownerReferences: Invalid value: [*Only one reference can have Controller set to true*Pod/a and Pod/b"]),
    ("generateName", core.ConfigMap, {"metadata.generateName": "A-"}, ['metadata.generateName: Invalid value: "A-": *']),
    # pods: containers
    ("no containers", core.Pod, {"spec.containers": []}, ["spec.containers: Required value"]),
    ("no container name", core.Pod, {f"{C0}.name": ""}, [f"{C0}.name: Required value"]),
    ("container name", core.Pod, {f"{C0}.name": "a_b"}, [f'{C0}.name: Invalid value: "a_b": a lowercase RFC 1123 label*']),
    ("same container name", core.Pod, {"spec.containers[1]": {"name": "a", "image": "x"}}, ['spec.containers[1].name: Duplicate value: "a"']),
    ("same name as an init container", core.Pod, {"spec.initContainers": [{"name": "a", "image": "x"}]}, ['spec.initContainers[0].name: Duplicate value: "a"']),
    ("no image", core.Pod, {f"{C0}.image": REMOVE}, [f"{C0}.image: Required value"]),
    ("image with a space", core.Pod, {f"{C0}.image": " x"}, [f'{C0}.image: Invalid value: " x": must not have leading or trailing whitespace']),
    ("port too big", core.Pod, {f"{C0}.ports": [{"containerPort": 99999}]}, [f"{C0}.ports[0].containerPort: Invalid value: 99999: {BETWEEN}"]),
    ("no port", core.Pod, {f"{C0}.ports": [{"name": "a"}]}, [f"{C0}.ports[0].containerPort: Required value"]),
    ("protocol", core.Pod, {f"{C0}.ports": [{"containerPort": 1, "protocol": "ICMP"}]}, [f'{C0}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
    ("port name", core.Pod, {f"{C0}.ports": [{"containerPort": 1, "name": "80"}]}, [f'{C0}.ports[0].name: Invalid value: "80": must contain at least one letter (a-z)']),
    ("same port name", core.Pod, {f"{C0}.ports": [{"containerPort": n, "name": "a"} for n in (1, 2)]}, [f'{C0}.ports[1].name: Duplicate value: "a"']),
    ("same host port", core.Pod, {f"{C0}.ports": [{"containerPort": n, "hostPort": 80} for n in (1, 2)]}, [f'{C0}.ports[1].hostPort: Duplicate value: "TCP/0.0.0.0/80"']),
    ("init containers come and go before", core.Pod, {f"{C0}.ports": [{"containerPort": 1, "hostPort": 80}], "spec.initContainers": [{"name": "i", "image": "x", "ports": [{"containerPort": 1, "hostPort": 80}]}]}, []),
    ("host network", core.Pod, {"spec.hostNetwork": True, f"{C0}.ports": [{"containerPort": 1, "hostPort": 2}]}, [f"{C0}.ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is true"]),
    ("no variable name", core.Pod, {f"{C0}.env": [{"value": "x"}]}, [f"{C0}.env[0].name: Required value"]),
    ("variable name", core.Pod, {f"{C0}.env": [{"name": "a=b"}]}, [f'{C0}.env[0].name: Invalid value: "a=b": a valid environment variable name*']),
    ("value and source", core.Pod, {f"{C0}.env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}, [f'{C0}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
    ("empty source", core.Pod, {f"{C0}.env": [{"name": "A", "valueFrom": {}}]}, [f'{C0}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`']),
    ("field of no pod", core.Pod, {f"{C0}.env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, [f'{C0}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x": supported values: "metadata.name"*']),
    ("key of no config map", core.Pod, {f"{C0}.env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "a"}}}]}, [f"{C0}.env[0].valueFrom.configMapKeyRef.name: Required value"]),
    ("envFrom", core.Pod, {f"{C0}.envFrom": [{}]}, [f'{C0}.envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    ("mount without volume", core.Pod, {f"{C0}.volumeMounts": [{"name": "v", "mountPath": "/v"}]}, [f'{C0}.volumeMounts[0].name: Not found: "v"']),
    ("same mount path", core.Pod, {"spec.volumes": [{"name": "v"}], f"{C0}.volumeMounts": [{"name": "v", "mountPath": "/v"}] * 2}, [f'{C0}.volumeMounts[1].mountPath: Invalid value: "/v": must be unique']),
    ("sub path", core.Pod, {"spec.volumes": [{"name": "v"}], f"{C0}.volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../x"}]}, [f"{C0}.volumeMounts[0].subPath: Invalid value: \"../x\": must not contain '..'"]),
    ("request above limit", core.Pod, {f"{C0}.resources": {"limits": {"cpu": "0.5"}, "requests": {"cpu": "1"}}}, [f'{C0}.resources.requests: Invalid value: "1": must be less than or equal to cpu limit of 500m']),
    ("negative request", core.Pod, {f"{C0}.resources": {"requests": {"cpu": "-1"}}}, [f'{C0}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    ("pull policy", core.Pod, {f"{C0}.imagePullPolicy": "Often"}, [f'{C0}.imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"']),
    ("probe without handler", core.Pod, {f"{C0}.livenessProbe": {}}, [f"{C0}.livenessProbe: Required value: must specify a handler type"]),
    ("two handlers", core.Pod, {f"{C0}.readinessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}}, [f"{C0}.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]),
    ("probe port", core.Pod, {f"{C0}.livenessProbe": {"tcpSocket": {"port": 0}}}, [f"{C0}.livenessProbe.tcpSocket.port: Invalid value: 0: {BETWEEN}"]),
    ("probe command", core.Pod, {f"{C0}.livenessProbe": {"exec": {}}}, [f"{C0}.livenessProbe.exec.command: Required value"]),
    ("liveness needs one success", core.Pod, {f"{C0}.livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}, [f"{C0}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    ("negative period", core.Pod, {f"{C0}.livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": -1}}, [f"{C0}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ("init containers have no probes", core.Pod, {"spec.initContainers": [{"name": "i", "image": "x", "livenessProbe": {"tcpSocket": {"port": 1}}}]}, ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"]),
    ("sidecars may have probes", core.Pod, {"spec.initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}}]}, []),
    ("restart policy of an init container", core.Pod, {"spec.initContainers": [{"name": "i", "image": "x", "restartPolicy": "Never"}]}, ['spec.initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ("ephemeral containers come later", core.Pod, {"spec.ephemeralContainers": [{"name": "e", "image": "x"}]}, ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    # pods: the rest
    ("restart policy", core.Pod, {"spec.restartPolicy": "Maybe"}, ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"']),
    ("dns policy", core.Pod, {"spec.dnsPolicy": "Mine"}, ['spec.dnsPolicy: Unsupported value: "Mine": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"']),
    ("no nameserver", core.Pod, {"spec.dnsPolicy": "None", "spec.dnsConfig": {"searches": ["a"]}}, ["spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"]),
    ("nameserver", core.Pod, {"spec.dnsConfig": {"nameservers": ["dns"]}}, ['spec.dnsConfig.nameservers[0]: Invalid value: "dns": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
    ("volume without source is emptyDir", core.Pod, {"spec.volumes": [{"name": "v"}]}, []),
    ("two sources", core.Pod, {"spec.volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}, ["spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type"]),
    ("same volume", core.Pod, {"spec.volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
    ("secret volume", core.Pod, {"spec.volumes": [{"name": "v", "secret": {}}]}, ["spec.volumes[0].secret.secretName: Required value"]),
    ("deadline", core.Pod, {"spec.activeDeadlineSeconds": 0}, ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
    ("hostname", core.Pod, {"spec.hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots']),
    ("host alias", core.Pod, {"spec.hostAliases": [{"ip": "x"}]}, ['spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address*']),
    ("node selector", core.Pod, {"spec.nodeSelector": {"a": "b c"}}, ['spec.nodeSelector: Invalid value: "b c": a valid label*']),
    ("toleration without key", core.Pod, {"spec.tolerations": [{"operator": "Equal"}]}, ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty*']),
    ("toleration seconds", core.Pod, {"spec.tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}]}, ["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"]),
    ("toleration effect", core.Pod, {"spec.tolerations": [{"operator": "Exists", "effect": "Never"}]}, ['spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"']),
    ("node affinity", core.Pod, {"spec.affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}}}, ["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"]),
    ("pod affinity", core.Pod, {"spec.affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}}, ["spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty"]),
    ("weight", core.Pod, {"spec.affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101, "podAffinityTerm": {"topologyKey": "a"}}]}}}, ["spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100"]),
    ("spreading", core.Pod, {"spec.topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}, ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than 0"]),
    ("security", core.Pod, {f"{C0}.securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, [f"{C0}.securityContext: Invalid value: {{*cannot set `allowPrivilegeEscalation` to false and `privileged` to true"]),
    # services
    ("no ports", core.Service, {"spec.ports": []}, ["spec.ports: Required value"]),
    ("headless without ports", core.Service, {"spec.ports": [], "spec.clusterIP": "None"}, []),
    ("type", core.Service, {"spec.type": "Magic"}, ['spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
    ("several ports have names", core.Service, {"spec.ports": [{"port": 1}, {"port": 2, "name": "b"}]}, ["spec.ports[0].name: Required value"]),
    ("same port name in a service", core.Service, {"spec.ports": [{"port": n, "name": "a"} for n in (1, 2)]}, ['spec.ports[1].name: Duplicate value: "a"']),
    ("same port", core.Service, {"spec.ports": [{"port": 1, "name": n} for n in "ab"]}, ['spec.ports[1]: Duplicate value: {"port":1,"protocol":"TCP","targetPort":0}']),
    ("same port of another protocol", core.Service, {"spec.ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b", "protocol": "UDP"}]}, []),
    ("service port", core.Service, {"spec.ports": [{"port": 0, "targetPort": 1}]}, [f"spec.ports[0].port: Invalid value: 0: {BETWEEN}"]),
    ("target port", core.Service, {"spec.ports[0].targetPort": "Web_1"}, ['spec.ports[0].targetPort: Invalid value: "Web_1": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)']),
    ("node port of a ClusterIP", core.Service, {"spec.ports[0].nodePort": 30000}, ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
    ("cluster IP", core.Service, {"spec.clusterIP": "10.0.0"}, ['spec.clusterIPs[0]: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
    ("cluster IPs differ", core.Service, {"spec.clusterIP": "10.0.0.1", "spec.clusterIPs": ["10.0.0.2"]}, ['spec.clusterIPs[0]: Invalid value: *first value must match `clusterIP`']),
    ("cluster IPs of one family", core.Service, {"spec.clusterIP": "10.0.0.1", "spec.clusterIPs": ["10.0.0.1", "10.0.0.2"], "spec.ipFamilyPolicy": "RequireDualStack"}, ["spec.clusterIPs: Invalid value: *may specify no more than one IP for each IP family"]),
    ("families and policy", core.Service, {"spec.ipFamilies": ["IPv4", "IPv6"], "spec.ipFamilyPolicy": "SingleStack"}, ['spec.ipFamilyPolicy: Invalid value: "SingleStack": must be RequireDualStack or PreferDualStack when multiple `ipFamilies` are specified']),
    ("family of the IP", core.Service, {"spec.clusterIP": "10.0.0.1", "spec.ipFamilies": ["IPv6"]}, ['spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`']),
    ("no external name", core.Service, {"spec": {"type": "ExternalName"}}, ["spec.externalName: Required value"]),
    ("external name with an IP", core.Service, {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.0.0.1"}}, ["spec.clusterIPs: Forbidden: may not be set for ExternalName services", "spec.clusterIP: Forbidden: may not be set for ExternalName services"]),
    ("affinity time", core.Service, {"spec.sessionAffinity": "ClientIP", "spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}, ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be between 1 and 86400, inclusive"]),
    ("external policy of a ClusterIP", core.Service, {"spec.externalTrafficPolicy": "Local"}, ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
    ("source ranges", core.Service, {"spec.loadBalancerSourceRanges": ["10.0.0.0/8"]}, ["spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ("distribution", core.Service, {"spec.trafficDistribution": "Near"}, ['spec.trafficDistribution: Unsupported value: "Near": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"']),
    ("external IP", core.Service, {"spec.externalIPs": ["127.0.0.1"]}, ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)']),
    # endpoints
    ("endpoint address", core.Endpoints, {"subsets[0].addresses": [{"ip": "169.254.1.1"}]}, ['subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)']),
    ("empty subset", core.Endpoints, {"subsets": [{}]}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
    ("slice type", discovery.EndpointSlice, {"addressType": ""}, ["addressType: Required value"]),
    ("slice type unknown", discovery.EndpointSlice, {"addressType": "IPv5"}, ['addressType: Unsupported value: "IPv5": supported values: "FQDN", "IPv4", "IPv6"']),
    ("slice address", discovery.EndpointSlice, {"endpoints": [{"addresses": ["fd00::1"]}]}, ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address']),
    ("slice without address", discovery.EndpointSlice, {"endpoints": [{"addresses": []}]}, ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
    ("slice ports have different names", discovery.EndpointSlice, {"ports": [{"port": 1}, {"port": 2}]}, ['ports[1].name: Duplicate value: ""']),
    ("slice too long", discovery.EndpointSlice, {"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001}, ["endpoints: Too many: 1001: must have at most 1000 items"]),
    # workloads
    ("no selector", apps.Deployment, {"spec.selector": REMOVE}, ["spec.selector: Required value"]),
    ("empty selector", apps.Deployment, {"spec.selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    ("selector does not match", apps.Deployment, {"spec.selector.matchLabels.app": "y"}, ['spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`']),
    ("selector operator", apps.Deployment, {"spec.selector.matchExpressions": [{"key": "app", "operator": "Like"}]}, ['spec.selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator', "spec.template.metadata.labels: *does not match*"]),
    ("negative replicas", apps.Deployment, {"spec.replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    ("restart policy of a template", apps.Deployment, {"spec.template.spec.restartPolicy": "Never"}, ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ("template container", apps.ReplicaSet, {"spec.template.spec.containers[0].image": ""}, ["spec.template.spec.containers[0].image: Required value"]),
    ("recreate with rolling update", apps.Deployment, {"spec.strategy": {"type": "Recreate", "rollingUpdate": {}}}, ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
    ("no step at all", apps.Deployment, {"spec.strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}, ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0']),
    ("percentage", apps.Deployment, {"spec.strategy": {"rollingUpdate": {"maxSurge": "half"}}}, ['spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string*']),
    ("more than all", apps.Deployment, {"spec.strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}, ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%']),
    ("deadline too short", apps.Deployment, {"spec.minReadySeconds": 600}, ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"]),
    # policies
    ("block", networking.NetworkPolicy, {"spec.ingress[0].from[0].ipBlock.cidr": "10.0.0.0"}, ['spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ("except outside", networking.NetworkPolicy, {"spec.ingress[0].from[0].ipBlock.except": ["11.0.0.0/16"]}, ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`']),
    ("except all", networking.NetworkPolicy, {"spec.ingress[0].from[0].ipBlock.except": ["10.0.0.0/8"]}, ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`']),
    ("empty peer", networking.NetworkPolicy, {"spec.ingress[0].from": [{}]}, ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
    ("block and selector", networking.NetworkPolicy, {"spec.ingress[0].from[0].podSelector": {}}, ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]),
    ("policy port", networking.NetworkPolicy, {"spec.egress": [{"ports": [{"port": 70000}]}]}, [f"spec.egress[0].ports[0].port: Invalid value: 70000: {BETWEEN}"]),
    ("end before start", networking.NetworkPolicy, {"spec.egress": [{"ports": [{"port": 80, "endPort": 79}]}]}, ["spec.egress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`"]),
    ("end of a name", networking.NetworkPolicy, {"spec.egress": [{"ports": [{"port": "web", "endPort": 79}]}]}, ["spec.egress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is non-numeric"]),
    ("end without start", networking.NetworkPolicy, {"spec.egress": [{"ports": [{"endPort": 79}]}]}, ["spec.egress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is not specified"]),
    ("policy type", networking.NetworkPolicy, {"spec.policyTypes": ["Both"]}, ['spec.policyTypes[0]: Unsupported value: "Both": supported values: "Egress", "Ingress"']),
    # the rest
    ("config key", core.ConfigMap, {"data": {"a b": "x"}}, ['data[a b]: Invalid value: "a b": a valid config key*']),
    ("key twice", core.ConfigMap, {"binaryData": {"a": "eA=="}}, ['binaryData[a]: Invalid value: "a": duplicate of key present in data']),
    ("config too big", core.ConfigMap, {"data": {"a": "x" * 1048577}}, ["*Too long: may not be more than 1048576 bytes"]),
    ("tls secret", core.Secret, {"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
    ("event elsewhere", core.Event, {"involvedObject.namespace": "other"}, ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']),
    ("lease length", coordination.Lease, {"spec.leaseDurationSeconds": 0}, ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
    ("released lease", coordination.Lease, {"spec.holderIdentity": ""}, []),
    ("taint", core.Node, {"spec.taints": [{"key": "a", "effect": "Stay"}]}, ['spec.taints[0].effect: Unsupported value: "Stay": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"']),
    ("same taint", core.Node, {"spec.taints": [{"key": "a", "effect": "NoSchedule"}] * 2}, ["spec.taints[1]: Duplicate value: *"]),
    ("node CIDR", core.Node, {"spec.podCIDRs": ["10.0.0.0/33"]}, ['spec.podCIDRs[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value*']),
    ("no CIDR", networking.ServiceCIDR, {"spec.cidrs": []}, ["spec.cidrs: Required value: at least one CIDR required"]),
    ("no parent", networking.IPAddress, {"spec": {}}, ["spec.parentRef: Required value"]),
]  # fmt: skip


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("record", "changes", "expected"),
    [row[1:] for row in ON_CREATE],
    ids=[f"{row[1].__name__}: {row[0]}" for row in ON_CREATE],
)
def test_a_rule_of_creation(record: Any, changes: dict[str, Any], expected: list[str]) -> None:
    wrong = found(record, changed(record, changes))
    assert len(wrong) == len(expected), wrong
    for text, pattern in zip(wrong, expected, strict=True):
        assert _matches(pattern, text), (text, pattern)


ON_UPDATE: list[tuple[str, Any, dict[str, Any], dict[str, Any], list[str]]] = [
    ("image", core.Pod, {}, {f"{C0}.image": "nginx:2"}, []),
    ("labels", core.Pod, {}, {"metadata.labels": {"a": "b"}}, []),
    ("a toleration is added", core.Pod, {}, {"spec.tolerations": [{"key": "a", "operator": "Exists"}]}, []),
    ("a toleration is taken away", core.Pod, {"spec.tolerations": [{"key": "a", "operator": "Exists"}]}, {}, ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]),
    ("the deadline is shortened", core.Pod, {"spec.activeDeadlineSeconds": 9}, {"spec.activeDeadlineSeconds": 8}, []),
    ("the deadline is put off", core.Pod, {"spec.activeDeadlineSeconds": 9}, {"spec.activeDeadlineSeconds": 10}, ["spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to previous value"]),
    ("a gate is removed", core.Pod, {"spec.schedulingGates": [{"name": "a"}]}, {}, []),
    ("a gate is added", core.Pod, {}, {"spec.schedulingGates": [{"name": "a"}]}, ["spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'a'"]),
    ("a container is added", core.Pod, {}, {"spec.containers[1]": {"name": "b", "image": "x"}}, ["spec.containers: Forbidden: pod updates may not add or remove containers"]),
    ("a command changes", core.Pod, {}, {f"{C0}.command": ["x"]}, ["spec: Forbidden: pod updates may not change fields other than *changed: spec.containers"]),
    ("the node changes", core.Pod, {}, {"spec.nodeName": "n"}, ["spec: Forbidden: pod updates may not change fields other than *changed: spec.nodeName"]),
    ("the grace changes", core.Pod, {}, {"spec.terminationGracePeriodSeconds": 5}, ["spec: Forbidden: *changed: spec.terminationGracePeriodSeconds"]),
    ("cluster IP stays", core.Service, {"spec.clusterIP": "10.96.0.9"}, {"spec.clusterIP": "10.96.0.8"}, ['spec.clusterIPs[0]: Invalid value: *10.96.0.8*: may not change once set']),
    ("cluster IP goes with ExternalName", core.Service, {"spec.clusterIP": "10.96.0.9"}, {"spec": {"type": "ExternalName", "externalName": "a"}}, []),
    ("the selector of a Deployment", apps.Deployment, {}, {"spec.selector.matchLabels.app": "y", "spec.template.metadata.labels.app": "y"}, ['spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable']),
    ("a Deployment may scale and roll", apps.Deployment, {}, {"spec.replicas": 5, "spec.template.spec.containers[0].image": "nginx:2"}, []),
    ("the selector of a ReplicaSet", apps.ReplicaSet, {}, {"spec.selector.matchLabels.app": "y", "spec.template.metadata.labels.app": "y"}, ["spec.selector: Invalid value: *field is immutable"]),
    ("name", core.ConfigMap, {}, {"metadata.name": "y"}, ['metadata.name: Invalid value: "y": field is immutable']),
    ("an immutable ConfigMap", core.ConfigMap, {"immutable": True}, {"immutable": True, "data": {"a": "c"}}, ["data: Forbidden: field is immutable when `immutable` is set"]),
    ("made mutable", core.ConfigMap, {"immutable": True}, {}, ["immutable: Forbidden: field is immutable when `immutable` is set"]),
    ("the type of a Secret", core.Secret, {}, {"type": "x"}, ['type: Invalid value: "x": field is immutable']),
    ("the type of a slice", discovery.EndpointSlice, {}, {"addressType": "FQDN", "endpoints": []}, ['addressType: Invalid value: "FQDN": field is immutable']),
    ("the ranges of a node", core.Node, {}, {"spec.podCIDRs": ["10.1.0.0/24"]}, ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
    ("a finalizer too late", core.ConfigMap, {"metadata.deletionTimestamp": "2026-01-02T03:04:05Z"}, {"metadata.deletionTimestamp": "2026-01-02T03:04:05Z", "metadata.finalizers": ["a/b"]}, ['metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a/b"}']),
    ("the range of a ServiceCIDR", networking.ServiceCIDR, {}, {"spec.cidrs": ["10.97.0.0/16"]}, ["spec.cidrs: Invalid value: *field is immutable"]),
    ("a second range", networking.ServiceCIDR, {"spec.cidrs": ["10.96.0.0/16"]}, {}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "before", "after", "expected"),
    [row[1:] for row in ON_UPDATE],
    ids=[f"{row[1].__name__}: {row[0]}" for row in ON_UPDATE],
)
def test_a_rule_of_change(
    record: Any, before: dict[str, Any], after: dict[str, Any], expected: list[str]
) -> None:
    wrong = found(record, changed(record, after), changed(record, before))
    assert len(wrong) == len(expected), wrong
    for text, pattern in zip(wrong, expected, strict=True):
        assert _matches(pattern, text), (text, pattern)


def test_status_and_binding_do_not_touch_the_rest() -> None:
    bound = changed(core.Pod, {"spec.nodeName": "n"})
    assert found(core.Pod, bound, GOOD[core.Pod]) != []
    assert found(core.Pod, bound, GOOD[core.Pod], sub="binding") == []


def test_ephemeral_containers_are_added_by_their_subresource_only() -> None:
    debugged = changed(core.Pod, {"spec.ephemeralContainers": [{"name": "e", "image": "x"}]})
    assert found(core.Pod, debugged, GOOD[core.Pod]) != []
    assert found(core.Pod, debugged, GOOD[core.Pod], sub="ephemeralcontainers") == []
    wrong = found(core.Pod, GOOD[core.Pod], debugged, sub="ephemeralcontainers")
    assert wrong == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be removed'
    ]


def test_a_resize_changes_resources_only() -> None:
    bigger = changed(core.Pod, {f"{C0}.resources": {"requests": {"cpu": "2"}}})
    assert found(core.Pod, bigger, GOOD[core.Pod], sub="resize") == []
    other = changed(core.Pod, {f"{C0}.command": ["x"]})
    assert len(found(core.Pod, other, GOOD[core.Pod], sub="resize")) == 1


def test_everything_wrong_is_told_at_once_with_reasons() -> None:
    kind = kinds.of(core.Pod)
    document = changed(core.Pod, {"metadata.name": "", f"{C0}.image": "", "spec.restartPolicy": "Maybe"})
    wrong = validation.check(kind, defaults.apply(kind, document))
    assert {(one.field, one.reason) for one in wrong} == {
        ("metadata.name", "FieldValueRequired"),
        (f"{C0}.image", "FieldValueRequired"),
        ("spec.restartPolicy", "FieldValueNotSupported"),
    }
