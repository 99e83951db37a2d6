"""The cluster that manifests would become, without making it: pods of workloads, addresses, EndpointSlices.

Knows a lab's ranges and what controllers make of objects; addresses and pods' names are made up (pods
are numbered), so nothing may depend on them. Cluster DNS and the API server's Service are there, as always.
"""

import ipaddress
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from netemu.api import (
    clusterpolicies,
    codec,
    core,
    defaults,
    discovery,
    kinds,
    networking,
    selectors,
    validation,
)
from netemu.api.structural import schemas
from netemu.base import errors
from netemu.controllers.endpointslice import plan as slices_plan
from netemu.controllers.nodeipam import plan as nodes_plan
from netemu.dns import manifests as dns
from netemu.lab import addressing, config
from netemu.model import worlds
from netemu.netpol import definitions
from netemu.scenario import documents, manifests

MOST_REPLICAS = 2  # pods of one workload are alike; two show what happens between them
_FIRST_POD, _FIRST_SERVICE, _FIRST_NODE_PORT = 2, 256, 30000
TEMPLATES = (
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
)
_BALANCERS = ("198.51.100.0/24", "2001:db8:51::/112")

Document = dict[str, Any]


class Imagined(NamedTuple):
    """The world, and the workload ("deployment/web") of each pod that has one, by (namespace, name)."""

    world: worlds.World
    workloads: dict[tuple[str, str], str]


def world(found: Sequence[manifests.Manifest], lab: config.LabConfig | None = None) -> Imagined:
    """The world of these manifests in such a lab. Rejected (file, line) for what a server would refuse."""
    lab = lab or config.default()
    every = [*_given(found), *_system(found, lab)]
    nodes = _nodes(lab)
    pods, workloads = _pods(every, nodes)
    services = tuple(_services(every, lab))
    made = worlds.World(
        pods,
        nodes,
        services,
        tuple(_slices(services, pods, nodes, every)),
        worlds.Party(
            "outside", "outside", addresses=worlds.canonical(tuple(str(i.ip) for i in lab.outside_client))
        ),
        namespaces=tuple(_namespaces(every)),
        policies=tuple(
            codec.convert(networking.NetworkPolicy, document)
            for document in every
            if document["kind"] == "NetworkPolicy"
        ),
        cluster_policies=tuple(
            codec.convert(clusterpolicies.ClusterNetworkPolicy, document)
            for document in every
            if document["kind"] == "ClusterNetworkPolicy"
        ),
        settings=worlds.Settings(
            cluster_cidrs=tuple(map(str, lab.ranges.pods)), service_cidrs=tuple(map(str, lab.ranges.services))
        ),
    )
    return Imagined(made, workloads)


def _given(found: Iterable[manifests.Manifest]) -> Iterator[Document]:
    """Each object with its Namespace and with defaults, validated."""
    for manifest in found:
        document = _complete(manifest.kind, manifest.document.value, manifest.namespace)
        for problem in _faults(manifest.kind, document)[:1]:
            where = documents.path_of(problem.field)
            raise manifest.document.rejected(where, str(problem))
        yield document


def _faults(kind: kinds.Kind, document: Document) -> Sequence[validation.FieldError]:
    """What a server says is wrong: by its rules, or by the schema of a custom kind."""
    if kind.kind == "ClusterNetworkPolicy":
        return tuple(schemas.Schema(definitions.schema()).check(document))
    return tuple(validation.check(kind, document, None))


def _complete(kind: kinds.Kind, value: Document, namespace: str) -> Document:
    document = {**value, "metadata": {**value["metadata"]}, "apiVersion": kind.api_version, "kind": kind.kind}
    if namespace:
        document["metadata"]["namespace"] = namespace
    return defaults.apply(kind, document)


def _system(found: Iterable[manifests.Manifest], lab: config.LabConfig) -> Iterator[Document]:
    """What every cluster has: its DNS (unless the manifests bring their own), the API server's Service."""
    names = {(m.kind.kind, m.namespace, m.name) for m in found}
    if ("Service", "kube-system", "kube-dns") not in names:
        for document in dns.documents(lab.dns_service):
            kind = kinds.named(document["apiVersion"], document["kind"])
            if kind is not None and kind.kind in ("Service", "Deployment"):
                yield _complete(kind, document, "kube-system")
    service = kinds.of(core.Service)
    ports = [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}]
    spec = {"ports": ports, "clusterIPs": list(lab.kubernetes_service)}
    yield _complete(service, {"metadata": {"name": "kubernetes"}, "spec": spec}, "default")


