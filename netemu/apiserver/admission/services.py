"""Service rules: IP families, cluster IPs, node ports, all given inside the request that needs them.

Follows k8s.io/kubernetes pkg/registry/core/service/storage (alloc.go): what may change, what is kept.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from netemu.apiserver import allocations, statuses
from netemu.apiserver.admission import changes

Spec = dict[str, Any]


async def fill(write: changes.Write) -> None:
    """A new Service has an empty load-balancer status; an update keeps what it does not mention."""
    if write.old is None:
        write.new["status"] = {"loadBalancer": {}}
        return
    write.new["status"] = write.old.get("status", {})
    spec, old = write.new["spec"], write.old["spec"]
    _drop_dependents(spec, old)
    if spec.get("type") != "ExternalName":
        _keep(spec, old)
    _keep_node_ports(spec, old)


async def allocate(write: changes.Write) -> None:
    """Give the Service what its type needs; keep what it had."""
    spec: Spec = write.new["spec"]
    old: Spec = write.old["spec"] if write.old else {}
    reservation = write.held.enter_context(write.parts.services.reservation())
    if spec.get("type") == "ExternalName":
        _strip(spec)
    else:
        families = _families(write, spec, old)
        _addresses(write, reservation, spec, old, families)
    _node_ports(write, reservation, spec, old)
    _health_port(write, reservation, spec, old)


def _strip(spec: Spec) -> None:
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
        spec.pop(name, None)


def _keep(spec: Spec, old: Spec) -> None:
    """An update that names no cluster IPs or families keeps those there are (patchAllocatedValues)."""
    if not spec.get("clusterIP") and old.get("clusterIP"):
        spec["clusterIP"] = old["clusterIP"]
    if not spec.get("clusterIPs") and old.get("clusterIPs"):
        spec["clusterIPs"] = list(old["clusterIPs"])
    for name in ("ipFamilyPolicy", "ipFamilies"):
        if not spec.get(name) and old.get(name):
            spec[name] = old[name]
    if spec.get("ipFamilyPolicy") == "SingleStack":  # trimFieldsForDualStackDowngrade
        for name in ("clusterIPs", "ipFamilies"):
            if spec.get(name) == old.get(name):
                spec[name] = spec.get(name, [])[:1]


def _drop_dependents(spec: Spec, old: Spec) -> None:
    """A change of type drops what only the old type needs and the update left as it was."""
    for needs, names in _DEPENDENTS:
        if needs(old) and not needs(spec):
            for name in names:
                if spec.get(name) == old.get(name):
                    spec.pop(name, None)


def _families(write: changes.Write, spec: Spec, old: Spec) -> list[str]:
    cluster = list(write.parts.services.families)
    given = [ip for ip in spec.get("clusterIPs", ()) if ip != "None"]
    families = list(spec.get("ipFamilies") or [_family(ip) for ip in given])
    policy = spec.get("ipFamilyPolicy", "")
    headless = "None" in spec.get("clusterIPs", ())
    if not policy:
        open_ended = headless and not spec.get("selector") and not old
        policy = "RequireDualStack" if len(families) > 1 or open_ended else "SingleStack"
    for index, family in enumerate(families):
        if family not in cluster:
            raise write.invalid(
                _cause(
                    f"spec.ipFamilies[{index}]", f'Invalid value: "{family}": not configured on this cluster'
                )
            )
    if policy == "RequireDualStack" and len(cluster) < 2 and not headless:
        why = 'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'
        raise write.invalid(_cause("spec.ipFamilyPolicy", why))
    families = families or cluster[:1]
    if policy == "SingleStack":
        families = families[:1]
    else:
        families += [family for family in cluster if family not in families]
    spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families
    return families


def _addresses(
    write: changes.Write,
    reservation: allocations.Reservation,
    spec: Spec,
    old: Spec,
    families: list[str],
) -> None:
    if "None" in spec.get("clusterIPs", ()):
        _same_addresses(write, ["None"], old)
        spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
        return
    given = list(spec.get("clusterIPs", ()))[: len(families)]
    _same_addresses(write, given, old)
    had = old.get("clusterIPs", ())
    for index, family in enumerate(families):
        version = 4 if family == "IPv4" else 6
        if index < len(given):
            address = ipaddress.ip_address(given[index])
            why = "" if given[index] in had else reservation.this_address(address)
            if address.version != version:
                why = f"expected an {family} value as indicated by `spec.ipFamilies[{index}]`"
            if why:
                text = (
                    f"Invalid value: [{', '.join(map(repr, given))}]: failed to allocate IP {address}: {why}"
                )
                raise write.invalid(_cause("spec.clusterIPs", text.replace("'", '"')))
        else:
            try:
                given.append(str(reservation.address(version)))
            except allocations.Full:
                raise statuses.internal("failed to allocate a serviceIP: range is full") from None
    spec["clusterIP"], spec["clusterIPs"] = given[0], given


def _same_addresses(write: changes.Write, given: list[str], old: Spec) -> None:
    had = list(old.get("clusterIPs", ()))
    if had and old.get("type") != "ExternalName" and given and given[0] != had[0]:
        raise write.invalid(
            _cause("spec.clusterIPs[0]", f'Invalid value: "{given[0]}": may not change once set')
        )


def _keep_node_ports(spec: Spec, old: Spec) -> None:
    """A port that is still there keeps its node port; a Service that needs none loses those it had."""
    ports, before = spec.get("ports", []), old.get("ports", ())
    if not _wants_node_ports(spec):
        had = {port.get("nodePort") for port in before}
        for port in ports:
            if port.get("nodePort") in had:
                port.pop("nodePort", None)
        return
    known = {(port["port"], port.get("protocol", "TCP")): port.get("nodePort", 0) for port in before}
    for port in ports:
        number = known.get((port.get("port"), port.get("protocol", "TCP")), 0)
        if number and not port.get("nodePort"):
            port["nodePort"] = number


def _node_ports(write: changes.Write, reservation: allocations.Reservation, spec: Spec, old: Spec) -> None:
    if not _wants_node_ports(spec):
        return
    ports = spec.get("ports", [])
    held = {(port.get("nodePort", 0), port.get("protocol", "TCP")) for port in old.get("ports", ())}
    for index, port in enumerate(ports):
        protocol, number = port.get("protocol", "TCP"), port.get("nodePort", 0)
        if number and (number, protocol) not in held:
            why = reservation.this_port(number, protocol)
            if why:
                text = f"Invalid value: {number}: {why}"
                raise write.invalid(_cause(f"spec.ports[{index}].nodePort", text))
    for port in ports:
        if not port.get("nodePort"):
            _give_node_port(reservation, port, ports)


def _addressed(spec: Spec) -> bool:
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def _external(spec: Spec) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer") or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def _balanced(spec: Spec) -> bool:
    return spec.get("type") == "LoadBalancer"


def _health_checked(spec: Spec) -> bool:
    return _balanced(spec) and spec.get("externalTrafficPolicy") == "Local"


# Which fields only some types have (dropTypeDependentFields).
_DEPENDENTS: tuple[tuple[Callable[[Spec], bool], tuple[str, ...]], ...] = (
    (_addressed, ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")),
    (_health_checked, ("healthCheckNodePort",)),
    (_balanced, ("allocateLoadBalancerNodePorts", "loadBalancerClass")),
    (_external, ("externalTrafficPolicy",)),
)


def _wants_node_ports(spec: Spec) -> bool:
    if spec.get("type") == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True)) or any(
            port.get("nodePort") for port in spec.get("ports", ())
        )
    return spec.get("type") == "NodePort"


def _give_node_port(reservation: allocations.Reservation, port: Spec, ports: list[Spec]) -> None:
    """One number for the same port in several protocols, as DNS has it."""
    alike = [other for other in ports if other["port"] == port["port"] and not other.get("nodePort")]
    protocols = dict.fromkeys(other.get("protocol", "TCP") for other in alike)
    try:
        number = reservation.port(protocols)
    except allocations.Full:
        raise statuses.internal("failed to allocate a nodePort: range is full") from None
    for other in alike:
        other["nodePort"] = number


def _health_port(write: changes.Write, reservation: allocations.Reservation, spec: Spec, old: Spec) -> None:
    given, had = spec.get("healthCheckNodePort", 0), old.get("healthCheckNodePort", 0)
    if not _health_checked(spec):
        return
    if not given:
        spec["healthCheckNodePort"] = had or reservation.port(("TCP",))
    elif given != had:
        if had:
            raise write.invalid(_cause("spec.healthCheckNodePort", "Invalid value: field is immutable"))
        why = reservation.this_port(given, "TCP")
        if why:
            raise write.invalid(_cause("spec.healthCheckNodePort", f"Invalid value: {given}: {why}"))


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def _cause(field: str, message: str) -> statuses.Cause:
    return statuses.Cause("FieldValueInvalid", message, field)
