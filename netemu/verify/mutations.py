"""Planted faults: an element or rule of a node gone or replaced, and whether any answer changes. Pure.

What changes an answer is decided by walking every flow over what is programmed before and after, not by
measuring: elements by the walks of the rooms that make them, rules one by one as the kernel does.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple, TypeVar

from netemu.kubeproxy import affinity, walk_iptables
from netemu.kubeproxy import layout as services
from netemu.kubeproxy import walk as service_walk
from netemu.model import expect, worlds
from netemu.netpol import layout as policies
from netemu.netpol import mutations as policy_mutations
from netemu.netpol import walk as policy_walk
from netemu.verify import cases, rulebreaks, rulewalk
from netemu.wire import nft

T = TypeVar("T")
Fate = rulebreaks.Fate
POLICIES, SERVICES = "policies", "Services"
_PODS_LINK, _UPLINK = "cni0", "eth0"
# What the walk does not read, or what nothing but time puts there.
_SKIPPED = ("kinds", "affinity", "counters")


class Break(NamedTuple):
    """One fault. `apply` and `undo` are documents for `tool` (nft, or iptables-restore of a family).

    `table` and `of` (elements, rules) say what kind it is; `matters()`: some flow ends differently by it.
    """

    node: str
    table: str
    of: str
    where: str
    what: str
    apply: str
    undo: str
    matters: Callable[[], bool]
    tool: str = "nft"

    def __str__(self) -> str:
        return f"{self.node}: {self.where}: {self.what}"


class Journey(NamedTuple):
    """A packet of policies', and the hooks of the nodes that judge it on its way, and its answer's."""

    packet: policy_walk.Packet
    stations: tuple[tuple[str, str], ...]  # node, hook
    back: tuple[tuple[str, str], ...] = ()


class Tables(NamedTuple):
    """What one node has: policies; Services' by family name, as elements of nft or as chains of iptables."""

    policies: policy_walk.Held
    services: Mapping[str, service_walk.Held] = {}
    chains: Mapping[str, walk_iptables.Chains] = {}


def breaks(
    tables: Mapping[str, Tables],
    world: worlds.World,
    flows: Iterable[cases.Case],
    around: Mapping[str, Mapping[str, services.Surroundings]],
) -> Iterator[Break]:
    """Every fault of one element or rule in the tables of each node. `around`: by node and family."""
    asked = tuple(flows)
    held = {node: of.policies for node, of in tables.items()}
    under_way = tuple(journeys(world, asked))
    for node, own in tables.items():
        deciding = tuple(_deciding(node, held, under_way))
        yield from _policy_elements(node, own.policies, deciding)
        yield from _policy_rules(node, own.policies, deciding)
        addresses = frozenset(a for family in (4, 6) for a in world.node_addresses(node, family))
        packets, mute = tuple(dialled(node, world, asked)), nameless(world, asked)
        for family in services.FAMILIES:
            of_family = [p for p in packets if (":" in p.destination) == (family is services.IP6)]
            site = _Site(node, family, around[node][family.name], addresses, of_family, mute)
            if family.name in own.services:
                yield from _service_elements(site, own.services[family.name])
                yield from _service_rules(site, own.services[family.name])
            if family.name in own.chains:
                yield from _iptables_rules(site, own.chains[family.name])


class _Site(NamedTuple):
    """One family of a node's Service tables, the packets that they see, and where nobody says who he is."""

    node: str
    family: services.Family
    around: services.Surroundings
    own: frozenset[str]
    packets: Sequence[service_walk.Packet]
    mute: frozenset[tuple[str, str, int]] = frozenset()


def _differs(
    fate: Callable[[T], object], things: Iterable[T], before: Callable[[], Sequence[object]]
) -> bool:
    """Whether any of them fares otherwise than before."""
    return any(fate(thing) != was for thing, was in zip(things, before(), strict=True))


# --- policies


def _deciding(
    node: str, held: Mapping[str, policy_walk.Held], under_way: Iterable[Journey]
) -> Iterator[tuple[Journey, str]]:
    """The journeys, and the hook, whose end is up to this node alone: all others let them through."""
    for journey in under_way:
        hooks = [hook for where, hook in journey.stations if where == node]
        others = ((held[where], hook) for where, hook in journey.stations if where != node)
        if hooks and all(policy_walk.accepted(of, journey.packet, hook) for of, hook in others):
            yield journey, hooks[0]


