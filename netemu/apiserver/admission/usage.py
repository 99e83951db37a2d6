"""What an object uses of a quota: counts, compute resources, storage; and which scopes it is in.

Pure. Follows k8s.io/kubernetes pkg/quota/v1/evaluator/core.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from netemu.api import core, kinds, quantities
from netemu.apiserver.admission import limits, pods

Amounts = dict[str, str]
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_COUNTED = ("configmaps", "secrets", "replicationcontrollers", "resourcequotas")
_POD, _SERVICE, _CLAIM = (kinds.of(t) for t in (core.Pod, core.Service, core.PersistentVolumeClaim))
OPEN = (_POD, _CLAIM)  # kinds that use resources whose names are not known beforehand
_CLASS = ".storageclass.storage.k8s.io/"


class Used(NamedTuple):
    """Amounts by resource name; scopes and priority class matter for pods only."""

    amounts: Amounts
    scopes: frozenset[str] = frozenset()
    priority: str = ""


def names(kind: kinds.Kind) -> tuple[str, ...]:
    """The resource names objects of a kind can use, of those that are always called the same."""
    own = (f"count/{kind.qualified}",)
    if kind is _POD:
        plain = [f"{side}.{name}" for side in ("requests", "limits") for name in _COMPUTE]
        return (*own, "pods", *_COMPUTE, *plain)
    if kind is _SERVICE:
        return (*own, "services", "services.loadbalancers", "services.nodeports")
    if kind is _CLAIM:
        return (*own, "persistentvolumeclaims", "requests.storage")
    return (*own, kind.plural) if not kind.group and kind.plural in _COUNTED else own


def counts(kind: kinds.Kind, name: str) -> bool:
    """Whether a resource of a made-up name is used by pods (requests.example.com/x) or claims (by class)."""
    if kind is _CLAIM:
        return _CLASS in name
    return name.startswith(("requests.", "hugepages-")) and name != "requests.storage"


def of(kind: kinds.Kind, document: dict[str, Any]) -> Used:
    """What the object uses."""
    amounts = {f"count/{kind.qualified}": "1"}
    if kind is _POD:
        return _pod(document, amounts)
    if kind is _SERVICE:
        spec = document.get("spec") or {}
        type_ = spec.get("type", "ClusterIP")
        ports = len(spec.get("ports") or ())
        unallocated = type_ == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False
        amounts["services"] = "1"
        amounts["services.loadbalancers"] = "1" if type_ == "LoadBalancer" else "0"
        node_ports = ports if type_ in ("NodePort", "LoadBalancer") and not unallocated else 0
        amounts["services.nodeports"] = str(node_ports)
    elif kind is _CLAIM:
        spec = document.get("spec") or {}
        size = str(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
        amounts |= {"persistentvolumeclaims": "1", "requests.storage": size}
        if chosen := spec.get("storageClassName"):
            amounts |= {
                f"{chosen}{_CLASS}persistentvolumeclaims": "1",
                f"{chosen}{_CLASS}requests.storage": size,
            }
    elif not kind.group and kind.plural in _COUNTED:
        amounts[kind.plural] = "1"
    return Used(amounts)


def _pod(document: dict[str, Any], amounts: Amounts) -> Used:
    spec, status = document["spec"], document.get("status") or {}
    scopes = {
        "Terminating" if spec.get("activeDeadlineSeconds") is not None else "NotTerminating",
        "BestEffort" if pods.qos(spec) == "BestEffort" else "NotBestEffort",
    }
    priority = spec.get("priorityClassName", "")
    if priority:
        scopes.add("PriorityClass")
    if _crosses(spec.get("affinity") or {}):
        scopes.add("CrossNamespacePodAffinity")
    if status.get("phase") not in ("Succeeded", "Failed"):
        amounts["pods"] = "1"
        found = limits.total(spec)
        for name, amount in found["requests"].items():
            amounts[f"requests.{name}"] = amount
            if name in _COMPUTE or name.startswith("hugepages-"):
                amounts[name] = amount
        for name, amount in found["limits"].items():
            if name in _COMPUTE:
                amounts[f"limits.{name}"] = amount
    return Used(amounts, frozenset(scopes), priority)


def _crosses(affinity: dict[str, Any]) -> bool:
    for side in ("podAffinity", "podAntiAffinity"):
        about = affinity.get(side) or {}
        terms = list(about.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        for weighted in about.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def in_scope(quota: dict[str, Any], scopes: frozenset[str], priority: str) -> bool:
    """Whether the quota is about an object in these scopes."""
    spec = quota.get("spec") or {}
    if not all(scope in scopes for scope in spec.get("scopes") or ()):
        return False
    for need in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        operator, values = need.get("operator"), need.get("values") or ()
        if need.get("scopeName") != "PriorityClass":
            held = need.get("scopeName") in scopes
        elif operator == "In":
            held = priority in values
        elif operator == "NotIn":
            held = priority not in values
        else:
            held = bool(priority) == (operator == "Exists")
        if not held:
            return False
    return True


def more(now: Amounts, before: Amounts) -> Amounts:
    """What is used more than before."""
    found = {}
    for name, amount in now.items():
        grown = quantities.parse(amount) - quantities.parse(before.get(name, "0"))
        if grown > 0:
            found[name] = amount if name not in before else limits.text(grown)
    return found


def exceeds(used: str, adds: str, hard: str) -> bool:
    return quantities.parse(used) + quantities.parse(adds) > quantities.parse(str(hard))


def unspecified(spec: dict[str, Any], hard: Amounts) -> str:
    """Which containers do not say how much they need though the quota limits it: "requests.cpu for: a,b"."""
    found = []
    for name in sorted(hard):
        side, _, resource = name.rpartition(".")
        side = side or "requests"
        if resource not in _COMPUTE or side not in ("requests", "limits"):
            continue
        every = (*spec.get("containers", ()), *spec.get("initContainers", ()))
        bare = [
            container["name"]
            for container in every
            if resource not in ((container.get("resources") or {}).get(side) or {})
        ]
        if bare:
            found.append(f"{name} for: {','.join(sorted(bare))}")
    return "; ".join(found)
