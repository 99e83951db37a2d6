"""Rules for Services, Endpoints, EndpointSlices, ServiceCIDRs and IPAddresses."""

from __future__ import annotations

from netemu.api import addresses, core, discovery, names, networking
from netemu.api.validation import containers, metadata
from netemu.api.validation.findings import (
    FieldError,
    Findings,
    duplicate,
    forbidden,
    invalid,
    named,
    one_of,
    required,
    too_many,
    unchanged,
    within,
)

AFFINITY_LIMIT = 86400
MAX_ENDPOINTS, MAX_PORTS, MAX_ADDRESSES = 1000, 20000, 100
DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")


def check(service: core.Service) -> Findings:
    spec = service.spec
    headless = "None" in (spec.clusterIP, *spec.clusterIPs)
    if not spec.ports and not headless and spec.type != "ExternalName":
        yield required("spec.ports")
    if spec.type == "LoadBalancer" and headless:
        yield invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services")
    if spec.type == "NodePort" and headless:
        yield invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services")
    if spec.type == "ExternalName":
        yield from _external_name(spec)
    if not spec.type:
        yield required("spec.type")
    yield from _ports(spec)
    yield from metadata.labels(spec.selector, "spec.selector")
    yield from _affinity(spec)
    if spec.type != "ExternalName":
        yield from _families(spec)
    for index, text in enumerate(spec.externalIPs):
        yield from named(f"spec.externalIPs[{index}]", text, addresses.not_special(text))
    yield from _traffic(spec)
    yield from _load_balancer(spec)


def _external_name(spec: core.ServiceSpec) -> Findings:
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if getattr(spec, name):
            yield forbidden(f"spec.{name}", "may not be set for ExternalName services")
    if spec.clusterIP:
        yield forbidden("spec.clusterIP", "may not be set for ExternalName services")
    if not spec.externalName:
        yield required("spec.externalName")
    else:
        text = spec.externalName.removesuffix(".")
        yield from named("spec.externalName", spec.externalName, names.subdomain(text))


def _ports(spec: core.ServiceSpec) -> Findings:
    seen_names: set[str] = set()
    for index, port in enumerate(spec.ports):
        here = f"spec.ports[{index}]"
        if not port.name and len(spec.ports) > 1:
            yield required(f"{here}.name")
        elif port.name:
            yield from named(f"{here}.name", port.name, names.label(port.name))
            if port.name in seen_names:
                yield duplicate(f"{here}.name", port.name)
        seen_names.add(port.name)
        yield from named(f"{here}.port", port.port, names.port(port.port))
        if not port.protocol:
            yield required(f"{here}.protocol")
        yield from containers.port_or_name(port.targetPort, f"{here}.targetPort")
        if port.appProtocol:
            yield from named(f"{here}.appProtocol", port.appProtocol, names.qualified(port.appProtocol))
        if port.nodePort and spec.type not in ("NodePort", "LoadBalancer"):
            yield forbidden(f"{here}.nodePort", "may not be used when `type` is 'ClusterIP'")
    yield from _unique_ports(spec.ports)


def _unique_ports(ports: tuple[core.ServicePort, ...]) -> Findings:
    seen: set[tuple[str, int]] = set()
    nodes: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        if (port.protocol, port.port) in seen:
            yield duplicate(here, {"port": port.port, "protocol": port.protocol, "targetPort": 0})
        seen.add((port.protocol, port.port))
        if port.nodePort:
            if (port.protocol, port.nodePort) in nodes:
                yield duplicate(f"{here}.nodePort", port.nodePort)
            nodes.add((port.protocol, port.nodePort))


def _affinity(spec: core.ServiceSpec) -> Findings:
    path = "spec.sessionAffinityConfig"
    config = spec.sessionAffinityConfig
    if not spec.sessionAffinity:
        yield required("spec.sessionAffinity")
    elif spec.sessionAffinity == "None" and config is not None:
        yield forbidden(path, "must not be set when session affinity is None")
    elif spec.sessionAffinity == "ClientIP":
        client = config.clientIP if config else None
        if client is None or client.timeoutSeconds is None:
            yield required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")
        else:
            yield from within(f"{path}.clientIP.timeoutSeconds", client.timeoutSeconds, 1, AFFINITY_LIMIT)