def _policy_elements(
    node: str, held: policy_walk.Held, deciding: tuple[tuple[Journey, str], ...]
) -> Iterator[Break]:
    def fate(of: policy_walk.Held, one: tuple[Journey, str]) -> bool:
        return policy_walk.accepted(of, one[0].packet, one[1])

    before = functools.cache(lambda: [fate(held, one) for one in deciding])
    for found in policy_mutations.mutations(held):
        matters = functools.partial(_differs, functools.partial(fate, found.held), deciding, before)
        yield Break(node, POLICIES, "elements", found.where, found.what, found.apply, found.undo, matters)


def _policy_rules(
    node: str, held: policy_walk.Held, deciding: tuple[tuple[Journey, str], ...]
) -> Iterator[Break]:
    things = policy_mutations.things(held)
    whole = rulewalk.table(things, held)

    def fate(of: rulewalk.Table, one: tuple[Journey, str]) -> bool:
        return rulebreaks.passes(of, node, one[0].packet, one[1], one[0].back)

    before = functools.cache(lambda: [fate(whole, one) for one in deciding])
    for found in rulebreaks.missing(policies.TABLE, things):
        matters = functools.partial(
            _differs, functools.partial(fate, whole.without(found.chains)), deciding, before
        )
        yield Break(node, POLICIES, "rules", found.where, "gone", found.apply, found.undo, matters)


def journeys(world: worlds.World, flows: Iterable[cases.Case]) -> Iterator[Journey]:
    """The first packets of flows that policies judge, and where; of flows that no Service changes."""
    for case in flows:
        flow = case.flow
        if not worlds.is_address(flow.host) or case.kind not in ("pod", "echo", "outside"):
            continue
        source, owner = flow.source, world.owner(flow.host)
        sent = _first(source, flow.family)
        if owner is None or sent is None or source == owner or source.kind == "outside":
            continue
        protocol = flow.protocol.lower()
        if protocol == "icmp":
            protocol = "icmp" if flow.family == 4 else "ipv6-icmp"
        packet = policy_walk.Packet(ip_address(sent), ip_address(flow.host), protocol, flow.port)
        stations = tuple(dict.fromkeys(_stations(source, owner)))
        if stations:
            yield Journey(packet, stations, tuple(dict.fromkeys(_stations(owner, source))))


def _stations(source: worlds.Party, owner: worlds.Party) -> Iterator[tuple[str, str]]:
    if source.kind == "pod":
        yield source.node, "input" if owner.kind == "node" and owner.node == source.node else "forward"
    # What a node sends to its own pods leaves by its output hook, where nobody judges it.
    if owner.kind == "pod" and not (source.kind == "node" and source.node == owner.node):
        yield owner.node, "forward"


# --- Services


def _service_elements(site: _Site, held: service_walk.Held) -> Iterator[Break]:
    def fate(of: service_walk.Held, packet: service_walk.Packet) -> object:
        try:
            return _told(
                fates(service_walk.fate(of, packet, site.around, site.own), packet, site.own), packet, site
            )
        except KeyError:
            return "lost"  # a draw leads to a slot that is not there

    before = functools.cache(lambda: [fate(held, packet) for packet in site.packets])
    for of in sorted(name for name in held if not name.startswith(_SKIPPED)):
        for key, entry in sorted(held[of].items()):
            element = nft.Element(of, key, entry.value, entry.comment)
            others = sorted({other.value for other in held[of].values()} - {entry.value})
            for value in (None, *others[:1]):
                rest = {k: e for k, e in held[of].items() if k != key}
                apply: tuple[nft.Command, ...] = (nft.Delete(element),)
                undo: tuple[nft.Command, ...] = (nft.Add(element),)
                if value is not None:
                    other = nft.Element(of, key, value)
                    rest[key] = entry._replace(value=value)
                    apply, undo = (*apply, nft.Add(other)), (nft.Delete(other), *undo)
                yield Break(
                    site.node,
                    SERVICES,
                    "elements",
                    f"{site.family.name} {of} {{ {key} }}",
                    "gone" if value is None else f"{value} instead of {entry.value}",
                    str(nft.Transaction(site.family.table, apply)),
                    str(nft.Transaction(site.family.table, undo)),
                    functools.partial(
                        _differs, functools.partial(fate, {**held, of: rest}), site.packets, before
                    ),
                )


