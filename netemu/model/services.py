"""Where a Service leads: what becomes of a flow to its addresses, and whom its backends see. Pure.

By kubernetes.io/docs/reference/networking/virtual-ips: whose the address is (`claims`), which endpoints
there are (`endpoints`), what the sender is (`senders`). Knows no policies, and not how a proxy does it.
"""

from typing import Literal, NamedTuple

from netemu.api import core
from netemu.model import claims, endpoints, flows, memos, senders, worlds
from netemu.model.verdicts import Reason


class Backend(NamedTuple):
    """One endpoint that may be chosen, and how a flow comes to it.

    probability  the share of connections it gets
    seen         the client addresses it may see (None: the sender's own)
    policed      the client addresses that policy at its node sees (None: the sender's own): what is
                 masqueraded on that very node is judged before (netfilter's forward hook comes before
                 postrouting), what another node masqueraded, after. Usually the same as `seen`
    astray       its answer goes straight to the sender, not by the node that would translate it back
    """

    endpoint: endpoints.Endpoint
    probability: float
    seen: frozenset[str] | None
    policed: frozenset[str] | None
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

    def of(self, own: frozenset[str]) -> "Translation":
        """For a sender with these addresses."""
        return self._replace(
            backends=tuple(
                backend._replace(
                    seen=own if backend.seen is None else backend.seen,
                    policed=own if backend.policed is None else backend.policed,
                )
                for backend in self.backends
            )
        )


def translate(world: worlds.World, flow: flows.Flow, *, at: str = "") -> Translation | None:
    """What Services do with a flow to an address (canonical, never a name). None: it is no Service's.

    `at` is the node that it comes to, for flows from beyond the cluster that are not to a node's own address.
    """
    owner = world.owner(flow.host)
    if owner is not None and owner.kind != "node":
        return None
    services = of(world)
    sender = services.senders[flow.source]
    found = services.translate(sender, flow, at or (flow.source if owner is None else owner).node)
    return found.of(sender.seen[flow.family]) if found is not None else None


def of(world: worlds.World) -> "Services":
    """The Services of a world: what was found out of them serves every flow."""
    return world.derive(Services)


class Services:
    """Translates in one world. What a node does is found out once for all senders of one sort."""

    def __init__(self, world: worlds.World) -> None:
        self._world = world
        self._claims = claims.Claims(world)
        self.senders = memos.Memo(self._sender)
        self._routes = memos.Memo(self._route)

    def _sender(self, party: worlds.Party) -> senders.Sender:
        return senders.Sender(self._world, party)

    def translate(self, sender: senders.Sender, flow: flows.Flow, at: str) -> Translation | None:
        """What becomes of a flow that comes to node `at` ("": which one, is not known), alike for senders of
        one sort. The address is nobody's, or a node's own."""
        _, host, port, protocol, family = flow
        claim = self._claims.found[host, port, protocol, at, at == sender.party.node]
        if claim is None:
            return self._unclaimed(flow, at)
        if claim.port is None and self._world.settings.proxy_mode == "iptables":
            return None  # no rule is for it: it follows the routes
        return self._by_node(claim, sender, at, family) if at else self._from_outside(claim, sender, family)

    def _unclaimed(self, flow: flows.Flow, at: str) -> Translation | None:
        settings = self._world.settings
        if settings.proxy_mode == "iptables" or not worlds.within(flow.host, settings.service_cidrs):
            return None
        if flow.source.kind == "outside" and not at:
            text = "Services are known inside the cluster only"
            return Translation("unreachable", (Reason("route", text),))
        return Translation("dropped", (Reason("service", f"no Service has the address {flow.host}"),))

    def _from_outside(self, claim: claims.Claim, sender: senders.Sender, family: int) -> Translation:
        """Which node it comes to is for the world around to say: load balancer IPs are announced by nodes."""
        if claim.way == "cluster IP":
            because = claim.says("cluster IPs are known inside the cluster only")
            return Translation("unreachable", (because,))
        if claim.way == "external IP":
            return Translation("", (claim.says("how external IPs are routed is not the cluster's"),))
        nodes = claims.announcing(self._world, claim.service)
        if not nodes:
            return Translation("unreachable", (claim.says("no node may announce it"),))
        own = sender.seen[family]
        return _merged([self._by_node(claim, sender, node, family).of(own) for node in nodes])

    def _route(self, key: tuple[claims.Claim, senders.Sort, str]) -> "_Route":
        return _route(self._world, *key)

    def _by_node(self, claim: claims.Claim, sender: senders.Sender, node: str, family: int) -> Translation:
        """What one node does with it."""
        sort = sender.sorts[node, family]
        if claim.way == "load balancer IP" and not sender.allowed(claim.service, family):
            sort = sort._replace(allowed=False)
        found = self._routes[claim, sort, node]
        if found.addresses.isdisjoint(sender.itself):
            return found.translation
        return _hairpin(found.translation, sender.itself, self._world.node_addresses(node, family))


