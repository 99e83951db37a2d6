"""What a pod may ask of its networks by annotation: further networks, bandwidth."""

import json

import pytest

from netemu.base import errors
from netemu.kubelet.cni import capabilities, multus


def asked(text, namespace="default"):
    return multus.selections({multus.NETWORKS: text}, namespace)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("lan", [("default", "lan", "net1")]),
        ("lan, other/wan@wan0", [("default", "lan", "net1"), ("other", "wan", "wan0")]),
        ('[{"name": "lan"}, {"name": "wan"}]', [("default", "lan", "net1"), ("default", "wan", "net2")]),
    ],
)
def test_networks_by_name_or_as_json(text, expected):
    assert [(one.namespace, one.name, one.interface) for one in asked(text)] == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lan,", "Invalid network object"),
        ("a/b/c", "Invalid network object"),
        ("Lan", "is no name"),
        ("lan@eth0", "eth0 is used twice"),
        ("lan@a,wan@a", "a is used twice"),
        ("lan@0123456789abcdef", "invalid interface name"),
        ("[{", "failed to parse"),
        ("[3]", "not an object"),
        ('[{"name": "lan", "interface": 3}]', "lan"),
        ('[{"name": "lan", "default-route": ["10.0.0.1"]}]', "default-route is not offered"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(text, why):
    with pytest.raises(errors.Rejected, match=why) as refused:
        asked(text)
    assert multus.NETWORKS in str(refused.value)


def test_a_definition_without_a_name_has_its_object_s():
    (chosen,) = asked('[{"name": "lan", "ips": ["10.9.0.7/24"], "cni-args": {"vlan": 5}}]')
    network = multus.network(chosen, json.dumps({"cniVersion": "0.4.0", "type": "macvlan", "master": "eth0"}))
    assert (network.name, network.version) == ("lan", "0.4.0")
    assert network.plugins[0]["args"] == {"cni": {"vlan": 5}}
    assert chosen.capabilities == {"ips": ["10.9.0.7/24"]}


@pytest.mark.parametrize("text", ["10", "2P", "fast", "-5M"])
def test_a_bandwidth_that_is_none(text):
    with pytest.raises(
        errors.Rejected, match=r"failed to get pod bandwidth: kubernetes\.io/egress-bandwidth"
    ):
        capabilities.bandwidth({"kubernetes.io/egress-bandwidth": text})
