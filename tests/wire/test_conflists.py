"""Network configuration lists as a runtime reads them, and what each plugin of one is handed."""

import json

import pytest

from netemu.wire import cni, conflists

PLUGIN = {"type": "bridge", "capabilities": {"mac": True, "ips": False}, "mtu": 1400}


def listed(**more):
    document = {"cniVersion": "1.0.0", "name": "n", "plugins": [PLUGIN], **more}
    return conflists.parse(json.dumps(document).encode())


def test_a_list_agrees_on_the_highest_version_both_know():
    network = listed(cniVersion="0.4.0", cniVersions=["0.4.0", "1.1.0", "2.0.0"])
    assert network.version == "1.1.0"
    offers = {"mac": "aa", "ips": [], "dns": {}}
    request = conflists.request(network, network.plugins[0], previous={"ips": []}, offers=offers)
    assert request == {
        "type": "bridge",
        "mtu": 1400,
        "cniVersion": "1.1.0",
        "name": "n",
        "runtimeConfig": {"mac": "aa"},
        "prevResult": {"ips": []},
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"cniVersion": "1.0.0", "name": "n", "plugins": []}', 7),
        ('{"cniVersion": "1.0.0", "name": "n"}', 7),
        ('{"cniVersion": "1.0.0", "name": "n", "plugins": {"type": "x"}}', 7),
        ('{"cniVersion": "1.0.0", "name": "n", "plugins": [{"name": "x"}]}', 7),
        ('{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "x", "capabilities": []}]}', 7),
        ('{"cniVersion": "1.0.0", "name": "", "plugins": [{"type": "x"}]}', 7),
        ('{"cniVersion": "1.0.0", "name": "n", "disableGC": 3, "plugins": [{"type": "x"}]}', 7),
        ('{"cniVersion": "3.0.0", "name": "n", "plugins": [{"type": "x"}]}', 1),
        ("[]", 6),
        ("{", 6),
    ],
)
def test_a_bad_list_is_refused_with_the_specification_s_code(text, code):
    with pytest.raises(cni.Failure) as refused:
        conflists.complete(conflists.parse(text.encode()))
    assert refused.value.code == code


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_a_flag_may_be_a_word(value):
    network = listed(cniVersion="1.1.0", disableCheck=value, disableGC=value)
    assert not network.allows("CHECK")
    assert not network.allows("GC")
    assert network.allows("DEL")


@pytest.mark.parametrize(
    ("version", "allowed"),
    [("0.3.1", ()), ("0.4.0", ("CHECK",)), ("1.0.0", ("CHECK",)), ("1.1.0", ("CHECK", "GC", "STATUS"))],
)
def test_commands_came_with_versions(version, allowed):
    network = listed(cniVersion=version)
    assert tuple(c for c in ("CHECK", "GC", "STATUS") if network.allows(c)) == allowed
    assert network.allows("ADD")


def test_a_single_configuration_is_a_list_of_one():
    text = json.dumps({"cniVersion": "0.4.0", "name": "n", "type": "bridge", "bridge": "b"}).encode()
    for single in (True, None):
        network = conflists.parse(text, single=single)
        assert (network.name, network.version, network.only_inlined) == ("n", "0.4.0", True)
        assert network.plugins[0]["bridge"] == "b"
        assert conflists.parse(network.text) == network
    with pytest.raises(cni.Failure):
        conflists.complete(conflists.parse(text, single=False))


def test_plugins_of_the_directory_stand_behind_the_inlined_ones():
    network = conflists.extended(listed(), [b'{"type": "tuning", "mtu": 9000}', b'{"type": "portmap"}'])
    assert [p["type"] for p in network.plugins] == ["bridge", "tuning", "portmap"]
    assert conflists.parse(network.text) == network  # what a cache keeps of it is whole
    with pytest.raises(cni.Failure):
        conflists.extended(listed(), [b'{"mtu": 9000}'])


def test_gc_and_status_get_no_result_and_no_runtime_config():
    network = listed(cniVersion="1.1.0")
    held = [conflists.Held("abc", "eth0")]
    found = conflists.upkeep(network, network.plugins[0], held)
    assert found["cni.dev/valid-attachments"] == [{"containerID": "abc", "ifname": "eth0"}]
    assert found["cni.dev/attachments"] == found["cni.dev/valid-attachments"]
    status = conflists.upkeep(network, network.plugins[0])
    assert status == {"type": "bridge", "mtu": 1400, "cniVersion": "1.1.0", "name": "n"}


def test_a_result_is_handed_on_in_the_list_s_version():
    result = {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.5/24", "interface": 0}], "own": 1}
    assert conflists.in_version(result, "1.0.0") is result
    older = conflists.in_version(result, "0.3.1")
    assert older["ips"] == [{"version": "4", "address": "10.0.0.5/24", "interface": 0}]
