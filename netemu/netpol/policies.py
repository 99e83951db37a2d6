"""Policies as rules, whatever kind they come from: NetworkPolicy (v1), ClusterNetworkPolicy (v1alpha2). Pure.

Knows the objects' fields and what their absence means (kubernetes.io/docs/concepts/services-networking/
network-policies; network-policy-api.sigs.k8s.io). Whom a rule speaks of it leaves to `terms`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from netemu.api import clusterpolicies, core, networking, selectors
from netemu.netpol import ports, terms

ACCEPT, DENY, PASS = "Accept", "Deny", "Pass"
ADMIN, NETWORK_POLICY, BASELINE = "Admin", "NetworkPolicy", "Baseline"  # tiers, in order
INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS: Final = (EGRESS, INGRESS)  # in the order in which a packet meets them
_EVERYWHERE = terms.Pods(selectors.EVERYTHING, namespaces=selectors.EVERYTHING)

Names = tuple[tuple[str, str], ...]


class Rule(NamedTuple):
    """One rule of a policy. `peers` None: whoever. `opened` and `named` together are its ports; ALL: any."""

    action: str
    peers: tuple[terms.Term, ...] | None
    opened: ports.Ports = ports.ALL
    named: Names = ()


class Policy(NamedTuple):
    """`ingress`, `egress` None: it says nothing of that direction; (): a NetworkPolicy allows nothing."""

    key: terms.Key
    subject: terms.Pods
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    tier: str = NETWORK_POLICY
    priority: int = 0

    def rules(self, direction: str) -> tuple[Rule, ...] | None:
        return self.ingress if direction == INGRESS else self.egress

    @property
    def order(self) -> tuple[int, str]:
        """Within a tier. Ties are undefined upstream; here the name decides, so that all nodes agree."""
        return self.priority, self.key.name


def of_namespace(policy: networking.NetworkPolicy) -> Policy:
    """ValueError, or errors.Rejected, for what an API server would not have let pass."""
    spec, space = policy.spec, policy.metadata.namespace
    # Defaulting by the API server: Ingress always, Egress when there are egress rules.
    types = spec.policyTypes or (("Ingress", "Egress") if spec.egress else ("Ingress",))
    ingress = tuple(_rule(space, rule.from_, rule.ports) for rule in spec.ingress)
    egress = tuple(_rule(space, rule.to, rule.ports) for rule in spec.egress)
    return Policy(
        terms.Key(space, policy.metadata.name),
        terms.Pods(selectors.of(spec.podSelector), space),
        ingress if "Ingress" in types else None,
        egress if "Egress" in types else None,
    )


def _rule(
    space: str,
    peers: Iterable[networking.NetworkPolicyPeer],
    opened: Iterable[networking.NetworkPolicyPort],
) -> Rule:
    who = tuple(dict.fromkeys(_peer(space, peer) for peer in peers))
    numbered, named, some = ports.NONE, [], False
    for port in opened:
        some = True
        protocol = (port.protocol or "TCP").lower()
        if isinstance(port.port, str):
            named.append((port.port, protocol))
        elif port.port is None:
            numbered |= ports.one(protocol)
        else:
            numbered |= ports.one(protocol, port.port, port.endPort or port.port)
    return Rule(ACCEPT, who or None, numbered if some else ports.ALL, tuple(dict.fromkeys(named)))


def _peer(space: str, peer: networking.NetworkPolicyPeer) -> terms.Term:
    if peer.ipBlock is not None:
        return terms.Term(terms.block(peer.ipBlock.cidr, peer.ipBlock.except_))
    pods = selectors.of(peer.podSelector) if peer.podSelector is not None else selectors.EVERYTHING
    if peer.namespaceSelector is None:
        return terms.Term(terms.Pods(pods, space))
    return terms.Term(terms.Pods(pods, namespaces=selectors.of(peer.namespaceSelector)))


def of_cluster(policy: clusterpolicies.ClusterNetworkPolicy) -> Policy:
    """ValueError, or errors.Rejected, for what the custom resource's schema would not have let pass."""
    spec = policy.spec
    ingress = tuple(_cluster_rule(r.action, r.from_, r.protocols) for r in spec.ingress)
    egress = tuple(_cluster_rule(r.action, r.to, r.protocols) for r in spec.egress)
    return Policy(
        terms.Key("", policy.metadata.name),
        _pods(spec.subject) or terms.Pods(selectors.NOTHING, namespaces=selectors.NOTHING),
        ingress or None,  # without rules it does not touch the direction
        egress or None,
        spec.tier,
        spec.priority,
    )


