"""Service rules: IP families, cluster IPs, node ports, all given inside the request that needs them.

Follows k8s.io/kubernetes pkg/registry/core/service/storage (alloc.go): what may change, what is kept.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from netemu.apiserver import allocations, statuses
from netemu.apiserver.admission import changes

Spec = dict[str, Any]


async def fill(write: changes.Write) -> None:
    """A new Service has an empty load-balancer status; an update never touches it."""
    write.new["status"] = {"loadBalancer": {}} if write.old is None else write.old.get("status", {})


async def allocate(write: changes.Write) -> None:
    """Give the Service what its type needs; keep what it had."""
    spec: Spec = write.new["spec"]
    old: Spec = write.old["spec"] if write.old else {}
    reservation = write.held.enter_context(write.parts.services.reservation())
    if spec.get("type") == "ExternalName":
        _strip(spec)
    else:
        _keep(spec, old)
        families = _families(write, spec, old)
        _addresses(write, reservation, spec, old, families)
    _node_ports(write, reservation, spec, old)
    _health_port(write, reservation, spec, old)


def _strip(spec: Spec) -> None:
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
        spec.pop(name, None)


def _keep(spec: Spec, old: Spec) -> None:
    """An update that names no cluster IPs keeps those there are; the single and plural forms agree."""
    if not spec.get("clusterIPs") and spec.get("clusterIP"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if not spec.get("clusterIPs") and old.get("clusterIPs"):
        spec["clusterIPs"] = list(old["clusterIPs"])
    for name in ("ipFamilyPolicy", "ipFamilies"):
        if not spec.get(name) and old.get(name):
            spec[name] = old[name]


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


def _node_ports(write: changes.Write, reservation: allocations.Reservation, spec: Spec, old: Spec) -> None:
    ports = spec.get("ports", [])
    if not _wants_node_ports(spec):
        if spec.get("type") in (None, "ClusterIP", "ExternalName"):
            _drop_node_ports(ports, old)
        return
    had = {
        (port["port"], port.get("protocol", "TCP")): port.get("nodePort", 0) for port in old.get("ports", ())
    }
    held = {(number, protocol) for (_, protocol), number in had.items() if number}
    for index, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        number = port.get("nodePort", 0)
        if number and (number, protocol) not in held:
            why = reservation.this_port(number, protocol)
            if why:
                text = f"Invalid value: {number}: {why}"
                raise write.invalid(_cause(f"spec.ports[{index}].nodePort", text))
        elif not number:
            before = had.get((port["port"], protocol), 0)
            if before and all(other.get("nodePort") != before for other in ports):
                port["nodePort"] = before
    for port in ports:
        if not port.get("nodePort"):
            _give_node_port(reservation, port, ports)


def _wants_node_ports(spec: Spec) -> bool:
    if spec.get("type") == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True)) or any(
            port.get("nodePort") for port in spec.get("ports", ())
        )
    return spec.get("type") == "NodePort"


def _drop_node_ports(ports: list[Spec], old: Spec) -> None:
    """A Service that no longer needs its node ports loses them, unless the update names others."""
    had = {port.get("nodePort") for port in old.get("ports", ())}
    for port in ports:
        if port.get("nodePort") in had:
            port.pop("nodePort", None)


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
    needed = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    given, had = spec.get("healthCheckNodePort", 0), old.get("healthCheckNodePort", 0)
    if not needed:
        if given and given == had:
            del spec["healthCheckNodePort"]
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
