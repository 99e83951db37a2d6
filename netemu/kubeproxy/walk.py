"""What becomes of a packet: a walk over a node's Service tables, as the kernel lists them. Pure.

The same look-ups in the same order as `layout`'s rules, with probabilities where those draw a number, and the
reason in words. What it reads are elements; the rules themselves it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from netemu.kubeproxy import affinity, layout
from netemu.wire import listings, nft

Entry = listings.Entry  # an element's value and the comment that leads back to its object
Held = Mapping[str, Mapping[str, Entry]]  # set or map -> key -> entry, of the table of one family


class Packet(NamedTuple):
    """The first of a connection. `link` is what it comes by; "": the node itself sends it."""

    protocol: str
    source: str
    destination: str
    port: int
    link: str = ""


class Chance(NamedTuple):
    """A backend that may get it. `masqueraded`: sees an address of the node's instead of the sender's."""

    address: str
    port: int
    target: str
    probability: Fraction
    masqueraded: bool


class Fate(NamedTuple):
    """`verdict`: sent, refused, dropped, or passed on untouched. `stays`: seconds of affinity, if any."""

    verdict: str
    because: str
    chances: tuple[Chance, ...] = ()
    stays: int = 0
    remembered: str = ""  # the backend that this client has, if the table tells


read = listings.elements  # all sets and maps of libnftables' JSON of one table


def of(elements: Iterable[nft.Element]) -> dict[str, dict[str, Entry]]:
    """The same of planned elements."""
    held: dict[str, dict[str, Entry]] = {}
    for element in elements:
        held.setdefault(element.of, {})[element.key] = Entry(element.value, element.comment)
    return held


def fate(held: Held, packet: Packet, around: layout.Surroundings, own: frozenset[str]) -> Fate:
    """What the tables do with it. `own` are the node's addresses."""
    walk = _Walk(held, packet, around, own)
    key = f"{packet.destination} . {packet.protocol} . {packet.port}"
    if key in walk.get("guarded") and not walk.allowed(key):
        return Fate("dropped", "the source is in none of loadBalancerSourceRanges")
    found = walk.dispatched(key, "vip")
    taken = packet.destination in own and walk.takes_node_ports()
    if found is None and taken:
        found = walk.dispatched(f"{packet.protocol} . {packet.port}", "node")
    if found is not None:
        return found
    if key in walk.get("rejected") or (
        taken and f"{packet.protocol} . {packet.port}" in walk.get("rejected-node-ports")
    ):
        return Fate("refused", "the Service has no endpoints")
    if packet.destination in walk.get("cluster-ips"):
        return Fate("refused", "the Service has no such port")
    if walk.within(packet.destination, "service-ranges"):
        return Fate("dropped", "no Service has this address")
    return Fate("passed on", "it is no Service's")


class _Walk:
    def __init__(self, held: Held, packet: Packet, around: layout.Surroundings, own: frozenset[str]) -> None:
        self._held, self._packet, self._around, self._own = held, packet, around, own

    def get(self, name: str) -> Mapping[str, Entry]:
        return self._held.get(name, {})

    def within(self, address: str, name: str) -> bool:
        return any(covers(text, address) for text in self.get(name))

    def allowed(self, key: str) -> bool:
        ranges = (
            text.removeprefix(f"{key} . ") for text in self.get("allowed") if text.startswith(f"{key} . ")
        )
        return any(covers(text, self._packet.source) for text in ranges)

    def takes_node_ports(self) -> bool:
        destination = self._packet.destination
        if ip_address(destination).is_loopback:
            return False
        return self._around.node_ports is None or self.within(destination, "node-port-addresses")

    def _stranger(self) -> bool | None:
        """Whether it comes from nobody who is a pod; None: that cannot be told."""
        around, packet = self._around, self._packet
        if around.link:
            start, star, _ = around.link.partition("*")
            return not (packet.link.startswith(start) if star else packet.link == start)
        return not self.within(packet.source, "pods") if around.pods else None

    def dispatched(self, key: str, place: str) -> Fate | None:
        if self._packet.source not in self._own and self._stranger() is not False:
            entry = self.get(layout.LOCAL_SERVICES[place]).get(key)
            if entry is not None:
                return self._served(key, entry, "Local policy: only backends of this node, source kept")
        entry = self.get(layout.SERVICES[place]).get(key)
        return self._served(key, entry, "") if entry is not None else None

    def _served(self, key: str, entry: Entry, because: str) -> Fate:
        shape = layout.led_to(int(entry.value, 0))
        if shape is None:
            return Fate("dropped", "Local policy, and no backend on this node")
        address, _, _ = key.rpartition(f"{self._packet.protocol} . {self._packet.port}")
        masqueraded = self._masqueraded(shape.mode)
        slotless = f"{address}{self._packet.port}"
        chances = [
            Chance(
                ip,
                int(port),
                backend.comment,
                Fraction(1, shape.size),
                (masqueraded or self._hairpin(ip)) and (ip not in self._own or not self._packet.link),
            )
            for backend in self._backends(shape, key, slotless)
            for ip, port in [backend.value.split(" . ")]
        ]
        reason = (
            because
            or {
                "always": "external traffic is masqueraded (policy Cluster)",
                "strangers": "cluster traffic",
                "never": "source kept",
            }[shape.mode.masquerade]
        )
        remembered = self._remembered(shape, key) if shape.seconds else ""
        return Fate("sent", reason, tuple(chances), shape.seconds, remembered)

    def _backends(self, shape: layout.Shape, key: str, slotless: str) -> Iterator[Entry]:
        scope = shape.mode.scope
        for slot in range(shape.size):
            if shape.seconds:
                number = self.get(affinity.drawn(scope))[f"{key} . {slot}"].value
                yield self.get(affinity.numbered(scope))[f"{key} . {number}"]
            else:
                yield self.get(shape.mode.backends(self._packet.protocol))[f"{slotless} . {slot}"]

    def _masqueraded(self, mode: layout.Mode) -> bool:
        if mode.masquerade != "strangers":
            return mode.masquerade == "always"
        around, packet = self._around, self._packet
        to_cluster_ip = packet.destination in self.get("cluster-ips")
        if around.masquerade_all and mode is layout.CLUSTER and to_cluster_ip:
            return True
        stranger = self._stranger()
        if stranger is not None:
            return stranger
        return packet.source in self._own and not (to_cluster_ip and mode.place == "vip")

    def _hairpin(self, backend: str) -> bool:
        return backend == self._packet.source and f"{backend} . {backend}" in self.get("hairpins")

    def _remembered(self, shape: layout.Shape, key: str) -> str:
        """IPv6 entries are hashes, which only the kernel computes."""
        identity = self.get(affinity.identities(shape.mode.place)).get(key)
        if identity is None or ":" in self._packet.source:
            return ""
        entry = self.get("affinity").get(f"{self._packet.source} . {int(identity.value, 0)}")
        if entry is None:
            return ""
        backend = self.get(affinity.numbered(shape.mode.scope)).get(f"{key} . {entry.value}")
        return backend.value.replace(" . ", ":") if backend is not None else ""


def covers(text: str, address: str) -> bool:
    """Whether a range as nft spells it (`10.0.0.0/8`, `10.0.0.1-10.0.0.9`) holds the address."""
    low, dash, high = text.partition("-")
    one = ip_address(address)
    if dash:
        return int(ip_address(low)) <= int(one) <= int(ip_address(high))
    return one in ip_network(text)
