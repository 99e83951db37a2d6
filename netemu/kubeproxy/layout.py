"""The proxy's tables without their contents: sets, maps, chains and rules that are the same for any cluster.

No rule, chain or anonymous set belongs to one Service: those load quadratically. Services and backends are
elements of maps whose values are data (adding one costs the same at any size). The only verdict map, `kinds`,
has an element for each *number of backends* in use, not for each Service. `ip` and `ip6` have the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from netemu.kubeproxy import affinity
from netemu.wire import nft

TABLE = "netemu-proxy"
PROTOCOLS = ("tcp", "udp", "sctp")
MASQUERADE = 0x4000  # kube-proxy's mark: whoever reads packets of a cluster knows it

#   prerouting, output (dstnat): services ──► kinds: mode and number of backends ──► cluster-3: slot ──► dnat
#   prerouting, output (after all dnat): rejects ──► reject or drop what nobody has translated
#   postrouting (srcnat): masquerading ──► the mark, or a pod that reaches itself
#
# All of them are nat chains, which only the first packet of a connection comes to: the others pay nothing.


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What differs between IPv4 and IPv6."""

    name: str
    address: str
    loopback: str
    unreachable: str

    @property
    def table(self) -> nft.Table:
        return nft.Table(self.name, TABLE, "netemu Services: elements lead back to namespace/name:port")

    @property
    def source(self) -> str:
        return f"{self.name} saddr"

    @property
    def vip(self) -> str:
        """The packet's fields that name a Service port at an address."""
        return f"{self.name} daddr . meta l4proto . th dport"


NODE_PORT = "meta l4proto . th dport"  # the fields that name a node port

IP = Family("ip", "ipv4_addr", "127.0.0.0/8", "icmp type port-unreachable")
IP6 = Family("ip6", "ipv6_addr", "::1", "icmpv6 type port-unreachable")
FAMILIES = (IP, IP6)
TABLES = tuple((family.name, TABLE) for family in FAMILIES)


@dataclass(frozen=True, slots=True, eq=False)
class Mode:
    """How a Service port is served. `place` tells vip from node port; `scope` names the maps of backends.

    `masquerade`: `strangers` (whoever is no pod), `always`, or `never` (the backend sees the client).
    """

    number: int
    name: str
    place: str
    scope: str
    masquerade: str

    def backends(self, protocol: str) -> str:
        """The map from a Service port and a slot to the backend there."""
        return f"{self.scope}-{protocol}"


CLUSTER = Mode(1, "cluster", "vip", "backends", "strangers")
EXTERNAL = Mode(2, "external", "vip", "backends", "always")
LOCAL = Mode(3, "local", "vip", "local-backends", "never")
NODE = Mode(4, "node", "node", "node-backends", "always")
NODE_CLUSTER = Mode(5, "node-cluster", "node", "node-backends", "strangers")
NODE_LOCAL = Mode(6, "node-local", "node", "local-node-backends", "never")
MODES = {mode.number: mode for mode in (CLUSTER, EXTERNAL, LOCAL, NODE, NODE_CLUSTER, NODE_LOCAL)}

# Local policy is a layer above: what the LOCAL maps hold counts first, and only for sources from outside.
SERVICES = {"vip": "services", "node": "node-ports"}
LOCAL_SERVICES = {"vip": "local-services", "node": "local-node-ports"}
REJECTED = {"vip": "rejected", "node": "rejected-node-ports"}
INTERVALS = frozenset({"pods", "node-port-addresses", "service-ranges", "allowed"})
KIND_MAPS = frozenset((*SERVICES.values(), *LOCAL_SERVICES.values()))
SLOTS = frozenset(
    name
    for mode in MODES.values()
    for name in (
        *(mode.backends(protocol) for protocol in PROTOCOLS),
        affinity.drawn(mode.scope),
        affinity.numbered(mode.scope),
    )
)
MARK_MAPS = KIND_MAPS | {affinity.identities("vip"), affinity.identities("node")}
DROP = 0xFF0000  # the kind of a Service port that has backends, but none that this traffic may reach


class Shape(NamedTuple):
    """One chain: a mode for so many backends. Made when first needed, kept until the table is made anew."""

    mode: Mode
    size: int
    seconds: int = 0  # how long a client stays with its backend; 0: no affinity

    @property
    def kind(self) -> int:
        """The mark which says so between the two look-ups."""
        if self.seconds:
            return self.mode.number << 29 | self.seconds << 12 | self.size
        return self.mode.number << 16 | self.size

    @property
    def chain(self) -> str:
        name = f"{self.mode.name}-{self.size}"
        return f"{name}-for-{self.seconds}s" if self.seconds else name


