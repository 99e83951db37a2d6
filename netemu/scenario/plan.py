"""From checks and a world to single probes: who asks whom, what must happen, how often to ask. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netemu.api import core, selectors
from netemu.base import errors
from netemu.model import expect, verdicts, worlds
from netemu.probe import spread
from netemu.scenario import places, scenarios


class Sender(NamedTuple):
    """Who asks. `container` names the container whose own view of the network is used, if one was named."""

    party: worlds.Party
    container: str = ""

    def __str__(self) -> str:
        return f"{self.party}/{self.container}" if self.container else str(self.party)


class Target(NamedTuple):
    """Whom to ask: a host (address or name) in one family and a port; how to show it; what it is one of."""

    host: str
    family: int
    port: int
    shown: str
    owner: worlds.Party | None = None
    group: str = ""


class Probe(NamedTuple):
    """One flow to measure. `requests` times, when it must reach all endpoints of a Service."""

    check: scenarios.Check
    sender: Sender
    target: Target
    protocol: str
    where: str
    verdict: verdicts.Verdict
    requests: int = 1

    @property
    def flow(self) -> expect.Flow:
        """The flow, as the model sees it."""
        return expect.Flow(
            self.sender.party, self.target.host, self.target.port, self.protocol, self.target.family
        )


class Plan(NamedTuple):
    """All probes, and the checks for which there is nothing to measure."""

    probes: tuple[Probe, ...]
    empty: tuple[scenarios.Check, ...]


def plan(checks: Iterable[scenarios.Check], world: worlds.World) -> Plan:
    """Expand checks into probes. Rejected (file, line) when something named does not exist."""
    probes: list[Probe] = []
    empty: list[scenarios.Check] = []
    for check in checks:
        found = tuple(_expand(check, world))
        probes.extend(found)
        if not found:
            empty.append(check)
    return Plan(tuple(probes), tuple(empty))


def _expand(check: scenarios.Check, world: worlds.World) -> Iterator[Probe]:
    for sender in (found for place in check.senders for found in _senders(place, check, world)):
        for place in check.targets:
            for protocol in check.protocols:
                for target in _targets(place, check, sender, protocol, world):
                    where = _where(sender.party, target.owner)
                    if target.family not in check.families or not _wanted(check, where):
                        continue
                    named = target._replace(group=target.group or str(place))
                    probe = Probe(check, sender, named, protocol, where, verdicts.one(verdicts.UNKNOWN))
                    verdict = expect.expect(world, probe.flow)
                    requests = _requests(verdict) if check.spread else 1
                    yield probe._replace(verdict=verdict, requests=requests)


def _requests(verdict: verdicts.Verdict) -> int:
    return spread.requests_needed([one.probability for one in verdict.answerers])


def _wanted(check: scenarios.Check, where: str) -> bool:
    return where in check.where if check.where else where != "same-pod"


def _where(sender: worlds.Party, owner: worlds.Party | None) -> str:
    if owner is None or not sender.node or not owner.node:
        return ""
    if sender == owner:
        return "same-pod"
    return "same-node" if sender.node == owner.node else "other-node"


def _senders(place: places.Place, check: scenarios.Check, world: worlds.World) -> Iterator[Sender]:
    match place.kind:
        case "pod" | "pods":
            yield from (Sender(worlds.pod_party(pod)) for pod in _pods(place, check, world))
        case "container":
            for pod in _pods(place, check, world):
                if place.container not in {container.name for container in pod.spec.containers}:
                    raise _missing(check, place)
                yield Sender(worlds.pod_party(pod), place.container)
        case "node" | "nodes":
            yield from (Sender(worlds.node_party(node)) for node in _nodes(place, check, world))
        case _:
            yield Sender(world.outside)


def _targets(
    place: places.Place, check: scenarios.Check, sender: Sender, protocol: str, world: worlds.World
) -> Iterator[Target]:
    match place.kind:
        case "pod" | "pods" | "container":
            for pod in _pods(place, check, world):
                ports = (check.port,) if check.port else _declared(pod, protocol)
                yield from _at(worlds.pod_party(pod), ports, f"pod {worlds.pod_party(pod)}")
        case "node" | "nodes":
            for node in _nodes(place, check, world):
                yield from _at(_own_addresses(node), (check.port or 0,), f"node {node.metadata.name}")
        case "outside":
            yield from _at(world.outside, (check.port or 0,), "outside")
        case "localhost":
            for family, host in ((4, "127.0.0.1"), (6, "::1")):
                yield Target(host, family, check.port or 0, "localhost")
        case "address":
            try:
                yield Target(
                    place.name, ipaddress.ip_address(place.name).version, check.port or 0, place.name
                )
            except ValueError as error:
                raise errors.Rejected(f"{check.defined}: '{place.name}' is not an IP address") from error
        case "name":
            yield from (Target(place.name, family, check.port or 0, place.name) for family in check.families)
        case "service":
            yield from _service_targets(place, check, sender, protocol, world)


def _service_targets(
    place: places.Place, check: scenarios.Check, sender: Sender, protocol: str, world: worlds.World
) -> Iterator[Target]:
    service = world.service(place.name, place.namespace)
    if service is None:
        raise _missing(check, place)
    shown = f"service {_short(service, sender, always=True)}"
    for port in service.spec.ports:
        if (port.protocol or "TCP") != protocol or (check.port and check.port != port.port):
            continue
        if "address" in check.via:
            for address in worlds.canonical(service.spec.clusterIPs):
                yield Target(address, ipaddress.ip_address(address).version, port.port, shown)
        if "name" in check.via:
            full = f"{service.metadata.name}.{service.metadata.namespace}.svc.{world.domain}"
            for name in (_short(service, sender), full):
                for family in _families(world):
                    yield Target(name, family, port.port, f"name {name}", group=f"{place} by name")
        if "node-port" in check.via and port.nodePort:
            for node in world.nodes:
                for target in _at(
                    _own_addresses(node), (port.nodePort,), f"node port of {node.metadata.name}"
                ):
                    yield target._replace(group=f"{place} by node port")
    offered = {(port.port, port.protocol or "TCP") for port in service.spec.ports}
    if check.port and (check.port, protocol) not in offered and "address" in check.via:  # asked all the same
        for address in worlds.canonical(tuple(ip for ip in service.spec.clusterIPs if worlds.is_address(ip))):
            yield Target(address, ipaddress.ip_address(address).version, check.port, shown)


def _families(world: worlds.World) -> tuple[int, ...]:
    """Those the cluster has: nobody expects the other's kind of addresses for a name there."""
    addresses = (address for node in world.nodes for address in _own_addresses(node).addresses)
    found = {ipaddress.ip_address(address).version for address in addresses}
    return tuple(sorted(found)) or (4, 6)


