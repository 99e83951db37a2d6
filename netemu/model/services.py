"""Where a Service leads: the addresses that are Services', what is chosen behind them, who is seen. Pure.

Knows the rules of kubernetes.io/docs/reference/networking/virtual-ips and of KEPs 1669, 1860, 2086, 2433,
4444; no policies, and nothing of how a proxy programs them.
"""

import functools
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from netemu.api import core, discovery
from netemu.model import flows, worlds
from netemu.model.verdicts import Reason

ZONE_LABEL = "topology.kubernetes.io/zone"
PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
PRIMARY = "primary"


class Endpoint(NamedTuple):
    """Whom a Service may choose; `node` is where it is ("" unknown)."""

    name: str
    namespace: str
    node: str
    address: str
    port: int


class Backend(NamedTuple):
    """One endpoint that may be chosen, and how a flow comes to it.

    probability  the share of connections it gets
    seen         the client addresses it may see
    policed      the client addresses that policy at its node sees: what is masqueraded on that very node is
                 judged before (netfilter's forward hook comes before postrouting), what another node
                 masqueraded, after. Usually the same as `seen`
    astray       its answer goes straight to the sender, not by the node that would translate it back
    """

    endpoint: Endpoint
    probability: float
    seen: frozenset[str]
    policed: frozenset[str]
    astray: bool = False


class Translation(NamedTuple):
    """What becomes of a flow to a Service's address: a word that ends it, or backends.

    word      refused, dropped, unreachable; "ok": it goes on to `backends`; "": the model leaves it open
    because   which Service, which rule, in order
    at        the node that translates ("" where the sender's own does, or one of several). If it is another
              than the sender's, the sender's egress policy sees the address that was dialled, not the backend
    stays     for how many seconds a client keeps to the backend it had (session affinity; 0: not at all)
    """

    word: Literal["ok", "refused", "dropped", "unreachable", ""]
    because: tuple[Reason, ...]
    backends: tuple[Backend, ...] = ()
    at: str = ""
    stays: int = 0


Way = Literal["cluster IP", "external IP", "load balancer IP", "node port"]


class Claim(NamedTuple):
    """What was dialled, as a Service's. `port` is None for a port of a cluster IP that it does not have.

    `routes` are those found out so far, by the node that translates and the sort of sender.
    """

    service: core.Service
    port: core.ServicePort | None
    way: Way
    routes: dict[tuple[str, "_Sender"], "_Route"]

    @property
    def external(self) -> bool:
        return self.way != "cluster IP"


def translate(world: worlds.World, flow: flows.Flow, *, at: str = "") -> Translation | None:
    """What Services do with a flow to an address (canonical, never a name). None: it is no Service's.

    `at` is the node that it comes to, for flows from beyond the cluster that are not to a node's own address.
    """
    owner = world.owner(flow.host)
    if owner is not None and owner.kind != "node":
        return None
    entered = at or (owner.node if owner is not None else flow.source.node)
    claim = _claimed(world, flow, entered)
    if claim is None:
        return _unclaimed(world, flow, at)
    if claim.port is None and world.settings.proxy_mode == "iptables":
        return None  # no rule is for it: it follows the routes
    if entered:
        return _by_node(world, flow, claim, entered)
    return _from_outside(world, flow, claim)


def _claimed(world: worlds.World, flow: flows.Flow, at: str) -> Claim | None:
    """Which Service a flow to that node is for. Of the sender it matters only whether he is on it."""
    known: dict[tuple[object, ...], Claim | None] = world.derive(_no_claims)
    key = (flow[1:], at, flow.source.node == at)
    if key not in known:
        known[key] = _find_claim(world, flow, at)
    return known[key]


def _no_claims(_world: worlds.World) -> dict[tuple[object, ...], Claim | None]:
    return {}


