"""Whether the table still is what we made it: nft's own listing of it against what was programmed. Pure.

Not compared: comments, and what the kernel writes into sets by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from netemu.netpol import layout
from netemu.wire import listings, nft


def same(listing: Mapping[str, Any], wanted: Iterable[nft.Element], chains: Mapping[str, int]) -> bool:
    """Whether the listed table holds these elements, and as many rules in each chain."""
    if listings.rules(listing) != Counter(chains):
        return False
    expected: dict[str, dict[str, str]] = {}
    for element in wanted:
        expected.setdefault(element.of, {})[_key(element.key)] = element.value
    held = listings.elements(listing)
    names = (held.keys() | expected.keys()) - layout.DYNAMIC
    return all(
        expected.get(name, {}) == {_key(key): entry.value for key, entry in held.get(name, {}).items()}
        for name in names
    )


def _key(text: str) -> str:
    """A range of addresses in the one spelling: nft writes some as prefixes."""
    if "/" not in text:
        return text
    network = ip_network(text)
    return f"{network[0]}-{network[-1]}"