def _service_rules(site: _Site, held: service_walk.Held) -> Iterator[Break]:
    things = rulebreaks.service_things(site.family, site.around, held)
    nobody = affinity.CLIENTS  # was here before
    values = {of: {k: e.value for k, e in held[of].items()} for of in held if of != nobody}
    whole = rulewalk.table(things, values)

    def fate(of: rulewalk.Table, packet: service_walk.Packet) -> object:
        return _told(rulebreaks.fates(of, packet, site.own), packet, site)

    before = functools.cache(lambda: [fate(whole, packet) for packet in site.packets])
    for found in rulebreaks.missing(site.family.table, things):
        broken = whole.without(found.chains)
        matters = functools.partial(_differs, functools.partial(fate, broken), site.packets, before)
        where = f"{site.family.name} {found.where}"
        yield Break(site.node, SERVICES, "rules", where, "gone", found.apply, found.undo, matters)


def _iptables_rules(site: _Site, chains: walk_iptables.Chains) -> Iterator[Break]:
    def fate(of: walk_iptables.Chains, packet: service_walk.Packet) -> object:
        return _told(fates(walk_iptables.fate(of, packet, site.own), packet, site.own), packet, site)

    before = functools.cache(lambda: [fate(chains, packet) for packet in site.packets])
    tool = "iptables" if site.family is services.IP else "ip6tables"
    for found in rulebreaks.of_iptables(chains):
        matters = functools.partial(_differs, functools.partial(fate, found.chains), site.packets, before)
        where = f"{tool} {found.where}"
        yield Break(site.node, SERVICES, "rules", where, found.what, found.apply, found.undo, matters, tool)


def fates(fate: service_walk.Fate, packet: service_walk.Packet, own: frozenset[str]) -> frozenset[Fate]:
    """What a walk over elements or chains of iptables says, as `rulebreaks.fates` says it."""
    if fate.verdict == "passed on" and packet.destination in own:
        return frozenset({Fate("refused")})  # nobody of the node's own has the port
    sent = (Fate(fate.verdict, c.address, c.masqueraded) for c in fate.chances)
    return frozenset(sent) or frozenset({Fate(fate.verdict)})


def _told(found: frozenset[Fate], packet: service_walk.Packet, site: _Site) -> frozenset[Fate]:
    """What of it can be told from outside: what the node sends has a node's address, masqueraded or not; and
    some servers say neither who they are nor whom they see.
    """
    if (packet.protocol, packet.destination, packet.port) in site.mute:
        return frozenset(Fate(one.verdict) for one in found)
    if packet.source in site.own:
        return frozenset(one._replace(masqueraded=False) for one in found)
    return found


def nameless(world: worlds.World, flows: Iterable[cases.Case]) -> frozenset[tuple[str, str, int]]:
    """Protocol, address and port of Services some endpoint of which is no pod: it does not say who it is."""
    return frozenset(
        (case.flow.protocol.lower(), case.flow.host, case.flow.port)
        for case in flows
        if case.kind in ("service", "node-port")
        for one in expect.expect(world, case.flow).outcomes
        if one.word == "ok" and (not one.endpoint or worlds.is_address(one.endpoint))
    )


def dialled(node: str, world: worlds.World, flows: Iterable[cases.Case]) -> Iterator[service_walk.Packet]:
    """The first packets that a node's Service tables see, of flows about which policies leave no doubt."""
    for case in flows:
        flow = case.flow
        if not worlds.is_address(flow.host) or case.kind not in ("service", "node-port"):
            continue  # what a node does not take for a load balancer's, another one does
        verdict = expect.expect(world, flow)
        if verdict.words not in ({"ok"}, {"refused"}) and not all(
            reason.kind in ("service", "route") for reason in verdict.reasons
        ):
            continue
        if any(not one.endpoint for one in verdict.outcomes if one.word == "ok"):
            continue  # who answers there does not say who he is
        source, sent = flow.source, _first(flow.source, flow.family)
        owner = world.owner(flow.host)
        at_home = source.node == node
        there = owner is not None and owner.name == node
        if sent is None or not (at_home or there):
            continue
        link = "" if source.kind == "node" and at_home else _PODS_LINK if at_home else _UPLINK
        yield service_walk.Packet(flow.protocol.lower(), sent, flow.host, flow.port, link)


def _first(party: worlds.Party, family: int) -> str | None:
    """The address it sends from: a node's own comes before its gateways."""
    return next((a for a in party.addresses if (":" in a) == (family == 6)), None)
