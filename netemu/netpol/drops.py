"""Which policy dropped a packet: the flow, the pod whose policies did it, the reason in the model's words.

Pure. The node's table says that a packet was dropped; why, the model says of the objects as they are now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from netemu.api import core, networking
from netemu.base import clock
from netemu.model import policies, rules, sentences, worlds
from netemu.wire import nflog

_TOWARDS = {"node": "egress"}  # how a table's chains call the way to the pod's own node


class Drop(NamedTuple):
    """One packet that was dropped. Parties are namespace/name of pods, else addresses."""

    at: float  # unix seconds
    node: str
    direction: str
    pod: str
    source: str
    destination: str
    flow: nflog.Flow
    because: str
    policies: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As `netemu drops --json` prints it."""
        return {
            "time": clock.rfc3339_micro(self.at),
            "node": self.node,
            "direction": self.direction,
            "pod": self.pod,
            "source": self.source,
            "destination": self.destination,
            "sourceAddress": self.flow.source,
            "sourcePort": self.flow.source_port,
            "destinationAddress": self.flow.destination,
            "port": self.flow.port,
            "protocol": self.flow.protocol,
            "reason": self.because,
            "policies": list(self.policies),
        }


class Known(NamedTuple):
    """The objects that the node knows. Pods by address: those that have one of their own."""

    pods: Mapping[str, core.Pod]
    nodes: tuple[core.Node, ...] = ()
    namespaces: tuple[core.Namespace, ...] = ()
    policies: tuple[networking.NetworkPolicy, ...] = ()
    cluster_policies: tuple[Any, ...] = ()


def explain(known: Known, node: str, logged: nflog.Logged) -> Drop | None:
    """None for what is no flow at all."""
    flow = nflog.flow(logged.payload)
    if flow is None:
        return None
    direction = _TOWARDS.get(logged.prefix, logged.prefix)
    mine, other = flow.source, flow.destination
    if direction == "ingress":
        mine, other = other, mine
    pod, peer = known.pods.get(mine), known.pods.get(other)
    drop = Drop(
        logged.at, node, direction, _name(pod, mine), _name(known.pods.get(flow.source), flow.source),
        _name(known.pods.get(flow.destination), flow.destination), flow, f"no pod is known to have {mine}",
    )  # fmt: skip
    if pod is None or direction not in ("ingress", "egress"):
        return drop
    decision, reason = _decided(known, (pod, peer, other), direction, flow)
    if decision is None or decision.allowed:
        return drop._replace(because=f"{reason}: its policies have changed since")
    names = decision.isolating or ((decision.rule.policy,) if decision.rule is not None else ())
    return drop._replace(because=reason, policies=names)


def _decided(
    known: Known, ends: tuple[core.Pod, core.Pod | None, str], direction: Any, flow: nflog.Flow
) -> tuple[rules.Decision | None, str]:
    pod, peer, other = ends
    own = tuple(p for p in known.policies if p.metadata.namespace == pod.metadata.namespace)
    world = worlds.World(
        pods=(pod,) if peer is None or peer is pod else (pod, peer),
        nodes=known.nodes,
        namespaces=known.namespaces,
        policies=own,
        cluster_policies=known.cluster_policies,
    )
    judge = policies.Policies(world)
    subject = judge.subjects[pod.metadata.name, pod.metadata.namespace]
    if subject is None:
        return None, f"{pod.metadata.namespace}/{pod.metadata.name} is under no policy"
    place = judge.places[other]
    target = subject if direction == "ingress" else None
    if direction == "egress" and peer is not None:
        target = judge.subjects[peer.metadata.name, peer.metadata.namespace]
    protocol = flow.protocol.upper()
    what = target.arrival(protocol, flow.port) if target else rules.Arrival(protocol, flow.port)
    decision = judge.decide(direction, subject, place, what)
    reason = sentences.of(
        decision,
        direction,
        sentences.party(subject.party, ""),
        sentences.flow(protocol, flow.port),
        sentences.party(place.owner, other),
    )
    return decision, str(reason)


def _name(pod: core.Pod | None, address: str) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}" if pod is not None else address


class Kind(NamedTuple):
    """Drops alike: who could not reach whom, at which port (tcp/80; "icmp" has none), by which policies.

    Families and source ports are told apart by nobody who asks why a flow does not come through.
    """

    source: str
    destination: str
    what: str
    direction: str
    policies: tuple[str, ...]

    @property
    def blamed(self) -> str:
        """For people: the policies and the side of the flow that they are about."""
        return f"{', '.join(self.policies)} ({self.direction})" if self.policies else "none now"


def summary(drops: Iterable[Mapping[str, Any]]) -> list[tuple[Kind, int, str]]:
    """Kinds of the drops of these documents, how many there were of each, when the last; in that order."""
    counts: Counter[Kind] = Counter()
    last: dict[Kind, str] = {}
    for drop in drops:
        what = f"{drop['protocol']}/{drop['port']}" if drop["port"] else str(drop["protocol"])
        kind = Kind(drop["source"], drop["destination"], what, drop["direction"], tuple(drop["policies"]))
        counts[kind] += 1
        last[kind] = max(drop["time"], last.get(kind, ""))
    return sorted(((kind, counts[kind], last[kind]) for kind in counts), key=lambda found: found[2])


def line(drop: Mapping[str, Any]) -> str:
    """One line for people, of a drop's document."""
    ends = []
    for end, port in (("source", drop["sourcePort"]), ("destination", drop["port"])):
        address = drop[f"{end}Address"]
        text = f"[{address}]:{port}" if ":" in address and port else f"{address}:{port}" if port else address
        ends.append(f"{drop[end]} ({text})" if drop[end] != address else text)
    where = f"{drop['time'][11:23]} {drop['node']} {drop['protocol']}"
    return f"{where} {ends[0]} -> {ends[1]}: {drop['reason']}"
