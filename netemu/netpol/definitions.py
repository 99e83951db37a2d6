"""The custom resource ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2), as a cluster has to know it.

After network-policy-api v0.2, standard channel, with `nodes` of the experimental one. What a record of it is,
`api.clusterpolicies` says. domainNames are left out: an address does not tell which name led to it.
"""

from __future__ import annotations

from typing import Any

from netemu.api import clusterpolicies, codec, extensions

_NAME = "clusternetworkpolicies.policy.networking.k8s.io"
_MOST = 25  # rules in a direction, peers in a rule, networks in a peer

Schema = dict[str, Any]


def definition() -> extensions.CustomResourceDefinition:
    """The CustomResourceDefinition to create."""
    columns = [
        {"name": "Tier", "type": "string", "jsonPath": ".spec.tier"},
        {"name": "Priority", "type": "string", "jsonPath": ".spec.priority"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    _, _, version = clusterpolicies.ClusterNetworkPolicy.apiVersion.partition("/")
    document = {
        "metadata": {
            "name": _NAME,
            "annotations": {
                "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/347",
                "policy.networking.k8s.io/bundle-version": "v0.2.0",
            },
        },
        "spec": {
            "group": "policy.networking.k8s.io",
            "names": {
                "kind": clusterpolicies.ClusterNetworkPolicy.kind,
                "listKind": "ClusterNetworkPolicyList",
                "plural": "clusternetworkpolicies",
                "singular": "clusternetworkpolicy",
                "shortNames": ["cnp"],
            },
            "scope": "Cluster",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }
    return codec.convert(extensions.CustomResourceDefinition, document)


def schema() -> Schema:
    """The structural schema of one policy."""
    spec = _object(
        {
            "tier": _one_of("Admin", "Baseline"),
            "priority": _number(0, 1000),
            "subject": _choice({"namespaces": _selector(), "pods": _pods()}),
            "ingress": _list(_rule("from", _peer({}))),
            "egress": _list(
                _held(
                    _rule("to", _peer({"nodes": _selector(), "networks": _networks()})),
                    _NAMED_PORTS_OF_NOBODY,
                    "networks and nodes have no named ports: destinationNamedPort cannot be asked of them",
                )
            ),
        },
        "tier",
        "priority",
        "subject",
    )
    plain = {"type": "string"}
    status = _object({"conditions": _conditions()})
    return _object(
        {"apiVersion": plain, "kind": plain, "metadata": {"type": "object"}, "spec": spec, "status": status},
        "spec",
    )


def _object(properties: Schema, *required: str) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


def _choice(properties: Schema) -> Schema:
    """Exactly one of them."""
    return {**_object(properties), "minProperties": 1, "maxProperties": 1}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, "maxItems": _MOST, **more}


def _number(low: int, high: int) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": low, "maximum": high}


def _one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _selector() -> Schema:
    text = {"type": "string"}
    values = {"type": "array", "items": text, "x-kubernetes-list-type": "atomic"}
    expression = _object({"key": text, "operator": text, "values": values}, "key", "operator")
    expressions = {"type": "array", "items": expression, "x-kubernetes-list-type": "atomic"}
    labels = {"type": "object", "additionalProperties": text}
    selector = _object({"matchExpressions": expressions, "matchLabels": labels})
    return {**selector, "x-kubernetes-map-type": "atomic"}


def _pods() -> Schema:
    return _object({"namespaceSelector": _selector(), "podSelector": _selector()}, "podSelector")


def _peer(more: Schema) -> Schema:
    return _choice({"namespaces": _selector(), "pods": _pods(), **more})


def _networks() -> Schema:
    network = _held({"type": "string", "maxLength": 43}, "isCIDR(self)", "Invalid CIDR format provided")
    return _list(network, minItems=1, **{"x-kubernetes-list-type": "set"})


def _held(schema: Schema, rule: str, message: str) -> Schema:
    """To a rule in CEL."""
    return {**schema, "x-kubernetes-validations": [{"rule": rule, "message": message}]}


_NAMED_PORTS_OF_NOBODY = (
    "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes)) && has(self.protocols) && "
    "self.protocols.exists(protocol, has(protocol.destinationNamedPort)))"
)


def _rule(side: str, peer: Schema) -> Schema:
    port = _number(1, 65535)
    ports = _object({"start": port, "end": port}, "start", "end")
    ports = _held(ports, "self.start < self.end", "Start port must be less than End port")
    number = _choice({"number": port, "range": ports})
    spoken = {**_object({"destinationPort": number}), "minProperties": 1}
    protocol = _choice(
        {"tcp": spoken, "udp": spoken, "sctp": spoken, "destinationNamedPort": {"type": "string"}}
    )
    properties = {
        "name": {"type": "string", "maxLength": 100},
        "action": _one_of("Accept", "Deny", "Pass"),
        side: _list(peer, minItems=1),
        "protocols": _list(protocol, minItems=1),
    }
    return _object(properties, "action", side)


def _conditions() -> Schema:
    text = {"type": "string"}
    condition = _object(
        {
            **dict.fromkeys(("type", "status", "reason", "message"), text),
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
    )
    keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {"type": "array", "items": condition, **keys}