Peer = clusterpolicies.ClusterNetworkPolicyIngressPeer | clusterpolicies.ClusterNetworkPolicyEgressPeer


def _pods(of: Peer | clusterpolicies.ClusterNetworkPolicySubject) -> terms.Pods | None:
    if of.namespaces is not None:
        return terms.Pods(selectors.EVERYTHING, namespaces=selectors.of(of.namespaces))
    if of.pods is not None:
        spaces = selectors.of(of.pods.namespaceSelector)
        return terms.Pods(selectors.of(of.pods.podSelector), namespaces=spaces)
    return None


def _cluster_rule(
    action: str,
    peers: Iterable[Peer],
    protocols: tuple[clusterpolicies.ClusterNetworkPolicyProtocol, ...],
) -> Rule:
    whom = [_cluster_peer(peer) for peer in peers]
    what = [_cluster_ports(protocol) for protocol in protocols]
    if not all(whom) or not all(opened or named for opened, named in what):
        # A field of a later version of the API: fail closed. An Accept rule matches nothing, any other one
        # is treated "as a 'Deny all' rule".
        return Rule(ACCEPT, ()) if action == ACCEPT else Rule(DENY, None)
    opened = ports.union(opened for opened, _ in what) if protocols else ports.ALL
    named = tuple(dict.fromkeys((name, "") for _, name in what if name))
    return Rule(action, tuple(dict.fromkeys(term for each in whom for term in each)), opened, named)


def _cluster_ports(protocol: clusterpolicies.ClusterNetworkPolicyProtocol) -> tuple[ports.Ports, str]:
    """Ports by number, or a name; neither: no field that is known here."""
    if protocol.destinationNamedPort:
        return ports.NONE, protocol.destinationNamedPort
    for name in ports.PROTOCOLS:
        chosen: clusterpolicies.ProtocolPort | None = getattr(protocol, name)
        if chosen is not None:
            return _numbered(name, chosen.destinationPort), ""
    return ports.NONE, ""


def _cluster_peer(peer: Peer) -> tuple[terms.Term, ...]:
    """None at all: no field that is known here. domainNames are none of them."""
    pods = _pods(peer)
    if pods is not None:
        return (terms.Term(pods),)
    if isinstance(peer, clusterpolicies.ClusterNetworkPolicyEgressPeer):
        if peer.nodes is not None:
            return (terms.Term(terms.Nodes(selectors.of(peer.nodes))),)
        return tuple(terms.Term(terms.block(text)) for text in peer.networks)
    return ()


def _numbered(protocol: str, port: clusterpolicies.Port | None) -> ports.Ports:
    if port is None:
        return ports.one(protocol)
    if port.range is not None:
        return ports.one(protocol, port.range.start, port.range.end)
    return ports.one(protocol, port.number, port.number) if port.number else ports.NONE


def pod(pod: core.Pod, addresses: Iterable[terms.Address]) -> terms.Pod:
    """A pod with an address of its own; `addresses` are its status's, or what its network just gave it."""
    containers = (
        *pod.spec.containers,
        *(c for c in pod.spec.initContainers if c.restartPolicy == "Always"),
    )
    named = (
        (port.name, (port.protocol or "TCP").lower(), port.containerPort)
        for container in containers
        for port in container.ports
        if port.name
    )
    key = terms.Key(pod.metadata.namespace, pod.metadata.name)
    return terms.Pod(key, pod.spec.nodeName, pod.metadata.labels, tuple(addresses), tuple(named))


def everywhere(names: Names) -> terms.Term:
    """Whoever serves a port of one of these names: what a rule for any peer means by a name."""
    return terms.Term(_EVERYWHERE, names)
