"""The Endpoints object of a Service: the older, single-object view of what EndpointSlices say. Pure.

One address family only (the Service's first); at most 1000 addresses. Deprecated upstream since 1.33, still
written.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from netemu.api import core, meta, wellknown
from netemu.controllers import readiness
from netemu.controllers.endpointslice import endpoints

MANAGED_BY: Final = "endpoints.kubernetes.io/managed-by"
MANAGER: Final = "endpoint-controller"
OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES: Final = 1000

_Ports = tuple[core.EndpointPort, ...]


def plan(
    service: core.Service,
    pods: Sequence[core.Pod],
    current: core.Endpoints | None,
    trigger_time: str = "",
) -> core.Endpoints | None:
    """The object to write, or None when `current` says it all already."""
    subsets = subsets_of(service, pods)
    kept, truncated = _truncated(subsets)
    labels = {key: value for key, value in service.metadata.labels.items() if key != wellknown.HEADLESS}
    labels[MANAGED_BY] = MANAGER
    if service.spec.clusterIP in ("", "None"):
        labels[wellknown.HEADLESS] = ""
    annotations = dict(current.metadata.annotations) if current is not None else {}
    annotations.pop(OVER_CAPACITY, None)
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    if current is not None and (
        current.subsets == kept
        and current.metadata.labels == labels
        and current.metadata.annotations == annotations
    ):
        return None
    annotations.pop(wellknown.TRIGGER_TIME, None)
    if trigger_time:
        annotations[wellknown.TRIGGER_TIME] = trigger_time
    return core.Endpoints(
        metadata=meta.ObjectMeta(
            name=service.metadata.name,
            namespace=service.metadata.namespace,
            labels=labels,
            annotations=annotations,
            resourceVersion=current.metadata.resourceVersion if current is not None else "",
        ),
        subsets=kept,
    )


def subsets_of(service: core.Service, pods: Iterable[core.Pod]) -> tuple[core.EndpointSubset, ...]:
    """Addresses grouped by ports; within a subset ready ones apart from those which are not."""
    family = endpoints.address_types(service)[0]
    tolerant = service.spec.publishNotReadyAddresses
    groups: dict[_Ports, tuple[list[core.EndpointAddress], list[core.EndpointAddress]]] = {}
    for pod in pods:
        found = endpoints.addresses(pod, family) if endpoints.is_candidate(pod, terminating=tolerant) else ()
        if not found:
            continue
        ports = tuple(
            core.EndpointPort(
                name=p.name or "", port=p.port or 0, protocol=p.protocol or "TCP", appProtocol=p.appProtocol
            )
            for p in endpoints.ports(service, pod)
        )
        if service.spec.ports and not ports:
            continue
        ready, waiting = groups.setdefault(ports, ([], []))
        (ready if tolerant or readiness.is_ready(pod) else waiting).append(_address(service, pod, found[0]))
    subsets = (
        core.EndpointSubset(
            addresses=_sorted(ready),
            notReadyAddresses=_sorted(waiting),
            ports=tuple(sorted(ports, key=lambda p: (p.name, p.protocol, p.port))),
        )
        for ports, (ready, waiting) in groups.items()
    )
    return tuple(sorted(subsets, key=lambda s: [(p.name, p.protocol, p.port) for p in s.ports]))


def _address(service: core.Service, pod: core.Pod, ip: str) -> core.EndpointAddress:
    return core.EndpointAddress(
        ip=ip,
        hostname=endpoints.hostname(service, pod) or "",
        nodeName=pod.spec.nodeName or None,
        targetRef=core.ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
    )


def _sorted(addresses: Iterable[core.EndpointAddress]) -> tuple[core.EndpointAddress, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.ip, a.targetRef.uid if a.targetRef is not None else "")))


def _truncated(
    subsets: tuple[core.EndpointSubset, ...],
) -> tuple[tuple[core.EndpointSubset, ...], bool]:
    """Ready addresses have precedence."""
    room = MAX_ADDRESSES
    if sum(len(s.addresses) + len(s.notReadyAddresses) for s in subsets) <= room:
        return subsets, False
    ready = []
    for subset in subsets:
        ready.append(subset.addresses[:room])
        room -= len(ready[-1])
    kept = []
    for subset, addresses in zip(subsets, ready, strict=True):
        waiting = subset.notReadyAddresses[:room]
        room -= len(waiting)
        if addresses or waiting:
            kept.append(
                core.EndpointSubset(addresses=addresses, notReadyAddresses=waiting, ports=subset.ports)
            )
    return tuple(kept), True
