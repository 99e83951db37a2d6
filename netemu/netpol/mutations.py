"""Every way to break a node's table in one place, as nft text: would a test of policies notice?

Pure. An agent that runs puts its table right again within `agent.CHECK_INTERVAL` seconds: stop it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netemu.netpol import layout, walk
from netemu.wire import nft


class Mutation(NamedTuple):
    """One break. `apply` and `undo` are nft documents of one transaction each.

    where   the set or chain, and the key or rule
    what    gone, or what stands there instead
    held    the elements afterwards (for `walk`); None when it is a rule that is broken
    """

    where: str
    what: str
    apply: str
    undo: str
    held: walk.Held | None


def mutations(held: walk.Held) -> Iterator[Mutation]:
    """All breaks of a table with these elements, planned or listed, one after another."""
    yield from _elements(held)
    yield from _rules(held)


def _elements(held: walk.Held) -> Iterator[Mutation]:
    for of in sorted(held.keys() - layout.DYNAMIC):
        for key, value in sorted(held[of].items()):
            element = nft.Element(of, key, value)
            yield _element(held, element, None)
            for other in _instead(held, of, value):
                if other != value:
                    yield _element(held, element, other)


def _instead(held: walk.Held, of: str, value: str) -> Iterator[str]:
    """What could stand there by mistake: everything, nothing, or what stands elsewhere in the same map."""
    if of == layout.DECISIONS or "-selves" in of:
        yield from (layout.ALL, layout.NONE)
    others = sorted(set(held[of].values()) - {value})
    if value:
        yield from others[:1]
    if value.startswith("goto "):
        yield f"goto {layout.passed(of.rstrip('46'))}"


def _element(held: walk.Held, element: nft.Element, instead: str | None) -> Mutation:
    of, key, value, _ = element
    rest = {k: v for k, v in held[of].items() if k != key}
    apply: tuple[nft.Command, ...] = (nft.Delete(element),)
    undo: tuple[nft.Command, ...] = (nft.Add(element),)
    if instead is not None:
        other = nft.Element(of, key, instead)
        apply, undo = (*apply, nft.Add(other)), (nft.Delete(other), *undo)
        rest[key] = instead
    what = "gone" if instead is None else f"{instead} instead of {value}"
    return Mutation(f"{of} {{ {key} }}", what, _text(apply), _text(undo), {**held, of: rest})


def _rules(held: walk.Held) -> Iterator[Mutation]:
    """Each rule of each chain missing: the chain is written anew without it."""
    rules: dict[str, list[nft.Rule]] = {}
    for thing in (*layout.frame(), *layout.chains(_classes(held))):
        if isinstance(thing, nft.Rule):
            rules.setdefault(thing.chain, []).append(thing)
    for chain, every in rules.items():
        whole = _chain(chain, every)
        for index, rule in enumerate(every):
            rest = [other for at, other in enumerate(every) if at != index]
            yield Mutation(f"{chain}: {rule.text}", "gone", _chain(chain, rest), whole, None)


def _classes(held: walk.Held) -> Iterator[tuple[str, int]]:
    found = set()
    for direction in layout.DIRECTIONS:
        for family in layout.FAMILIES:
            for verdict in held.get(layout.subjects(direction.name, family), {}).values():
                number = verdict.rpartition("-")[2]
                if verdict != f"goto {layout.passed(direction.name)}":
                    found.add((direction.name, int(number, 16)))
    yield from found


def _chain(name: str, rules: list[nft.Rule]) -> str:
    return _text((nft.Flush(nft.Chain(name)), *map(nft.Add, rules)))


def _text(commands: tuple[nft.Command, ...]) -> str:
    return str(nft.Transaction(layout.TABLE, commands))
