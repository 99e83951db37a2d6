"""CNI documents, against the specification's own examples and tables (SPEC.md 1.1.0)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.wire import cni, documents

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin:/usr/lib/cni",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
}
# From SPEC.md, "Appendix: Examples", the bridge's answer to ADD.
SPECIFICATION = {
    "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
    "routes": [{"dst": "0.0.0.0/0"}],
    "interfaces": [
        {"name": "cni0", "mac": "00:11:22:33:44:55"},
        {"name": "veth3243", "mac": "55:44:33:22:11:11"},
        {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/var/run/netns/blue"},
    ],
    "dns": {"nameservers": ["10.1.0.1"]},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_the_small_json_reads_and_writes_what_json_does(value):
    assert json.loads(documents.dump(value)) == value
    assert documents.load(json.dumps(value, indent=1).encode()) == value


@pytest.mark.parametrize(
    "text", ["", "{", "{}x", "[1,]", '{"a":}', "nul", '"\x01"', "NaN", "[Infinity]", '{"a" 1}']
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  (JSONDecodeError is one)
        documents.load(text)


def test_a_call_has_all_its_parameters():
    call = cni.call(ENVIRONMENT)
    assert call.path == ("/opt/cni/bin", "/usr/lib/cni")
    assert call.args == {"IgnoreUnknown": "1", "K8S_POD_NAME": "web"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"CNI_NETNS": ""}, "CNI_NETNS"),
        ({"CNI_IFNAME": "", "CNI_CONTAINERID": ""}, "CNI_CONTAINERID,CNI_IFNAME"),
        ({"CNI_COMMAND": "DANCE"}, "DANCE"),
        ({"CNI_CONTAINERID": "../../etc"}, "CNI_CONTAINERID"),
        ({"CNI_CONTAINERID": "-x"}, "CNI_CONTAINERID"),
        ({"CNI_IFNAME": "a/b"}, "a/b"),
        ({"CNI_IFNAME": ".."}, ".."),
        ({"CNI_IFNAME": "a" * 16}, "a" * 16),
        ({"CNI_ARGS": "novalue"}, "novalue"),
    ],
)
def test_a_bad_environment_is_code_4(change, said):
    with pytest.raises(cni.Failure) as refused:
        cni.call(ENVIRONMENT | change)
    assert refused.value.code == 4
    assert said in str(refused.value)


def test_del_needs_no_namespace_and_version_needs_nothing():
    assert cni.call(ENVIRONMENT | {"CNI_COMMAND": "DEL", "CNI_NETNS": ""}).netns == ""
    assert cni.call({"CNI_COMMAND": "VERSION"}).command == "VERSION"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"cniVersion": "9.9.9", "name": "n", "type": "t"}, 1),
        ({"name": "n", "type": "t"}, 1),  # means 0.1.0
        ({"cniVersion": "1.0.0", "type": "t"}, 7),
        ({"cniVersion": "1.0.0", "name": "a/b", "type": "t"}, 7),
        ({"cniVersion": "1.0.0", "name": "n", "type": "t", "prevResult": []}, None),
        ({"cniVersion": "1.0.0", "name": "n", "type": "t", "prevResult": [1]}, 6),
        ([], 6),
    ],
)
def test_a_bad_configuration_has_its_code(document, code):
    if code is None:
        assert cni.configuration(json.dumps(document))["name"] == "n"
        return
    with pytest.raises(cni.Failure) as refused:
        cni.configuration(json.dumps(document))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("command", "version", "allowed"),
    [
        ("CHECK", "0.3.1", False),
        ("CHECK", "0.4.0", True),
        ("GC", "1.0.0", False),
        ("GC", "1.1.0", True),
        ("STATUS", "1.0.0", False),
        ("ADD", "0.3.0", True),
    ],
)
def test_commands_came_with_versions(command, version, allowed):
    if allowed:
        cni.check_command(command, version)
    else:
        with pytest.raises(cni.Failure) as refused:
            cni.check_command(command, version)
        assert refused.value.code == 1


@pytest.mark.parametrize("version", cni.VERSIONS)
def test_the_specification_s_result_survives_every_version(version):
    document = {"cniVersion": "1.0.0", **SPECIFICATION}
    rendered = cni.render(cni.result(document), version)
    assert rendered["cniVersion"] == version
    assert cni.result(rendered) == cni.result(document)
    assert rendered["interfaces"] == SPECIFICATION["interfaces"]
    # 1.0.0 dropped ips[].version, which all before it had.
    assert ("version" in rendered["ips"][0]) == (version < "1.0.0")


def test_what_is_new_in_1_1_is_left_out_for_older_readers():
    document = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mtu": 1400, "sandbox": "/x"}],
        "ips": [{"address": "fd00::5/64"}],
        "routes": [{"dst": "::/0", "gw": "fd00::1", "mtu": 1300, "priority": 7}],
    }
    newest = cni.render(cni.result(document), "1.1.0")
    assert newest["interfaces"][0]["mtu"] == 1400
    assert newest["routes"] == document["routes"]
    older = cni.render(cni.result(document), "0.4.0")
    assert "mtu" not in older["interfaces"][0]
    assert older["routes"] == [{"dst": "::/0", "gw": "fd00::1"}]
    assert older["ips"] == [{"version": "6", "address": "fd00::5/64"}]


@pytest.mark.parametrize("ips", [[{"address": "10.0.0.5/99"}], [{}], ["10.0.0.5/24"], 5])
def test_what_is_no_result_is_code_6(ips):
    with pytest.raises(cni.Failure) as refused:
        cni.result({"cniVersion": "1.0.0", "ips": ips})
    assert refused.value.code == 6


def test_an_error_is_written_and_read_back():
    failure = cni.Failure(11, "busy", "the other one has it")
    document = failure.document("1.0.0")
    assert document == {"cniVersion": "1.0.0", "code": 11, "msg": "busy", "details": "the other one has it"}
    again = cni.failure(document)
    assert (again.code, str(again)) == (11, "busy: the other one has it")
