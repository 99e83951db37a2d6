"""What a node's table holds, and what a change adds to it and takes from it. Pure bookkeeping.

What a class lets an identity do follows from the two alone, so a decision changes only when one of them does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from netemu.netpol import changes, layout, plan, ports, resolve, sides, terms
from netemu.wire import nft


class Difference(NamedTuple):
    """Elements to delete and, in the same transaction, to add.

    From now on `chains` are the classes in use, and `hooks` those that have something to judge.
    """

    deleted: tuple[nft.Element, ...] = ()
    added: tuple[nft.Element, ...] = ()
    chains: frozenset[tuple[str, int]] = frozenset()
    hooks: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.deleted or self.added)


_DIRECTIONS = tuple(direction.name for direction in layout.DIRECTIONS)
_FORWARDED = tuple(direction.name for direction in layout.FORWARDED)
_Rows = dict[int, ports.Ports]  # identity (0: whoever) -> what it may do
_Used = list[tuple[ports.Ports | None, ports.Ports | None]]
_Touched = dict[plan.Place, nft.Element | None]


class Ledger:
    """`guard`: addresses in these ranges that no known pod has are dropped; () for none."""

    def __init__(self, node: str, guard: Iterable[terms.Network] = ()) -> None:
        self.state = changes.State(node)
        self._books = plan.Books()
        self._elements = {_place(element): element for element in plan.guard(guard)}
        self._guarded = bool(self._elements)
        self._classes: dict[int, plan.Class] = {}
        self._identities: dict[int, sides.Signature] = {}
        self._meaning: dict[terms.Term, set[int]] = {}  # the identities that a term is part of
        self._rows: dict[int, _Rows] = {}  # by class
        self._selves: dict[plan.Place, ports.Ports] = {}

    def elements(self) -> Iterable[nft.Element]:
        """All that the table holds."""
        return self._elements.values()

    def chains(self) -> frozenset[tuple[str, int]]:
        """The classes in use, by direction."""
        return frozenset((direction, number) for number, (direction, _) in self._classes.items())

    def hooks(self) -> frozenset[str]:
        """Where packets have to be judged."""
        return layout.hooks({direction for direction, _ in self._classes.values()}, guarded=self._guarded)

    def update(self, given: changes.Changes) -> Difference:
        """The objects are so now; the table then holds what they want, once the difference is applied."""
        delta = self.state.update(given)
        classes = self._reclass(delta)
        identities = self._identify(delta)
        touched: _Touched = {}
        used: _Used = []
        rows = self._decide(classes, identities, used)
        selves = self._mirror(delta, used)
        profiles = self._books.profiles.move(used)
        for profile, number in profiles.gone:
            touched.update((_place(e), None) for e in plan.profile(profile, layout.profile(number)))
        for number, profile in profiles.changed.items():
            touched.update((_place(e), e) for e in plan.profile(profile, layout.profile(number)))
        for (number, identity), opened in rows.items():
            key = layout.pair(number, identity)
            touched[layout.DECISIONS, key] = (
                nft.Element(layout.DECISIONS, key, self._books.profile(opened))
                if opened is not None
                else None
            )
        for place, opened in selves.items():
            touched[place] = nft.Element(*place, self._books.profile(opened)) if opened is not None else None
        self._locate(delta, touched)
        return self._difference(touched)

    def _reclass(self, delta: changes.Delta) -> dict[int, plan.Class | None]:
        """Classes that mean something else than before; None: nothing."""
        moves = [
            (plan.class_of(old, direction), plan.class_of(new, direction))
            for old, new in delta.standings.values()
            for direction in _DIRECTIONS
        ]
        moved = self._books.classes.move(moves)
        found: dict[int, plan.Class | None] = {number: None for _, number in moved.gone}
        found.update(moved.changed)
        for number, of in found.items():
            if of is None:
                del self._classes[number]
            else:
                self._classes[number] = of
        return found

    def _identify(self, delta: changes.Delta) -> dict[int, sides.Signature | None]:
        """Identities that mean something else than before; None: nothing."""
        moved = self._books.identities.move(delta.places.values())
        found: dict[int, sides.Signature | None] = {number: None for _, number in moved.gone}
        found.update(moved.changed)
        for number, signature in found.items():
            for term, _ in self._identities.pop(number, ()):
                self._meaning[term].discard(number)
            for term, _ in signature or ():
                self._meaning.setdefault(term, set()).add(number)
            if signature:
                self._identities[number] = signature
        return found

    def _decide(
        self,
        classes: Mapping[int, plan.Class | None],
        identities: Mapping[int, sides.Signature | None],
        used: _Used,
    ) -> dict[tuple[int, int], ports.Ports | None]:
        """The decisions that are otherwise; None: there is none any more."""
        found: dict[tuple[int, int], ports.Ports | None] = {}

        def put(number: int, identity: int, opened: ports.Ports | None) -> None:
            rows = self._rows[number]
            old = rows.get(identity)
            if old != opened:
                used.append((plan.profiled(old), plan.profiled(opened)))
                found[number, identity] = opened
                if opened is None:
                    del rows[identity]
                else:
                    rows[identity] = opened

        for number, of in classes.items():
            rows = self._rows.setdefault(number, {})
            wanted = self._row(of[1]) if of is not None else {}
            for identity in (*(rows.keys() - wanted.keys()), *wanted):
                put(number, identity, wanted.get(identity))
            if of is None:
                del self._rows[number]
        for number, (_, side) in self._classes.items() if identities else ():
            if number in classes:
                continue
            everybody = self._rows[number].get(0, ports.NONE)
            for identity, signature in identities.items():
                opened = None
                if signature and any(term in side.asked for term, _ in signature):
                    opened = sides.decide(side, signature)
                put(number, identity, None if opened == everybody else opened)
        return found

    def _row(self, side: sides.Side) -> _Rows:
        """What everybody may do with a pod of that side, and who may do more or less."""
        everybody = sides.decide(side, sides.NOBODY)
        row: _Rows = {0: everybody} if everybody else {}
        asked = {number for term in side.asked for number in self._meaning.get(term, ())}
        for number in asked:
            opened = sides.decide(side, self._identities[number])
            if opened != everybody:
                row[number] = opened
        return row

    def _mirror(self, delta: changes.Delta, used: _Used) -> dict[plan.Place, ports.Ports | None]:
        """What pods may say to themselves by way of a Service, where that is otherwise."""
        found: dict[plan.Place, ports.Ports | None] = {}
        touched = [place for place in delta.places if not isinstance(place, terms.Range)]
        for address in (*_addresses(delta), *touched):
            standing = self._standing(address)
            for direction in _FORWARDED:
                place, opened = plan.mirror(address, direction), None
                of = plan.class_of(standing, direction)
                if of is not None:
                    signature = self.state.signatures.get(address, sides.NOBODY)
                    opened = sides.decide(of[1], signature, itself=True)
                old = self._selves.get(place)
                if old != opened:
                    used.append((plan.profiled(old), plan.profiled(opened)))
                    found[place] = opened
                    changes.put(self._selves, place, opened)
        return found

    def _locate(self, delta: changes.Delta, touched: _Touched) -> None:
        """Where pods of this node are judged, and who is at which address."""
        for address in _addresses(delta):
            standing = self._standing(address)
            for direction in _DIRECTIONS:
                place, of = plan.subject(address, direction), plan.class_of(standing, direction)
                touched[place] = None
                if standing is not None and (of is not None or self._guarded):
                    verdict = plan.judged(of, direction, self._books)
                    touched[place] = nft.Element(*place, verdict, str(standing.pod.key))
        for where, (_, signature) in delta.places.items():
            place = plan.location(where)
            touched[place] = None
            if signature is not None:
                identity = layout.identity(self._books.identities[signature])
                touched[place] = nft.Element(*place, identity, self._name(where))

    def _standing(self, address: terms.Address) -> resolve.Standing | None:
        """The pod of this node that has an address now."""
        point = self.state.at(address)
        pod = point.pod if point is not None else None
        return self.state.standings.get(pod.key) if pod is not None else None

    def _name(self, where: resolve.Place) -> str:
        point = None if isinstance(where, terms.Range) else self.state.at(where)
        if point is None:
            return ""
        return str(point.pod.key) if point.pod is not None else point.node.name if point.node else ""

    def _difference(self, touched: _Touched) -> Difference:
        deleted, added = [], []
        for place, element in touched.items():
            had = self._elements.get(place)
            if had == element:
                continue
            if had is not None:
                deleted.append(had)
                del self._elements[place]
            if element is not None:
                added.append(element)
                self._elements[place] = element
        return Difference(tuple(deleted), tuple(added), self.chains(), self.hooks())


def _addresses(delta: changes.Delta) -> dict[terms.Address, None]:
    """Those of pods of this node that stand otherwise."""
    standings = (standing for pair in delta.standings.values() for standing in pair)
    return {a: None for standing in standings if standing is not None for a in standing.pod.addresses}


def _place(element: nft.Element) -> plan.Place:
    return element.of, element.key


class Table:
    """Which class chains and base chains the table has, so that a difference becomes transactions."""

    def __init__(self) -> None:
        self._chains: frozenset[tuple[str, int]] = frozenset()
        self._hooks: frozenset[str] = frozenset()

    def rules(self) -> Counter[str]:
        """How many rules each chain has."""
        things = (*layout.frame(), *layout.chains(self._chains), *layout.bases(self._hooks))
        return Counter(thing.chain for thing in things if isinstance(thing, nft.Rule))

    def fresh(self, book: Ledger) -> tuple[nft.Transaction, ...]:
        """The table made anew, holding exactly what the ledger says."""
        self._chains, self._hooks = book.chains(), book.hooks()
        elements = sorted(book.elements(), key=_of)
        things = (*layout.frame(), *layout.chains(self._chains), *elements, *layout.bases(self._hooks))
        return (nft.replacement(layout.TABLE, things),)

    def change(self, difference: Difference) -> tuple[nft.Transaction, ...]:
        """The commands that take the table there: a transaction, and sometimes one more to clean up after it.

        A packet may have learnt its class, identity or profile before the first, and ask on after it: what
        only such packets ask for goes when they are through. Chains of classes stay for the next ones.
        """
        new = difference.chains - self._chains
        self._chains |= new
        before, self._hooks = self._hooks, difference.hooks
        replaced = {_place(element) for element in difference.added}
        gone = sorted(difference.deleted, key=_of)
        spare = [e for e in gone if e.of in layout.LINGERING and _place(e) not in replaced]
        rest = [e for e in gone if e.of not in layout.LINGERING or _place(e) in replaced]
        come = sorted(difference.added, key=_of)
        commands: tuple[nft.Command, ...] = (
            *map(nft.Add, layout.chains(new)),
            *map(nft.Delete, rest),
            *map(nft.Add, come),
            *map(nft.Add, layout.bases(self._hooks - before)),
            *(nft.Delete(nft.Chain(hook)) for hook in sorted(before - self._hooks)),
        )
        found: tuple[tuple[nft.Command, ...], ...] = (commands, tuple(map(nft.Delete, spare)))
        return tuple(nft.Transaction(layout.TABLE, each) for each in found if each)


def _of(element: nft.Element) -> str:
    return element.of