def _namespaces(every: Iterable[Document]) -> Iterator[core.Namespace]:
    labels: dict[str, dict[str, str]] = {
        "default": {},
        "kube-system": {},
        "kube-public": {},
        "kube-node-lease": {},
    }
    for document in every:
        meta = document["metadata"]
        if document["kind"] == "Namespace":
            labels[meta["name"]] = meta.get("labels") or {}
        elif "namespace" in meta:
            labels.setdefault(meta["namespace"], {})
    for name, known in sorted(labels.items()):
        yield codec.convert(core.Namespace, {"metadata": {"name": name, "labels": dict(known)}})


# --- nodes and pods


def _nodes(lab: config.LabConfig) -> tuple[core.Node, ...]:
    bare = []
    for number, node in enumerate(lab.nodes):
        addresses = [{"type": "InternalIP", "address": ip} for ip in node.ips]
        labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"}
        if node.role == config.CONTROL_PLANE:
            labels["node-role.kubernetes.io/control-plane"] = ""
        meta = {"name": node.name, "labels": labels, "creationTimestamp": f"{number:04}"}
        ready = {"type": "Ready", "status": "True"}
        status = {"addresses": addresses, "conditions": [ready]}
        bare.append(codec.convert(core.Node, {"metadata": meta, "status": status}))
    assigned = nodes_plan.plan(bare, lab.ranges.pods, {}).assign
    return tuple(
        codec.convert(
            core.Node,
            codec.document(node) | {"spec": {"podCIDRs": [str(one) for one in assigned[node.metadata.name]]}},
        )
        for node in bare
    )


def _pods(
    every: Iterable[Document], nodes: tuple[core.Node, ...]
) -> tuple[tuple[core.Pod, ...], dict[tuple[str, str], str]]:
    workers = tuple(node for node in nodes if "worker" in node.metadata.name) or nodes
    turns = itertools.cycle(workers)
    hosts = {node.metadata.name: itertools.count(_FIRST_POD) for node in nodes}
    by_name = {node.metadata.name: node for node in nodes}
    pods, workloads = [], {}
    for bare, workload in _bare_pods(every, workers):
        spec, meta = bare["spec"], bare["metadata"]
        node = by_name.get(spec.get("nodeName") or "") or next(turns)
        spec["nodeName"] = node.metadata.name
        if spec.get("hostNetwork"):
            own = [a.address for a in node.status.addresses if a.type == "InternalIP"]
        else:
            number = next(hosts[node.metadata.name])
            own = [str(ipaddress.ip_network(cidr)[number]) for cidr in node.spec.podCIDRs]
        ready = {"type": "Ready", "status": "True"}
        bare["status"] = {"phase": "Running", "podIPs": [{"ip": ip} for ip in own], "conditions": [ready]}
        meta["uid"] = f"{meta['namespace']}/{meta['name']}"
        pods.append(codec.convert(core.Pod, bare))
        if workload:
            workloads[meta["namespace"], meta["name"]] = workload
    return tuple(pods), workloads


def _bare_pods(every: Iterable[Document], workers: Sequence[core.Node]) -> Iterator[tuple[Document, str]]:
    """Pods without node and address, and the workload each is of."""
    for document in every:
        kind, meta, spec = document["kind"], document["metadata"], document.get("spec") or {}
        if kind == "Pod":
            yield {"metadata": {**meta}, "spec": {**spec}}, ""
        elif kind in TEMPLATES:
            template = spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"]
            for number in range(_replicas(kind, spec, len(workers))):
                pod = _of_template(template, f"{meta['name']}-{number}", meta["namespace"])
                if kind == "DaemonSet":
                    pod["spec"]["nodeName"] = workers[number].metadata.name
                if kind == "StatefulSet":
                    pod["spec"] |= {
                        "hostname": pod["metadata"]["name"],
                        "subdomain": spec.get("serviceName", ""),
                    }
                yield pod, f"{kind.lower()}/{meta['name']}"


def _replicas(kind: str, spec: Document, workers: int) -> int:
    if kind == "DaemonSet":
        return workers
    wanted = spec.get("parallelism" if kind == "Job" else "replicas", 1)
    return min(1 if wanted is None else int(wanted), MOST_REPLICAS)


