"""Policies compiled: for each pod and direction a program of rules, for each address a mask of peers. Pure.

The compiled form is the meaning: a decision names the rule that made it, and explanations are told from it.
https://kubernetes.io/docs/concepts/services-networking/network-policies/ and network-policy-api v1alpha2.
"""

import collections
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netemu.api import clusterpolicies, core, networking, selectors
from netemu.model import memos, peers, rules, worlds

_Labelled = tuple[str, tuple[tuple[str, str], ...]]  # a Namespace and labels: what selectors see of a pod


class Subject(NamedTuple):
    """A pod that policies may select: its programs and its named ports.

    exempt  the addresses that NetworkPolicy never parts it from: its own, and those of its own node (where
            kubelet's probes come from)
    """

    party: worlds.Party
    pod: core.Pod
    named: Mapping[tuple[str, str], int]
    programs: Mapping[rules.Direction, rules.Program]
    exempt: Mapping[str, rules.Decision]

    def arrival(self, protocol: str, port: int) -> rules.Arrival:
        """A connection that arrives here."""
        names = [name for (name, of), number in self.named.items() if (of, number) == (protocol, port)]
        return rules.Arrival(protocol, port, tuple(names))


class Place(NamedTuple):
    """An address as policies see it: whose it is, and its mask of peers."""

    address: str
    owner: worlds.Party | None
    mask: int


class Policies:
    """All policies of a world.

    subjects  the pods, by name and Namespace, that policies can select: those with addresses of their own
    places    addresses (canonical) as policies see them
    """

    def __init__(self, world: worlds.World) -> None:
        self._world = world
        self._bits: dict[peers.Peer, int] = {}
        self.subjects = memos.Memo(self._subject)
        self.places = memos.Memo(self._place)
        self._programs = memos.Memo(self._both_programs)
        self._pod_masks = memos.Memo(self._pod_mask)
        self._compiled: dict[str, list[_Compiled]] = {}
        for policy in world.policies:
            found = self._compile(policy)
            self._compiled.setdefault(policy.metadata.namespace, []).append(found)
        ordered = sorted(world.cluster_policies, key=lambda p: (p.spec.priority, p.metadata.name))
        self._tiers = tuple(self._compile_cluster(policy) for policy in ordered)
        self._sorts: dict[str, list[tuple[peers.Peer, int]]] = collections.defaultdict(list)
        for peer, bit in self._bits.items():
            self._sorts[peer.sort].append((peer, bit))

    def decide(
        self, direction: rules.Direction, subject: Subject, place: Place, what: rules.Arrival
    ) -> rules.Decision:
        """Whether `subject` may have this connection, to `place` (egress) or from it (ingress)."""
        answers = subject.programs[direction].answers[what]
        return rules.decide(answers, place.mask, subject.exempt.get(place.address))

    def _subject(self, key: tuple[str, str]) -> Subject | None:
        pod = self._world.pod(*key)
        if pod is None or pod.spec.hostNetwork or not self._world.settings.policed:
            return None
        party = worlds.pod_party(pod)
        return Subject(party, pod, named_ports(pod), self._programs[_labelled(pod)], self._exempt(party))

    def _both_programs(self, labelled: _Labelled) -> Mapping[rules.Direction, rules.Program]:
        return {field: self._program(field, *labelled) for field in _DIRECTIONS}

    def _place(self, address: str) -> Place:
        owner = self._world.owner(address)
        return Place(address, owner, self._mask(address, owner))

    def _exempt(self, party: worlds.Party) -> Mapping[str, rules.Decision]:
        node = self._world.node(party.node)
        near = (*party.addresses, *(worlds.node_party(node).addresses if node is not None else ()))
        found = {}
        for address in near:
            owner = self._world.owner(address)
            if owner is not None and owner.kind != "node" and address in party.addresses:
                found[address] = rules.OWN_POD
            elif owner is not None and owner.kind == "node" and owner.node == party.node:
                found[address] = rules.OWN_NODE
        return found

    def _program(
        self, field: rules.Direction, namespace: str, pairs: tuple[tuple[str, str], ...]
    ) -> rules.Program:
        labels = dict(pairs)
        space = self._world.namespace_labels.get(namespace, {worlds.NAME_LABEL: namespace})
        selecting = [
            found
            for found in self._compiled.get(namespace, ())
            if field in found.compiled and found.pods.matches(labels)
        ]
        tiers: dict[str, list[rules.Rule]] = {"Admin": [], "Baseline": []}
        for cluster in self._tiers:
            if cluster.subject is not None and cluster.subject.has_pod(namespace, space, labels):
                tiers[cluster.tier].extend(cluster.compiled[field])
        return rules.Program(
            tuple(tiers["Admin"]),
            tuple(found.name for found in selecting),
            tuple(rule for found in selecting for rule in found.compiled[field]),
            tuple(tiers["Baseline"]),
        )

    def _mask(self, address: str, owner: worlds.Party | None) -> int:
        parsed = ipaddress.ip_address(address)
        family, number = parsed.version, int(parsed)
        mask = peers.ANYBODY
        pod = self._world.pod(owner.name, owner.namespace) if owner and owner.kind == "pod" else None
        if pod is not None and not pod.spec.hostNetwork:
            mask |= self._pod_masks[_labelled(pod)]
        node = self._world.node(owner.name) if owner is not None and owner.kind == "node" else None
        for peer, bit in self._sorts["block"]:
            if peer.block is not None and peer.block.has(family, number):
                mask |= bit
        for peer, bit in self._sorts["nodes"] if node is not None else ():
            if peer.nodes is not None and node is not None and peer.nodes.matches(node.metadata.labels):
                mask |= bit
        return mask

    def _pod_mask(self, labelled: _Labelled) -> int:
        namespace, labels = labelled[0], dict(labelled[1])
        space = self._world.namespace_labels.get(namespace, {worlds.NAME_LABEL: namespace})
        asked = (*self._sorts[""], *self._sorts[f"pods/{namespace}"])
        return sum(bit for peer, bit in asked if peer.has_pod(namespace, space, labels))

    def _numbered(self, found: Iterable[peers.Peer]) -> int:
        """The mask of some peers; new ones get the next bit."""
        mask = 0
        for peer in found:
            mask |= self._bits.setdefault(peer, 2 << len(self._bits))
        return mask

    def _compile(self, policy: networking.NetworkPolicy) -> "_Compiled":
        name = f"{policy.metadata.namespace}/{policy.metadata.name}"
        spec, namespace = policy.spec, policy.metadata.namespace
        compiled: dict[str, tuple[rules.Rule, ...]] = {}
        listed = {
            "ingress": [(rule.from_, rule.ports) for rule in spec.ingress],
            "egress": [(rule.to, rule.ports) for rule in spec.egress],
        }
        for field in directions(policy):
            made = []
            for index, (whom, ports) in enumerate(listed[field]):
                meant = tuple(peers.of_policy(namespace, whom))
                mask = self._numbered(meant) if whom else peers.ANYBODY
                made.append(
                    rules.Rule(
                        name,
                        field,
                        index,
                        f"{field}[{index}]",
                        mask,
                        meant,
                        tuple(peers.ports_of_policy(ports)),
                    )
                )
            compiled[field] = tuple(made)
        return _Compiled(name, selectors.of(spec.podSelector), compiled)

    def _compile_cluster(self, policy: clusterpolicies.ClusterNetworkPolicy) -> "_Cluster":
        spec = policy.spec
        subject = None
        if spec.subject.namespaces is not None:
            subject = peers.of_selectors(spec.subject.namespaces, None)
        elif spec.subject.pods is not None:
            subject = peers.of_selectors(spec.subject.pods.namespaceSelector, spec.subject.pods.podSelector)
        compiled = {
            "ingress": tuple(self._compile_rules(policy, "ingress", spec.ingress)),
            "egress": tuple(self._compile_rules(policy, "egress", spec.egress)),
        }
        return _Cluster(spec.tier, subject, compiled)

    def _compile_rules(
        self,
        policy: clusterpolicies.ClusterNetworkPolicy,
        field: rules.Direction,
        found: Iterable[
            clusterpolicies.ClusterNetworkPolicyIngressRule | clusterpolicies.ClusterNetworkPolicyEgressRule
        ],
    ) -> Iterator[rules.Rule]:
        for index, rule in enumerate(found):
            whom = (
                rule.from_ if isinstance(rule, clusterpolicies.ClusterNetworkPolicyIngressRule) else rule.to
            )
            meant = [peers.of_cluster_peer(peer) for peer in whom]
            ports = [peers.ports_of_cluster(protocol) for protocol in rule.protocols]
            label = f"{field}[{index}]" + (f" '{rule.name}'" if rule.name else "")
            flat = tuple(peer for several in meant for peer in several)
            if all(meant) and all(ports):
                known = tuple(entry for entry in ports if entry is not None)
                mask = self._numbered(flat)
                yield rules.Rule(policy.metadata.name, field, index, label, mask, flat, known, rule.action)
            elif rule.action == "Accept":  # a field that is not known here: accept nothing by it ...
                yield rules.Rule(policy.metadata.name, field, index, label, 0, ())
            else:  # ... and let nothing through that may have been meant to be denied
                yield rules.Rule(policy.metadata.name, field, index, label, peers.ANYBODY, (), (), "Deny")


