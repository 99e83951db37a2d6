"""What becomes of a packet: a walk over the elements of a node's table, planned or as the kernel lists them.

Pure. The same look-ups in the same order as `layout`'s rules; of a connection it sees the first packet.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from netemu.netpol import layout, terms
from netemu.wire import nft

PORTED = ("tcp", "udp", "sctp")
Held = Mapping[str, Mapping[str, str]]  # set or map -> key -> value


class Packet(NamedTuple):
    """The first of a connection, after DNAT. `protocol` is tcp, udp, sctp, or another one, without a port."""

    source: terms.Address
    destination: terms.Address
    protocol: str
    port: int = 0


class Step(NamedTuple):
    """What one direction's chains make of it. The numbers are as nft spells them, "" where none was met."""

    direction: str
    accepted: bool
    subject: str = ""  # the class chain
    identity: str = ""
    profile: str = ""


def of(elements: Iterable[nft.Element]) -> dict[str, dict[str, str]]:
    """Planned elements, to be walked over."""
    held: dict[str, dict[str, str]] = {}
    for element in elements:
        held.setdefault(element.of, {})[element.key] = element.value
    return held


def walk(held: Held, packet: Packet, hook: str) -> tuple[Step, ...]:
    """The directions that judge it at a hook (forward, input, output), until one drops it."""
    steps: list[Step] = []
    for direction in layout.DIRECTIONS:
        if direction.hook == hook and all(step.accepted for step in steps):
            steps.append(_judged(held, packet, direction))
    return tuple(steps)


def accepted(held: Held, packet: Packet, hook: str) -> bool:
    """Whether it passes."""
    return all(step.accepted for step in walk(held, packet, hook))


def _judged(held: Held, packet: Packet, direction: layout.Direction) -> Step:
    ends = {"saddr": packet.source, "daddr": packet.destination}
    pod, peer = ends[direction.pod], ends[direction.peer]
    family = layout.IP if pod.version == 4 else layout.IP6
    forwarded = direction in layout.FORWARDED
    selves = held.get(layout.selves(direction.name, family)) if forwarded else None
    own = selves.get(nft.key(packet.source, packet.destination)) if selves else None
    if own is not None:
        return Step(direction.name, _through(held, own, packet), profile=own)
    identity = _within(held.get(layout.ranges(family), {}), peer) or "0:0"
    identity = held.get(layout.peers(family), {}).get(str(peer), identity)
    verdict = held.get(layout.subjects(direction.name, family), {}).get(str(pod))
    if verdict is None:
        guarded = forwarded and _within(held.get(layout.guarded(family), {}), pod) is not None
        return Step(direction.name, not guarded, identity=identity)
    if verdict == f"goto {layout.passed(direction.name)}":
        return Step(direction.name, True, identity=identity)
    chain = verdict.removeprefix("goto ")
    number = chain.rpartition("-")[2]
    decisions = held.get(layout.DECISIONS, {})
    profile = decisions.get(f"{number}:{identity.partition(':')[2]}", decisions.get(f"{number}:0", ""))
    return Step(direction.name, bool(profile) and _through(held, profile, packet), chain, identity, profile)


def _through(held: Held, profile: str, packet: Packet) -> bool:
    if profile == layout.ALL:
        return True
    if packet.protocol not in PORTED:
        return profile in held.get(layout.OTHERS, {})
    if nft.key(profile, packet.protocol, packet.port) in held.get(layout.PORTS, {}):
        return True
    head = nft.key(profile, packet.protocol, "")
    spans = (key.removeprefix(head) for key in held.get(layout.PORT_RANGES, {}) if key.startswith(head))
    return any(int(low) <= packet.port <= int(high) for low, _, high in (s.partition("-") for s in spans))


def _within(spans: Mapping[str, str], address: terms.Address) -> str | None:
    """The value of the range that an address is in."""
    number = int(address)
    for text, value in spans.items():
        low, high = _ends(text)
        if low <= number <= high:
            return value
    return None


@functools.lru_cache(maxsize=4096)
def _ends(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if dash:
        return int(ip_address(low)), int(ip_address(high))
    network = ip_network(text)
    return int(network[0]), int(network[-1])
