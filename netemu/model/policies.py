"""Policies compiled: for each pod and direction a program of rules, for each address a mask of peers. Pure.

The compiled form is the meaning: a decision names the rule that made it, and explanations are told from it.
https://kubernetes.io/docs/concepts/services-networking/network-policies/ and network-policy-api v1alpha2.
"""

import collections
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netemu.api import clusterpolicies, core, networking, selectors
from netemu.model import peers, rules, worlds

_NOTHING = rules.Program()


class Subject(NamedTuple):
    """A pod that policies may select: its programs and its named ports.

    exempt  the addresses that NetworkPolicy never parts it from: its own, and those of its own node (where
            kubelet's probes come from)
    """

    party: worlds.Party
    pod: core.Pod
    named: Mapping[tuple[str, str], int]
    programs: Mapping[str, rules.Program]
    exempt: Mapping[str, rules.Decision]

    def arrival(self, protocol: str, port: int) -> rules.Arrival:
        """A connection that arrives here."""
        names = [name for (name, of), number in self.named.items() if (of, number) == (protocol, port)]
        return rules.Arrival(protocol, port, self.named, tuple(names))


class Place(NamedTuple):
    """An address as policies see it: whose it is, and its mask of peers."""

    address: str
    owner: worlds.Party | None
    mask: int


class Policies:
    """All policies of a world. What it learns of pods and addresses it keeps."""

    def __init__(self, world: worlds.World) -> None:
        self._world = world
        self._bits: dict[peers.Peer, int] = {}
        self._subjects: dict[tuple[str, str], Subject | None] = {}
        self._programs: dict[tuple[str, tuple[tuple[str, str], ...]], Mapping[str, rules.Program]] = {}
        self._places: dict[str, Place] = {}
        self._pod_masks: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self._answers: dict[tuple[int, str, int, tuple[str, ...]], rules.Answers] = {}
        self._compiled: dict[str, list[_Compiled]] = {}
        for policy in world.policies:
            found = self._compile(policy)
            self._compiled.setdefault(policy.metadata.namespace, []).append(found)
        ordered = sorted(world.cluster_policies, key=lambda p: (p.spec.priority, p.metadata.name))
        self._tiers = tuple(self._compile_cluster(policy) for policy in ordered)
        self._sorts: dict[str, list[tuple[peers.Peer, int]]] = collections.defaultdict(list)
        for peer, bit in self._bits.items():
            self._sorts[peer.sort].append((peer, bit))

    def subject(self, name: str, namespace: str) -> Subject | None:
        """The pod, if policies can select it: it has addresses, and they are its own."""
        key = (name, namespace)
        if key not in self._subjects:
            pod = self._world.pod(name, namespace)
            policed = pod is not None and not pod.spec.hostNetwork and self._world.settings.policed
            self._subjects[key] = self._make(pod) if pod is not None and policed else None
        return self._subjects[key]

    def place(self, address: str) -> Place:
        """An address (canonical) as policies see it."""
        found = self._places.get(address)
        if found is None:
            owner = self._world.owner(address)
            found = self._places[address] = Place(address, owner, self._mask(address, owner))
        return found

    def answers(self, direction: rules.Direction, subject: Subject, what: rules.Arrival) -> rules.Answers:
        """What the rules of `subject` say to such a connection, whoever is at its other end."""
        program = subject.programs[direction]
        if program is _NOTHING:
            return rules.SILENT
        key = (id(program), what.protocol, what.port, what.names)  # programs live as long as this does
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = program.answers(what)
        return found

    def decide(
        self, direction: rules.Direction, subject: Subject, place: Place, what: rules.Arrival
    ) -> rules.Decision:
        """Whether `subject` may have this connection, to `place` (egress) or from it (ingress)."""
        answers = self.answers(direction, subject, what)
        return rules.decide(answers, place.mask, subject.exempt.get(place.address))

    def isolating(self, subject: Subject, direction: rules.Direction) -> tuple[rules.Rule, ...]:
        """The rules of the NetworkPolicies that isolate the pod in that direction."""
        return subject.programs[direction].rules

    def _make(self, pod: core.Pod) -> Subject:
        key = (pod.metadata.namespace, tuple(sorted(pod.metadata.labels.items())))
        programs = self._programs.get(key)
        if programs is None:
            programs = {field: self._program(field, *key) for field in ("ingress", "egress")}
            self._programs[key] = programs
        party = worlds.pod_party(pod)
        return Subject(party, pod, named_ports(pod), programs, self._exempt(party))

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

    def _program(self, field: str, namespace: str, pairs: tuple[tuple[str, str], ...]) -> rules.Program:
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
        program = rules.Program(
            tuple(tiers["Admin"]),
            tuple(found.name for found in selecting),
            tuple(rule for found in selecting for rule in found.compiled[field]),
            tuple(tiers["Baseline"]),
        )
        return program if any(program) else _NOTHING

    def _mask(self, address: str, owner: worlds.Party | None) -> int:
        parsed = ipaddress.ip_address(address)
        family, number = parsed.version, int(parsed)
        mask = peers.ANYBODY
        if owner is not None and owner.kind == "pod":
            mask |= self._pod_mask(owner)
        node = self._world.node(owner.name) if owner is not None and owner.kind == "node" else None
        for peer, bit in self._sorts["block"]:
            if peer.block is not None and peer.block.has(family, number):
                mask |= bit
        for peer, bit in self._sorts["nodes"] if node is not None else ():
            if peer.nodes is not None and node is not None and peer.nodes.matches(node.metadata.labels):
                mask |= bit
        return mask

    def _pod_mask(self, owner: worlds.Party) -> int:
        pod = self._world.pod(owner.name, owner.namespace)
        if pod is None or pod.spec.hostNetwork:
            return 0
        labels = pod.metadata.labels
        key = (owner.namespace, tuple(sorted(labels.items())))
        if key not in self._pod_masks:
            space = self._world.namespace_labels.get(owner.namespace, {worlds.NAME_LABEL: owner.namespace})
            asked = (*self._sorts[""], *self._sorts[f"pods/{owner.namespace}"])
            found = (bit for peer, bit in asked if peer.has_pod(owner.namespace, space, labels))
            self._pod_masks[key] = sum(found)
        return self._pod_masks[key]

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


def named_ports(pod: core.Pod) -> Mapping[tuple[str, str], int]:
    """(name, protocol) → number of the ports of the containers that run (sidecars among them)."""
    found: dict[tuple[str, str], int] = {}
    for container in worlds.running_containers(pod):
        for port in container.ports:
            if port.name:  # of several containers the first one counts
                found.setdefault((port.name, port.protocol or "TCP"), port.containerPort)
    return found