def _short(service: core.Service, sender: Sender, *, always: bool = False) -> str:
    """The name people type: without the namespace at home, with it elsewhere."""
    meta = service.metadata
    at_home = meta.namespace == ("default" if always else sender.party.namespace)
    return meta.name if at_home else f"{meta.name}.{meta.namespace}"


def _at(party: worlds.Party, ports: Iterable[int], shown: str) -> Iterator[Target]:
    for port in ports:
        for address in party.addresses:
            yield Target(address, ipaddress.ip_address(address).version, port, shown, party)


def _own_addresses(node: core.Node) -> worlds.Party:
    """A node as a target: the addresses it is known by, without its gateways in the pod subnets."""
    party = worlds.node_party(node)
    known = {
        entry.address
        for entry in (node.status.addresses if node.status else ())
        if entry.type == "InternalIP"
    }
    return party._replace(addresses=tuple(a for a in party.addresses if a in worlds.canonical(tuple(known))))


def _declared(pod: core.Pod, protocol: str) -> tuple[int, ...]:
    declared = (port for container in pod.spec.containers for port in container.ports)
    return tuple(port.containerPort for port in declared if (port.protocol or "TCP") == protocol)


def _pods(place: places.Place, check: scenarios.Check, world: worlds.World) -> tuple[core.Pod, ...]:
    if place.kind == "pods":
        try:
            selector = selectors.labels(place.name)
        except (ValueError, errors.NetemuError) as error:
            raise errors.Rejected(
                f"{check.defined}: '{place.name}' is not a label selector: {error}"
            ) from error
        found = (
            pod
            for pod in world.pods
            if pod.metadata.namespace == place.namespace
            and worlds.is_running(pod)
            and selector.matches(pod.metadata.labels)
        )
        return tuple(sorted(found, key=lambda pod: str(pod.metadata.name)))
    pod = world.pod(place.name, place.namespace)
    if pod is None:
        raise _missing(check, place)
    return (pod,)


def _nodes(place: places.Place, check: scenarios.Check, world: worlds.World) -> tuple[core.Node, ...]:
    if place.kind == "nodes":
        return world.nodes
    node = world.node(place.name)
    if node is None:
        raise _missing(check, place)
    return (node,)


def _missing(check: scenarios.Check, place: places.Place) -> errors.Rejected:
    return errors.Rejected(f"{check.defined}: check '{check.name}': there is no {place}")