def _find_claim(world: worlds.World, flow: flows.Flow, at: str) -> Claim | None:
    found: tuple[tuple[core.Service, Way], ...] = world.derive(_virtual).get(flow.host, ())
    missing = None
    for service, way in found:
        for port in service.spec.ports:
            if (port.port, port.protocol or "TCP") == (flow.port, flow.protocol):
                return Claim(service, port, way, {})
        if way == "cluster IP":
            missing = Claim(service, None, way, {})
    if missing is not None:
        return missing
    if _takes_node_ports(world, at, flow):
        for service in world.derive(_with_node_ports).get((flow.port, flow.protocol), ()):
            if _served(service, flow.family):
                port = next(p for p in service.spec.ports if _node_port(p) == (flow.port, flow.protocol))
                return Claim(service, port, "node port", {})
    return None


def _ours(world: worlds.World) -> Iterator[core.Service]:
    """Services that have rules, in the order in which they win a conflict."""
    for service in sorted(world.services, key=name):
        proxied = PROXY_LABEL not in service.metadata.labels
        if proxied and service.spec.type != "ExternalName" and _cluster_ips(service):
            yield service


def _virtual(world: worlds.World) -> dict[str, tuple[tuple[core.Service, Way], ...]]:
    """Services by each address that is theirs; one of a family in which they have no cluster IP is not."""
    found: dict[str, tuple[tuple[core.Service, Way], ...]] = {}
    for service in _ours(world):
        ways: tuple[tuple[Way, tuple[str, ...]], ...] = (
            ("cluster IP", _cluster_ips(service)),
            ("external IP", service.spec.externalIPs),
            ("load balancer IP", balancer_addresses(service)),
        )
        for way, addresses in ways:
            for address in worlds.canonical(tuple(a for a in addresses if worlds.is_address(a))):
                if _served(service, 6 if ":" in address else 4):
                    found[address] = (*found.get(address, ()), (service, way))
    return found


def _with_node_ports(world: worlds.World) -> dict[tuple[int, str], tuple[core.Service, ...]]:
    found: dict[tuple[int, str], tuple[core.Service, ...]] = {}
    for service in _ours(world):
        for port in service.spec.ports:
            if port.nodePort:
                found[_node_port(port)] = (*found.get(_node_port(port), ()), service)
    return found


def _node_port(port: core.ServicePort) -> tuple[int, str]:
    return port.nodePort, port.protocol or "TCP"


def _cluster_ips(service: core.Service) -> tuple[str, ...]:
    given = service.spec.clusterIPs or ((service.spec.clusterIP,) if service.spec.clusterIP else ())
    return tuple(address for address in given if worlds.is_address(address))


def _served(service: core.Service, family: int) -> bool:
    return any((":" in address) == (family == 6) for address in _cluster_ips(service))


def balancer_addresses(service: core.Service) -> tuple[str, ...]:
    """Those that nodes take for themselves: with ipMode Proxy the balancer delivers to node ports instead."""
    if service.spec.type != "LoadBalancer":
        return ()
    return tuple(one.ip for one in service.status.loadBalancer.ingress if one.ip and one.ipMode != "Proxy")


def _takes_node_ports(world: worlds.World, at: str, flow: flows.Flow) -> bool:
    chosen = world.settings.node_port_addresses
    if ipaddress.ip_address(flow.host).is_loopback:
        if world.settings.proxy_mode != "iptables" or flow.family != 4 or flow.source.node != at:
            return False  # route_localnet is IPv4's alone, and so is its use by kube-proxy's iptables mode
    elif flow.host not in world.node_addresses(at, flow.family):
        return False
    if chosen == (PRIMARY,):
        return flow.host == _primary(world.node(at), flow.family)
    return not chosen or _within(flow.host, chosen)


def _primary(node: core.Node | None, family: int) -> str:
    addresses = node.status.addresses if node is not None and node.status else ()
    own = (a.address for a in addresses if a.type == "InternalIP" and (":" in a.address) == (family == 6))
    return next((str(ipaddress.ip_address(a)) for a in own), "")


def _within(address: str, ranges: Iterable[str]) -> bool:
    return any(_is_in(address, text) for text in ranges)


