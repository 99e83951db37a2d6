"""Tables: what `kubectl get` prints for each kind. Rows say what the object holds and what a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from netemu.api import apps, coordination, core, defaults, discovery, kinds, networking, tables, times

BORN = "2026-01-02T03:04:05Z"
NOW = times.seconds(BORN) + 5 * 60  # every object below is five minutes old


def shown(record: Any, document: dict[str, Any]) -> dict[str, Any]:
    kind = kinds.of(record)
    about = {"name": "x", "creationTimestamp": BORN} | document.get("metadata", {})
    row = tables.cells(kind, defaults.apply(kind, document | {"metadata": about}), NOW)
    return dict(zip([column["name"] for column in tables.columns(kind)], row, strict=True))


COLUMNS = {
    core.Pod: "Name Ready Status Restarts Age | IP Node Nominated-Node Readiness-Gates",
    core.Service: "Name Type Cluster-IP External-IP Port(s) Age | Selector",
    core.Endpoints: "Name Endpoints Age |",
    discovery.EndpointSlice: "Name AddressType Ports Endpoints Age |",
    core.Node: (
        "Name Status Roles Age Version | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"
    ),
    networking.NetworkPolicy: "Name Pod-Selector Age |",
    networking.ServiceCIDR: "Name CIDRs Age |",
    networking.IPAddress: "Name ParentRef |",
    apps.Deployment: "Name Ready Up-to-date Available Age | Containers Images Selector",
    apps.ReplicaSet: "Name Desired Current Ready Age | Containers Images Selector",
    core.Namespace: "Name Status Age |",
    core.ConfigMap: "Name Data Age |",
    core.Secret: "Name Type Data Age |",
    core.ServiceAccount: "Name Secrets Age |",
    coordination.Lease: "Name Holder Age |",
    core.Event: "Last-Seen Type Reason Object Message | Subobject Source First-Seen Count Name",
}


@pytest.mark.parametrize("record", COLUMNS, ids=lambda record: record.__name__)
def test_columns(record: Any) -> None:
    columns = tables.columns(kinds.of(record))
    narrow, wide = (part.split() for part in COLUMNS[record].split("|"))
    assert [c["name"].replace(" ", "-") for c in columns if c["priority"] == 0] == narrow
    assert [c["name"].replace(" ", "-") for c in columns if c["priority"] == 1] == wide


# --- the status of a pod ---


def state(**state: Any) -> dict[str, Any]:
    ready = state.pop("ready", False)
    restarts = state.pop("restarts", 0)
    last = state.pop("last", {})
    started = {"started": state.pop("started")} if "started" in state else {}
    name = state.pop("name", "a")
    return {
        "name": name, "ready": ready, "restartCount": restarts, "state": state, "lastState": last, **started,
    }  # fmt: skip


def ended(code: int = 0, reason: str = "", signal: int = 0, at: str = BORN) -> dict[str, Any]:
    return {"exitCode": code, "reason": reason, "signal": signal, "finishedAt": at}


RUNNING = state(running={}, ready=True)
READY = {"type": "Ready", "status": "True"}
GONE = {"deletionTimestamp": BORN}
SIDECAR = [{"name": "s", "restartPolicy": "Always"}]

PODS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "new": ({}, {"phase": "Pending"}, "Pending", "0/1"),
    "gated": (
        {}, {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
        "SchedulingGated", "0/1"),
    "evicted": ({}, {"phase": "Failed", "reason": "Evicted"}, "Evicted", "0/1"),
    "creating": (
        {}, {"phase": "Pending", "containerStatuses": [state(waiting={"reason": "ContainerCreating"})]},
        "ContainerCreating", "0/1"),
    "running": ({}, {"phase": "Running", "containerStatuses": [RUNNING]}, "Running", "1/1"),
    "running, not ready": ({}, {"phase": "Running", "containerStatuses": [state(running={})]}, "Running",
    "0/1"),
    "crashing": (
        {}, {"phase": "Running", "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})]},
        "CrashLoopBackOff", "0/1"),
    "completed": (
        {}, {"phase": "Succeeded", "containerStatuses": [state(terminated=ended(reason="Completed"))]},
        "Completed", "0/1"),
    "failed": (
        {}, {"phase": "Failed", "containerStatuses": [state(terminated=ended(1, "Error"))]}, "Error", "0/1"),
    "failed without a reason": (
        {}, {"phase": "Failed", "containerStatuses": [state(terminated=ended(3))]}, "ExitCode:3", "0/1"),
    "killed by a signal": (
        {}, {"phase": "Failed", "containerStatuses": [state(terminated=ended(137, signal=9))]},
        "Signal:9", "0/1"),
    "one done, one running and ready": (
        {"containers": [{"name": "a"}, {"name": "b"}]},
        {"phase": "Running", "conditions": [READY],
         "containerStatuses": [state(terminated=ended(reason="Completed")), RUNNING]},
        "Running", "1/2"),
    "one done, one running, pod not ready": (
        {"containers": [{"name": "a"}, {"name": "b"}]},
        {"phase": "Running", "containerStatuses": [state(terminated=ended(reason="Completed")), RUNNING]},
        "NotReady", "1/2"),
    "initialising": (
        {"initContainers": [{"name": "i"}, {"name": "j"}]},
        {"phase": "Pending", "initContainerStatuses": [
            state(name="i", terminated=ended()), state(name="j", running={})]},
        "Init:1/2", "0/1"),
    "init container waits for its image": (
        {"initContainers": [{"name": "i"}]},
        {"phase": "Pending", "initContainerStatuses": [
            state(name="i", waiting={"reason": "ImagePullBackOff"})]},
        "Init:ImagePullBackOff", "0/1"),
    "init containers have not begun": (
        {"initContainers": [{"name": "i"}]},
        {"phase": "Pending", "initContainerStatuses": [
            state(name="i", waiting={"reason": "PodInitializing"})]},
        "Init:0/1", "0/1"),
    "init container failed": (
        {"initContainers": [{"name": "i"}]},
        {"phase": "Pending", "initContainerStatuses": [state(name="i", terminated=ended(2, "Error"))]},
        "Init:Error", "0/1"),
    "init container failed without a reason": (
        {"initContainers": [{"name": "i"}]},
        {"phase": "Pending", "initContainerStatuses": [state(name="i", terminated=ended(2))]},
        "Init:ExitCode:2", "0/1"),
    "a sidecar counts as a container": (
        {"initContainers": SIDECAR},
        {"phase": "Running",
         "initContainerStatuses": [state(name="s", running={}, started=True, ready=True)],
         "containerStatuses": [RUNNING]},
        "Running", "2/2"),
    "a sidecar not started holds the pod up": (
        {"initContainers": SIDECAR},
        {"phase": "Pending", "initContainerStatuses": [state(name="s", running={}, started=False)]},
        "Init:0/1", "0/2"),
    "terminating": (GONE, {"phase": "Running", "containerStatuses": [RUNNING]}, "Terminating", "1/1"),
    "lost with its node": (GONE, {"phase": "Running", "reason": "NodeLost"}, "Unknown", "0/1"),
    "done, and being deleted": (
        GONE, {"phase": "Succeeded", "containerStatuses": [state(terminated=ended(reason="Completed"))]},
        "Completed", "0/1"),
}  # fmt: skip


@pytest.mark.parametrize("name", PODS)
def test_the_status_of_a_pod(name: str) -> None:
    given, status, expected, ready = PODS[name]
    spec = {"containers": [{"name": "a"}]} | {k: v for k, v in given.items() if k != "deletionTimestamp"}
    about = {k: v for k, v in given.items() if k == "deletionTimestamp"}
    row = shown(core.Pod, {"metadata": about, "spec": spec, "status": status})
    assert (row["Status"], row["Ready"]) == (expected, ready)


def test_restarts_tell_when_the_last_was() -> None:
    once = state(running={}, restarts=3, last={"terminated": ended(1, at="2026-01-02T03:07:05Z")})
    status = {"phase": "Running", "containerStatuses": [once]}
    assert shown(core.Pod, {"spec": {"containers": [{"name": "a"}]}, "status": status})["Restarts"] == (
        "3 (2m ago)"
    )


def test_wide_columns_of_a_pod() -> None:
    row = shown(core.Pod, {})
    assert (row["Age"], row["IP"], row["Node"], row["Nominated Node"], row["Readiness Gates"]) == (
        "5m", "<none>", "<none>", "<none>", "<none>",
    )  # fmt: skip
    spec = {"nodeName": "w1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]}
    status = {
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        "conditions": [{"type": "a", "status": "True"}],
    }
    row = shown(core.Pod, {"spec": spec, "status": status})
    assert (row["IP"], row["Node"], row["Readiness Gates"]) == ("10.0.0.1", "w1", "1/2")


# --- others ---

PORTS = [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "name": "dns"}]
ENDPOINTS = [
    {"addresses": [{"ip": ip} for ip in ("10.0.0.1", "fd00::1")], "ports": [{"port": 80}, {"port": 81}]}
]
NODE = {
    "metadata": {
        "labels": {
            "node-role.kubernetes.io/worker": "",
            "node-role.kubernetes.io/control-plane": "",
            "a": "b",
        }
    },
    "spec": {"unschedulable": True},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "172.18.0.3"}],
        "nodeInfo": {"kubeletVersion": "v1.33.0", "osImage": "Debian", "kernelVersion": "6.1"},
    },
}
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y:1"}]}}
SELECTOR = {
    "matchLabels": {"app": "x"},
    "matchExpressions": [
        {"key": "t", "operator": "In", "values": ["b", "a"]},
        {"key": "z", "operator": "Exists"},
    ],
}

ROWS: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("plain", core.Service, {"spec": {"clusterIP": "10.96.0.1", "ports": PORTS, "selector": {"b": "1",
    "a": "2"}}},
     {"Type": "ClusterIP", "Cluster-IP": "10.96.0.1", "External-IP": "<none>",
     "Port(s)": "80:30080/TCP,53/UDP",
      "Age": "5m", "Selector": "a=2,b=1"}),
    ("headless", core.Service, {"spec": {"clusterIP": "None"}},
     {"Cluster-IP": "None", "Port(s)": "<none>", "Selector": "<none>"}),
    ("external IPs", core.Service, {"spec": {"externalIPs": ["1.1.1.1", "2.2.2.2"]}},
     {"External-IP": "1.1.1.1,2.2.2.2"}),
    ("balancer pending", core.Service, {"spec": {"type": "LoadBalancer"}}, {"External-IP": "<pending>"}),
    ("balancer", core.Service,
     {"spec": {"type": "LoadBalancer"},
      "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}, {"hostname": "lb.example.com"}]}}},
     {"External-IP": "203.0.113.5,lb.example.com"}),
    ("external name", core.Service, {"spec": {"type": "ExternalName", "externalName": "example.com"}},
     {"External-IP": "example.com", "Cluster-IP": "<none>"}),
    ("endpoints", core.Endpoints, {"subsets": ENDPOINTS},
     {"Endpoints": "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more..."}),
    ("no endpoints", core.Endpoints, {}, {"Endpoints": "<none>"}),
    ("slice", discovery.EndpointSlice,
     {"addressType": "IPv4", "ports": [{"port": 80}, {"name": "any"}],
      "endpoints": [{"addresses": [f"10.0.0.{n}"]} for n in range(1, 6)]},
     {"AddressType": "IPv4", "Ports": "80,any", "Endpoints": "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more..."}),
    ("empty slice", discovery.EndpointSlice, {"addressType": "IPv4"}, {"Ports": "<unset>",
    "Endpoints": "<unset>"}),
    ("node", core.Node, NODE,
     {"Status": "Ready,SchedulingDisabled", "Roles": "control-plane,worker", "Version": "v1.33.0",
      "Internal-IP": "172.18.0.3", "External-IP": "<none>", "OS-Image": "Debian", "Kernel-Version": "6.1",
      "Container-Runtime": "<unknown>"}),
    ("node that says nothing", core.Node, {}, {"Status": "Unknown", "Roles": "<none>"}),
    ("node lost", core.Node, {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
     {"Status": "NotReady"}),
    ("policy for all", networking.NetworkPolicy, {"spec": {"podSelector": {}}}, {"Pod-Selector": "<none>"}),
    ("policy", networking.NetworkPolicy, {"spec": {"podSelector": SELECTOR}},
     {"Pod-Selector": "app=x,t in (a,b),z"}),
    ("deployment", apps.Deployment,
     {"spec": {"replicas": 3, "template": TEMPLATE, "selector": {"matchLabels": {"app": "x"}}},
      "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}},
     {"Ready": "2/3", "Up-to-date": 3, "Available": 1, "Containers": "a,b", "Images": "x,y:1",
     "Selector": "app=x"}),
    ("replica set", apps.ReplicaSet, {"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}},
     {"Desired": 3, "Current": 2, "Ready": 1, "Selector": "<none>"}),
    ("namespace", core.Namespace, {"status": {"phase": "Terminating"}}, {"Status": "Terminating"}),
    ("config map", core.ConfigMap, {"data": {"a": "b"}, "binaryData": {"c": "eA=="}}, {"Data": 2}),
    ("secret", core.Secret, {"data": {"a": "eA=="}}, {"Type": "Opaque", "Data": 1}),
    ("account", core.ServiceAccount, {}, {"Secrets": 0}),
    ("lease", coordination.Lease, {"spec": {"holderIdentity": "w1"}}, {"Holder": "w1"}),
    ("ranges", networking.ServiceCIDR, {"spec": {"cidrs": ["10.96.0.0/16", "fd00::/112"]}},
     {"CIDRs": "10.96.0.0/16,fd00::/112"}),
    ("address", networking.IPAddress,
     {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}},
     {"ParentRef": "services/default/kubernetes"}),
    ("event", core.Event,
     {"involvedObject": {"kind": "Pod", "name": "a", "fieldPath": "spec.containers{a}"}, "type": "Normal",
      "reason": "Started", "message": "Started it\n", "source": {"component": "kubelet", "host": "w1"},
      "firstTimestamp": BORN, "lastTimestamp": "2026-01-02T03:08:35Z", "count": 4},
     {"Last Seen": "30s", "Type": "Normal", "Reason": "Started", "Object": "pod/a", "Message": "Started it",
      "Subobject": "spec.containers{a}", "Source": "kubelet, w1", "First Seen": "5m", "Count": 4,
      "Name": "x"}),
    ("event of the newer form", core.Event,
     {"eventTime": "2026-01-02T03:04:05.000000Z", "reportingComponent": "scheduler",
      "series": {"count": 7, "lastObservedTime": "2026-01-02T03:09:00.000000Z"}},
     {"Last Seen": "5s", "First Seen": "5m", "Count": 7, "Source": "scheduler"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "document", "expected"),
    [row[1:] for row in ROWS],
    ids=[f"{row[1].__name__}: {row[0]}" for row in ROWS],
)
def test_cells(record: Any, document: dict[str, Any], expected: dict[str, Any]) -> None:
    row = shown(record, document)
    assert {name: row[name] for name in expected} == expected
