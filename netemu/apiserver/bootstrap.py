"""What is there before anybody asks: namespaces, roles, the `kubernetes` Service and its endpoints ...

Made through the server's own requests, so it is admitted and validated as everything else; but what stands in
tables of our own (roles, priority classes, APIServices) is stored as it stands there.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from typing import Any

import msgspec

from netemu.api import kinds, wellknown
from netemu.apiserver import cache, contexts, objects, pki
from netemu.apiserver.aggregation import groups
from netemu.apiserver.rbac import policy, reconciling, roles
from netemu.base import clock as clocks
from netemu.client import api

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_JSON = (("content-type", "application/json"),)
_LABELS = {"component": "apiserver", "provider": "kubernetes"}
_CRITICAL = {
    "cluster": "Used for system critical pods that must run in the cluster, but can be moved to another node"
    " if necessary.",
    "node": "Used for system critical pods that must not be moved from their current node.",
}
_SLICE_LABELS = {wellknown.SERVICE_NAME: "kubernetes"}


async def run(client: api.Client, config: contexts.Config) -> None:
    """Make what is missing; correct the endpoints, which may be others after a restart."""
    await asyncio.gather(*(_ensure(client, "/api/v1/namespaces", _namespace(n)) for n in NAMESPACES))
    await asyncio.gather(
        *(_ensure(client, path, document, exact=exact) for path, document, exact in _objects(config))
    )


def _namespace(name: str) -> dict[str, Any]:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def _objects(config: contexts.Config) -> list[tuple[str, dict[str, Any], bool]]:
    """(path, object, whether an object that is there already must be made equal)."""
    found: list[tuple[str, dict[str, Any], bool]] = []
    for namespace in NAMESPACES:
        base = f"/api/v1/namespaces/{namespace}"
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
        found.append((f"{base}/serviceaccounts", account, False))
        if config.ca_certificate:
            authority = {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {"name": "kube-root-ca.crt"},
                "data": {"ca.crt": config.ca_certificate},
            }
            found.append((f"{base}/configmaps", authority, True))
    if config.ca_certificate:
        found.append(("/api/v1/namespaces/kube-system/configmaps", _authentication(config), True))
    found.append(("/api/v1/namespaces/default/services", _service(config), False))
    found.append(("/apis/networking.k8s.io/v1/servicecidrs", _service_cidr(config), False))
    addresses = [ipaddress.ip_address(text) for text in config.endpoints]
    if addresses:
        found.append(("/api/v1/namespaces/default/endpoints", _endpoints(config), True))
    for version in sorted({address.version for address in addresses}):
        texts = [str(address) for address in addresses if address.version == version]
        path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        found.append((path, _slice(config, version, texts), True))
    return found


async def seed(parts: contexts.Parts) -> None:
    """Roles, bindings, priority classes, APIServices: tables too long to be checked at every start. Roles and
    bindings that are there already are put right."""
    writes = []
    for document in _fixed(clocks.rfc3339(parts.clock.now())):
        kind = kinds.named(document["apiVersion"], document["kind"])
        assert kind is not None
        about = document["metadata"]
        namespace, collection = about.get("namespace", ""), parts.cache.of(kind)
        there = collection.get(namespace, about["name"])
        key = cache.key(kind, namespace, about["name"])
        if there is None:
            objects.begin(kind, document, namespace, parts.rng, parts.clock.now())
            writes.append(parts.store.create(key, collection.dump(document)))
        elif kind.group == roles.GROUP and (now := reconciling.reconciled(document, there.document())):
            if "uid" not in now["metadata"]:
                objects.begin(kind, now, namespace, parts.rng, parts.clock.now())
            writes.append(parts.store.update(key, collection.dump(now), there.revision))
    await asyncio.gather(*writes)


def _fixed(now: str) -> Iterator[dict[str, Any]]:
    for group, version in groups.own(kinds.SERVED):
        yield groups.local(group, version, groups.AT_START, now)
    yield from (*policy.cluster_roles(), *policy.cluster_bindings(), *policy.roles(), *policy.bindings())
    for name, value in (("system-cluster-critical", 2000000000), ("system-node-critical", 2000001000)):
        use = "node" if "node" in name else "cluster"
        yield {
            "kind": "PriorityClass",
            "apiVersion": "scheduling.k8s.io/v1",
            "metadata": {"name": name},
            "value": value,
            "preemptionPolicy": "PreemptLowerPriority",
            "description": _CRITICAL[use],
        }


def _authentication(config: contexts.Config) -> dict[str, Any]:
    """Whom the servers behind APIServices are to trust (kube-apiserver's clusterauthenticationtrust)."""
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "extension-apiserver-authentication"},
        "data": {
            "client-ca-file": config.ca_certificate,
            "requestheader-allowed-names": f'["{pki.FRONT_PROXY}"]',
            "requestheader-client-ca-file": config.ca_certificate,
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-username-headers": '["X-Remote-User"]',
        },
    }


def _service(config: contexts.Config) -> dict[str, Any]:
    first = [str(network[1]) for network in config.service_cidrs]
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "labels": _LABELS},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": first[0],
            "clusterIPs": first,
            "ipFamilies": [f"IPv{network.version}" for network in config.service_cidrs],
            "ipFamilyPolicy": "SingleStack" if len(first) == 1 else "RequireDualStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.port}],
        },
    }


def _service_cidr(config: contexts.Config) -> dict[str, Any]:
    return {
        "kind": "ServiceCIDR",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [str(network) for network in config.service_cidrs]},
    }


def _endpoints(config: contexts.Config) -> dict[str, Any]:
    port = {"name": "https", "port": config.port, "protocol": "TCP"}
    primary = config.service_cidrs[0].version
    chosen = [text for text in config.endpoints if ipaddress.ip_address(text).version == primary]
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes",
            "labels": {wellknown.SKIP_MIRROR: "true"},
        },
        "subsets": [{"addresses": [{"ip": text} for text in chosen], "ports": [port]}] if chosen else [],
    }


def _slice(config: contexts.Config, version: int, addresses: list[str]) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "kubernetes" if version == 4 else "kubernetes-ipv6", "labels": _SLICE_LABELS},
        "addressType": f"IPv{version}",
        "endpoints": [{"addresses": [text], "conditions": {"ready": True}} for text in addresses],
        "ports": [{"name": "https", "port": config.port, "protocol": "TCP"}],
    }


async def _ensure(client: api.Client, path: str, document: dict[str, Any], *, exact: bool = False) -> None:
    answer = await client.raw("POST", path, body=msgspec.json.encode(document), headers=_JSON)
    if answer.status == 409 and exact:
        name = document["metadata"]["name"]
        answer = await client.raw("PUT", f"{path}/{name}", body=msgspec.json.encode(document), headers=_JSON)
    if answer.status not in (200, 201, 409):
        raise RuntimeError(f"bootstrap of {path}: {answer.status} {answer.body!r}")