@functools.lru_cache(maxsize=1 << 16)
def _is_in(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network.strip(), strict=False)


def _unclaimed(world: worlds.World, flow: flows.Flow, at: str) -> Translation | None:
    if world.settings.proxy_mode == "iptables" or not _within(flow.host, world.settings.service_cidrs):
        return None
    if flow.source.kind == "outside" and not at:
        return Translation("unreachable", (Reason("route", "Services are known inside the cluster only"),))
    return Translation("dropped", (Reason("service", f"no Service has the address {flow.host}"),))


def _from_outside(world: worlds.World, flow: flows.Flow, claim: Claim) -> Translation:
    """Which node it comes to is for the world around to say: load balancer IPs are announced by nodes."""
    if claim.way == "cluster IP":
        says = _says(claim.service, "cluster IPs are known inside the cluster only")
        return Translation("unreachable", (says,))
    if claim.way == "external IP":
        return Translation("", (_says(claim.service, "how external IPs are routed is not the cluster's"),))
    nodes = announcing(world, claim.service)
    if not nodes:
        return Translation("unreachable", (_says(claim.service, "no node may announce it"),))
    return _merged([_by_node(world, flow, claim, node) for node in nodes])


def announcing(world: worlds.World, service: core.Service) -> tuple[str, ...]:
    """Nodes to which a load balancer IP may lead: the ready ones; with Local, of them those with a ready
    endpoint, if there are any."""
    ready = tuple(
        node.metadata.name
        for node in world.nodes
        if not any(c.type == "Ready" and c.status != "True" for c in node.status.conditions)
        and EXCLUDED not in node.metadata.labels
    )
    if service.spec.externalTrafficPolicy != "Local":
        return ready
    serving = {
        endpoint.nodeName
        for piece in world.slices_of(service)
        for endpoint in piece.endpoints
        if endpoint.conditions.ready is not False
    }
    return tuple(node for node in ready if node in serving)


def _merged(found: list[Translation]) -> Translation:
    """Any of several nodes may get it."""
    if len(found) == 1:
        return found[0]
    words = {one.word for one in found}
    reasons = tuple(dict.fromkeys(reason for one in found for reason in one.because))
    if words != {"ok"}:
        return Translation(words.pop() if len(words) == 1 else "", reasons)
    backends: dict[tuple[str, int], Backend] = {}
    for one in found:
        for backend in one.backends:
            key = (backend.endpoint.address, backend.endpoint.port)
            before = backends.get(key, backend._replace(probability=0.0))
            backends[key] = before._replace(
                probability=before.probability + backend.probability / len(found),
                seen=before.seen | backend.seen,
                policed=before.policed | backend.policed,
            )
    return Translation("ok", reasons, tuple(backends.values()), "", found[0].stays)


class _Offered(NamedTuple):
    """One address of a slice, for one Service port."""

    name: str
    node: str
    address: str
    port: int
    ready: bool
    leaving: bool  # terminating, and still serving
    zones: tuple[str, ...]
    nodes: tuple[str, ...]


class _Dialled(NamedTuple):
    """What a flow is to, without its sender."""

    host: str
    port: int
    protocol: str
    family: int


class _Sender(NamedTuple):
    """All that a node's choice depends on of a sender.

    itself   it is the very node that translates, or shares its network
    pod      whether the node takes it for a pod, by its detect-local-mode (None: it cannot tell)
    passing  a pod of another node
    allowed  by loadBalancerSourceRanges
    """

    itself: bool
    pod: bool | None
    passing: bool
    allowed: bool = True


class _Hop(NamedTuple):
    """A backend for all senders of one sort. `masqueraded`: it sees the node instead of the sender.

    delivered  to the node itself: it leaves by no postrouting, where sources are rewritten
    local      it is on the node that translates
    astray     as in Backend, if the sender is not masqueraded
    """

    endpoint: Endpoint
    probability: float
    masqueraded: bool
    delivered: bool
    local: bool
    astray: bool


