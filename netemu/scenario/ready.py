"""Which applied objects are not working yet, and why. Pure: a snapshot of the cluster in, reasons out."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netemu.api import apps, clusterpolicies, core, discovery, networking, selectors
from netemu.model import worlds


class Snapshot(NamedTuple):
    """The objects that readiness depends on, and the policies that the model judges by."""

    pods: tuple[core.Pod, ...] = ()
    nodes: tuple[core.Node, ...] = ()
    services: tuple[core.Service, ...] = ()
    slices: tuple[discovery.EndpointSlice, ...] = ()
    deployments: tuple[apps.Deployment, ...] = ()
    namespaces: tuple[core.Namespace, ...] = ()
    policies: tuple[networking.NetworkPolicy, ...] = ()
    cluster_policies: tuple[clusterpolicies.ClusterNetworkPolicy, ...] = ()


class Applied(NamedTuple):
    """An object somebody waits for."""

    kind: str
    namespace: str
    name: str


# Cluster DNS is part of every lab: names in checks need it.
ALWAYS = (Applied("Deployment", "kube-system", "coredns"), Applied("Service", "kube-system", "kube-dns"))


def unready(wanted: Iterable[Applied], snapshot: Snapshot) -> tuple[str, ...]:
    """A line for every node and every wanted object that is not ready: `what: why`."""
    reasons = [f"node {node.metadata.name}: not Ready" for node in snapshot.nodes if not _node_ready(node)]
    for applied in wanted:
        label = f"{applied.kind.lower()} {applied.namespace}/{applied.name}"
        match applied.kind:
            case "Pod":
                why = _pod(_find(snapshot.pods, applied))
            case "Deployment":
                why = _deployment(_find(snapshot.deployments, applied), snapshot)
            case "Service":
                why = _service(_find(snapshot.services, applied), snapshot)
            case _:
                continue
        if why:
            reasons.append(f"{label}: {why}")
    return tuple(reasons)


def pod_state(pod: core.Pod) -> str:
    """Why a pod is not ready, in the words of its status: what the scheduler or a container says."""
    for condition in pod.status.conditions if pod.status else ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return str(condition.message or condition.reason or "not scheduled")
    statuses = (*pod.status.initContainerStatuses, *pod.status.containerStatuses) if pod.status else ()
    for status in statuses:
        waiting = status.state.waiting if status.state else None
        if waiting is not None:
            return f"{status.name} {waiting.reason}{': ' + waiting.message if waiting.message else ''}"
        ended = status.state.terminated if status.state else None
        if ended is not None and ended.exitCode:
            return f"{status.name} ended with exit code {ended.exitCode}"
    return str(pod.status.phase or "Pending") if pod.status else "Pending"


def _find(objects: Iterable[Any], applied: Applied) -> Any:
    for found in objects:
        if (found.metadata.namespace, found.metadata.name) == (applied.namespace, applied.name):
            return found
    return None


def _node_ready(node: core.Node) -> bool:
    conditions = node.status.conditions if node.status else ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


def _pod(pod: core.Pod | None) -> str:
    if pod is None:
        return "not there"
    done = pod.status is not None and pod.status.phase == "Succeeded"
    return "" if done or worlds.is_ready(pod) else pod_state(pod)


def _deployment(deployment: apps.Deployment | None, snapshot: Snapshot) -> str:
    if deployment is None:
        return "not there"
    status = deployment.status
    wanted = 1 if deployment.spec.replicas is None else deployment.spec.replicas
    seen = status is not None and (status.observedGeneration or 0) >= (deployment.metadata.generation or 0)
    if (
        status is not None
        and seen
        and status.updatedReplicas == wanted == status.readyReplicas == status.replicas
    ):
        return ""
    ready = (status.readyReplicas or 0) if status else 0
    return "; ".join((f"{ready} of {wanted} ready", *_pod_reasons(deployment, snapshot)))


def _pod_reasons(deployment: apps.Deployment, snapshot: Snapshot) -> Iterator[str]:
    selector = selectors.of(deployment.spec.selector)
    for pod in snapshot.pods:
        same = pod.metadata.namespace == deployment.metadata.namespace
        if same and selector.matches(pod.metadata.labels) and not worlds.is_ready(pod):
            yield f"{pod.metadata.name} {pod_state(pod)}"
            return  # one example is enough


def _service(service: core.Service | None, snapshot: Snapshot) -> str:
    """A Service with a selector is ready when its slices list just the ready pods that it selects."""
    if service is None:
        return "not there"
    if not service.spec.selector:
        return ""
    meta = service.metadata
    selected = {
        pod.metadata.name
        for pod in snapshot.pods
        if pod.metadata.namespace == meta.namespace
        and worlds.is_ready(pod)
        and not pod.metadata.deletionTimestamp
        and all(pod.metadata.labels.get(key) == value for key, value in service.spec.selector.items())
    }
    for family in service.spec.ipFamilies or ("IPv4",):
        listed = {
            endpoint.targetRef.name
            for piece in snapshot.slices
            if piece.metadata.namespace == meta.namespace
            and piece.metadata.labels.get(worlds.SERVICE_NAME) == meta.name
            and piece.addressType == family
            for endpoint in piece.endpoints
            if endpoint.targetRef is not None
            and (endpoint.conditions is None or endpoint.conditions.ready is not False)
        }
        if listed != selected:
            return f"{len(listed & selected)} of {len(selected)} {family} endpoints listed"
    return ""
