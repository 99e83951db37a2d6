"""From what a node has to hold to the elements of its table. Pure.

Classes, identities and profiles get numbers; elements of the same wanted state are always the same ones, but
for the numbers, which `Books` keeps stable from one state to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netemu.netpol import layout, numbers, ports, resolve, sides, terms
from netemu.wire import nft

LAST_CLASS, LAST_IDENTITY, LAST_PROFILE = 0xFFFE, 0xFFFF, 0xFFFF
Class = tuple[str, sides.Side]  # direction and what the pod is under
_SIDES = {layout.EGRESS: "egress", layout.TO_NODE: "to_node", layout.INGRESS: "ingress"}
Place = tuple[str, str]  # set, key: there is at most one element at each


class Books:
    """The numbers in use: of classes, of identities (by signature) and of profiles (by ports)."""

    def __init__(self) -> None:
        self.classes: numbers.Numbers[Class] = numbers.Numbers(1, LAST_CLASS)
        self.identities: numbers.Numbers[sides.Signature] = numbers.Numbers(1, LAST_IDENTITY)
        self.profiles: numbers.Numbers[ports.Ports] = numbers.Numbers(3, LAST_PROFILE, inherit=False)

    def profile(self, opened: ports.Ports) -> str:
        if opened == ports.ALL:
            return layout.ALL
        return layout.profile(self.profiles[opened]) if opened else layout.NONE


def family(address: terms.Address | terms.Network) -> layout.Family:
    return layout.IP if address.version == 4 else layout.IP6


def class_of(standing: resolve.Standing | None, direction: str) -> Class | None:
    """None: nothing that a pod does in that direction is dropped."""
    side = getattr(standing, _SIDES[direction]) if standing is not None else None
    return (direction, side) if side else None


def profiled(opened: ports.Ports | None) -> ports.Ports | None:
    """What needs a profile of its own; None: nothing, or one that is always there."""
    return None if opened in (None, ports.ALL, ports.NONE) else opened


def subject(address: terms.Address, direction: str) -> Place:
    """Where it says how packets of the pod at an address are judged."""
    return layout.subjects(direction, family(address)), str(address)


def judged(of: Class | None, direction: str, books: Books) -> str:
    """The verdict that stands there."""
    if of is None:
        return f"goto {layout.passed(direction)}"
    return f"goto {layout.class_chain(direction, books.classes[of])}"


def mirror(address: terms.Address, direction: str) -> Place:
    """Where it says what the pod at an address may say to itself by way of a Service."""
    return layout.selves(direction, family(address)), nft.key(address, address)


def location(where: resolve.Place) -> Place:
    """Where it says who is at an address, or in a range of them."""
    if isinstance(where, terms.Range):
        return layout.ranges(family(where.first)), f"{where.first}-{where.last}"
    return layout.peers(family(where)), str(where)


def profile(opened: ports.Ports, number: str) -> Iterator[nft.Element]:
    """What a profile lets through."""
    for protocol, low, high in opened.boxes():
        if low == high:
            yield nft.Element(layout.PORTS, nft.key(number, protocol, low))
        else:
            yield nft.Element(layout.PORT_RANGES, nft.key(number, protocol, f"{low}-{high}"))
    if opened.others:
        yield nft.Element(layout.OTHERS, number)


def guard(ranges: Iterable[terms.Network]) -> Iterator[nft.Element]:
    """Addresses that are pods of this node, known or not."""
    for network in ranges:
        yield nft.Element(layout.guarded(family(network)), str(network))
