"""Who sends: by which addresses he is seen, and what a node that translates takes him for. Pure.

Knows kube-proxy's detect-local-mode, loadBalancerSourceRanges and who is masqueraded; no backends.
"""

from collections.abc import Mapping
from typing import NamedTuple

from netemu.api import core
from netemu.model import claims, memos, worlds


class Sort(NamedTuple):
    """All that a node's choice depends on of a sender.

    itself   he is the very node that translates, or shares its network
    pod      whether the node takes him for a pod (None: it cannot tell)
    passing  a pod of another node
    allowed  by loadBalancerSourceRanges
    """

    itself: bool
    pod: bool | None
    passing: bool
    allowed: bool = True


class Sender:
    """A party of a world, and what was found out of it.

    speaks  its own addresses, by family
    seen    the addresses it is seen by when nothing translates them, by family
    itself  the addresses at which it is its own backend (a hairpin)
    sorts   what a node takes it for, by node and family
    """

    def __init__(self, world: worlds.World, party: worlds.Party) -> None:
        self.party = party
        self.speaks: Mapping[int, frozenset[str]] = {f: party.of_family(f) for f in (4, 6)}
        self.seen = self.speaks
        if party.kind == "node":
            self.seen = {f: world.node_addresses(party.name, f) for f in (4, 6)}
        self.itself = () if party.kind == "node" else party.addresses
        self._world = world
        self.sorts = memos.Memo(self._sort)

    def _sort(self, key: tuple[str, int]) -> Sort:
        node, family = key
        itself = not self.speaks[family].isdisjoint(self._world.node_addresses(node, family))
        passing = self.party.kind == "pod" and self.party.node != node
        return Sort(itself, self._is_pod(node, family, itself), passing)

    def _is_pod(self, node: str, family: int, itself: bool) -> bool | None:
        settings, party = self._world.settings, self.party
        if settings.detection in ("BridgeInterface", "InterfaceNamePrefix"):
            return party.kind == "pod" and party.node == node and not itself
        if settings.detection == "ClusterCIDR":
            given = settings.cluster_cidrs
        elif settings.detection == "NodeCIDR":
            found = self._world.node(node)
            given = tuple(found.spec.podCIDRs) if found is not None and found.spec else ()
        else:
            return None
        ranges = [text for text in given if (":" in text) == (family == 6)]
        if not ranges:
            return None
        if itself or party.kind == "node":
            return False  # its gateway to the pods is an address of their range, but not what it sends from
        return any(worlds.within(address, ranges) for address in self.speaks[family])

    def allowed(self, service: core.Service, family: int) -> bool:
        """By loadBalancerSourceRanges, which hold for load balancer IPs alone, each family's for its own."""
        given = service.spec.loadBalancerSourceRanges
        ranges = [text.strip() for text in given if (":" in text) == (family == 6)]
        own = self.seen[family]
        if self.party.kind == "node":  # its gateways to pods are addresses for pods only
            own = frozenset({worlds.primary(self._world.node(self.party.name), family)} & own)
        return not ranges or any(worlds.within(address, ranges) for address in own)


def bound(claim: claims.Claim, sort: Sort, node: str) -> tuple[bool, str]:
    """Whether a traffic policy leaves only the node's own endpoints, and the reason for what one decides."""
    spec = claim.service.spec
    if not claim.external:
        only = spec.internalTrafficPolicy == "Local"
        return only, f"internalTrafficPolicy: Local, endpoints on {node} only" if only else ""
    if spec.externalTrafficPolicy != "Local":
        return False, ""
    if sort.itself:
        return False, "externalTrafficPolicy: Local does not bind the node itself"
    if sort.pod:
        return False, "externalTrafficPolicy: Local does not bind pods"
    return True, f"externalTrafficPolicy: Local, endpoints on {node} only"


def masqueraded(claim: claims.Claim, sort: Sort, node: str, *, everybody: bool) -> tuple[bool, str]:
    """Whether the node puts its own address on it, and why; `everybody`: masquerade-all."""
    puts = f"{node} puts its own address on it"
    if claim.external:
        if claim.service.spec.externalTrafficPolicy != "Local":
            return True, f"{puts} (masquerade: external traffic)"
        if sort.itself:
            return True, f"{puts} (masquerade: the node itself)"
        return False, "" if sort.pod else "the sender's address is kept"
    if everybody:
        return True, f"{puts} (masquerade-all)"
    if sort.pod is False:
        return True, f"{puts} (masquerade: the sender is no pod)"
    return False, ""
