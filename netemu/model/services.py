"""Where a Service leads: the addresses that are Services', what is chosen behind them, who is seen. Pure.

Knows virtual IPs and node ports (https://kubernetes.io/docs/reference/networking/virtual-ips/); no policies.
"""

from typing import Literal, NamedTuple

from netemu.api import core
from netemu.model import flows, worlds
from netemu.model.verdicts import Reason


class Backend(NamedTuple):
    """One endpoint that may be chosen.

    node         where it is ("" unknown)
    probability  the share of connections it gets
    seen         the client addresses it may see
    policed      the client addresses that policy at its node sees: what is masqueraded on that very node is
                 judged before (netfilter's forward hook comes before postrouting), what another node
                 masqueraded, after. Usually the same as `seen`
    """

    name: str
    namespace: str
    node: str
    address: str
    port: int
    probability: float
    seen: frozenset[str]
    policed: frozenset[str]


class Translation(NamedTuple):
    """What becomes of a flow to a Service's address: a word that ends it, or backends.

    word      refused, dropped, unreachable; "ok": it goes on to `backends`; "": the model leaves it open
    because   which Service, which rule, in order
    at        the node that translates ("" where the sender's own does). If it is another than the sender's,
              the sender's egress policy sees the address that was dialled, not the backend
    """

    word: Literal["ok", "refused", "dropped", "unreachable", ""]
    because: tuple[Reason, ...]
    backends: tuple[Backend, ...] = ()
    at: str = ""


def translate(world: worlds.World, flow: flows.Flow) -> Translation | None:
    """What Services do with a flow to an address (canonical, never a name). None: it is no Service's."""
    if (found := world.derive(_cluster_ips).get(flow.host)) is not None:
        return _to_cluster_ip(world, flow, found)
    owner = world.owner(flow.host)
    if owner is not None and owner.kind == "node":
        return _to_node_port(world, flow, owner)
    return None


def _cluster_ips(world: worlds.World) -> dict[str, core.Service]:
    return {
        address: service
        for service in reversed(world.services)
        for address in worlds.canonical(tuple(ip for ip in service.spec.clusterIPs if worlds.is_address(ip)))
    }


def _to_cluster_ip(world: worlds.World, flow: flows.Flow, found: core.Service) -> Translation:
    label = name(found)
    if flow.source.kind == "outside":
        return Translation("unreachable", (_says(found, "cluster IPs are known inside the cluster only"),))
    for port in found.spec.ports:
        if (port.port, port.protocol or "TCP") == (flow.port, flow.protocol):
            by = _says(found, f"Service {label} has port {flow.port}/{flow.protocol}", port)
            return _through(world, flow, found, port, by=by)
    return Translation("refused", (_says(found, f"Service {label} has no port {flow.port}/{flow.protocol}"),))


def _to_node_port(world: worlds.World, flow: flows.Flow, owner: worlds.Party) -> Translation | None:
    for service in world.services:
        for port in service.spec.ports:
            if port.nodePort and (port.nodePort, port.protocol or "TCP") == (flow.port, flow.protocol):
                by = _says(service, f"Service {name(service)} has node port {port.nodePort}", port)
                return _through(world, flow, service, port, by=by, node=owner.node)
    return None


def _through(
    world: worlds.World,
    flow: flows.Flow,
    service: core.Service,
    port: core.ServicePort,
    *,
    by: Reason,
    node: str = "",
) -> Translation:
    """A Service port's choice of endpoints; `node` is the node addressed when it came in by a node port."""
    at = node or flow.source.node
    endpoints = world.endpoints(service, port, flow.family)
    local = node and service.spec.externalTrafficPolicy == "Local"
    if local:
        if flow.source.kind != "outside":
            says = _says(service, "externalTrafficPolicy: Local, asked from inside the cluster")
            return Translation("", (by, says), at=at)
        if endpoints and not any(endpoint.node == node for endpoint in endpoints):
            says = _says(service, f"externalTrafficPolicy: Local and no endpoint on {node}")
            return Translation("dropped", (by, says), at=at)
        endpoints = tuple(endpoint for endpoint in endpoints if endpoint.node == node)
    if not endpoints:
        return Translation("refused", (by, _says(service, "it has no ready endpoint")), at=at)
    own = world.seen(flow.source, flow.family)
    backends = []
    for endpoint in endpoints:
        seen = own
        if node and not local:
            seen = world.node_addresses(node, flow.family)
        elif endpoint.address in flow.source.addresses:  # hairpin: a pod reaches itself through its Service
            seen = world.node_addresses(flow.source.node, flow.family)
        policed = own if endpoint.node == at else seen
        backends.append(
            Backend(
                endpoint.name,
                service.metadata.namespace,
                endpoint.node,
                endpoint.address,
                endpoint.port,
                1 / len(endpoints),
                seen,
                policed,
            )
        )
    count = f"{len(endpoints)} ready endpoint{'s' if len(endpoints) > 1 else ''}"
    masqueraded = (
        (Reason("source", f"{node} puts its own address on it (masquerade)"),) if node and not local else ()
    )
    return Translation("ok", (by, _says(service, count), *masqueraded), tuple(backends), at)


def name(service: core.Service) -> str:
    """namespace/name."""
    return f"{service.metadata.namespace}/{service.metadata.name}"


def _says(service: core.Service, text: str, port: core.ServicePort | None = None) -> Reason:
    index = service.spec.ports.index(port) if port is not None else None
    return Reason("service", text, name(service), index, "ports" if port is not None else "")
