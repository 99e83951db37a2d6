"""What is programmed, Service by Service, and what a change of some adds and takes away. Pure bookkeeping.

Two Services may want one claim (an external address and port): the first keeps it, the other gets it when the
first lets go. Some elements serve several Services (a pod reaching itself): the last one removes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netemu.api import meta
from netemu.kubeproxy import layout, plan
from netemu.wire import nft

Place = tuple[layout.Family, str, str]  # family, set, key: there is at most one element at each
Elements = dict[Place, plan.Programmed]


class Difference(NamedTuple):
    """Elements to delete and, after that, to add."""

    deleted: tuple[plan.Programmed, ...] = ()
    added: tuple[plan.Programmed, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.deleted or self.added)


class Ledger:
    """Holds what each Service has in the table. Elements themselves are not kept: they follow from that."""

    def __init__(self, node: str, addresses: tuple[str, ...] = ()) -> None:
        """Of the node called so, which has these addresses."""
        self._here = plan.Here(node, addresses)
        self._wanted: dict[meta.Key, plan.Wanted] = {}
        self._holders: dict[plan.Claim, meta.Key] = {}
        self._waiting: dict[plan.Claim, set[meta.Key]] = {}
        self._shared: Counter[Place] = Counter()

    def get(self, key: meta.Key) -> plan.Wanted | None:
        return self._wanted.get(key)

    def items(self) -> Iterable[tuple[meta.Key, plan.Wanted]]:
        return self._wanted.items()

    def refused(self, key: meta.Key) -> frozenset[plan.Claim]:
        """What this Service wants and another one has."""
        if not self._waiting:
            return frozenset()
        return frozenset(claim for claim, keys in self._waiting.items() if key in keys)

    def holder(self, claim: plan.Claim) -> meta.Key | None:
        return self._holders.get(claim)

    def elements(self) -> Iterator[plan.Programmed]:
        """All that the tables hold now, each element once."""
        seen: set[Place] = set()
        for key in self._wanted:
            for programmed in self._elements(key):
                if programmed.element.of in SHARED:
                    at = _place(programmed)
                    if at in seen:
                        continue
                    seen.add(at)
                yield programmed

    def fill(self, wanted: Mapping[meta.Key, plan.Wanted | None]) -> Iterator[plan.Programmed]:
        """As `update` of an empty ledger: everything that is to be added, to be taken to the last one."""
        assert not self._wanted
        self._wanted = {key: one for key, one in wanted.items() if one is not None}
        for key in sorted(self._wanted):
            self._claim(key, {})
        return self._filled()

    def _filled(self) -> Iterator[plan.Programmed]:
        """Not kept, for they take more room than all that they are made from."""
        shared = self._shared
        for key in self._wanted:
            for programmed in self._elements(key):
                if programmed.element.of in SHARED:
                    at = _place(programmed)
                    shared[at] += 1
                    if shared[at] > 1:
                        continue
                yield programmed

    def update(self, wanted: Mapping[meta.Key, plan.Wanted | None]) -> Difference:
        """These Services are to be so (None: gone). The ledger then holds it as programmed."""
        before: Elements = {}
        after: Elements = {}
        counts = Counter[Place]()
        affected = sorted({*wanted, *self._heirs(wanted)})
        for key in affected:
            self._collect(key, before, counts, -1)
        held = {claim: key for key in wanted for claim in self._let_go(key)}
        for key, value in wanted.items():
            if value is None:
                self._wanted.pop(key, None)
            else:
                self._wanted[key] = value
        for key in affected:
            self._claim(key, held)
        for key in affected:
            self._collect(key, after, counts, +1)
        return self._difference(before, after, counts)

    def _difference(self, before: Elements, after: Elements, counts: Counter[Place]) -> Difference:
        """Shared elements come with their first user, go with their last one, and never change."""
        first, last = set(), set()
        for at, more in counts.items():
            had = self._shared[at]
            self._shared[at] = had + more
            if not had and more:
                first.add(at)
            elif had and not had + more:
                last.add(at)
                del self._shared[at]
        deleted = (p for at, p in before.items() if (at in last if at in counts else after.get(at) != p))
        added = (p for at, p in after.items() if (at in first if at in counts else before.get(at) != p))
        return Difference(tuple(deleted), tuple(added))

    def _collect(self, key: meta.Key, into: Elements, counts: Counter[Place], step: int) -> None:
        for programmed in self._elements(key):
            at = _place(programmed)
            if programmed.element.of in SHARED:
                counts[at] += step
            into[at] = programmed

    def _elements(self, key: meta.Key) -> Iterator[plan.Programmed]:
        wanted = self._wanted.get(key)
        if wanted is not None:
            yield from plan.elements(wanted, self._here, self.refused(key))

    def _heirs(self, changing: Iterable[meta.Key]) -> set[meta.Key]:
        """Those who wait for what these may let go."""
        if not self._waiting:
            return set()
        giving = set(changing)
        return {
            key for claim, keys in self._waiting.items() if self._holders.get(claim) in giving for key in keys
        }

    def _let_go(self, key: meta.Key) -> list[plan.Claim]:
        """What it held is free, what it waited for it waits for no longer. Returns what it held."""
        wanted = self._wanted.get(key)
        held = []
        for claim in plan.claims(wanted) if wanted else ():
            if self._holders.get(claim) == key:
                del self._holders[claim]
                held.append(claim)
            else:
                self._stop_waiting(claim, key)
        return held

    def _claim(self, key: meta.Key, held: Mapping[plan.Claim, meta.Key]) -> None:
        """Take what is free. `held` says who had it until now: he goes first, if he still wants it."""
        wanted = self._wanted.get(key)
        for claim in plan.claims(wanted) if wanted else ():
            holder = self._holders.get(claim)
            if holder is None:
                first = held.get(claim, key)
                holder = first if first != key and self._wants(first, claim) else key
                self._holders[claim] = holder
            if holder == key:
                self._stop_waiting(claim, key)
            else:
                self._waiting.setdefault(claim, set()).add(key)

    def _wants(self, key: meta.Key, claim: plan.Claim) -> bool:
        wanted = self._wanted.get(key)
        return wanted is not None and claim in plan.claims(wanted)

    def _stop_waiting(self, claim: plan.Claim, key: meta.Key) -> None:
        waiting = self._waiting.get(claim)
        if waiting is not None:
            waiting.discard(key)
            if not waiting:
                del self._waiting[claim]


SHARED = frozenset({"hairpins", "cluster-ips"})


def _place(programmed: plan.Programmed) -> Place:
    return programmed.family, programmed.element.of, programmed.element.key


class Tables:
    """Which chains the two tables have, so that a difference becomes transactions."""

    def __init__(self, surroundings: Mapping[str, layout.Surroundings]) -> None:
        self._around = surroundings
        self._shapes: set[tuple[layout.Family, layout.Shape]] = set()

    def rules(self, family: layout.Family) -> Counter[str]:
        """How many rules each chain of the family's table has, but sticky ones: those have no JSON in nft."""
        frame = layout.frame(family, self._around[family.name])
        return _rules((*frame, *self._chains(family, sticky=False)))

    def sets(self, family: layout.Family) -> Iterator[nft.Set]:
        """All sets and maps of the family's table."""
        frame = layout.frame(family, self._around[family.name])
        yield from (thing for thing in frame if isinstance(thing, nft.Set))

    def sticky_rules(self, family: layout.Family) -> Counter[str]:
        """Likewise of chains for session affinity."""
        return _rules(self._chains(family, sticky=True))

    def _chains(self, family: layout.Family, *, sticky: bool) -> Iterator[nft.Thing]:
        mine = (shape for of, shape in self._shapes if of is family and bool(shape.seconds) == sticky)
        return layout.chains(family, mine, self._around[family.name])

    def fresh(self, elements: Iterable[plan.Programmed], portion: int = 0) -> Iterator[str]:
        """Both tables made anew, holding exactly these: documents, to be applied one after another.

        One document if `portion` is 0. Else no more elements than about that go into each, whole Services
        together: nft takes twenty times a document's length in memory.
        """
        self._shapes = set()
        head = "".join(
            str(nft.replacement(family.table, layout.frame(family, self._around[family.name])))
            for family in layout.FAMILIES
        )
        count, held = 0, dict[tuple[layout.Family, str], list[str]]()
        for family, element in elements:
            if portion and count >= portion and element.of == plan.FIRST:
                yield head + self._document(held)
                head, count, held = "", 0, {}
            of = element.of
            if of in layout.KIND_MAPS:
                self._shape(family, int(element.value, 16), held)
            texts = held.get((family, of))
            if texts is None:
                texts = held[family, of] = []
            texts.append(str(element))
            count += 1
        yield head + self._document(held)

    def _shape(
        self, family: layout.Family, kind: int, held: dict[tuple[layout.Family, str], list[str]]
    ) -> None:
        """The chain for it, unless it is there."""
        shape = layout.led_to(kind)
        if shape is not None and (family, shape) not in self._shapes:
            self._shapes.add((family, shape))
            chain = layout.chain(family, shape, self._around[family.name])
            text = str(nft.Transaction(family.table, tuple(map(nft.Add, chain))))
            held.setdefault((family, ""), []).append(text)

    def _document(self, held: Mapping[tuple[layout.Family, str], list[str]]) -> str:
        chains = "".join(text for (_, of), texts in held.items() if not of for text in texts)
        added = (
            f"add element {family.table} {of} {{ {', '.join(texts)} }}\n"
            for (family, of), texts in held.items()
            if of
        )
        return chains + "".join(added)

    def change(self, difference: Difference) -> tuple[tuple[nft.Transaction, ...], ...]:
        """The commands that take the tables there, in one document after another.

        A packet may have read how many backends there were before the first, and draw a slot after it: slots
        that nobody draws any more go in a document of their own, when such packets are through.
        """
        new = set(_shapes(difference.added)) - self._shapes
        self._shapes |= new
        replaced = {_place(p) for p in difference.added}
        first, last = [], []
        for family in layout.FAMILIES:
            chains = layout.chains(family, (s for f, s in new if f is family), self._around[family.name])
            gone = sorted((p for p in difference.deleted if p.family is family), key=_set)
            spare = [p.element for p in gone if p.element.of in layout.SLOTS and _place(p) not in replaced]
            rest = [p.element for p in gone if p.element.of not in layout.SLOTS or _place(p) in replaced]
            come = sorted((p.element for p in difference.added if p.family is family), key=_of)
            commands: tuple[nft.Command, ...] = (
                *map(nft.Add, chains),
                *map(nft.Delete, rest),
                *map(nft.Add, come),
            )
            first.append(nft.Transaction(family.table, commands))
            last.append(nft.Transaction(family.table, tuple(map(nft.Delete, spare))))
        documents = (tuple(t for t in one if t) for one in (first, last))
        return tuple(document for document in documents if document)


def _rules(things: Iterable[nft.Thing]) -> Counter[str]:
    return Counter(thing.chain for thing in things if isinstance(thing, nft.Rule))


def _set(programmed: plan.Programmed) -> str:
    return programmed.element.of


def _of(element: nft.Element) -> str:
    return element.of


def _shapes(added: Iterable[plan.Programmed]) -> Iterator[tuple[layout.Family, layout.Shape]]:
    for family, element in added:
        if element.of in layout.KIND_MAPS:
            shape = layout.led_to(int(element.value, 16))
            if shape is not None:
                yield family, shape