def led_to(kind: int) -> Shape | None:
    """The chain that a kind leads to; None for DROP, which needs none."""
    if kind == DROP:
        return None
    if kind >> 29:
        return Shape(MODES[kind >> 29], kind & 0xFFF, kind >> 12 & 0x1FFFF)
    return Shape(MODES[kind >> 16], kind & 0xFFFF)


class Surroundings(NamedTuple):
    """What is known around the tables of one family: ranges of pods and Services, and choices.

    A source is a pod's when it is in `pods`, or comes by `link` (a name, or its beginning and *). With
    neither nobody is known to be a pod. `node_ports`: ranges of the node's addresses that take node ports
    (None: all). `addresses` are the node's own, as its Node tells.
    """

    pods: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    link: str = ""
    masquerade_all: bool = False
    node_ports: tuple[str, ...] | None = None
    addresses: tuple[str, ...] = ()
    localhost_node_ports: bool = True  # iptables alone: node ports at 127.0.0.1, too
    tcp_be_liberal: bool = False  # iptables alone: segments out of the window are not dropped

    def stranger(self, family: Family) -> str:
        """Matches who is no pod; empty when that cannot be told."""
        if self.link:
            return f'iifname != "{self.link}"'
        return f"{family.source} != @pods" if self.pods else ""


def frame(family: Family, around: Surroundings) -> Iterator[nft.Thing]:
    """All that is constant, in the order in which it can be made."""
    yield from _sets(family)
    for name, hook in BASES:
        yield nft.Chain(name, hook)
    for name in ("services", "rejects", "masquerading"):
        yield nft.Chain(name)
    yield from (nft.Rule(name, text, comment) for name, text, comment in _rules(family, around))
    yield from (nft.Element("pods", text) for text in around.pods)
    yield from (nft.Element("service-ranges", text) for text in around.services)
    yield from (nft.Element("node-port-addresses", text) for text in around.node_ports or ())
    yield nft.Element("kinds", hex(DROP), "drop")


BASES = (
    ("nat-prerouting", nft.Hook("nat", "prerouting", -100)),
    ("nat-output", nft.Hook("nat", "output", -100)),
    ("nat-postrouting", nft.Hook("nat", "postrouting", 100)),
    # Behind destination NAT, ours and others': what is translated by then skips the nat chains that follow.
    ("rest-prerouting", nft.Hook("nat", "prerouting", -90)),
    ("rest-output", nft.Hook("nat", "output", -90)),
)


def _sets(family: Family) -> Iterator[nft.Set]:
    vip = f"type {family.address} . inet_proto . inet_service"
    port = "type inet_proto . inet_service"
    yield nft.Set("pods", f"type {family.address}", flags=("interval",))
    yield nft.Set("service-ranges", f"type {family.address}", flags=("interval",))
    yield nft.Set("node-port-addresses", f"type {family.address}", flags=("interval",))
    yield nft.Set("cluster-ips", f"type {family.address}")
    yield nft.Set("guarded", vip)
    yield nft.Set("allowed", f"{vip} . {family.address}", flags=("interval",))
    yield nft.Set("rejected", vip)
    yield nft.Set("rejected-node-ports", port)
    yield nft.Set("hairpins", f"type {family.address} . {family.address}")
    yield nft.Map("kinds", "type mark", to="verdict")
    for services in (SERVICES, LOCAL_SERVICES):
        yield nft.Map(services["vip"], vip, to="mark")
        yield nft.Map(services["node"], port, to="mark")
    # One map a protocol: nft takes `tcp dport` for "TCP only", and cannot read back a value of `th dport`.
    for protocol in PROTOCOLS:
        of, to = f"{protocol} dport . numgen random mod 2", f"{family.name} daddr . {protocol} dport"
        for mode in (CLUSTER, LOCAL):
            yield nft.Map(mode.backends(protocol), f"typeof {family.name} daddr . {of}", to=to)
        for mode in (NODE, NODE_LOCAL):
            yield nft.Map(mode.backends(protocol), f"typeof {of}", to=to)
    yield from affinity.sets(family.name, (("vip", vip), ("node", port)))
    for mode in (CLUSTER, LOCAL):
        yield from affinity.backends(mode.scope, family.address, family.vip, vip)
    for mode in (NODE, NODE_LOCAL):
        yield from affinity.backends(mode.scope, family.address, NODE_PORT, port)