class _Route(NamedTuple):
    """A translation for senders of one sort that are none of its backends, which have these addresses."""

    translation: Translation
    addresses: frozenset[str] = frozenset()


def _hairpin(found: Translation, itself: tuple[str, ...], shown: frozenset[str]) -> Translation:
    """For a sender that is one of the backends: on its way to itself it is always masqueraded."""
    backends = []
    for one in found.backends:
        endpoint, share, _, _, _ = one
        hairpin = Backend(endpoint, share, shown, None if endpoint.node == found.at else shown)
        backends.append(hairpin if endpoint.address in itself else one)
    return found._replace(backends=tuple(backends))


def _route(world: worlds.World, claim: claims.Claim, sort: senders.Sort, node: str) -> _Route:
    """What a node does with what senders of a sort send there."""
    word, offers, texts = _chosen(world, claim, sort, node)
    because = (claim.because, *map(claim.says, texts))
    if not offers:
        return _Route(Translation(word, because, at=node if word else ""))
    masqueraded, text = senders.masqueraded(claim, sort, node, everybody=world.settings.masquerade_all)
    because += (claim.says(_counted(offers)), *((Reason("source", text),) if text else ()))
    shown, share = world.node_addresses(node, claim.dialled.family), 1 / len(offers)
    backends = []
    for endpoint in (offer.endpoint for offer in offers):
        local = endpoint.node == node
        # What is delivered to the node itself passes no postrouting, where sources are rewritten.
        if masqueraded and (sort.itself or endpoint.address not in shown):
            backends.append(Backend(endpoint, share, shown, None if local else shown))
        else:
            backends.append(Backend(endpoint, share, None, None, sort.passing and not local))
    stays = affinity_seconds(claim.service)
    addresses = frozenset(offer.endpoint.address for offer in offers)
    return _Route(Translation(word, because, tuple(backends), node, stays), addresses)


def _chosen(
    world: worlds.World, claim: claims.Claim, sort: senders.Sort, node: str
) -> tuple[Literal["ok", "refused", "dropped", ""], endpoints.Offers, tuple[str, ...]]:
    """The endpoints that a node chooses from, or the word that ends it there; and why."""
    if claim.port is None:
        return "refused", (), ()
    label = claims.name(claim.service)
    offered = endpoints.offers(world, claim.service, claim.port, claim.dialled.family)
    everywhere = endpoints.anywhere(offered, world, node)
    if not everywhere.offers:
        if world.settings.proxy_mode == "iptables" and sort.itself and claim.routed:
            return "", (), ("the node's own packets are not refused",)
        return "refused", (), (f"Service {label} has no ready endpoint",)
    if not sort.allowed:
        return "dropped", (), (f"the sender is in none of the loadBalancerSourceRanges of Service {label}",)
    only_here, text = senders.bound(claim, sort, node)
    texts = (text,) if text else ()
    if not only_here:
        return "ok", everywhere.offers, texts + everywhere.because
    local = endpoints.on(offered, node)
    if not local:
        return "dropped", (), (*texts, f"Service {label} has no endpoint on {node}")
    return "ok", local, texts


def _counted(offers: endpoints.Offers) -> str:
    kind = "ready" if offers[0].ready else "terminating, still serving"
    return f"{len(offers)} {kind} endpoint{'s' if len(offers) > 1 else ''}"


_NOBODY: frozenset[str] = frozenset()


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
                seen=(before.seen or _NOBODY) | (backend.seen or _NOBODY),
                policed=(before.policed or _NOBODY) | (backend.policed or _NOBODY),
            )
    return Translation("ok", reasons, tuple(backends.values()), "", found[0].stays)


def affinity_seconds(service: core.Service) -> int:
    """For how long a client keeps to its backend after its last connection; 0: not at all."""
    if service.spec.sessionAffinity != "ClientIP":
        return 0
    config = service.spec.sessionAffinityConfig
    given = config.clientIP.timeoutSeconds if config is not None and config.clientIP is not None else None
    return given or 10800
