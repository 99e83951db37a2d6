"""Pod rules: service account and its token, default tolerations, priority, QoS class, first status.

Each function is one of upstream's admission plugins or strategies and takes one pod on its way in.
"""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

from netemu.api import core, kinds, quantities, wellknown
from netemu.apiserver import cache, entries, statuses
from netemu.apiserver.admission import changes
from netemu.base import ids

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607  # upstream's odd number tells these tokens from others
_PATIENCE = 2.0  # seconds a pod waits for the account of a namespace that is just being made
_LASTING = (wellknown.NOT_READY, wellknown.UNREACHABLE)


async def service_account(write: changes.Write) -> None:
    """The ServiceAccount plugin: default the account, require it, mount its token (KEP-1205)."""
    if write.old is not None or wellknown.MIRROR_POD in write.new["metadata"].get("annotations", {}):
        return
    spec = write.new["spec"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    found = await _account(write, name)
    if found is None:
        where = f"{write.namespace}/{name}"
        raise write.forbidden(f'error looking up service account {where}: serviceaccount "{name}" not found')
    account = found.document()
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = list(account["imagePullSecrets"])
    wanted = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
    if wanted:
        _mount_token(write, spec)


async def _account(write: changes.Write, name: str) -> entries.Entry | None:
    collection = write.parts.cache.of(kinds.of(core.ServiceAccount))
    found = collection.get(write.namespace, name)
    if found is not None or name != "default":
        return found
    appeared = asyncio.Event()

    def receive(event: cache.Event) -> None:
        if (event.entry.namespace, event.entry.name) == (write.namespace, name):
            appeared.set()

    collection.listen(receive)
    try:
        async with asyncio.timeout(_PATIENCE):
            await appeared.wait()
    except TimeoutError:
        return None
    finally:
        collection.leave(receive)
    return collection.get(write.namespace, name)


def _mount_token(write: changes.Write, spec: dict[str, Any]) -> None:
    containers = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    bare = [
        container
        for container in containers
        if all(mount.get("mountPath") != MOUNT for mount in container.get("volumeMounts", ()))
    ]
    if not bare:
        return
    name = f"kube-api-access-{ids.suffix(write.parts.rng)}"
    for container in bare:
        container.setdefault("volumeMounts", []).append({"name": name, "readOnly": True, "mountPath": MOUNT})
    spec.setdefault("volumes", []).append({"name": name, "projected": _projected()})


def _projected() -> dict[str, Any]:
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": authority},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 420,
    }


async def tolerations(write: changes.Write) -> None:
    """The DefaultTolerationSeconds plugin: five minutes on a node that is not ready or unreachable."""
    if write.old is not None:
        return
    given = write.new["spec"].setdefault("tolerations", [])
    for key in _LASTING:
        if not any(_covers(toleration, key) for toleration in given):
            given.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _covers(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")


async def status(write: changes.Write) -> None:
    """A new pod is pending and has its QoS class."""
    if write.old is None:
        write.new["status"] = {"phase": "Pending", "qosClass": qos(write.new["spec"])}
    else:
        write.new["status"] = write.old.get("status", {})


def qos(spec: statuses.Document) -> str:
    """BestEffort, Burstable or Guaranteed, by cpu and memory of all containers (k8s qos.ComputePodQOS)."""
    guaranteed, any_set = True, False
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        resources = container.get("resources", {})
        requests = _amounts(resources.get("requests", {}))
        limits = _amounts(resources.get("limits", {}))
        any_set = any_set or bool(requests or limits)
        guaranteed = guaranteed and len(limits) == 2 and (not requests or requests == limits)
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(resources: dict[str, Any]) -> dict[str, Fraction]:
    found = {
        name: Fraction(quantities.parse(str(resources[name])))
        for name in ("cpu", "memory")
        if name in resources
    }
    return {name: amount for name, amount in found.items() if amount > 0}
