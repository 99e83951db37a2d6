"""Defaults: what the API server fills in when an object is written.

A default that depends on nothing else stands in the field's declaration; those that look at other fields are
the functions below, one a record type. Source: defaults.go and conversion.go in Kubernetes' pkg/apis/*/v1.
Not here: what admission or allocation decides (serviceAccountName, cluster IPs).
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterable
from typing import Any

from netemu.api import (
    apps,
    autoscaling2,
    batch,
    core,
    extensions,
    fields,
    kinds,
    networking,
    rbac,
    registration,
    schema,
    shapes,
    storage,
    wellknown,
)

Document = dict[str, Any]
Rule = Callable[[Document], None]


def apply(kind: kinds.Kind, document: Document) -> Document:
    """A normalised copy with every default set; applying it twice changes nothing more. The document must be
    without `schema.problems`."""
    whole = schema.normalise(kind, document)
    if kind.custom is not None:
        defaulted: Document = kind.custom.default(whole)
        return defaulted
    _default(whole, kind.type)
    return whole


def _default(document: Any, record: type[fields.Record]) -> None:
    if not isinstance(document, dict):
        return
    plan = _plan(record)
    for rule in plan.rules:
        rule(document)
    for name, value in plan.values:
        if document.get(name) is None:
            document[name] = value
    for name, shape in plan.inner:
        if name in document:
            _descend(document[name], shape)


def _descend(value: Any, shape: shapes.Shape) -> None:
    if shape.record:
        _default(value, shape.record)
    elif shape.items and isinstance(value, list):
        for item in value:
            _descend(item, shape.items)


class _Plan:
    """What there is to do for a record type: rules, plain values, fields that have defaults inside."""

    __slots__ = ("inner", "rules", "values")

    def __init__(self, record: type[fields.Record], inner: Iterable[tuple[str, shapes.Shape]]) -> None:
        self.rules = tuple(rule for base in record.__mro__ for rule in _RULES.get(base, ()))
        properties = shapes.of(record).properties.values()
        self.values = tuple((p.name, p.field.default) for p in properties if p.field.default is not None)
        self.inner = tuple(inner)

    @property
    def empty(self) -> bool:
        return not (self.rules or self.values or self.inner)


@functools.cache
def _plan(record: type[fields.Record]) -> _Plan:
    inner = []
    for found in shapes.of(record).properties.values():
        leaf = found.shape
        while leaf.items:
            leaf = leaf.items
        if leaf.record and not _plan(leaf.record).empty:
            inner.append((found.name, found.shape))
    return _Plan(record, inner)


# --- rules: each gets a normalised record it may change ---


def _absent(document: Document, name: str) -> bool:
    """Go's test for the zero value of what is no pointer."""
    return not document.get(name)


def _mirror(document: Document, one: str, many: str, *, key: str = "") -> None:
    """A single value and the list whose first element it is."""
    first = next(iter(document.get(many) or ()), None)
    if first is None and document.get(one):
        document[many] = [{key: document[one]} if key else document[one]]
    elif first is not None:
        document[one] = first.get(key, "") if key and isinstance(first, dict) else first


def _namespace(namespace: Document) -> None:
    metadata = namespace["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})[wellknown.NAMESPACE_NAME] = metadata["name"]


def _node(node: Document) -> None:
    _mirror(node["spec"], "podCIDR", "podCIDRs")
    status = node["status"]
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])


def _pod(pod: Document) -> None:
    spec = pod["spec"]
    spec.setdefault("enableServiceLinks", True)
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container["resources"]
        if resources.get("limits"):
            resources["requests"] = resources["limits"] | (resources.get("requests") or {})
    _mirror(pod["status"], "podIP", "podIPs", key="ip")
    _mirror(pod["status"], "hostIP", "hostIPs", key="ip")


