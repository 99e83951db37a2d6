"""Pods of a Service as endpoints and ports of the discovery API. Pure; knows one Service at a time.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from netemu.api import core, discovery, wellknown
from netemu.controllers import readiness

_FAMILIES: Final = {"IPv4": 4, "IPv6": 6}

Ports = tuple[discovery.EndpointPort, ...]


def address_types(service: core.Service) -> tuple[str, ...]:
    """The families a Service has slices for."""
    return tuple(service.spec.ipFamilies) or ("IPv4",)


def is_candidate(pod: core.Pod, *, terminating: bool = True) -> bool:
    """Whether a pod can be an endpoint: it has an address and has not ended."""
    if readiness.is_terminal(pod) or not (pod.status.podIP or pod.status.podIPs):
        return False
    return terminating or not pod.metadata.deletionTimestamp


def addresses(pod: core.Pod, address_type: str) -> tuple[str, ...]:
    """The pod's addresses of one family."""
    known = [one.ip for one in pod.status.podIPs] or [pod.status.podIP]
    version = _FAMILIES[address_type]
    return tuple(text for text in known if text and ipaddress.ip_address(text).version == version)


def ports(service: core.Service, pod: core.Pod) -> Ports:
    """The Service's ports as this pod serves them; a named target port it does not have is left out."""
    found = []
    for port in service.spec.ports:
        number = target_port(pod, port)
        if number is not None:
            found.append(
                discovery.EndpointPort(
                    name=port.name or "", protocol=port.protocol, port=number, appProtocol=port.appProtocol
                )
            )
    return tuple(found)


def target_port(pod: core.Pod, port: core.ServicePort) -> int | None:
    """A number, or the container port of that name and protocol, sidecars included."""
    target = port.targetPort
    if isinstance(target, int):
        return target or port.port
    if not target:
        return port.port
    sidecars = (c for c in pod.spec.initContainers if c.restartPolicy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for offered in container.ports:
            if offered.name == target and (offered.protocol or "TCP") == (port.protocol or "TCP"):
                return offered.containerPort
    return None


def endpoint(
    service: core.Service, pod: core.Pod, address_type: str, node_labels: Mapping[str, str]
) -> discovery.Endpoint:
    """One pod in one family."""
    serving = readiness.is_ready(pod)
    terminating = bool(pod.metadata.deletionTimestamp)
    return discovery.Endpoint(
        addresses=addresses(pod, address_type),
        conditions=discovery.EndpointConditions(
            # A terminating pod is never ready, unless readiness is asked to be ignored.
            ready=service.spec.publishNotReadyAddresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=hostname(service, pod),
        targetRef=core.ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        nodeName=pod.spec.nodeName or None,
        zone=node_labels.get(wellknown.ZONE) or None,
    )


def hostname(service: core.Service, pod: core.Pod) -> str | None:
    """Only a pod whose subdomain is the Service has a DNS name of its own."""
    if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
        return pod.spec.hostname
    return None


def grouped(
    service: core.Service,
    pods: Iterable[core.Pod],
    nodes: Mapping[str, Mapping[str, str]],
    address_type: str,
) -> dict[Ports, list[discovery.Endpoint]]:
    """Endpoints by the ports they serve. `nodes`: labels by name; pods of unknown nodes are left out."""
    groups: dict[Ports, list[discovery.Endpoint]] = {}
    for pod in pods:
        if not is_candidate(pod) or not addresses(pod, address_type):
            continue
        labels = nodes.get(pod.spec.nodeName)
        if labels is None and not service.spec.publishNotReadyAddresses:
            continue
        group = groups.setdefault(port_key(ports(service, pod)), [])
        group.append(endpoint(service, pod, address_type, labels or {}))
    return groups


def port_key(ports: Sequence[discovery.EndpointPort]) -> Ports:
    """Ports in one order, so that equal sets are equal."""
    return tuple(sorted(ports, key=lambda p: (p.name or "", p.protocol or "", p.port or 0)))
