"""Planted faults: one element of a node's tables gone or replaced, and whether that changes any answer. Pure.

What changes an answer is decided by walking every flow over the elements before and after, not by measuring.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from netemu.kubeproxy import layout as services
from netemu.kubeproxy import walk as service_walk
from netemu.model import worlds
from netemu.netpol import mutations as policy_mutations
from netemu.netpol import walk as policy_walk
from netemu.verify import cases
from netemu.wire import nft

POLICIES, SERVICES = "policies", "services"
_PODS_LINK, _UPLINK = "cni0", "eth0"
# What the walk does not read, or what nothing but time puts there.
_SKIPPED = ("kinds", "affinity", "counters")


class Break(NamedTuple):
    """One fault. `apply` and `undo` are nft documents; `meaningful`: some flow ends differently by it."""

    node: str
    table: str
    where: str
    what: str
    apply: str
    undo: str
    meaningful: bool

    def __str__(self) -> str:
        return f"{self.node}: {self.where}: {self.what}"


class Passing(NamedTuple):
    """A packet of policies' at one hook of a node."""

    hook: str
    packet: policy_walk.Packet


class Tables(NamedTuple):
    """The elements of one node's tables; Services' by family name."""

    policies: policy_walk.Held
    services: Mapping[str, service_walk.Held]


def breaks(
    node: str,
    tables: Tables,
    world: worlds.World,
    flows: Iterable[cases.Case],
    around: Mapping[str, services.Surroundings],
) -> Iterator[Break]:
    """Every fault of one element in a node's tables. Rules as such are not broken: the walks know those."""
    asked = tuple(flows)
    yield from _policy_breaks(node, tables.policies, tuple(passing(node, world, asked)))
    own = frozenset(a for family in (4, 6) for a in world.node_addresses(node, family))
    for family in services.FAMILIES:
        packets = tuple(
            p for p in dialled(node, world, asked) if (":" in p.destination) == (family is services.IP6)
        )

        def fates(
            held: service_walk.Held, packets: object = packets, name: str = family.name
        ) -> list[object]:
            assert isinstance(packets, tuple)
            return [_outcome(service_walk.fate(held, packet, around[name], own)) for packet in packets]

        yield from _service_breaks(node, family, tables.services[family.name], fates)


def _policy_breaks(node: str, held: policy_walk.Held, packets: tuple[Passing, ...]) -> Iterator[Break]:
    before = [policy_walk.accepted(held, one.packet, one.hook) for one in packets]
    for found in policy_mutations.mutations(held):
        if found.held is not None:
            after = found.held
            changed = any(
                policy_walk.accepted(after, one.packet, one.hook) != was
                for one, was in zip(packets, before, strict=True)
            )
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


def passing(node: str, world: worlds.World, flows: Iterable[cases.Case]) -> Iterator[Passing]:
    """The first packets that policies at a node judge, of flows that no Service changes."""
    for case in flows:
        flow = case.flow
        if not worlds.is_address(flow.host) or case.kind not in ("pod", "echo", "outside"):
            continue
        source, owner = flow.source, world.owner(flow.host)
        sent = _first(source, flow.family)
        if owner is None or sent is None or source == owner:
            continue
        protocol = flow.protocol.lower()
        if protocol == "icmp":
            protocol = "icmp" if flow.family == 4 else "ipv6-icmp"
        packet = policy_walk.Packet(ip_address(sent), ip_address(flow.host), protocol, flow.port)
        leaves = source.kind == "pod" and source.node == node
        arrives = (
            owner.kind == "pod" and owner.node == node and not (source.kind == "node" and source.name == node)
        )
        if leaves and owner.kind == "node" and owner.name == node:
            yield Passing("input", packet)
        elif (leaves or arrives) and not (source.kind == "outside"):
            yield Passing("forward", packet)


def dialled(node: str, world: worlds.World, flows: Iterable[cases.Case]) -> Iterator[service_walk.Packet]:
    """The first packets that a node's Service tables see."""
    for case in flows:
        flow = case.flow
        if not worlds.is_address(flow.host) or case.kind not in ("service", "node-port", "balancer"):
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
