"""Session affinity without a rule for any Service: which client had which backend, in one map a table.

A backend of a sticky Service port has a number, never given twice; a client's entry names a number. An entry
whose number leads nowhere any more is replaced by the packet that finds it: nothing has to be searched or
removed when backends go. Entries are by source address and Service port, whatever address was dialled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from netemu.wire import nft

SIZE_LIMIT = 4095  # backends that one sticky Service port draws from; more would not fit beside the timeout
ENTRIES = 262144  # clients remembered at once, in one family; later ones are served, but not remembered
NUMBERS = 0x7E00 << 16  # numbers begin here, so that they are no priority that somebody else sets
CLIENTS = "affinity"  # the map of clients
DYNAMIC = frozenset({CLIENTS})  # written by packets, not by the proxy

Address = tuple[str, int]


class Numbers(NamedTuple):
    """Who has which number, of one Service port in one family; `last` was given most recently."""

    identity: int
    last: int = 0
    held: tuple[tuple[Address, int], ...] = ()


def renumber(before: Numbers, backends: Iterable[Address]) -> Numbers:
    """Who stays keeps his number; who comes, even if he was there long ago, gets a new one."""
    had, last = dict(before.held), before.last
    held = []
    for backend in dict.fromkeys(backends):
        number = had.get(backend)
        if number is None:
            number = last = last + 1
        held.append((backend, number))
    return Numbers(before.identity, last, tuple(held))


def recalled(
    identified: Mapping[str, str], numbered_: Mapping[str, str], entries: Mapping[str, str]
) -> dict[str, Numbers]:
    """What a table of an earlier proxy says: numbers by Service port as dialled, `10.96.0.1 . tcp . 80`.

    `identified`: dialled -> identity; `numbered_`: dialled . number -> backend; `entries`: client -> number.
    Numbers that clients remember are not given again, either.
    """
    last = max(map(meant, entries.values()), default=0)
    held: dict[str, dict[Address, int]] = {}
    for key, backend in numbered_.items():
        dialled, _, number = key.rpartition(" . ")
        ip, _, port = backend.rpartition(" . ")
        held.setdefault(dialled, {})[ip, int(port)] = meant(number)
    return {
        dialled: Numbers(
            int(identity, 0),
            max(last, *held.get(dialled, {}).values(), 0),
            tuple(held.get(dialled, {}).items()),
        )
        for dialled, identity in identified.items()
    }


def meant(text: str) -> int:
    """The number that is `spelled` so."""
    major, _, minor = text.partition(":")
    return (int(major, 16) - (NUMBERS >> 16)) * 0xFFFF + int(minor, 16)


def spelled(number: int) -> str:
    """As a traffic class: `meta priority` is the second register which nft lets a rule write."""
    major, minor = divmod(number - 1, 0xFFFF)
    return f"{(NUMBERS >> 16) + major:x}:{minor + 1:x}"


def identities(place: str) -> str:
    """The map from what was dialled to the Service port it means; `place` is vip or node."""
    return "identities" if place == "vip" else "node-identities"


def drawn(scope: str) -> str:
    """The map from a slot to the number of the backend there."""
    return f"numbers-{scope}"


def numbered(scope: str) -> str:
    """The map from a number to the backend that has it."""
    return f"numbered-{scope}"


def sets(family: str, places: Iterable[tuple[str, str]]) -> Iterator[nft.Set]:
    """The map of clients, and of Service ports: `places` says (place, type of the key) of each."""
    # nft 1.0.6 loads a key longer than one register (16 bytes) over the value of the same map statement and
    # aborts. So an IPv6 client is 12 bytes of his address and a hash of all of it and the Service port.
    key = f"typeof {_client(family)}"
    yield nft.Map("affinity", key, flags=("dynamic", "timeout"), size=ENTRIES, to="meta priority")
    for place, type_ in places:
        yield nft.Map(identities(place), type_, to="mark")


def backends(scope: str, address: str, fields: str, type_: str) -> Iterator[nft.Set]:
    """The two maps of one scope, whose Service ports are dialled by `fields` of `type_`."""
    yield nft.Map(drawn(scope), f"typeof {fields} . numgen random mod 2", to="meta priority")
    yield nft.Map(numbered(scope), f"{type_} . classid", to=f"{address} . inet_service")


class Sticky(NamedTuple):
    """One chain: `fields` name what was dialled, at a `place`; its backends are `scope`'s, `size` of them."""

    family: str
    place: str
    fields: str
    scope: str
    size: int
    seconds: int


def rules(chain: Sticky, masquerade: tuple[str, ...]) -> Iterator[str]:
    """A new connection goes where its client's last one went, if that backend still is one of these.

    The mark is the Service port, the priority the backend's number; `masquerade` then sets the mark for good.
    """
    family, fields, client = chain.family, chain.fields, _client(chain.family)
    entry = f"{client} timeout {chain.seconds}s : meta priority"
    send = f"dnat {family} to {fields} . meta priority map @{numbered(chain.scope)}"
    yield "meta priority set 0:0"
    yield from _identify(chain)
    # one rule: without an entry it ends at the look-up; with one, the entry's time begins anew
    yield f"meta priority set {client} map @affinity update @affinity {{ {entry} }}"
    yield from masquerade
    yield from (f"meta l4proto {protocol} {send}" for protocol in ("tcp", "udp", "sctp"))
    yield from _identify(chain)
    yield f"delete @affinity {{ {client} : 0:0 }}"  # it names somebody who is gone
    yield f"meta priority set {fields} . numgen random mod {chain.size} map @{drawn(chain.scope)}"
    yield f"add @affinity {{ {entry} }}"
    yield from masquerade
    yield from (f"meta l4proto {protocol} {send}" for protocol in ("tcp", "udp", "sctp"))


def kept(listing: Mapping[str, Any]) -> Iterator[str]:
    """Clients with their numbers, and how long they still stay, as elements of a new map.

    `listing` is what libnftables' JSON tells of the map.
    """
    for entry in listing["nftables"]:
        for key, number in entry.get("map", {}).get("elem", ()):
            client = " . ".join(map(str, key["elem"]["val"]["concat"]))
            timeout, left = key["elem"]["timeout"], key["elem"].get("expires", 0)
            if left:
                yield f"{client} timeout {timeout}s expires {left}s : {number}"


# The number has done its duty when the connection is translated; queueing disciplines are not to see it.
CLEAN = f"meta priority >= {NUMBERS >> 16:x}:0 meta priority set 0:0"


def _identify(chain: Sticky) -> Iterator[str]:
    yield f"meta mark set {chain.fields} map @{identities(chain.place)}"
    if chain.family == "ip6":
        yield "meta mark set jhash ip6 saddr . meta mark mod 0xffffffff seed 0x6e65746d"


def _client(family: str) -> str:
    return "ip saddr . meta mark" if family == "ip" else "@nh,96,96 . meta mark"