class _Route(NamedTuple):
    """What a node does with the flows of all senders of one sort: a translation but for who is seen.

    `shown` are the addresses of the node, which a backend sees where it does not see the sender's.
    """

    translation: Translation
    hops: tuple[_Hop, ...] = ()
    shown: frozenset[str] = frozenset()


def _by_node(world: worlds.World, flow: flows.Flow, claim: Claim, node: str) -> Translation:
    """What one node does with a flow to a Service."""
    source, family = flow.source, flow.family
    sender, own = _sender(world, source, family, node)
    if claim.way == "load balancer IP" and not _allowed(world, flow, claim.service):
        sender = sender._replace(allowed=False)
    route = claim.routes.get((node, sender))
    if route is None:
        route = _At(world, _Dialled(*flow[1:]), claim, node, sender).route()
        claim.routes[node, sender] = route
    (word, because, _, at, stays), hops, shown = route
    if not hops:
        return route.translation
    itself = () if source.kind == "node" else source.addresses  # a pod behind its own Service: a hairpin
    return Translation(word, because, tuple([_backend(hop, own, shown, itself) for hop in hops]), at, stays)


def _backend(hop: _Hop, own: frozenset[str], shown: frozenset[str], itself: tuple[str, ...]) -> Backend:
    """For a sender with the addresses `own`; `shown` are the node's, `itself` those that make a hairpin."""
    endpoint, share, masqueraded, delivered, local, astray = hop
    if (masqueraded or endpoint.address in itself) and not delivered:
        return Backend(endpoint, share, shown, own if local else shown)
    return Backend(endpoint, share, own, own, astray)


def _sender(
    world: worlds.World, source: worlds.Party, family: int, node: str
) -> tuple[_Sender, frozenset[str]]:
    """What `node` takes a sender for, and the addresses he is seen by; found out once."""
    known: dict[tuple[worlds.Party, int, str], tuple[_Sender, frozenset[str]]] = world.derive(_no_senders)
    key = (source, family, node)
    found = known.get(key)
    if found is None:
        itself = bool(source.of_family(family) & world.node_addresses(node, family))
        passing = source.kind == "pod" and source.node != node
        sender = _Sender(itself, _is_pod(world, source, family, node, itself), passing)
        found = known[key] = (sender, world.seen(source, family))
    return found


def _no_senders(
    _world: worlds.World,
) -> dict[tuple[worlds.Party, int, str], tuple[_Sender, frozenset[str]]]:
    return {}


def _is_pod(world: worlds.World, source: worlds.Party, family: int, at: str, itself: bool) -> bool | None:
    settings = world.settings
    if settings.detection in ("BridgeInterface", "InterfaceNamePrefix"):
        return source.kind == "pod" and source.node == at and not itself
    if settings.detection == "ClusterCIDR":
        given = settings.cluster_cidrs
    elif settings.detection == "NodeCIDR":
        node = world.node(at)
        given = tuple(node.spec.podCIDRs) if node is not None and node.spec else ()
    else:
        return None
    ranges = [text for text in given if (":" in text) == (family == 6)]
    if not ranges:
        return None
    if itself or source.kind == "node":
        return False  # its gateway to the pods is an address of their range, but not what it sends from
    return any(_within(address, ranges) for address in source.of_family(family))


def _allowed(world: worlds.World, flow: flows.Flow, service: core.Service) -> bool:
    """By loadBalancerSourceRanges, which hold for load balancer IPs alone, each family's for its own."""
    ranges = service.spec.loadBalancerSourceRanges
    of_family = [text.strip() for text in ranges if (":" in text) == (flow.family == 6)]
    own = world.seen(flow.source, flow.family)
    if flow.source.kind == "node":  # its gateways to pods are addresses for pods only
        own = frozenset({_primary(world.node(flow.source.name), flow.family)} & own)
    return not of_family or any(_within(address, of_family) for address in own)


