"""Whether a table still is what we made: nft's own listing of it against what was programmed. Pure.

Elements of interval sets are not looked at (nft joins and splits them), nor comments.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netemu.kubeproxy import layout
from netemu.wire import nft

Listing = Mapping[str, Any]


def contents(
    ask: Callable[[str], Mapping[str, Any]], family: layout.Family, chains: Iterable[str]
) -> Listing:
    """What `ask`, which answers nft's list commands in JSON, says of the table's sets, maps and these chains.

    Not the table at once: of a sticky chain's rules libnftables says on stderr that it has no JSON for them.
    """
    name = family.table.name
    commands = [f"list sets {family.name}", f"list maps {family.name}"]
    commands += [f"list chain {family.table} {chain}" for chain in chains]
    entries = [entry for command in commands for entry in ask(command)["nftables"]]
    return {"nftables": [e for e in entries if any(thing.get("table") == name for thing in e.values())]}


def rules(
    ask: Callable[[str], Mapping[str, Any]], family: layout.Family, chains: Iterable[str]
) -> Counter[str]:
    """How many rules each of these chains has."""
    listings = (ask(f"list chain {family.table} {chain}") for chain in chains)
    return Counter(
        entry["rule"]["chain"] for listing in listings for entry in listing["nftables"] if "rule" in entry
    )


def count(text: str) -> int:
    """How many rules nft prints of a chain that is no base chain."""
    return sum(line.startswith("\t\t") for line in text.splitlines())


def elements(listing: Mapping[str, Any]) -> dict[str, set[str]]:
    """The elements of each set and map, by name, in one spelling."""
    found = {}
    for entry in listing["nftables"]:
        for noun in ("set", "map"):
            if noun in entry and "interval" not in entry[noun].get("flags", ()):
                found[entry[noun]["name"]] = {" ".join(_words(e)) for e in entry[noun].get("elem", ())}
    return found


def spelled(
    elements: Iterable[tuple[layout.Family, nft.Element]],
) -> dict[tuple[layout.Family, str], set[str]]:
    """What sets and maps should hold, by family and name, in the spelling of `elements`."""
    found: dict[tuple[layout.Family, str], set[str]] = defaultdict(set)
    for family, element in elements:
        found[family, element.of].add(" ".join(_spelled(element)))
    return found


def _spelled(element: nft.Element) -> list[str]:
    words = element.key.split(" . ")
    if element.of in layout.MARK_MAPS:
        return [*words, str(int(element.value, 16))]  # nft's JSON has marks as numbers
    return words + (element.value.split(" . ") if element.value else [])


def _words(element: Any) -> list[str]:
    """A JSON element as its words: key, then value."""
    if isinstance(element, dict):
        if "elem" in element:
            return _words(element["elem"]["val"])
        if "concat" in element:
            return _words(element["concat"])
        return [str(element)]
    if isinstance(element, list):
        return [word for part in element for word in _words(part)]
    return [str(element)]
