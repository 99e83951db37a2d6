"""Documents against the schema: Go's words for wrong types, unknown and doubled fields, the normal form."""

from __future__ import annotations

from typing import Any

import pytest

from netemu.api import apps, core, discovery, fitting, kinds, networking, schema, shapes
from netemu.base import errors

POD = kinds.of(core.Pod)
DEPLOYMENT = kinds.of(apps.Deployment)

# Messages as kube-apiserver gives them ("... cannot be handled as a Deployment: " + this).
WRONG: dict[str, tuple[kinds.Kind, dict[str, Any], str, str]] = {
    "a string for an int32": (
        DEPLOYMENT, {"spec": {"replicas": "3"}}, "spec.replicas",
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
    "a number for a string, deep inside": (
        DEPLOYMENT,
        {"spec": {"template": {"spec": {"containers": [{}, {"env": [{"name": "A", "value": 1}]}]}}}},
        "spec.template.spec.containers[1].env[0].value",
        "json: cannot unmarshal number into Go struct field "
        "EnvVar.spec.template.spec.containers.env.value of type string"),
    "an object for a list": (
        POD, {"spec": {"containers": {"name": "a"}}}, "spec.containers",
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
    "a bool in a map of strings": (
        POD, {"metadata": {"labels": {"on": True}}}, "metadata.labels.on",
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels.on of type string"),
    "a number beyond int32": (
        POD, {"spec": {"priority": 2**31}}, "spec.priority",
        "json: cannot unmarshal number 2147483648 into Go struct field PodSpec.spec.priority of type int32"),
    "a fraction for an integer": (
        POD, {"spec": {"priority": 1.5}}, "spec.priority",
        "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
    "a list for the whole": (POD, [], "", "json: cannot unmarshal array into Go value of type v1.Pod"),
    "no quantity": (
        POD, {"spec": {"overhead": {"cpu": "two"}}}, "spec.overhead.cpu",
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
    "no base64": (
        kinds.of(core.Secret), {"data": {"a": "%%"}}, "data.a", "illegal base64 data"),
    "no time": (
        POD, {"metadata": {"creationTimestamp": "yesterday"}}, "metadata.creationTimestamp",
        'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": not in that form'),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_named(name: str) -> None:
    kind, document, path, message = WRONG[name]
    assert schema.problems(kind, document) == (fitting.Problem(path, message, "FieldValueTypeInvalid"),)


def test_all_that_is_wrong_is_named_at_once() -> None:
    document = {"spec": {"nodeName": 1, "hostNetwork": "yes", "containers": [{"name": []}]}}
    assert [p.path for p in schema.problems(POD, document)] == [
        "spec.nodeName",
        "spec.hostNetwork",
        "spec.containers[0].name",
    ]


def test_int_or_string_takes_both_and_quantities_take_numbers() -> None:
    service = {"spec": {"ports": [{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 8081}]}}
    assert schema.problems(kinds.of(core.Service), service) == ()
    container = {"name": "a", "resources": {"limits": {"cpu": 1, "memory": 1.5}}}
    assert schema.problems(POD, {"spec": {"containers": [container]}}) == ()


def test_unknown_fields_are_listed_with_their_paths() -> None:
    document = {
        "speck": {},
        "spec": {"containers": [{"name": "a", "imagePullPolic": "Always", "Image": "x"}]},
    }
    assert schema.unknown(POD, document) == (
        "speck",
        "spec.containers[0].imagePullPolic",
        "spec.containers[0].Image",  # field names are case-sensitive
    )
    assert schema.prune(POD, document) == {"spec": {"containers": [{"name": "a"}]}}


def test_keys_of_maps_and_raw_values_are_not_fields() -> None:
    assert schema.unknown(POD, {"metadata": {"labels": {"anything": "goes"}}}) == ()
    managed = {"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"f:x": {}}}}]}}
    assert schema.unknown(POD, managed) == ()


def test_doubled_keys_are_listed_and_the_last_wins() -> None:
    text = b'{"a":1,"spec":{"containers":[{"name":"x","name":"y"}],"a":{"b":1}},"a":2}'
    document, doubled = schema.read(text)
    assert document["a"] == 2
    assert doubled == ("spec.containers[0].name", "a")


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":}', b'{"a":1}x', b"NaN", b'{"a":\xff}', b'"\\ud800"'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(errors.Rejected, match="malformed JSON"):
        schema.read(text)


def test_normal_form_is_what_go_writes() -> None:
    """Nulls, unknown fields and empty optional values go; required zeros and empty structs come."""
    document = {
        "metadata": {"name": "a", "creationTimestamp": None, "labels": {}},
        "spec": {
            "hostNetwork": False,
            "terminationGracePeriodSeconds": 0,
            "nodeName": "",
            "tolerations": [],
            "securityContext": {},
            "containers": [{"name": "a", "stdin": True, "resources": {"limits": {"cpu": "0.5"}}}],
            "nonsense": 1,
        },
        "status": {"containerStatuses": [{"name": "a"}]},
    }
    assert schema.normalise(POD, document) == {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "a"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {},
            "containers": [{"name": "a", "stdin": True, "resources": {"limits": {"cpu": "500m"}}}],
        },
        "status": {
            "containerStatuses": [
                {
                    "name": "a",
                    "state": {},
                    "lastState": {},
                    "ready": False,
                    "restartCount": 0,
                    "image": "",
                    "imageID": "",
                }
            ]
        },
    }


def test_required_lists_are_empty_not_null() -> None:
    """Upstream writes null here, which the Python client refuses to read."""
    slice_ = schema.normalise(kinds.of(discovery.EndpointSlice), {"addressType": "IPv4"})
    assert (slice_["endpoints"], slice_["ports"]) == ([], [])


def test_a_pointer_keeps_its_zero() -> None:
    peer = {"spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}}
    normal = schema.normalise(kinds.of(networking.NetworkPolicy), peer)
    assert normal["spec"] == {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}


# --- merge keys and numbers, as upstream's types.go and generated.proto have them ---

MERGE_KEYS = [
    (POD, "spec.containers", "name"),
    (POD, "spec.containers.ports", "containerPort"),
    (POD, "spec.containers.env", "name"),
    (POD, "spec.containers.volumeMounts", "mountPath"),
    (POD, "spec.containers.volumeDevices", "devicePath"),
    (POD, "spec.initContainers", "name"),
    (POD, "spec.imagePullSecrets", "name"),
    (POD, "spec.hostAliases", "ip"),
    (POD, "spec.topologySpreadConstraints", "topologyKey"),
    (POD, "status.conditions", "type"),
    (POD, "status.podIPs", "ip"),
    (POD, "metadata.ownerReferences", "uid"),
    (DEPLOYMENT, "spec.template.spec.containers.env", "name"),
    (kinds.of(core.Service), "spec.ports", "port"),
    (kinds.of(core.ServiceAccount), "secrets", "name"),
    (kinds.of(core.Node), "status.addresses", "type"),
    (POD, "spec.tolerations", ""),
    (POD, "spec.containers.args", ""),
    (kinds.of(networking.NetworkPolicy), "spec.ingress", ""),
    (kinds.of(discovery.EndpointSlice), "endpoints", ""),
    (kinds.of(core.Node), "spec.taints", ""),
]


@pytest.mark.parametrize(("kind", "path", "key"), MERGE_KEYS)
def test_strategic_merge_keys(kind: kinds.Kind, path: str, key: str) -> None:
    rule = schema.merge_rule(kind, tuple(path.split(".")))
    assert (rule.key, rule.merge) == (key, bool(key))


def test_other_strategies() -> None:
    assert schema.merge_rule(POD, ("metadata", "finalizers")) == schema.Merging(merge=True)
    assert schema.merge_rule(kinds.of(core.Node), ("spec", "podCIDRs")) == schema.Merging(merge=True)
    assert schema.merge_rule(DEPLOYMENT, ("spec", "strategy")) == schema.Merging(retain_keys=True)
    assert schema.merge_rule(POD, ("spec", "volumes")) == schema.Merging(True, "name", retain_keys=True)
    assert schema.merge_rule(POD, ("metadata", "labels", "containers")) == schema.Merging()
    assert schema.merge_rule(POD, ("no", "such", "field")) == schema.Merging()


def test_server_side_apply_has_keys_of_its_own() -> None:
    assert shapes.at(POD.type, ("spec", "containers", "ports")).field.keys == ("containerPort", "protocol")
    assert shapes.at(core.Service, ("spec", "ports")).field.keys == ("port", "protocol")
    assert shapes.at(networking.NetworkPolicy, ("spec", "ingress")).field.keys == ()


NUMBERS = [
    (core.Pod, "metadata", (1,)),
    (core.PodSpec, "containers", (2,)),
    (core.PodSpec, "initContainers", (20,)),
    (core.Container, "resources", (8,)),
    (core.Volume, "configMap", (2, 19)),  # fields of an embedded message
    (core.Probe, "httpGet", (1, 2)),
    (core.EphemeralContainer, "name", (1, 1)),
    (core.ConfigMapKeySelector, "name", (1, 1)),
    (core.ServicePort, "appProtocol", (6,)),
    (core.ServiceSpec, "clusterIPs", (18,)),
    (discovery.EndpointSlice, "addressType", (4,)),
]


@pytest.mark.parametrize(("record", "name", "path"), NUMBERS)
def test_protobuf_numbers(record: Any, name: str, path: tuple[int, ...]) -> None:
    assert shapes.of(record).properties[name].path == path


def _records() -> list[Any]:
    found: dict[Any, None] = {}

    def walk(shape: shapes.Shape) -> None:
        while shape.items or shape.values:
            inner = shape.items or shape.values
            assert inner
            shape = inner
        if shape.record and shape.record not in found:
            found[shape.record] = None
            for one in shapes.of(shape.record).properties.values():
                walk(one.shape)

    for kind in kinds.SERVED:
        walk(shapes.Shape(record=kind.type))
    return list(found)


def test_every_declaration_is_sound() -> None:
    """Numbers are unique in a message, merge and map keys are fields of the items they tell apart."""
    records = _records()
    assert len(records) > 200
    for record in records:
        properties = shapes.of(record).properties
        numbered = [one.path for one in properties.values() if one.path]
        assert len(set(numbered)) == len(numbered), record
        for one in properties.values():
            for key in filter(None, (one.field.merge, *one.field.keys)):
                assert one.shape.items, (record, one.name)
                assert one.shape.items.record, (record, one.name)
                assert key in shapes.of(one.shape.items.record).properties, (record, one.name, key)
            if one.shape.words and one.field.default is not None:
                assert one.field.default in one.shape.words, (record, one.name)
