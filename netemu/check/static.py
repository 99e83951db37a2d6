"""Expectations against the model: every flow they speak of, and every other one there is. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from netemu.base import errors
from netemu.check import expectations, imagine, places
from netemu.model import expect, flows, verdicts, worlds

SYSTEM = ("kube-system",)
NODE_PORT = "node port of "


class Row(NamedTuple):
    """One flow that was judged, what was wanted of it (may, may not, a word) and by which expectation."""

    flow: flows.Flow
    shown: str
    wanted: str
    verdict: verdicts.Verdict
    by: expectations.Expectation | None

    @property
    def ok(self) -> bool:
        """Whether it is surely as wanted."""
        if self.wanted == expectations.MAY:
            return self.verdict.words == {"ok"}
        if self.wanted == expectations.MAY_NOT:
            return self.verdict.decided and "ok" not in self.verdict.words
        return self.verdict.words == {self.wanted}


class Report(NamedTuple):
    """All rows. `others` counts the flows of which nothing was said; those that may are among `rows`."""

    rows: tuple[Row, ...]
    others: int = 0

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)


def judge(imagined: imagine.Imagined, wanted: expectations.Expectations, *, others: bool = False) -> Report:
    """Judge everything. Rejected (file, line) when an expectation names what does not exist.

    `others`: keep the rows of `nothing else may` that hold, too.
    """
    world = imagined.world
    finder = places.Finder(world, wanted.namespace, imagined.workloads)
    rows = [row for expectation in wanted.every for row in _rows(world, finder, expectation)]
    if not wanted.nothing_else:
        return Report(tuple(rows))
    said = {_dialled(world, row) for row in rows} | {
        end for row in rows if row.wanted != expectations.MAY_NOT for end in _arriving(world, row)
    }
    rest = [
        Row(flow, shown, expectations.MAY_NOT, expect.explain(world, flow), None)
        for flow, shown in every(world)
    ]
    rest = [
        row for row in rest if _dialled(world, row) not in said and not said >= set(_arriving(world, row))
    ]
    return Report((*rows, *(row for row in rest if others or not row.ok)), len(rest))


def _rows(world: worlds.World, finder: places.Finder, wanted: expectations.Expectation) -> Iterator[Row]:
    try:
        for source in (one for text in wanted.senders for one in finder.sources(text)):
            for text in wanted.targets:
                for asked in wanted.ports:
                    for target in finder.targets(text, source, asked):
                        yield from _of_target(world, wanted, source, target, asked)
    except errors.Rejected as error:
        raise errors.Rejected(f"{wanted.defined}: {error.message}", hint=error.hint) from error


def _of_target(
    world: worlds.World,
    wanted: expectations.Expectation,
    source: worlds.Party,
    target: places.Target,
    asked: tuple[int | None, str | None],
) -> Iterator[Row]:
    for port, spoken in _ports(target, *asked):
        for family in wanted.families:
            if family in target.hosts and (not source.addresses or source.speaks(family)):
                flow = flows.Flow(source, target.hosts[family], port, spoken, family)
                yield Row(flow, target.shown, wanted.wanted, expect.explain(world, flow), wanted)


def _ports(target: places.Target, number: int | None, protocol: str | None) -> tuple[tuple[int, str], ...]:
    """The ports an expectation speaks of: its own, or all that the target offers."""
    number = target.port if number is None else number
    if protocol == "ICMP":
        return ((0, "ICMP"),)
    if number is not None:
        offered = tuple(p for n, p in target.ports if n == number and protocol in (None, p))
        return tuple((number, p) for p in offered) or ((number, protocol or "TCP"),)
    if not target.ports:
        raise errors.Rejected(f"which port of {target.shown}?", hint="add: on PORT")
    return tuple((n, p) for n, p in target.ports if protocol in (None, p))


Key = tuple[str, str, int, str]


def _key(world: worlds.World, row: Row, address: str, port: int) -> Key:
    """An end by its owner: who may reach a pod by one of its addresses may by the other."""
    owner = world.owner(address)
    return str(row.flow.source), str(owner) if owner is not None else address, port, row.flow.protocol


def _dialled(world: worlds.World, row: Row) -> Key:
    return _key(world, row, row.flow.host, row.flow.port)


def _arriving(world: worlds.World, row: Row) -> Iterator[Key]:
    """Where a flow arrives: through Services, at the pods behind."""
    for outcome in row.verdict.outcomes:
        yield _key(world, row, outcome.address or row.flow.host, outcome.port or row.flow.port)


def every(world: worlds.World) -> Iterator[tuple[flows.Flow, str]]:
    """Every flow worth asking: from each pod to each declared port of the others, from outside to node ports.

    The pods of the system are left out; a Service leads to pods, so its own addresses are not asked apart.
    """
    pods = [
        pod
        for pod in world.pods
        if worlds.is_running(pod) and not pod.spec.hostNetwork and pod.metadata.namespace not in SYSTEM
    ]
    parties = {(pod.metadata.namespace, pod.metadata.name): worlds.pod_party(pod) for pod in pods}
    for sender in parties.values():
        for pod in pods:
            owner = parties[pod.metadata.namespace, pod.metadata.name]
            if owner != sender:
                for port, protocol in worlds.declared(pod):
                    for address in owner.addresses:
                        family = 6 if ":" in address else 4
                        if sender.of_family(family):
                            shown = f"pod {owner.namespace}/{owner.name}"
                            yield flows.Flow(sender, address, port, protocol, family), shown
    yield from _from_outside(world)


def _from_outside(world: worlds.World) -> Iterator[tuple[flows.Flow, str]]:
    """To each node port, at one node, in the families that its Service has."""
    nodes = [party.name for party in world.parties() if party.kind == "node"]
    for service in world.services if nodes else ():
        families = {6 if ":" in ip else 4 for ip in service.spec.clusterIPs if worlds.is_address(ip)}
        shown = f"{NODE_PORT}{service.metadata.namespace}/{service.metadata.name}"
        for port in service.spec.ports:
            for family in sorted(families) if port.nodePort else ():
                for address in sorted(world.uplinks(nodes[0], family)):
                    protocol = port.protocol or "TCP"
                    yield flows.Flow(world.outside, address, port.nodePort, protocol, family), shown
