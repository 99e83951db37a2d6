"""Every way to break an element of a node's table, as nft text: would a test of policies notice?

Pure. An agent that runs puts its table right again within `agent.CHECK_INTERVAL` seconds: stop it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netemu.netpol import layout, walk
from netemu.wire import nft


class Mutation(NamedTuple):
    """One break. `apply` and `undo` are nft documents of one transaction each.

    where   the set and the key
    what    gone, or what stands there instead
    held    the elements afterwards (for `walk`)
    """

    where: str
    what: str
    apply: str
    undo: str
    held: walk.Held


def mutations(held: walk.Held) -> Iterator[Mutation]:
    """All breaks of a table with these elements, planned or listed, one after another."""
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


def things(held: walk.Held) -> tuple[nft.Thing, ...]:
    """All but elements of a table with these elements."""
    classes = tuple(_classes(held))
    guarded = any(held.get(layout.guarded(family)) for family in layout.FAMILIES)
    hooks = layout.hooks({direction for direction, _ in classes}, guarded=guarded)
    return (*layout.frame(), *layout.chains(classes), *layout.bases(hooks))


def _classes(held: walk.Held) -> Iterator[tuple[str, int]]:
    found = set()
    for direction in layout.DIRECTIONS:
        for family in layout.FAMILIES:
            for verdict in held.get(layout.subjects(direction.name, family), {}).values():
                number = verdict.rpartition("-")[2]
                if verdict != f"goto {layout.passed(direction.name)}":
                    found.add((direction.name, int(number, 16)))
    yield from found


def _text(commands: tuple[nft.Command, ...]) -> str:
    return str(nft.Transaction(layout.TABLE, commands))