def _families(spec: core.ServiceSpec) -> Findings:
    """clusterIPs, ipFamilies and ipFamilyPolicy belong together; the first IP is clusterIP."""
    path = "spec.clusterIPs"
    if spec.clusterIP and not spec.clusterIPs:
        yield required(path)
    elif spec.clusterIPs and spec.clusterIPs[0] != spec.clusterIP:
        yield invalid(f"{path}[0]", spec.clusterIPs, "first value must match `clusterIP`")
    found = []
    for index, text in enumerate(spec.clusterIPs):
        if text in ("None", ""):
            if len(spec.clusterIPs) > 1:
                yield invalid(path, spec.clusterIPs, "'None' must be the first and only value")
            continue
        family = addresses.family(text) if addresses.parse(text) else ""
        if not family:
            yield invalid(f"{path}[{index}]", text, addresses.IP_MESSAGE)
        else:
            found.append(family)
        if family and index < len(spec.ipFamilies) and spec.ipFamilies[index] != family:
            wanted = spec.ipFamilies[index]
            detail = f"expected an {wanted} value as indicated by `ipFamilies[{index}]`"
            yield invalid(f"{path}[{index}]", text, detail)
    if len(found) > 2:
        yield FieldError(path, "FieldValueTooMany", "Too many: only two ips are allowed", spec.clusterIPs)
    elif len(found) == 2 and found[0] == found[1]:
        yield invalid(path, spec.clusterIPs, "may specify no more than one IP for each IP family")
    if len(set(spec.ipFamilies)) != len(spec.ipFamilies):
        yield duplicate("spec.ipFamilies", spec.ipFamilies[-1])
    single = spec.ipFamilyPolicy in (None, "SingleStack")
    if len(spec.ipFamilies) > 1 and single and spec.ipFamilyPolicy is not None:
        detail = "must be RequireDualStack or PreferDualStack when multiple `ipFamilies` are specified"
        yield invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, detail)
    elif len(spec.clusterIPs) > 1 and single and spec.ipFamilyPolicy is not None:
        detail = "must be RequireDualStack or PreferDualStack when multiple `clusterIPs` are specified"
        yield invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy, detail)


def _traffic(spec: core.ServiceSpec) -> Findings:
    outside = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and spec.externalIPs)
    if spec.externalTrafficPolicy and not outside:
        yield invalid(
            "spec.externalTrafficPolicy",
            spec.externalTrafficPolicy,
            "may only be set for externally-accessible services",
        )
    if outside and not spec.externalTrafficPolicy:
        yield required("spec.externalTrafficPolicy")
    if spec.type != "ExternalName" and spec.internalTrafficPolicy is None:
        yield required("spec.internalTrafficPolicy")
    if spec.trafficDistribution is not None:
        yield from one_of("spec.trafficDistribution", spec.trafficDistribution, DISTRIBUTIONS)
    if spec.healthCheckNodePort:
        yield from named(
            "spec.healthCheckNodePort", spec.healthCheckNodePort, names.port(spec.healthCheckNodePort)
        )
        if spec.type != "LoadBalancer" or spec.externalTrafficPolicy != "Local":
            yield invalid(
                "spec.healthCheckNodePort",
                spec.healthCheckNodePort,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            )


