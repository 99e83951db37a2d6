"""The policies' table: its sets, maps, chains and constant rules. Pure; knows no Kubernetes.

Everything that varies is an element, so a packet costs the same few look-ups under one policy or a thousand:

    packet of a new connection, after DNAT (forward; from a pod to its node: input)
      │  its peer's address   ── peers, ranges ──► identity  (who the peer is, as far as rules ask)   0:2a
      │  its pod's address    ── egress, ingress ► class     (what the pod is under), a chain each  ┐
      │                                            class | identity                                ┘ 1b:2a
      ├─ decisions: class and identity ──► profile; else class alone (whoever the peer is)           ffff:3
      └─ ports: profile, protocol, port ──► let through; else counted, logged, dropped

The number is carried in the packet's priority, a register no one else relies on before a packet leaves: marks
are kube-proxy's. Only a connection's first packet is judged, so only that one leaves with priority none; and
none comes here at all while no pod of the node is under a policy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from netemu.wire import nft

TABLE = nft.Table("inet", "netemu-policy", "netemu: network policies")
LOG_GROUP = 158  # nfnetlink_log group that tells of drops
LOGGED_BYTES = 128  # of each packet: enough for the longest headers
PROFILE = 0xFFFF  # the upper half of a profile's number; classes are below it
ALL, NONE = "ffff:1", "ffff:2"  # the profiles that let everything through, and nothing
NOBODY = "none"
EGRESS, TO_NODE, INGRESS = "egress", "node", "ingress"


class Family(NamedTuple):
    """One address family as nft spells it: `suffix` of its sets and maps."""

    name: str
    kind: str
    suffix: str


IP, IP6 = Family("ip", "ipv4_addr", "4"), Family("ip6", "ipv6_addr", "6")
FAMILIES = (IP, IP6)


class Direction(NamedTuple):
    """Where the pod and its peer stand in a packet, and the hook that sees it. `drops`: where they count."""

    name: str
    pod: str
    peer: str
    hook: str
    drops: str


# In the order in which a packet meets them. Traffic to a pod from its own node leaves by the output hook,
# where nobody stops it.
DIRECTIONS = (
    Direction(EGRESS, "saddr", "daddr", "forward", EGRESS),
    Direction(TO_NODE, "saddr", "daddr", "input", EGRESS),
    Direction(INGRESS, "daddr", "saddr", "forward", INGRESS),
)
FORWARDED = tuple(direction for direction in DIRECTIONS if direction.hook == "forward")
# What a hook hands to which chain. A connection is judged once: its later packets, replies, errors about it
# pass by one comparison. Tunnels between nodes are not tracked; what is in them is judged when it comes out.
JUDGES = {"forward": ("new,invalid,untracked", "forwarded"), "input": ("new,invalid", "arrived")}
PRIORITY = 10  # after the filters of most others
DECISIONS, PORTS, PORT_RANGES, OTHERS = "decisions", "ports", "port-ranges", "others"
LINGERING = frozenset({DECISIONS, PORTS, PORT_RANGES, OTHERS})  # a packet may be on its way to them
# Link-local talk, which is no connection: multicast listeners, neighbours and routers.
_LINK = "icmpv6 type { 130-137, 143 } accept"


def peers(family: Family) -> str:
    return f"peers{family.suffix}"


def ranges(family: Family) -> str:
    return f"ranges{family.suffix}"


def subjects(direction: str, family: Family) -> str:
    return f"{direction}{family.suffix}"


def selves(direction: str, family: Family) -> str:
    return f"{direction}-selves{family.suffix}"


def drops(direction: str, family: Family) -> str:
    return f"{direction}-drops{family.suffix}"


def passed(direction: str) -> str:
    """The chain that lets a packet through, to the next direction."""
    return f"{direction}-passed"


def guarded(family: Family) -> str:
    return f"pod-ranges{family.suffix}"


DYNAMIC = frozenset(drops(d.name, f) for d in FORWARDED for f in FAMILIES)


def class_chain(direction: str, number: int) -> str:
    return f"{direction}-{number:x}"


def pair(number: int, identity: int) -> str:
    """A class with an identity, or with 0: whoever."""
    return f"{number:x}:{identity:x}"


def identity(number: int) -> str:
    return f"0:{number:x}"


def profile(number: int) -> str:
    return f"{PROFILE:x}:{number:x}"


def frame() -> Iterator[nft.Thing]:
    """All but class chains and elements."""
    for family in FAMILIES:
        yield nft.Map(peers(family), f"type {family.kind}", to="classid")
        yield nft.Map(ranges(family), f"type {family.kind}", flags=("interval",), to="classid")
        yield nft.Set(guarded(family), f"type {family.kind}", flags=("interval",))
        for direction in DIRECTIONS:
            yield nft.Map(subjects(direction.name, family), f"type {family.kind}")
        for direction in FORWARDED:
            pair = f"type {family.kind} . {family.kind}"
            yield nft.Map(selves(direction.name, family), pair, to="classid")
            counted = ("dynamic", "timeout")
            name, kind = drops(direction.name, family), f"type {family.kind}"
            yield nft.Set(name, kind, flags=counted, size=65535, timeout="1d")
    tuple_ = "type classid . inet_proto . inet_service"
    yield nft.Map(DECISIONS, "type classid", to="classid")
    yield nft.Set(PORTS, tuple_)
    yield nft.Set(PORT_RANGES, tuple_, flags=("interval",))
    yield nft.Set(OTHERS, "type classid")
    for direction in DIRECTIONS:
        yield from _direction(direction)
    for hook, (_, judge) in JUDGES.items():
        yield nft.Chain(judge)
        yield nft.Rule(judge, _LINK)
        yield from (nft.Rule(judge, f"jump {d.name}") for d in DIRECTIONS if d.hook == hook)
    # No packet comes here. That a rule asks has connections tracked before the first policy.
    yield nft.Chain("tracked")
    yield nft.Rule("tracked", "ct state new")


def hooks(directions: Collection[str], *, guarded: bool = False) -> frozenset[str]:
    """Where packets have to be judged, if pods are under policies in these directions."""
    return frozenset(d.hook for d in DIRECTIONS if d.name in directions or (guarded and d in FORWARDED))


def bases(hooks: Iterable[str]) -> Iterator[nft.Chain | nft.Rule]:
    """The base chains, without which no packet comes here: where nobody is judged, nobody pays."""
    for hook in sorted(hooks):
        yield nft.Chain(hook, nft.Hook("filter", hook, PRIORITY))
        yield nft.Rule(hook, "ct state {} goto {}".format(*JUDGES[hook]))


def _direction(direction: Direction) -> Iterator[nft.Thing]:
    name = direction.name
    for chain, rules in (
        (f"{name}-denied", _denied(direction)),
        (passed(name), (f"meta priority set {NOBODY}",)),
        (f"{name}-judge", _judge(name)),
        (f"{name}-decide", _decide(name)),
        (name, _first(direction)),
    ):
        yield nft.Chain(chain)
        yield from (nft.Rule(chain, rule) for rule in rules)


def _first(direction: Direction) -> Iterator[str]:
    name = direction.name
    for family in FAMILIES if direction in FORWARDED else ():
        both = f"{family.name} saddr . {family.name} daddr"
        chosen = f"meta priority set {both} map @{selves(name, family)}"
        yield f"{chosen} goto {name}-judge"
    yield f"meta priority set {NOBODY}"
    for family in FAMILIES:
        peer, pod = (f"{family.name} {field}" for field in (direction.peer, direction.pod))
        yield f"meta priority set {peer} map @{ranges(family)}"
        yield f"meta priority set {peer} map @{peers(family)}"
        yield f"{pod} vmap @{subjects(name, family)}"
        if direction in FORWARDED:
            yield f"{pod} @{guarded(family)} goto {name}-denied"
    yield f"meta priority set {NOBODY}"


def _decide(name: str) -> Iterator[str]:
    decided = f"meta priority set meta priority map @{DECISIONS} goto {name}-judge"
    yield decided
    yield f"meta priority set meta priority and {PROFILE:#x}0000"
    yield decided
    yield f"goto {name}-denied"


def _judge(name: str) -> Iterator[str]:
    flow, go = "meta priority . meta l4proto . th dport", f"goto {passed(name)}"
    yield f"meta priority {ALL} {go}"
    yield f"{flow} @{PORTS} {go}"
    yield f"{flow} @{PORT_RANGES} {go}"
    yield f"meta l4proto != {{ tcp, udp, sctp }} meta priority @{OTHERS} {go}"
    yield f"goto {name}-denied"


def _denied(direction: Direction) -> Iterator[str]:
    for family in FAMILIES:
        yield f"update @{drops(direction.drops, family)} {{ {family.name} {direction.pod} counter }}"
    log = f'log prefix "{direction.name}" group {LOG_GROUP} snaplen {LOGGED_BYTES}'
    yield f"limit rate 100/second burst 200 packets {log}"
    yield "drop"


def chain(direction: str, number: int) -> Iterator[nft.Thing]:
    """The chain of one class: what tells the packet's register which class it is."""
    name = class_chain(direction, number)
    yield nft.Chain(name)
    yield nft.Rule(name, f"meta priority set meta priority or {number << 16:#x} goto {direction}-decide")


def chains(classes: Iterable[tuple[str, int]]) -> Iterator[nft.Thing]:
    for direction, number in sorted(classes):
        yield from chain(direction, number)
