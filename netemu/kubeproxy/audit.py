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


def rules(listing: Mapping[str, Any]) -> Counter[str]:
    """How many rules each chain has, in libnftables' JSON of a table."""
    return Counter(entry["rule"]["chain"] for entry in listing["nftables"] if "rule" in entry)


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


def same(
    listing: Mapping[str, Any],
    wanted: Iterable[nft.Element],
    chains: Mapping[str, int],
    ignored: Iterable[str],
) -> bool:
    """Whether the listed table holds these elements, and as many rules in each chain."""
    expected: dict[str, set[str]] = defaultdict(set)
    left_out = set(ignored)
    for element in wanted:
        if element.of not in left_out:
            expected[element.of].add(" ".join(_spelled(element)))
    listed = elements(listing)
    kinds = listed.pop("kinds", set())
    for name in left_out:
        listed.pop(name, None)
    return (
        rules(listing) == Counter(chains)
        and bool(kinds)
        and all(
            listed.get(name, set()) == expected.get(name, set()) for name in listed.keys() | expected.keys()
        )
    )


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