def _load_balancer(spec: core.ServiceSpec) -> Findings:
    balanced = spec.type == "LoadBalancer"
    for index, text in enumerate(spec.loadBalancerSourceRanges):
        here = f"spec.loadBalancerSourceRanges[{index}]"
        if addresses.parse_cidr(text.strip()) is None:
            yield invalid(here, text, addresses.CIDR_MESSAGE)
    if balanced:
        if spec.allocateLoadBalancerNodePorts is None:
            yield required("spec.allocateLoadBalancerNodePorts")
    else:
        for name in ("loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if getattr(spec, name) not in (None, ()):
                yield forbidden(f"spec.{name}", "may only be used when `type` is 'LoadBalancer'")
    if spec.loadBalancerClass is not None:
        yield from named(
            "spec.loadBalancerClass", spec.loadBalancerClass, names.qualified(spec.loadBalancerClass)
        )


def check_update(new: core.Service, old: core.Service) -> Findings:
    yield from check(new)
    if "ExternalName" in (new.spec.type, old.spec.type):
        return
    if old.spec.clusterIPs and new.spec.clusterIPs[:1] != old.spec.clusterIPs[:1]:
        yield invalid("spec.clusterIPs[0]", new.spec.clusterIPs, "may not change once set")
    if old.spec.ipFamilies and new.spec.ipFamilies[:1] != old.spec.ipFamilies[:1]:
        yield invalid("spec.ipFamilies[0]", new.spec.ipFamilies, "may not change once set")
    if old.spec.type == "LoadBalancer" and new.spec.type == "LoadBalancer":
        yield from unchanged(
            "spec.loadBalancerClass",
            new.spec.loadBalancerClass,
            old.spec.loadBalancerClass,
            "may not change once set",
        )


# --- endpoints ---


def endpoints(found: core.Endpoints) -> Findings:
    for index, subset in enumerate(found.subsets):
        here = f"subsets[{index}]"
        if not subset.addresses and not subset.notReadyAddresses:
            yield required(here, "must specify `addresses` or `notReadyAddresses`")
        for name in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(getattr(subset, name)):
                there = f"{here}.{name}[{place}]"
                yield from named(f"{there}.ip", address.ip, addresses.not_special(address.ip))
                if address.hostname:
                    yield from named(f"{there}.hostname", address.hostname, names.label(address.hostname))
        for place, port in enumerate(subset.ports):
            there = f"{here}.ports[{place}]"
            if not port.name and len(subset.ports) > 1:
                yield required(f"{there}.name")
            elif port.name:
                yield from named(f"{there}.name", port.name, names.label(port.name))
            yield from named(f"{there}.port", port.port, names.port(port.port))


def slice_(found: discovery.EndpointSlice) -> Findings:
    if not found.addressType:
        yield required("addressType")
    if len(found.endpoints) > MAX_ENDPOINTS:
        yield too_many("endpoints", len(found.endpoints), MAX_ENDPOINTS)
        return
    for index, endpoint in enumerate(found.endpoints):
        yield from _endpoint(endpoint, f"endpoints[{index}]", found.addressType)
    if len(found.ports) > MAX_PORTS:
        yield too_many("ports", len(found.ports), MAX_PORTS)
    seen: set[str] = set()
    for index, port in enumerate(found.ports):
        here = f"ports[{index}]"
        name = port.name or ""
        if name:
            yield from named(f"{here}.name", name, names.label(name))
        if name in seen:
            yield duplicate(f"{here}.name", name)
        seen.add(name)
        if not port.protocol:
            yield required(f"{here}.protocol")
        if port.port is not None:
            yield from named(f"{here}.port", port.port, names.port(port.port))


def _endpoint(endpoint: discovery.Endpoint, path: str, kind: str) -> Findings:
    if not endpoint.addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    elif len(endpoint.addresses) > MAX_ADDRESSES:
        yield too_many(f"{path}.addresses", len(endpoint.addresses), MAX_ADDRESSES)
    for index, text in enumerate(endpoint.addresses):
        here = f"{path}.addresses[{index}]"
        if kind == "FQDN":
            yield from named(here, text, names.subdomain(text.removesuffix(".")))
            continue
        why = addresses.not_special(text)
        yield from named(here, text, why)
        if not why and kind in ("IPv4", "IPv6") and addresses.family(text) != kind:
            yield invalid(here, text, f"must be an {kind} address")
    if endpoint.nodeName is not None:
        yield from named(f"{path}.nodeName", endpoint.nodeName, names.subdomain(endpoint.nodeName))
    if endpoint.hostname is not None:
        yield from named(f"{path}.hostname", endpoint.hostname, names.label(endpoint.hostname))
    zones = endpoint.hints.forZones if endpoint.hints else ()
    for index, zone in enumerate(zones):
        here = f"{path}.hints.forZones[{index}].name"
        if not zone.name:
            yield required(here)
        else:
            yield from named(here, zone.name, names.label_value(zone.name))


def slice_update(new: discovery.EndpointSlice, old: discovery.EndpointSlice) -> Findings:
    yield from slice_(new)
    yield from unchanged("addressType", new.addressType, old.addressType)


# --- ranges and addresses ---


def service_cidr(found: networking.ServiceCIDR) -> Findings:
    cidrs = found.spec.cidrs
    if not cidrs:
        yield required("spec.cidrs", "at least one CIDR required")
    if len(cidrs) > 2:
        yield too_many("spec.cidrs", len(cidrs), 2)
    families = []
    for index, text in enumerate(cidrs):
        if addresses.parse_cidr(text) is None:
            yield invalid(f"spec.cidrs[{index}]", text, addresses.CIDR_MESSAGE)
        else:
            families.append(addresses.family(text))
    if len(families) == 2 and families[0] == families[1]:
        yield invalid("spec.cidrs", cidrs, "may specify no more than one CIDR for each IP family")


def service_cidr_update(new: networking.ServiceCIDR, old: networking.ServiceCIDR) -> Findings:
    yield from service_cidr(new)
    if new.spec.cidrs[: len(old.spec.cidrs)] != old.spec.cidrs:
        yield invalid("spec.cidrs", new.spec.cidrs, "field is immutable")


def ip_address(found: networking.IPAddress) -> Findings:
    owner = found.spec.parentRef
    if owner is None:
        yield required("spec.parentRef")
        return
    if not owner.resource:
        yield required("spec.parentRef.resource")
    if not owner.name:
        yield required("spec.parentRef.name")


def ip_address_update(new: networking.IPAddress, old: networking.IPAddress) -> Findings:
    yield from ip_address(new)
    yield from unchanged("spec.parentRef", new.spec.parentRef, old.spec.parentRef)


def ip_name(text: str) -> names.Messages:
    """An IPAddress is named by the canonical form of its address."""
    found = addresses.parse(text)
    if found is None:
        return (addresses.IP_MESSAGE,)
    return () if str(found) == text else (f'must be in canonical form ("{found}")',)