def _of_template(template: Document, name: str, namespace: str) -> Document:
    meta = template.get("metadata") or {}
    labels = dict(meta.get("labels") or {})
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {**template["spec"]},
    }


# --- Services


def _services(every: Iterable[Document], lab: config.LabConfig) -> Iterator[core.Service]:
    addresses = itertools.count(_FIRST_SERVICE)
    node_ports = itertools.count(_FIRST_NODE_PORT)
    balancers = itertools.count(1)
    for document in every:
        if document["kind"] != "Service":
            continue
        spec = document["spec"] = {**document["spec"]}
        families = _families(spec, lab)
        if spec.get("type") != "ExternalName" and not spec.get("clusterIPs"):
            number = next(addresses)
            spec["clusterIPs"] = [str(_range(lab.ranges.services, family)[number]) for family in families]
        if spec.get("clusterIPs"):
            spec["clusterIP"] = spec["clusterIPs"][0]
            spec["ipFamilies"] = families
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            spec["ports"] = [
                {**port, "nodePort": port.get("nodePort") or next(node_ports)} for port in spec["ports"]
            ]
        if spec.get("type") == "LoadBalancer" and not document["status"]["loadBalancer"].get("ingress"):
            number = next(balancers)
            given = [
                {"ip": str(ipaddress.ip_network(text)[number]), "ipMode": "VIP"}
                for text in _BALANCERS
                if ("IPv6" if ":" in text else "IPv4") in families
            ]
            document["status"] = {"loadBalancer": {"ingress": given}}
        yield codec.convert(core.Service, document)


def _families(spec: Document, lab: config.LabConfig) -> list[str]:
    """The families of a Service, as the API server chooses them."""
    known = ["IPv6" if network.version == 6 else "IPv4" for network in lab.ranges.services]
    literal = [ip for ip in spec.get("clusterIPs") or () if worlds.is_address(ip)]
    if literal:
        return ["IPv6" if ":" in ip else "IPv4" for ip in literal]
    wanted = [family for family in spec.get("ipFamilies") or known[:1] if family in known]
    if spec.get("ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack"):
        wanted = list(dict.fromkeys((*wanted, *known)))
    return wanted


def _range(ranges: Iterable[addressing.Network], family: str) -> addressing.Network:
    return next(one for one in ranges if (one.version == 6) == (family == "IPv6"))


def _slices(
    services: Iterable[core.Service],
    pods: Sequence[core.Pod],
    nodes: Sequence[core.Node],
    every: Iterable[Document],
) -> Iterator[discovery.EndpointSlice]:
    """As the controller makes them; given ones for Services without a selector; the API server's."""
    labels = {node.metadata.name: node.metadata.labels for node in nodes}
    for service in services:
        if service.spec.selector:
            wanted = selectors.exactly(service.spec.selector)
            chosen = [
                pod
                for pod in pods
                if pod.metadata.namespace == service.metadata.namespace
                and wanted.matches(pod.metadata.labels)
            ]
            yield from slices_plan.plan(service, chosen, labels, ()).create
        elif service.metadata.name == "kubernetes" and service.metadata.namespace == "default":
            yield from _api_server(nodes[0])
    for document in every:
        if document["kind"] == "EndpointSlice":
            yield codec.convert(discovery.EndpointSlice, document)


def _api_server(node: core.Node) -> Iterator[discovery.EndpointSlice]:
    for address in (a.address for a in node.status.addresses if a.type == "InternalIP"):
        yield codec.convert(
            discovery.EndpointSlice,
            {
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {worlds.SERVICE_NAME: "kubernetes"},
                },
                "addressType": "IPv6" if ":" in address else "IPv4",
                "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            },
        )


def read(paths: Sequence[str], *, namespace: str = "default") -> Imagined:
    """The world of files and directories. Rejected with file and line when something is wrong."""
    found = manifests.read(paths, namespace=namespace, foreign=True)
    if not found:
        below = (file for path in paths for file in sorted(pathlib.Path(path).glob("*/*")))
        deeper = next((file.parent for file in below if file.suffix in documents.SUFFIXES), None)
        hint = (
            f"not read is what lies deeper: name {deeper}" if deeper else "name files or directories of YAML"
        )
        raise errors.Rejected("these files hold no Kubernetes object", hint=hint)
    return world(found)