def _pod_spec(spec: Document) -> None:
    spec.setdefault("securityContext", {})
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("hostNetwork"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            for port in container.get("ports") or ():
                if _absent(port, "hostPort"):
                    port["hostPort"] = port["containerPort"]


def _container(container: Document) -> None:
    if _absent(container, "imagePullPolicy"):
        container["imagePullPolicy"] = (
            "Always" if _tag(container.get("image", "")) == "latest" else "IfNotPresent"
        )


def _tag(image: str) -> str:
    """The tag of an image reference; "latest" if it has neither tag nor digest."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or ("" if digest else "latest")


def _volume(volume: Document) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}


def _service(service: Document) -> None:
    spec = service["spec"]
    type_ = spec.get("type") or "ClusterIP"
    for port in spec.get("ports") or ():
        if port.get("targetPort") in (0, "", None):
            port["targetPort"] = port["port"]
    if spec.get("sessionAffinity") == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", 10800)
    else:
        spec.pop("sessionAffinityConfig", None)
    if type_ != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if type_ in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        spec["externalTrafficPolicy"] = spec.get("externalTrafficPolicy") or "Cluster"
    if type_ == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    for ingress in service["status"]["loadBalancer"].get("ingress") or ():
        if ingress.get("ip"):
            ingress.setdefault("ipMode", "VIP")


def _secret(secret: Document) -> None:
    plain = secret.pop("stringData", None) or {}
    if plain:
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        secret["data"] = (secret.get("data") or {}) | coded


def _deployment_strategy(strategy: Document) -> None:
    if strategy.get("type") in (None, "", "RollingUpdate"):
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _stateful_set(workload: Document) -> None:
    spec = workload["spec"]
    strategy = spec["updateStrategy"]
    if strategy.get("type") in (None, "", "RollingUpdate"):
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    policy["whenDeleted"] = policy.get("whenDeleted") or "Retain"
    policy["whenScaled"] = policy.get("whenScaled") or "Retain"


def _daemon_set_strategy(strategy: Document) -> None:
    if strategy.get("type") in (None, "", "RollingUpdate"):
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _network_policy(policy: Document) -> None:
    spec = policy["spec"]
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _job(job: Document) -> None:
    spec = job["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    marks = spec["template"]["metadata"].get("labels")
    if marks and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(marks)


def _replication_controller(controller: Document) -> None:
    spec = controller["spec"]
    marks = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if marks:
        if not spec.get("selector"):
            spec["selector"] = dict(marks)
        if not controller["metadata"].get("labels"):
            controller["metadata"]["labels"] = dict(marks)


def _limits(item: Document) -> None:
    if item.get("type") != "Container":
        return
    if item.get("max"):
        item["default"] = item["max"] | (item.get("default") or {})
    if item.get("default"):
        item["defaultRequest"] = item["default"] | (item.get("defaultRequest") or {})
    if item.get("min"):
        item["defaultRequest"] = item["min"] | (item.get("defaultRequest") or {})


_RBAC = "rbac.authorization.k8s.io"


def _role_ref(ref: Document) -> None:
    ref["apiGroup"] = ref.get("apiGroup") or _RBAC


def _subject(subject: Document) -> None:
    if subject.get("kind") in ("User", "Group") and _absent(subject, "apiGroup"):
        subject["apiGroup"] = _RBAC


def _scaler(scaler: Document) -> None:
    spec = scaler["spec"]
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _class_parameters(given: Document) -> None:
    given.setdefault("scope", "Cluster")


def _https(service: Document) -> None:
    service.setdefault("port", 443)


def _definition(definition: Document) -> None:
    spec = definition["spec"]
    names = spec["names"]
    names["singular"] = names.get("singular") or names.get("kind", "").lower()
    names["listKind"] = names.get("listKind") or f"{names.get('kind', '')}List"
    spec.setdefault("conversion", {"strategy": "None"})


def _driver(spec: Document) -> None:
    spec["volumeLifecycleModes"] = spec.get("volumeLifecycleModes") or ["Persistent"]


_RULES: dict[type, tuple[Rule, ...]] = {
    core.Namespace: (_namespace,),
    core.Node: (_node,),
    core.Pod: (_pod,),
    core.PodSpec: (_pod_spec,),
    core.Container: (_container,),
    core.Volume: (_volume,),
    core.Service: (_service,),
    core.Secret: (_secret,),
    apps.DeploymentStrategy: (_deployment_strategy,),
    apps.StatefulSet: (_stateful_set,),
    apps.DaemonSetUpdateStrategy: (_daemon_set_strategy,),
    networking.NetworkPolicy: (_network_policy,),
    networking.IngressClassParametersReference: (_class_parameters,),
    core.ReplicationController: (_replication_controller,),
    core.LimitRangeItem: (_limits,),
    batch.Job: (_job,),
    rbac.RoleRef: (_role_ref,),
    rbac.Subject: (_subject,),
    autoscaling2.HorizontalPodAutoscaler: (_scaler,),
    extensions.CustomResourceDefinition: (_definition,),
    extensions.ServiceReference: (_https,),
    registration.ServiceReference: (_https,),
    storage.CSIDriverSpec: (_driver,),
}
