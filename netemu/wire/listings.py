"""What libnftables lists in JSON, read back: the elements of sets and maps, the rules of chains. Pure.

Knows libnftables-json(5); spells keys and values as nft's own text does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from netemu.wire import nft


class Entry(NamedTuple):
    """An element's value (empty in a set), comment, and the packets and bytes of its counter."""

    value: str = ""
    comment: str = ""
    expires: int = 0  # seconds
    packets: int = 0
    bytes: int = 0


def rules(listing: Mapping[str, Any]) -> Counter[str]:
    """How many rules each chain has."""
    return Counter(entry["rule"]["chain"] for entry in listing["nftables"] if "rule" in entry)


def elements(listing: Mapping[str, Any]) -> dict[str, dict[str, Entry]]:
    """The elements of each set and map, by name and key."""
    found = {}
    for entry in listing["nftables"]:
        for noun in ("set", "map"):
            if noun in entry:
                found[entry[noun]["name"]] = dict(map(_entry, entry[noun].get("elem", ())))
    return found


def _entry(element: Any) -> tuple[str, Entry]:
    key, value = element if isinstance(element, list) else (element, "")
    inner = key.get("elem", {}) if isinstance(key, dict) else {}
    counter = inner.get("counter") or {}
    return spelled(inner.get("val", key)), Entry(
        spelled(value),
        inner.get("comment", ""),
        inner.get("expires", 0),
        counter.get("packets", 0),
        counter.get("bytes", 0),
    )


def spelled(value: Any) -> str:
    """As nft's text has it: concatenations by dots, ranges by a dash, prefixes by a slash, verdicts."""
    if isinstance(value, dict):
        if "concat" in value:
            return nft.key(*map(spelled, value["concat"]))
        if "prefix" in value:
            return f"{value['prefix']['addr']}/{value['prefix']['len']}"
        if "range" in value:
            return "-".join(map(spelled, value["range"]))
        return " ".join(
            word for verb, of in value.items() for word in (verb, (of or {}).get("target", "")) if word
        )
    return str(value)
