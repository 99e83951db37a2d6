"""Defaults, as Kubernetes' defaults.go and conversion.go set them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from netemu.api import apps, core, defaults, discovery, kinds, networking


def applied(record: Any, document: dict[str, Any]) -> Any:
    return defaults.apply(kinds.of(record), {"metadata": {"name": "x"}} | document)


def pod(**spec: Any) -> Any:
    return applied(core.Pod, {"spec": {"containers": [{"name": "a", "image": "nginx:1"}]} | spec})["spec"]


def container(**fields: Any) -> Any:
    return pod(containers=[{"name": "a", "image": "nginx:1"} | fields])["containers"][0]


def test_a_pod() -> None:
    assert pod() == {
        "containers": [
            {
                "name": "a",
                "image": "nginx:1",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "a" * 64, "Always"),
    ],
)
def test_pull_policy_depends_on_the_tag(image: str, policy: str) -> None:
    assert container(image=image)["imagePullPolicy"] == policy
    assert container(image=image, imagePullPolicy="Never")["imagePullPolicy"] == "Never"


def test_what_is_set_stays() -> None:
    spec = pod(restartPolicy="Never", terminationGracePeriodSeconds=0, enableServiceLinks=False)
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"], spec["enableServiceLinks"]) == (
        "Never",
        0,
        False,
    )


def test_requests_follow_limits_where_they_are_not_given() -> None:
    resources = {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "0.5"}}
    assert container(resources=resources)["resources"] == {
        "limits": {"cpu": "1", "memory": "64Mi"},
        "requests": {"cpu": "500m", "memory": "64Mi"},
    }


def test_probes() -> None:
    probe = container(livenessProbe={"httpGet": {"port": 80}})["livenessProbe"]
    assert probe == {
        "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_host_network_takes_the_container_ports() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]
    spec = pod(hostNetwork=True, containers=[{"name": "a", "image": "x", "ports": ports}])
    assert spec["containers"][0]["ports"] == [
        {"containerPort": 80, "hostPort": 80, "protocol": "TCP"},
        {"containerPort": 81, "hostPort": 81, "protocol": "TCP"},
    ]


def test_the_service_account_has_two_names() -> None:
    assert pod(serviceAccount="a")["serviceAccountName"] == "a"
    assert pod(serviceAccountName="b", serviceAccount="a")["serviceAccount"] == "b"


def test_volumes_and_references() -> None:
    spec = pod(
        volumes=[
            {"name": "a"},
            {"name": "b", "configMap": {"name": "x"}},
            {"name": "c", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        ],
        containers=[
            {
                "name": "a",
                "image": "x",
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            }
        ],
    )
    assert spec["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "x", "defaultMode": 420}},
        {
            "name": "c",
            "projected": {
                "defaultMode": 420,
                "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}],
            },
        },
    ]
    reference = spec["containers"][0]["env"][0]["valueFrom"]["fieldRef"]
    assert reference == {"apiVersion": "v1", "fieldPath": "status.podIP"}


def test_addresses_of_a_pod_are_mirrored() -> None:
    status = applied(core.Pod, {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}})["status"]
    assert status["podIP"] == "10.0.0.1"
    assert applied(core.Pod, {"status": {"podIP": "10.0.0.1"}})["status"]["podIPs"] == [{"ip": "10.0.0.1"}]


def service(**spec: Any) -> Any:
    return applied(core.Service, {"spec": spec})["spec"]


def test_services() -> None:
    assert service(ports=[{"port": 80}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]) == {
        "ports": [
            {"port": 80, "targetPort": 80, "protocol": "TCP"},
            {"port": 81, "targetPort": "web", "protocol": "UDP"},
        ],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    node_port = service(type="NodePort", ports=[{"port": 80}])
    assert node_port["externalTrafficPolicy"] == "Cluster"
    balanced = service(type="LoadBalancer", ports=[{"port": 80}])
    assert (balanced["externalTrafficPolicy"], balanced["allocateLoadBalancerNodePorts"]) == ("Cluster", True)
    named = service(type="ExternalName", externalName="example.com")
    assert named == {"type": "ExternalName", "externalName": "example.com", "sessionAffinity": "None"}


def test_session_affinity() -> None:
    """kube-proxy dereferences the timeout."""
    sticky = service(sessionAffinity="ClientIP", ports=[{"port": 80}])
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    loose = service(sessionAffinity="None", sessionAffinityConfig={"clientIP": {}}, ports=[{"port": 80}])
    assert "sessionAffinityConfig" not in loose


def test_a_given_cluster_ip_is_the_first_of_all() -> None:
    assert service(clusterIP="None")["clusterIPs"] == ["None"]


def test_workloads() -> None:
    spec = applied(apps.Deployment, {"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}})["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["template"]["spec"]["containers"][0]["terminationMessagePolicy"] == "File"
    assert "enableServiceLinks" not in spec["template"]["spec"]  # a default of pods, not of templates
    recreate = applied(apps.Deployment, {"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}})["spec"]
    assert (recreate["replicas"], recreate["strategy"]) == (0, {"type": "Recreate"})
    assert applied(apps.ReplicaSet, {})["spec"]["replicas"] == 1


def test_endpoint_slices() -> None:
    """kube-proxy dereferences name and protocol of a port."""
    found = applied(discovery.EndpointSlice, {"addressType": "IPv4", "ports": [{"port": 80}]})
    assert found["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"ingress": [{}]}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_policy_types(spec: dict[str, Any], types: list[str]) -> None:
    found = applied(networking.NetworkPolicy, {"spec": {"podSelector": {}} | spec})
    assert found["spec"]["policyTypes"] == types


def test_a_policy_port_is_tcp() -> None:
    found = applied(networking.NetworkPolicy, {"spec": {"ingress": [{"ports": [{"port": 80}]}]}})
    assert found["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_other_kinds() -> None:
    namespace = applied(core.Namespace, {})
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    assert namespace["status"] == {"phase": "Active"}
    node = applied(core.Node, {"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "2"}}})
    assert node["spec"]["podCIDRs"] == ["10.0.0.0/24"]
    assert node["status"]["allocatable"] == {"cpu": "2"}
    two = applied(core.Node, {"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}})
    assert two["spec"]["podCIDR"] == "10.0.0.0/24"
    secret = applied(core.Secret, {"stringData": {"a": "é"}, "data": {"b": "eA=="}})
    assert secret["type"] == "Opaque"
    assert secret["data"] == {"a": base64.b64encode("é".encode()).decode(), "b": "eA=="}
    assert "stringData" not in secret