def _rules(family: Family, around: Surroundings) -> Iterator[tuple[str, str, str]]:
    source, vip = family.source, family.vip
    chosen = "" if around.node_ports is None else f" {family.name} daddr @node-port-addresses"
    here = f"{family.name} daddr != {family.loopback}{chosen} fib daddr type local"
    outsider = f"fib saddr type != local {around.stranger(family)}".strip()
    reject = f"reject with {family.unreachable}"
    dispatch = "meta mark vmap @kinds"  # in the rule that set the mark: a mark of somebody else's is no kind
    yield "nat-prerouting", "jump services", ""
    yield "nat-output", "jump services", ""
    yield "nat-postrouting", "jump masquerading", ""
    yield "services", f"{vip} @guarded {vip} . {source} != @allowed drop", "loadBalancerSourceRanges"
    yield "services", f"{outsider} meta mark set {vip} map @local-services {dispatch}", "Local, from outside"
    yield "services", f"meta mark set {vip} map @services {dispatch}", ""
    yield (
        "services",
        f"{here} {outsider} meta mark set {NODE_PORT} map @local-node-ports {dispatch}",
        "Local, from outside",
    )
    yield "services", f"{here} meta mark set {NODE_PORT} map @node-ports {dispatch}", ""
    yield "rest-prerouting", "jump rejects", ""
    yield "rest-output", "jump rejects", ""
    yield "rejects", f"{vip} @rejected {reject}", "no endpoints"
    yield "rejects", f"{here} {NODE_PORT} @rejected-node-ports {reject}", "no endpoints"
    yield "rejects", f"{family.name} daddr @cluster-ips {reject}", "no such port"
    if around.services:
        yield "rejects", f"{family.name} daddr @service-ranges drop", "no such Service"
    yield "masquerading", affinity.CLEAN, ""
    marked = f"meta mark & {MASQUERADE:#x} == {MASQUERADE:#x}"
    yield "masquerading", f"{marked} meta mark set meta mark ^ {MASQUERADE:#x} masquerade fully-random", ""
    pair = f"{family.name} saddr . {family.name} daddr"
    yield "masquerading", f"ct status dnat {pair} @hairpins masquerade fully-random", "a pod reaches itself"


def chain(family: Family, shape: Shape, around: Surroundings) -> Iterator[nft.Thing]:
    """The chain that sends a connection to one of `shape.size` backends, and the kind that leads to it."""
    yield nft.Chain(shape.chain)
    for rule in _served(family, shape, tuple(_masquerade(family, shape.mode, around))):
        yield nft.Rule(shape.chain, rule)
    yield nft.Element("kinds", hex(shape.kind), f"goto {shape.chain}")


def _masquerade(family: Family, mode: Mode, around: Surroundings) -> Iterator[str]:
    mark = f"meta mark set {MASQUERADE:#x}"
    yield mark if mode.masquerade == "always" else "meta mark set 0x0"
    if mode.masquerade != "strangers":
        return
    stranger = around.stranger(family)
    if stranger:
        yield f"{stranger} {mark}"
    else:  # only the node knows itself; it may reach beyond a Local policy, and is answered through itself
        vip = f"{family.name} daddr != @cluster-ips " if mode.place == "vip" else ""
        yield f"{vip}fib saddr type local {mark}"
    if around.masquerade_all and mode is CLUSTER:
        yield f"{family.name} daddr @cluster-ips {mark}"


def _served(family: Family, shape: Shape, masquerade: tuple[str, ...]) -> Iterator[str]:
    mode = shape.mode
    if shape.seconds:
        fields = family.vip if mode.place == "vip" else NODE_PORT
        sticky = affinity.Sticky(family.name, mode.place, fields, mode.scope, shape.size, shape.seconds)
        yield from affinity.rules(sticky, masquerade)
        return
    yield from masquerade
    for protocol in PROTOCOLS:
        fields = f"{protocol} dport . numgen random mod {shape.size}"
        if mode.place == "vip":
            fields = f"{family.name} daddr . {fields}"
        yield f"dnat {family.name} to {fields} map @{mode.backends(protocol)}"


def chains(family: Family, shapes: Iterable[Shape], around: Surroundings) -> Iterator[nft.Thing]:
    for shape in sorted(shapes, key=lambda shape: shape.kind):
        yield from chain(family, shape, around)
