"""What a change of objects changes for a node: sides of its pods, signatures of addresses. Pure bookkeeping.

Agrees with `resolve`, which computes everything from everything; here only what a change can touch is looked
at. Knows no numbers and no nft.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from netemu.netpol import policies, resolve, sides, terms

K = TypeVar("K")
V = TypeVar("V")


class Changes(NamedTuple):
    """Objects that are otherwise than they were; None: gone."""

    pods: dict[terms.Key, terms.Pod | None]
    spaces: dict[str, terms.Labels | None]
    policies: dict[terms.Key, policies.Policy | None]
    nodes: dict[str, terms.Node | None]

    def __bool__(self) -> bool:
        return any(self)


def none() -> Changes:
    """To be filled."""
    return Changes({}, {}, {}, {})


def everything(cluster: resolve.Cluster) -> Changes:
    """All of a cluster, for who knows nothing of it."""
    pods, spaces, known, nodes = cluster
    return Changes(dict(pods), dict(spaces), dict(known), dict(nodes))


class Delta(NamedTuple):
    """Before and after of all that became otherwise. None: not there; places that no term matches are not."""

    standings: Mapping[terms.Key, tuple[resolve.Standing | None, resolve.Standing | None]]
    places: Mapping[resolve.Place, tuple[sides.Signature | None, sides.Signature | None]]


class State:
    """The objects, and what follows from them for the node `node`."""

    def __init__(self, node: str) -> None:
        self.pods: dict[terms.Key, terms.Pod] = {}
        self.spaces: dict[str, terms.Labels] = {}
        self.policies: dict[terms.Key, policies.Policy] = {}
        self.nodes: dict[str, terms.Node] = {}
        self.standings: dict[terms.Key, resolve.Standing] = {}
        self.signatures: dict[resolve.Place, sides.Signature] = {}
        self._node = node
        self._points: dict[terms.Address, terms.Point] = {}
        self._members: dict[str, dict[terms.Key, terms.Pod]] = {}  # pods by namespace
        self._selecting: dict[terms.Key, dict[terms.Key, policies.Policy]] = {}  # only of this node's pods
        self._sides: Counter[sides.Side] = Counter()
        self._terms: Counter[terms.Term] = Counter()
        self._holders: dict[terms.Term, dict[resolve.Place, None]] = {}
        self._sorted: dict[int, list[int]] | None = None
        self._subjects: dict[terms.Bucket, dict[terms.Key, policies.Policy]] = {}
        self._asked: dict[terms.Bucket, dict[terms.Term, None]] = {}  # terms that speak of pods
        self._others: dict[terms.Term, None] = {}  # of nodes, and of blocks by names of ports
        self._labelled: dict[terms.Bucket, dict[terms.Key, terms.Pod]] = {}
        self._cells: _Cells = _Cells(())

    @property
    def cluster(self) -> resolve.Cluster:
        return resolve.Cluster(self.pods, self.spaces, self.policies, self.nodes)

    def selecting(self, key: terms.Key) -> tuple[policies.Policy, ...]:
        """The policies that select a pod of this node."""
        return tuple(self._selecting.get(key, {}).values())

    def at(self, address: terms.Address) -> terms.Point | None:
        """Who has an address."""
        return self._points.get(address)

    def update(self, changes: Changes) -> Delta:
        """The objects are so now."""
        pods = self._note(changes)
        points = self._place(pods, changes)
        standings = self._stand(pods, changes.policies)
        come, gone = self._ask(standings)
        return Delta(standings, self._sign(points, come, gone))

    # -- objects

    def _note(self, changes: Changes) -> dict[terms.Key, terms.Pod | None]:
        """Take down what is new; the pods that may count for something else now, as they were."""
        before: dict[terms.Key, terms.Pod | None] = {}
        for space, labels in changes.spaces.items():
            if self.spaces.get(space) != labels:
                before.update(self._members.get(space, {}))
            put(self.spaces, space, labels)
        for key, pod in changes.pods.items():
            if self.pods.get(key) == pod:
                continue
            before[key] = self.pods.get(key)
            self._index(before[key], None)
            put(self.pods, key, pod)
            put(self._members.setdefault(key.namespace, {}), key, pod)
            self._index(None, pod)
        for name, policy in changes.policies.items():
            old = self.policies.get(name)
            if old is not None:
                del self._subjects[old.subject.bucket][name]
            if policy is not None:
                self._subjects.setdefault(policy.subject.bucket, {})[name] = policy
            put(self.policies, name, policy)
        for node, known in changes.nodes.items():
            put(self.nodes, node, known)
        return before

    def _index(self, gone: terms.Pod | None, come: terms.Pod | None) -> None:
        if gone is not None:
            for bucket in terms.buckets(gone):
                del self._labelled[bucket][gone.key]
        if come is not None:
            for bucket in terms.buckets(come):
                self._labelled.setdefault(bucket, {})[come.key] = come

    def _place(
        self, pods: Mapping[terms.Key, terms.Pod | None], changes: Changes
    ) -> dict[terms.Address, None]:
        """Who is at each address; those at which somebody may count for something else now."""
        dirty: dict[terms.Address, None] = {}
        for key, old in pods.items():
            for pod in (old, self.pods.get(key)):
                dirty.update(dict.fromkeys(pod.addresses if pod is not None else ()))
        if changes.nodes:
            dirty.update((a, None) for a, point in self._points.items() if point.node is not None)
            dirty.update((a, None) for node in self.nodes.values() for a in node.addresses)
        for address in dirty:
            self._points.pop(address, None)
        for node in self.nodes.values() if dirty else ():
            for address in node.addresses:
                if address in dirty:
                    self._points[address] = terms.Point(address, node=node)
        for key, old in pods.items():
            pod = self.pods.get(key)
            for address in pod.addresses if pod is not None else ():
                self._points[address] = terms.Point(address, pod)
            for address in old.addresses if old is not None else ():
                if address not in self._points:
                    self._inherit(address)
        self._sorted = None if dirty else self._sorted
        return dirty

    def _inherit(self, address: terms.Address) -> None:
        """Somebody else may have had it, too."""
        for pod in self.pods.values():
            if address in pod.addresses:
                self._points[address] = terms.Point(address, pod)

    # -- sides

    def _stand(
        self, pods: Iterable[terms.Key], changed: Mapping[terms.Key, policies.Policy | None]
    ) -> dict[terms.Key, tuple[resolve.Standing | None, resolve.Standing | None]]:
        fresh = dict.fromkeys(pods)
        for key in fresh:
            pod = self.pods.get(key)
            if pod is not None and pod.node == self._node:
                every = (one for b in terms.buckets(pod) for one in self._subjects.get(b, {}).items())
                self._selecting[key] = {k: p for k, p in every if p.subject.selects(pod, self.spaces)}
            else:
                self._selecting.pop(key, None)
        dirty = dict(fresh)
        for key in [key for key in self._selecting if key not in fresh]:
            selecting, pod = self._selecting[key], self.pods[key]
            for name, policy in changed.items():
                selects = policy is not None and policy.subject.selects(pod, self.spaces)
                if name in selecting or selects:
                    put(selecting, name, policy if selects else None)
                    dirty[key] = None
        found = {}
        for key in dirty:
            previous, standing = self.standings.get(key), None
            if key in self._selecting:
                standing = resolve.standing(self.pods[key], self.selecting(key))
            if standing != previous:
                found[key] = (previous, standing)
                put(self.standings, key, standing)
        return found

    # -- terms

    def _ask(
        self, standings: Mapping[terms.Key, tuple[resolve.Standing | None, resolve.Standing | None]]
    ) -> tuple[dict[terms.Term, None], dict[terms.Term, None]]:
        """The terms that come into use, and those that nobody asks for any more."""
        touched: dict[sides.Side, int] = {}
        for old, new in standings.values():
            for standing, step in ((new, 1), (old, -1)):
                for side in standing[1:] if standing is not None else ():
                    touched.setdefault(side, self._sides[side])
                    self._sides[side] += step
        asked: dict[terms.Term, int] = {}
        for side, had in touched.items():
            step = bool(self._sides[side]) - bool(had)
            if not self._sides[side]:
                del self._sides[side]
            for term in side.asked if step else ():
                asked.setdefault(term, self._terms[term])
                self._terms[term] += step
        come = {term: None for term, had in asked.items() if not had and self._terms[term]}
        gone = {term: None for term, had in asked.items() if had and not self._terms[term]}
        for term in asked:
            if not self._terms[term]:
                del self._terms[term]
        for term in gone:
            self._bucket(term).pop(term, None)
        for term in come:
            self._bucket(term)[term] = None
        return come, gone

    def _bucket(self, term: terms.Term) -> dict[terms.Term, None]:
        """Where a term is looked for; blocks are in cells, too."""
        if isinstance(term.who, terms.Pods):
            return self._asked.setdefault(term.who.bucket, {})
        return self._others if term.names or isinstance(term.who, terms.Nodes) else {}

    # -- signatures

    def _sign(
        self,
        dirty: Mapping[terms.Address, None],
        come: Mapping[terms.Term, None],
        gone: Mapping[terms.Term, None],
    ) -> dict[resolve.Place, tuple[sides.Signature | None, sides.Signature | None]]:
        signed: dict[resolve.Place, sides.Signature] = {}
        lost: dict[resolve.Place, set[terms.Term]] = {}
        for term in gone:
            for place in self._holders.pop(term, ()):
                lost.setdefault(place, set()).add(term)
        blocks = any(isinstance(term.who, terms.Block) and not term.names for term in (*come, *gone))
        if blocks:
            self._cells = _Cells(resolve.ranges(self._terms))
        won: dict[resolve.Place, set[sides.Match]] = {}
        for term in come:
            for point in self._candidates(term):
                if point.address in dirty:
                    continue
                where = terms.match(term, point, self.spaces)
                if where:
                    won.setdefault(point.address, set()).add((term, where))
        for place in {**lost, **won}:
            had = self.signatures.get(place, sides.NOBODY)
            kept = {match for match in had if match[0] not in lost.get(place, ())}
            signed[place] = frozenset(kept | won.get(place, set()))
        for address in dirty:
            there = self._points.get(address)
            signed[address] = self._signature(there) if there is not None else sides.NOBODY
        if blocks:
            for place in self.signatures:
                if isinstance(place, terms.Range):
                    signed[place] = sides.NOBODY
            signed.update(self._cells.items)
        return {
            place: (old, new or None)
            for place, new in signed.items()
            for old in [self.signatures.get(place)]
            if self._hold(place, old, new or None)
        }

    def _signature(self, point: terms.Point) -> sides.Signature:
        """As `resolve.signature`, without asking the terms that cannot match."""
        every = list(self._others)
        if point.pod is not None:
            every += (term for b in terms.buckets(point.pod) for term in self._asked.get(b, ()))
        found = resolve.signature(point, every, self.spaces)
        return found | self._cells.at(point.address)

    def _hold(self, place: resolve.Place, old: sides.Signature | None, new: sides.Signature | None) -> bool:
        """Whether that is a change."""
        if old == new:
            return False
        put(self.signatures, place, new)
        before, after = ({term for term, _ in one or ()} for one in (old, new))
        for term in before - after:
            if term in self._holders:
                self._holders[term].pop(place, None)
        for term in after - before:
            self._holders.setdefault(term, {})[place] = None
        return True

    def _candidates(self, term: terms.Term) -> Iterator[terms.Point]:
        """Points that may match."""
        who = term.who
        if isinstance(who, terms.Pods):
            for pod in self._pods(who):
                yield from (self._points[address] for address in pod.addresses)
        elif isinstance(who, terms.Nodes):
            for node in self.nodes.values():
                yield from (self._points[address] for address in node.addresses)
        else:
            yield from self._within(who.network)

    def _pods(self, who: terms.Pods) -> Iterator[terms.Pod]:
        if who.namespaces is None or who.bucket[1] is not None:
            yield from self._labelled.get(who.bucket, {}).values()
            return
        for space, members in self._members.items():
            if who.namespaces.matches(self.spaces.get(space, {terms.NAME_LABEL: space})):
                yield from members.values()

    def _within(self, network: terms.Network) -> Iterator[terms.Point]:
        if self._sorted is None:
            self._sorted = {4: [], 6: []}
            for address in self._points:
                self._sorted[address.version].append(int(address))
            for numbers in self._sorted.values():
                numbers.sort()
        ordered = self._sorted[network.version]
        low = bisect.bisect_left(ordered, int(network[0]))
        high = bisect.bisect_right(ordered, int(network[-1]))
        kind = type(network[0])
        for number in ordered[low:high]:
            yield self._points[kind(number)]


class _Cells:
    """Ranges of addresses and who they are, to be found by an address."""

    def __init__(self, items: Iterable[tuple[resolve.Place, sides.Signature]]) -> None:
        self.items = tuple(items)
        self._ordered: dict[int, list[tuple[int, int, sides.Signature]]] = {4: [], 6: []}
        for place, signature in self.items:
            assert isinstance(place, terms.Range)
            bounds = int(place.first), int(place.last), signature
            self._ordered[place.first.version].append(bounds)

    def at(self, address: terms.Address) -> sides.Signature:
        ordered = self._ordered[address.version]
        found = bisect.bisect_right(ordered, int(address), key=_first) - 1
        if found >= 0 and int(address) <= ordered[found][1]:
            return ordered[found][2]
        return sides.NOBODY


def _first(cell: tuple[int, int, sides.Signature]) -> int:
    return cell[0]


def put(into: dict[K, V], key: K, value: V | None) -> None:
    """None takes it out."""
    if value is None:
        into.pop(key, None)
    else:
        into[key] = value
