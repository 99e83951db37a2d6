"""Clusters at random: an endless walk of valid changes, always the same for a seed. Pure but for the dice.

Small vocabularies, so that selectors meet labels, ports meet listeners and ranges meet addresses often.
"""

import ipaddress
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from netemu.verify import clusters

T = TypeVar("T")
NAMESPACES = ("x", "y", "z")
PODS = ("a", "b")
_KEYS = ("app", "tier")
_VALUES = ("red", "blue")
_POLICIES, _SERVICES, _CLUSTER_POLICIES = ("p", "q", "r"), ("s", "t"), ("admin", "other", "base")


class Surroundings(NamedTuple):
    """What chance needs to know of the lab: nodes for pods, ranges as texts, whether it has custom kinds."""

    workers: tuple[str, ...]
    pod_ranges: tuple[str, ...] = ("10.244.0.0/16", "fd00:244::/56")
    node_ranges: tuple[str, ...] = ("172.18.0.0/16", "fd00:18::/64")
    outside: tuple[str, ...] = ("203.0.113.10/32", "2001:db8:113::10/128")
    external: tuple[str, ...] = ("198.51.100.201", "2001:db8:51::201")
    families: tuple[str, ...] = ("IPv4", "IPv6")
    cluster_policies: bool = False


class Walk:
    """Steps from the first state on. The walk keeps the state that its steps have led to."""

    def __init__(self, seed: int, around: Surroundings) -> None:
        self._dice = random.Random(seed)
        self._around = around
        self.state: dict[clusters.Key, str] = {}
        for step in self.first():
            self.state = clusters.after(self.state, [step])

    def first(self) -> Iterator[clusters.Step]:
        """Namespaces, and pods on all workers in turn; no policies, no Services."""
        for number, namespace in enumerate(NAMESPACES):
            labels = {"team": _VALUES[number % 2]}
            yield clusters.put(clusters.named("Namespace", namespace, labels=labels))
            for index, name in enumerate(PODS):
                node = self._around.workers[(number + index) % len(self._around.workers)]
                labels = {"app": _VALUES[index % 2], "pod": name}
                yield clusters.put(
                    clusters.pod(namespace, name, labels, node=node, swapped=(number + index) % 3 == 0)
                )

    def step(self) -> clusters.Step:
        """The next change."""
        while True:
            made = self._dice.choices([act for act, _ in _ACTS], [weight for _, weight in _ACTS])[0](self)
            if made is not None and (made.verb == "delete" or self.state.get(made.key) != made.text):
                self.state = clusters.after(self.state, [made])
                return made

    # --- changes

    def _policy(self) -> clusters.Step:
        namespace, name = self._one(NAMESPACES), self._one(_POLICIES)
        types = self._one((("Ingress",), ("Egress",), ("Ingress", "Egress")))
        spec: dict[str, Any] = {"podSelector": self._selector(_KEYS), "policyTypes": list(types)}
        for kind, key, side in (("Ingress", "ingress", "from"), ("Egress", "egress", "to")):
            if kind in types:
                spec[key] = [self._rule(side) for _ in range(self._dice.choice((0, 1, 1, 2)))]
        if "Egress" in types and self._dice.random() < 0.6:
            spec["egress"].append({"ports": [{"protocol": p, "port": 53} for p in ("UDP", "TCP")]})
        return clusters.put({**clusters.named("NetworkPolicy", name, namespace), "spec": spec})

    def _cluster_policy(self) -> clusters.Step | None:
        if not self._around.cluster_policies:
            return None
        name = self._one(_CLUSTER_POLICIES)
        tier = "Baseline" if name == "base" else "Admin"
        spec: dict[str, Any] = {
            "tier": tier,
            # Those of one tier and priority have no order among them.
            "priority": 1 + _CLUSTER_POLICIES.index(name) + 10 * self._dice.randrange(3),
            "subject": self._subject(),
        }
        for key, side in (("ingress", "from"), ("egress", "to")):
            if self._dice.random() < 0.6:
                spec[key] = [self._tiered(side, tier) for _ in range(self._dice.randint(1, 2))]
        return clusters.put({**clusters.named("ClusterNetworkPolicy", name), "spec": spec})

    def _service(self) -> clusters.Step | None:
        namespace, name = self._one(NAMESPACES), self._one(_SERVICES)
        if clusters.Key("Service", namespace, name) in self.state:
            return clusters.Step("delete", clusters.Key("Service", namespace, name))
        kind = self._one(("ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "headless"))
        reached = kind in ("NodePort", "LoadBalancer")  # from beyond the cluster
        spec: dict[str, Any] = {
            "type": kind if reached else "ClusterIP",
            "selector": {"app": self._one(_VALUES)},
            "ports": self._service_ports(),
            **self._families(),
        }
        if kind == "headless":
            spec["clusterIP"] = "None"
        elif self._dice.random() < 0.25:
            spec["sessionAffinity"] = "ClientIP"
        elif self._dice.random() < 0.15:
            spec["externalIPs"] = [self._one(self._around.external)]
        if reached and self._dice.random() < 0.4:
            spec["externalTrafficPolicy"] = "Local"
        if kind == "LoadBalancer" and self._dice.random() < 0.4:
            ranges = (*self._around.pod_ranges, *self._around.node_ranges, *self._around.outside)
            spec["loadBalancerSourceRanges"] = self._dice.sample(ranges, min(2, len(ranges)))
        if kind != "headless" and self._dice.random() < 0.2:
            spec["internalTrafficPolicy"] = "Local"
        return clusters.put({**clusters.named("Service", name, namespace), "spec": spec})

    def _relabel(self) -> clusters.Step:
        key = self._one([key for key in self.state if key.kind in ("Pod", "Namespace")])
        document = clusters.Step("put", key, self.state[key]).document
        if key.kind == "Namespace":
            labels = {"team": self._one(_VALUES)} if self._dice.random() < 0.8 else {}
        else:
            fixed = {"pod": key.name}
            labels = {**fixed, **{k: self._one(_VALUES) for k in _KEYS if self._dice.random() < 0.7}}
        document["metadata"]["labels"] = labels
        return clusters.put(document)

    def _pod(self) -> clusters.Step | None:
        """A pod goes, or comes back, perhaps elsewhere."""
        namespace, name = self._one(NAMESPACES), self._one(PODS)
        key = clusters.Key("Pod", namespace, name)
        if key in self.state:
            return clusters.Step("delete", key)
        labels = {"pod": name, **{k: self._one(_VALUES) for k in _KEYS if self._dice.random() < 0.7}}
        node = self._one(self._around.workers)
        return clusters.put(
            clusters.pod(namespace, name, labels, node=node, swapped=self._dice.random() < 0.5)
        )

    def _remove(self) -> clusters.Step | None:
        """A policy goes."""
        found = [key for key in self.state if key.kind in ("NetworkPolicy", "ClusterNetworkPolicy")]
        return clusters.Step("delete", self._one(found)) if found else None

    # --- parts of policies

    def _selector(self, keys: Sequence[str]) -> dict[str, Any]:
        key = self._one(keys)
        value = self._one(_VALUES)
        operator = self._one(("In", "NotIn", "Exists", "DoesNotExist"))
        expression: dict[str, Any] = {"key": key, "operator": operator}
        if operator in ("In", "NotIn"):
            expression["values"] = [value]
        return self._one(
            (
                {},
                {"matchLabels": {key: value}},
                {"matchLabels": {key: value}},
                {"matchExpressions": [expression]},
            )
        )

    def _rule(self, side: str) -> dict[str, Any]:
        rule: dict[str, Any] = {}
        if self._dice.random() < 0.85:
            rule[side] = [self._peer() for _ in range(self._dice.choice((1, 1, 2)))]
        if self._dice.random() < 0.6:
            rule["ports"] = [self._port() for _ in range(self._dice.choice((1, 1, 2)))]
        return rule

    def _peer(self) -> dict[str, Any]:
        chosen = self._dice.random()
        if chosen < 0.3:
            return {"podSelector": self._selector(_KEYS)}
        if chosen < 0.5:
            return {"namespaceSelector": self._namespaces()}
        if chosen < 0.75:
            return {"podSelector": self._selector(_KEYS), "namespaceSelector": self._namespaces()}
        return {"ipBlock": self._block()}

    def _namespaces(self) -> dict[str, Any]:
        if self._dice.random() < 0.3:
            return {"matchLabels": {"kubernetes.io/metadata.name": self._one(NAMESPACES)}}
        return self._selector(("team",))

    def _block(self) -> dict[str, Any]:
        """A range, now and then with a hole in it."""
        around = self._around
        text = self._one((*around.pod_ranges, *around.node_ranges, *around.outside, "0.0.0.0/0", "::/0"))
        block: dict[str, Any] = {"cidr": text}
        if text in around.pod_ranges and self._dice.random() < 0.6:
            block["except"] = [self._part(text)]
        elif text.endswith("/0") and self._dice.random() < 0.6:
            of_family = [t for t in (*around.pod_ranges, *around.outside) if (":" in t) == (":" in text)]
            block["except"] = [self._one(of_family)] if of_family else []
        return block

    def _part(self, text: str) -> str:
        """A node's share of the pods' range, or a few addresses of it."""
        whole = ipaddress.ip_network(text)
        share = 64 if whole.version == 6 else 24
        number = self._dice.randint(1, len(self._around.workers))
        size = 1 << (whole.max_prefixlen - share)
        first = whole.network_address + number * size
        return f"{first}/{share}" if self._dice.random() < 0.5 else f"{first}/{whole.max_prefixlen - 2}"

    def _port(self) -> dict[str, Any]:
        protocol = self._one(clusters.PROTOCOLS)
        kind = self._dice.random()
        if kind < 0.2:
            return {"protocol": protocol}
        if kind < 0.5:
            return {"protocol": protocol, "port": self._one(clusters.PORTS)}
        if kind < 0.75:
            return {"protocol": protocol, "port": f"{self._one(('main', 'other'))}-{protocol.lower()}"}
        first = self._one((79, 80, 81))
        return {"protocol": protocol, "port": first, "endPort": first + self._dice.randint(0, 2)}

    # --- parts of cluster policies

    def _subject(self) -> dict[str, Any]:
        if self._dice.random() < 0.4:
            return {"namespaces": self._namespaces()}
        return {"pods": {"namespaceSelector": self._namespaces(), "podSelector": self._selector(_KEYS)}}

    def _tiered(self, side: str, tier: str) -> dict[str, Any]:
        actions = ("Accept", "Deny", "Pass") if tier == "Admin" else ("Accept", "Deny")
        rule: dict[str, Any] = {"action": self._one(actions)}
        peers: list[dict[str, Any]] = [self._subject()]
        if side == "to" and self._dice.random() < 0.4:
            around = self._around
            peers.append({"networks": [self._one((*around.pod_ranges, *around.outside, "0.0.0.0/0"))]})
        rule[side] = peers
        if self._dice.random() < 0.5:
            rule["protocols"] = [self._protocol(named=all("networks" not in peer for peer in peers))]
        return rule

    def _protocol(self, *, named: bool) -> dict[str, Any]:
        """`named`: it may be a port's name; networks have none, and no such rule would be taken."""
        protocol = self._one(clusters.PROTOCOLS).lower()
        if named and self._dice.random() < 0.3:
            return {"destinationNamedPort": f"{self._one(('main', 'other'))}-{protocol}"}
        if self._dice.random() < 0.5:
            return {protocol: {"destinationPort": {"number": self._one(clusters.PORTS)}}}
        return {protocol: {"destinationPort": {"range": {"start": 79, "end": self._one(clusters.PORTS)}}}}

    # --- parts of Services

    def _service_ports(self) -> list[dict[str, Any]]:
        protocols = self._dice.sample(clusters.PROTOCOLS, self._dice.choice((1, 2)))
        return [
            {
                "name": protocol.lower(),
                "protocol": protocol,
                "port": self._one((80, 8080)),
                "targetPort": self._one((80, 81, f"main-{protocol.lower()}")),
            }
            for protocol in protocols
        ]

    def _families(self) -> dict[str, Any]:
        if len(self._around.families) == 2 and self._dice.random() < 0.6:
            return {"ipFamilyPolicy": "RequireDualStack"}
        return {"ipFamilyPolicy": "SingleStack", "ipFamilies": [self._one(self._around.families)]}

    def _one(self, values: Sequence[T]) -> T:
        return self._dice.choice(list(values))


_ACTS: tuple[tuple[Callable[[Walk], clusters.Step | None], int], ...] = (
    (Walk._policy, 10),
    (Walk._remove, 3),
    (Walk._service, 5),
    (Walk._relabel, 4),
    (Walk._cluster_policy, 3),
    (Walk._pod, 1),
)