class _At:
    """What one node does with what is dialled by a sender of some sort."""

    def __init__(
        self, world: worlds.World, dialled: _Dialled, claim: Claim, node: str, sender: _Sender
    ) -> None:
        self._world, self._dialled, self._claim, self._node = world, dialled, claim, node
        self._service, self._sender = claim.service, sender

    def route(self) -> _Route:
        because = [self._by()]
        port = self._claim.port
        if port is None:
            return self._ends("refused", because)
        offers = tuple(_offers(self._world, self._service, port, self._dialled.family))
        cluster, why = self._everywhere(offers)
        local = self._here(offers)
        if not (cluster or local):
            if self._world.settings.proxy_mode == "iptables" and self._sender.itself and self._is_beyond():
                unrefused = self._says("the node's own packets are not refused")
                return _Route(Translation("", (*because, unrefused)))
            return self._ends("refused", [*because, self._says("it has no ready endpoint")])
        if not self._sender.allowed:
            because.append(self._says("the sender is in none of its loadBalancerSourceRanges"))
            return self._ends("dropped", because)
        only, because_local = self._kept_here()
        if only:
            because.append(self._says(because_local))
            if not local:
                return self._ends("dropped", [*because, self._says(f"it has no endpoint on {self._node}")])
            chosen = local
        else:
            chosen = cluster
            because += [self._says(text) for text in (because_local, why) if text]
        masqueraded, said = self._masqueraded(only)
        kind = "ready" if chosen[0].ready else "terminating, still serving"
        count = f"{len(chosen)} {kind} endpoint{'s' if len(chosen) > 1 else ''}"
        because += [self._says(count), *(() if not said else (Reason("source", said),))]
        shown = self._world.node_addresses(self._node, self._dialled.family)
        hops = tuple(self._hop(one, 1 / len(chosen), masqueraded, shown) for one in chosen)
        translation = Translation("ok", tuple(because), (), self._node, affinity_seconds(self._service))
        return _Route(translation, hops, shown)

    def _ends(self, word: Literal["refused", "dropped"], because: Iterable[Reason]) -> _Route:
        return _Route(Translation(word, tuple(because), at=self._node))

    def _by(self) -> Reason:
        label, port = name(self._service), self._claim.port
        host, number, protocol, _ = self._dialled
        if port is None and protocol == "ICMP":
            return self._says(f"Service {label} has ports alone, and answers no echo request")
        if port is None:
            return self._says(f"Service {label} has no port {number}/{protocol}")
        if self._claim.way == "node port":
            text = f"Service {label} has node port {port.nodePort}"
        elif self._claim.way == "cluster IP":
            text = f"Service {label} has port {number}/{protocol}"
        else:
            text = f"{host} is {self._claim.way} of Service {label}, port {number}/{protocol}"
        return _says(self._service, text, port)

    def _says(self, text: str) -> Reason:
        return _says(self._service, text)

    def _is_beyond(self) -> bool:
        return self._claim.way in ("external IP", "load balancer IP")

    # --- which endpoints

    def _everywhere(self, offers: tuple[_Offered, ...]) -> tuple[tuple[_Offered, ...], str]:
        ready = tuple(one for one in offers if one.ready)
        if not ready:
            leaving = tuple(one for one in offers if one.leaving)
            return leaving, "none is ready" if leaving else ""
        return self._near(ready)

    def _near(self, ready: tuple[_Offered, ...]) -> tuple[tuple[_Offered, ...], str]:
        """Hints count when every ready endpoint has them and one of them means us."""
        found = self._world.node(self._node)
        zone = found.metadata.labels.get(ZONE_LABEL, "") if found is not None else ""
        if all(one.nodes for one in ready):
            near = tuple(one for one in ready if self._node in one.nodes)
            if near:
                return near, f"endpoints hinted for node {self._node} (PreferSameNode)"
        if zone and all(one.zones for one in ready):
            near = tuple(one for one in ready if zone in one.zones)
            if near:
                return near, f"endpoints hinted for zone {zone}"
        return ready, ""

    def _here(self, offers: tuple[_Offered, ...]) -> tuple[_Offered, ...]:
        own = [one for one in offers if one.node == self._node]
        return tuple(one for one in own if one.ready) or tuple(one for one in own if one.leaving)

    def _kept_here(self) -> tuple[bool, str]:
        """Whether only this node's endpoints count, and the reason for what a policy decides."""
        spec = self._service.spec
        if not self._claim.external:
            only = spec.internalTrafficPolicy == "Local"
            return only, f"internalTrafficPolicy: Local, endpoints on {self._node} only" if only else ""
        if spec.externalTrafficPolicy != "Local":
            return False, ""
        if self._sender.itself:
            return False, "externalTrafficPolicy: Local does not bind the node itself"
        if self._sender.pod:
            return False, "externalTrafficPolicy: Local does not bind pods"
        return True, f"externalTrafficPolicy: Local, endpoints on {self._node} only"

    # --- who is seen

    def _masqueraded(self, only_here: bool) -> tuple[bool, str]:
        node = self._node
        if self._claim.external:
            if self._service.spec.externalTrafficPolicy != "Local":
                return True, f"{node} puts its own address on it (masquerade: external traffic)"
            if self._sender.itself:
                return True, f"{node} puts its own address on it (masquerade: the node itself)"
            return False, "the sender's address is kept" if only_here else ""
        if self._world.settings.masquerade_all:
            return True, f"{node} puts its own address on it (masquerade-all)"
        if self._sender.pod is False:
            return True, f"{node} puts its own address on it (masquerade: the sender is no pod)"
        return False, ""

    def _hop(self, one: _Offered, share: float, masqueraded: bool, shown: frozenset[str]) -> _Hop:
        local = one.node == self._node
        return _Hop(
            Endpoint(one.name, self._service.metadata.namespace, one.node, one.address, one.port),
            share,
            masqueraded,
            delivered=one.address in shown and not self._sender.itself,
            local=local,
            astray=self._sender.passing and not local,
        )


