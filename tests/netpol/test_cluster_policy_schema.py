"""What a ClusterNetworkPolicy may look like: network-policy-api v0.2, apis/v1alpha2."""

# ruff: noqa: E501 (rows of a table)

import pytest
import yaml

from netemu.api.structural import schemas
from netemu.netpol import definitions

SPEC = "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}]}]}"
SELECTOR = {"matchLabels": {"a": "b"}}
PODS = {"namespaceSelector": {}, "podSelector": SELECTOR}


def changed(path, value):
    """The policy with another value at a path (`a.0.b`); the last name may be new."""
    spec = yaml.safe_load(SPEC)
    *way, last = path.split(".")
    at = spec
    for name in way:
        at = at[int(name)] if name.isdigit() else at[name]
    at[int(last) if last.isdigit() else last] = value
    return spec


def found(spec):
    document = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    return sorted({fault.field for fault in schemas.Schema(definitions.schema()).check(document)})


RULE, PEER = {"action": "Pass", "from": [{"namespaces": {}}]}, {"namespaces": SELECTOR}
NETWORKS = [f"10.{number}.0.0/16" for number in range(26)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tier", "Baseline"),
        ("priority", 0),
        ("priority", 1000),
        ("subject", {"pods": PODS}),
        ("subject", {"pods": {"podSelector": {}}}),
        ("ingress", [RULE] * 25),
        ("ingress.0.action", "Accept"),
        ("ingress.0.action", "Pass"),
        ("ingress.0.from", [PEER] * 25),
        ("ingress.0.from.0", {"pods": PODS}),
        ("ingress.0.name", "n" * 100),
        ("egress.0.to.0", {"nodes": SELECTOR}),
        ("egress.0.to.0", {"networks": NETWORKS[:25]}),
        ("egress.0.to.0", {"networks": ["fd00::/8", "0.0.0.0/0"]}),
        ("egress.0.protocols", [{"tcp": {"destinationPort": {"number": 65535}}}]),
        ("egress.0.protocols", [{"udp": {"destinationPort": {"range": {"start": 1, "end": 2}}}}]),
        ("ingress.0.protocols", [{"destinationNamedPort": "web"}]),
    ],
)
def test_it_may_say(path, value):
    assert found(changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "fields"),
    [
        ("tier", "Boss", ["spec.tier"]),
        ("priority", -1, ["spec.priority"]),
        ("priority", 1001, ["spec.priority"]),
        ("subject", {}, ["spec.subject"]),
        ("subject", {"namespaces": {}, "pods": PODS}, ["spec.subject"]),
        ("ingress", [RULE] * 26, ["spec.ingress"]),
        ("ingress.0.action", "Allow", ["spec.ingress[0].action"]),  # AdminNetworkPolicy's word
        ("ingress.0.from", [], ["spec.ingress[0].from"]),
        ("ingress.0.from", [PEER] * 26, ["spec.ingress[0].from"]),
        ("ingress.0.from.0", {}, ["spec.ingress[0].from[0]"]),
        ("ingress.0.from.0", {"namespaces": {}, "pods": PODS}, ["spec.ingress[0].from[0]"]),
        ("ingress.0.name", "n" * 101, ["spec.ingress[0].name"]),
        ("egress.0.to.0", {"networks": []}, ["spec.egress[0].to[0].networks"]),
        ("egress.0.to.0", {"networks": NETWORKS}, ["spec.egress[0].to[0].networks"]),
        ("egress.0.to.0", {"networks": ["10.0.0.0"]}, ["spec.egress[0].to[0].networks[0]"]),
        ("egress.0.protocols", [], ["spec.egress[0].protocols"]),
        ("egress.0.protocols", [{}], ["spec.egress[0].protocols[0]"]),
        ("egress.0.protocols", [{"tcp": {"destinationPort": {"number": 0}}}], ["spec.egress[0].protocols[0].tcp.destinationPort.number"]),
        ("egress.0.protocols", [{"sctp": {"destinationPort": {"range": {"start": 9, "end": 9}}}}], ["spec.egress[0].protocols[0].sctp.destinationPort.range"]),
        ("egress.0.protocols", [{"destinationNamedPort": "web"}], ["spec.egress[0]"]),  # of networks
    ],
)  # fmt: skip
def test_it_must_not_say(path, value, fields):
    assert found(changed(path, value)) == fields


def test_it_is_of_the_whole_cluster_and_takes_the_place_of_the_kinds_before_it():
    definition = definitions.definition()
    assert definition.spec.scope == "Cluster"
    assert definition.metadata.name == "clusternetworkpolicies.policy.networking.k8s.io"
    assert [version.name for version in definition.spec.versions] == ["v1alpha2"]
