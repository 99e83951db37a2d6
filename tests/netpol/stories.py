"""A cluster that changes: the objects as they are, and what each node's table holds of them.

Applied as the agents apply it, change by change; the model's world of the same objects beside it.
"""

import sys
from pathlib import Path

from netemu.api import clusterpolicies, codec, core, networking
from netemu.model import worlds
from netemu.netpol import agent, changes, ledger, policies, terms, walk

sys.path.insert(0, str(Path(__file__).parent))
import clusters

OUTSIDE = {4: "203.0.113.10", 6: "2001:db8:113::10"}


class Story:
    """The objects as they are, one node's ledger for each node, and what a model says of them."""

    def __init__(self):
        self.objects = {"pod": {}, "policy": {}, "cluster": {}, "space": {}}
        self.nodes = tuple(codec.convert(core.Node, clusters.node(name)) for name in clusters.NODES)
        self.books = {name: ledger.Ledger(name) for name in clusters.NODES}
        known = {
            n.metadata.name: terms.Node(
                n.metadata.name,
                n.metadata.labels,
                tuple(agent.addresses(a.address for a in n.status.addresses)),
            )
            for n in self.nodes
        }
        for book in self.books.values():
            book.update(changes.none()._replace(nodes=dict(known)))

    def apply(self, steps):
        given_ = changes.none()
        for what, key, document in steps:
            kind = {
                "pod": core.Pod,
                "policy": networking.NetworkPolicy,
                "cluster": clusterpolicies.ClusterNetworkPolicy,
                "space": core.Namespace,
            }[what]
            found = codec.convert(kind, document) if document is not None else None
            self.objects[what].pop(key, None)
            if found is not None:
                self.objects[what][key] = found
            name = terms.Key(*key)
            if what == "pod":
                given_.pods[name] = agent.parse(found) if found else None
            elif what == "space":
                given_.spaces[key[1]] = found.metadata.labels if found else None
            else:
                parse = policies.of_namespace if what == "policy" else policies.of_cluster
                given_.policies[name] = parse(found) if found else None
        return {name: book.update(given_) for name, book in self.books.items()}

    def world(self):
        held = self.objects
        return worlds.World(
            pods=tuple(held["pod"].values()),
            nodes=self.nodes,
            namespaces=tuple(held["space"].values()),
            policies=tuple(held["policy"].values()),
            cluster_policies=tuple(held["cluster"].values()),
            outside=worlds.Party("outside", "outside", "", "", tuple(OUTSIDE.values())),
        )


def passes(held, source, target, packet):
    """Whether a packet from one party to another meets no drop on its way."""
    if source.kind == "pod" and target.kind == "node" and target.name == source.node:
        return walk.accepted(held[source.node], packet, "input")
    stations = {party.node for party in (source, target) if party.kind == "pod"}
    return all(walk.accepted(held[node], packet, "forward") for node in stations)