def _offers(
    world: worlds.World, service: core.Service, port: core.ServicePort, family: int
) -> Iterator[_Offered]:
    """Each address and port once, as the EndpointSlices list them."""
    found: dict[tuple[str, int], _Offered] = {}
    for piece in world.slices_of(service):
        if piece.addressType != f"IPv{family}":
            continue
        numbers = [p.port for p in piece.ports if p.port and _same(p, port)]
        for number in numbers:
            for endpoint in piece.endpoints:
                for address in worlds.canonical(endpoint.addresses[:1]):
                    found.setdefault((address, number), _offered(endpoint, address, number))
    yield from (found[key] for key in sorted(found))


def _same(offered: discovery.EndpointPort, port: core.ServicePort) -> bool:
    return (offered.name or "") == port.name and (offered.protocol or "TCP") == (port.protocol or "TCP")


def _offered(endpoint: discovery.Endpoint, address: str, number: int) -> _Offered:
    conditions, hints = endpoint.conditions, endpoint.hints
    ready = conditions.ready is not False
    return _Offered(
        endpoint.targetRef.name if endpoint.targetRef else address,
        endpoint.nodeName or "",
        address,
        number,
        ready,
        not ready and conditions.serving is not False and conditions.terminating is True,
        tuple(zone.name for zone in hints.forZones) if hints is not None else (),
        tuple(node.name for node in hints.forNodes) if hints is not None else (),
    )


def affinity_seconds(service: core.Service) -> int:
    """For how long a client keeps to its backend after its last connection; 0: not at all."""
    if service.spec.sessionAffinity != "ClientIP":
        return 0
    config = service.spec.sessionAffinityConfig
    given = config.clientIP.timeoutSeconds if config is not None and config.clientIP is not None else None
    return given or 10800


def name(service: core.Service) -> str:
    """namespace/name."""
    return f"{service.metadata.namespace}/{service.metadata.name}"


def _says(service: core.Service, text: str, port: core.ServicePort | None = None) -> Reason:
    index = service.spec.ports.index(port) if port is not None else None
    return Reason("service", text, name(service), index, "ports" if port is not None else "")
