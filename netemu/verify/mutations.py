"""Planted faults: one element of a node's tables gone or replaced, and whether that changes any answer. Pure.

What changes an answer is decided by walking every flow over the elements before and after, not by measuring.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from netemu.kubeproxy import layout as services
from netemu.kubeproxy import walk as service_walk
from netemu.model import expect, worlds
from netemu.netpol import mutations as policy_mutations
from netemu.netpol import walk as policy_walk
from netemu.verify import cases
from netemu.wire import nft

POLICIES, SERVICES = "policies", "services"
_PODS_LINK, _UPLINK = "cni0", "eth0"
# What the walk does not read, or what nothing but time puts there.
_SKIPPED = ("kinds", "affinity", "counters")


class Break(NamedTuple):
    """One fault. `apply` and `undo` are nft documents.

    `meaningful`: some flow ends differently by it; None of a whole rule, for the walks know those by heart.
    """

    node: str
    table: str
    where: str
    what: str
    apply: str
    undo: str
    meaningful: bool | None

    def __str__(self) -> str:
        return f"{self.node}: {self.where}: {self.what}"


class Journey(NamedTuple):
    """A packet of policies', and the hooks of the nodes that judge it on its way."""

    packet: policy_walk.Packet
    stations: tuple[tuple[str, str], ...]  # node, hook


class Tables(NamedTuple):
    """The elements of one node's tables; Services' by family name."""

    policies: policy_walk.Held
    services: Mapping[str, service_walk.Held]


def breaks(
    tables: Mapping[str, Tables],
    world: worlds.World,
    flows: Iterable[cases.Case],
    around: Mapping[str, Mapping[str, services.Surroundings]],
) -> Iterator[Break]:
    """Every fault of one element in the tables of each node, and of one rule for policies.

    `around`: by node and family.
    """
    asked = tuple(flows)
    held = {node: of.policies for node, of in tables.items()}
    under_way = tuple(journeys(world, asked))
    for node, own in tables.items():
        yield from _policy_breaks(node, own.policies, tuple(_deciding(node, held, under_way)))
        addresses = frozenset(a for family in (4, 6) for a in world.node_addresses(node, family))
        packets = tuple(dialled(node, world, asked))
        for family in services.FAMILIES:
            of_family = [p for p in packets if (":" in p.destination) == (family is services.IP6)]
            fates = functools.partial(_fates, of_family, around[node][family.name], addresses)
            yield from _service_breaks(node, family, own.services[family.name], fates)


def _fates(
    packets: Iterable[service_walk.Packet],
    around: services.Surroundings,
    own: frozenset[str],
    held: service_walk.Held,
) -> list[object]:
    """What can be told from outside of each packet: the verdict, who may answer, and whom he sees."""
    found: list[object] = []
    for packet in packets:
        fate = service_walk.fate(held, packet, around, own)
        # Nobody of the node's own has the port: what is passed on to it, it refuses.
        passed = fate.verdict == "passed on" and packet.destination in own
        # Servers say who they are and whom they see, but not by which of their ports.
        answers = frozenset((c.address, c.masqueraded) for c in fate.chances)
        found.append(("refused" if passed else fate.verdict, answers))
    return found


def _deciding(
    node: str, held: Mapping[str, policy_walk.Held], under_way: Iterable[Journey]
) -> Iterator[tuple[policy_walk.Packet, str]]:
    """The packets, and the hook, whose end is up to this node alone: all others let them through."""
    for journey in under_way:
        hooks = [hook for where, hook in journey.stations if where == node]
        others = ((held[where], hook) for where, hook in journey.stations if where != node)
        if hooks and all(policy_walk.accepted(of, journey.packet, hook) for of, hook in others):
            yield journey.packet, hooks[0]


def _policy_breaks(
    node: str, held: policy_walk.Held, packets: tuple[tuple[policy_walk.Packet, str], ...]
) -> Iterator[Break]:
    before = [policy_walk.accepted(held, packet, hook) for packet, hook in packets]
    for found in policy_mutations.mutations(held):
        if (after := found.held) is not None:
            pairs = zip(packets, before, strict=True)
            changed: bool | None = any(policy_walk.accepted(after, *one) != was for one, was in pairs)
        else:
            changed = None
        yield Break(node, POLICIES, found.where, found.what, found.apply, found.undo, changed)


def _service_breaks(
    node: str,
    family: services.Family,
    held: service_walk.Held,
    fates: Callable[[service_walk.Held], list[object]],
) -> Iterator[Break]:
    before = fates(held)
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
                what = "gone" if value is None else f"{value} instead of {entry.value}"
                yield Break(
                    node,
                    SERVICES,
                    f"{family.name} {of} {{ {key} }}",
                    what,
                    str(nft.Transaction(family.table, apply)),
                    str(nft.Transaction(family.table, undo)),
                    _differ(fates, {**held, of: rest}, before),
                )


def _differ(
    fates: Callable[[service_walk.Held], list[object]], held: service_walk.Held, before: list[object]
) -> bool:
    try:
        return fates(held) != before
    except KeyError:
        return True  # a draw leads to a slot that is not there


def _outcome(fate: service_walk.Fate) -> object:
    """What can be told from outside: the verdict, who may answer, and whom he sees."""
    return fate.verdict, frozenset((c.address, c.port, c.masqueraded) for c in fate.chances)


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
        stations = dict.fromkeys(_stations(source, owner))
        if stations:
            yield Journey(packet, tuple(stations))


def _stations(source: worlds.Party, owner: worlds.Party) -> Iterator[tuple[str, str]]:
    if source.kind == "pod":
        yield source.node, "input" if owner.kind == "node" and owner.node == source.node else "forward"
    # What a node sends to its own pods leaves by its output hook, where nobody judges it.
    if owner.kind == "pod" and not (source.kind == "node" and source.node == owner.node):
        yield owner.node, "forward"


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