class _Compiled(NamedTuple):
    """A NetworkPolicy: whom it selects in its Namespace, and its rules in the directions it isolates."""

    name: str
    pods: selectors.Selector
    compiled: Mapping[str, tuple[rules.Rule, ...]]


class _Cluster(NamedTuple):
    """A ClusterNetworkPolicy: its tier, the pods it is about, its rules in order."""

    tier: str
    subject: peers.Peer | None
    compiled: Mapping[str, tuple[rules.Rule, ...]]


def directions(policy: networking.NetworkPolicy) -> tuple[rules.Direction, ...]:
    """policyTypes, or their default: Ingress always, Egress if there is an egress rule."""
    if policy.spec.policyTypes:
        wanted = {name.lower() for name in policy.spec.policyTypes}
        return tuple(field for field in _DIRECTIONS if field in wanted)
    return _DIRECTIONS if policy.spec.egress else _DIRECTIONS[:1]


_DIRECTIONS: tuple[rules.Direction, ...] = ("ingress", "egress")


def _labelled(pod: core.Pod) -> _Labelled:
    return pod.metadata.namespace, tuple(sorted(pod.metadata.labels.items()))


def named_ports(pod: core.Pod) -> Mapping[tuple[str, str], int]:
    """(name, protocol) → number of the ports of the containers that run (sidecars among them)."""
    found: dict[tuple[str, str], int] = {}
    for container in worlds.running_containers(pod):
        for port in container.ports:
            if port.name:  # of several containers the first one counts
                found.setdefault((port.name, port.protocol or "TCP"), port.containerPort)
    return found
