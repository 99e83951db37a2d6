"""A small cluster as objects, and the steps by which it changes. Pure values; documents as the API has them.

A state is whatever objects there are besides the lab's own, by key, in the order in which they can be made.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

Document = Mapping[str, Any]
Verb = Literal["put", "delete"]
# kind -> apiVersion; an object of an earlier kind never needs one of a later kind to be there.
KINDS = {
    "Namespace": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2",
    "Service": "v1",
    "Pod": "v1",
}
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"
PORTS = (80, 81)
PROTOCOLS = ("TCP", "UDP", "SCTP")


class Key(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Step(NamedTuple):
    """One change: `text` is the object's document in JSON, so that steps compare; "" when it is deleted."""

    verb: Verb
    key: Key
    text: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The object to put."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"


State = Mapping[Key, str]


def put(document: Document) -> Step:
    """The step that creates an object or replaces it."""
    meta = document["metadata"]
    key = Key(document["kind"], meta.get("namespace", ""), meta["name"])
    return Step("put", key, json.dumps(document, sort_keys=True))


def after(state: State, steps: Iterable[Step]) -> dict[Key, str]:
    """The state to which steps lead. What is in a Namespace goes with it."""
    found = dict(state)
    for step in steps:
        if step.verb == "put":
            found[step.key] = step.text
        else:
            gone = step.key.name if step.key.kind == "Namespace" else None
            found = {k: text for k, text in found.items() if k != step.key and k.namespace != gone}
    return found


def between(have: State, want: State) -> tuple[Step, ...]:
    """The steps from one state to another: deletions, Namespaces last; then what is to be there."""
    order = list(KINDS)
    gone = sorted(have.keys() - want.keys(), key=lambda key: -order.index(key.kind))
    new = sorted((k for k, text in want.items() if have.get(k) != text), key=lambda k: order.index(k.kind))
    return (*(Step("delete", key) for key in gone), *(Step("put", key, want[key]) for key in new))


def documents(state: State) -> list[dict[str, Any]]:
    """Its objects in an order in which they can be applied."""
    return [step.document for step in between({}, state)]


def named(kind: str, name: str, namespace: str = "", **metadata: Any) -> dict[str, Any]:
    """The head of a document."""
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **metadata}
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": meta}


def pod(
    namespace: str, name: str, labels: Mapping[str, str], *, node: str = "", swapped: bool = False
) -> Document:
    """A pod that answers on both PORTS in every protocol and says who it is.

    The names of its ports are `main-tcp` ... and `other-tcp` ...; `swapped`: 81 is the main one.
    """
    names = ("other", "main") if swapped else ("main", "other")
    containers = [
        {
            "name": f"c{port}",
            "image": IMAGE,
            "args": ["netexec", *(f"--{p}-port={port}" for p in ("http", "udp", "sctp"))],
            "ports": [
                {"name": f"{word}-{p.lower()}", "containerPort": port, "protocol": p} for p in PROTOCOLS
            ],
        }
        for port, word in zip(PORTS, names, strict=True)
    ]
    spec: dict[str, Any] = {"containers": containers, "terminationGracePeriodSeconds": 0}
    if node:
        spec["nodeName"] = node
    return {**named("Pod", name, namespace, labels=dict(labels)), "spec": spec}
