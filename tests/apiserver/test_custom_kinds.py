"""Kinds that users define: served like Kubernetes' own as soon as their definition is written."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.api import fieldsets
from netemu.api.structural import faults, schemas
from netemu.apiserver import acceptance
from netemu.http import messages
from netemu.store import sqlite

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WHEELS = "/apis/example.com/v1/namespaces/default/wheels"
OLDER = "/apis/example.com/v1beta1/namespaces/default/wheels"
APPLY = (("content-type", "application/apply-patch+yaml"),)
SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 30},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "replicas": {"type": "integer", "default": 2},
                "label": {"type": "string", "pattern": "^[a-z]+$"},
                "any": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "spokes": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["id"],
                    "items": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {"id": {"type": "integer"}, "of": {"type": "string"}},
                    },
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "turning": {"type": "boolean"}},
        },
    },
}


def definition(**changes: Any) -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
        "selectableFields": [{"jsonPath": ".spec.color"}],
    }
    older = {**version, "name": "v1beta1", "storage": False}
    return {
        "metadata": {"name": "wheels.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "wheels", "kind": "Wheel", "shortNames": ["wh"]},
            "versions": [{**version, **changes}, older],
        },
    }


def wheel(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Wheel",
        "metadata": {"name": name},
        "spec": {"size": 7, **spec},
    }


def test_a_custom_kind_lives_like_any_other(world: Any) -> None:
    async def story(w: Any) -> None:
        assert (await w.ask("GET", WHEELS)).status == 404
        made = await w.make(CRDS, definition())
        assert {c["type"]: c["status"] for c in made["status"]["conditions"]}["Established"] == "True"
        assert made["status"]["storedVersions"] == ["v1"]
        one = await w.make(WHEELS, wheel(odd=1, free={"x": [1]}))
        assert one["spec"] == {"size": 7, "color": "red", "replicas": 2, "free": {"x": [1]}}
        assert one["metadata"]["generation"] == 1
        same = (await w.ask("GET", f"{OLDER}/a")).body
        assert same == one | {"apiVersion": "example.com/v1beta1"}
        strict = await w.ask("POST", f"{WHEELS}?fieldValidation=Strict", wheel("b", odd=1))
        assert (strict.status, 'unknown field "spec.odd"' in strict.message) == (400, True)
        patched = await w.ask("PATCH", f"{WHEELS}/a", {"spec": {"size": 8}})
        assert (patched.body["spec"]["size"], patched.body["metadata"]["generation"]) == (8, 2)
        strategic = (("content-type", "application/strategic-merge-patch+json"),)
        assert (await w.ask("PATCH", f"{WHEELS}/a", {}, headers=strategic)).status == 415
        turning = {"spec": {"size": 1}, "status": {"turning": True}}
        status = await w.ask("PATCH", f"{WHEELS}/a/status", turning)
        assert (status.body["spec"]["size"], status.body["status"]) == (8, {"turning": True})
        assert status.body["metadata"]["generation"] == 2
        scaled = await w.ask("PATCH", f"{WHEELS}/a/scale", {"spec": {"replicas": 5}})
        assert scaled.body["spec"] == {"replicas": 5}
        chosen = (await w.ask("GET", f"{WHEELS}?fieldSelector=spec.color=red")).body["items"]
        assert [(c["metadata"]["name"], c["spec"]["replicas"]) for c in chosen] == [("a", 5)]
        table = (
            await w.ask("GET", WHEELS, headers=(("accept", "application/json;as=Table;g=meta.k8s.io;v=v1"),))
        ).body
        assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Size"]
        assert table["rows"][0]["cells"] == ["a", 8]

    world(story)


def test_apply_merges_by_the_schemas_keys(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(CRDS, definition())
        at = f"{WHEELS}/a?fieldManager="
        mine = wheel(spokes=[{"id": 1, "of": "steel"}])
        assert (await w.ask("PATCH", at + "one", mine, headers=APPLY)).status == 201
        other = {**wheel(), "spec": {"spokes": [{"id": 2}]}}
        both = await w.ask("PATCH", at + "two", other, headers=APPLY)
        assert both.body["spec"]["spokes"] == [{"id": 1, "of": "steel"}, {"id": 2}]
        clash = await w.ask("PATCH", at + "two", wheel(size=9), headers=APPLY)
        assert clash.body["details"]["causes"][0]["field"] == ".spec.size"

    world(story)


WRONG = [
    ({"size": 0}, "spec.size", "should be greater than or equal to 1"),
    ({"size": 31}, "spec.size", "should be less than or equal to 30"),
    ({"size": "big"}, "spec.size", 'must be of type integer: "string"'),
    ({"color": "green"}, "spec.color", 'Unsupported value: "green": supported values: "red", "blue"'),
    ({"label": "X"}, "spec.label", "should match '^[a-z]+$'"),
    ({"any": True}, "spec.any", "must be of type integer,string"),
    ({"spokes": [{}]}, "spec.spokes[0].id", "Required value"),
    ({"spokes": [{"id": 1}, {"id": 1}]}, "spec.spokes[1]", "Duplicate value"),
]


@pytest.mark.parametrize(("spec", "field", "sentence"), WRONG, ids=[row[1] + row[2][:9] for row in WRONG])
def test_values_are_checked(spec: dict[str, Any], field: str, sentence: str) -> None:
    found = list(schemas.Schema(SCHEMA).check(wheel(**spec)))
    assert [one.field for one in found] == [field]
    assert sentence in str(found[0])


FORMATS = [
    ("ipv4", "10.0.0.1", "fd00::1"),
    ("ipv6", "fd00::1", "10.0.0.1"),
    ("cidr", "10.0.0.0/8", "10.0.0.1"),
    ("mac", "02:00:00:00:00:01", "02:00"),
    ("date", "2026-01-02", "2026-13-01"),
    ("date-time", "2026-01-02T03:04:05Z", "yesterday"),
    ("duration", "1h2m3.5s", "long"),
    ("email", "ann@example.com", "ann"),
    ("hostname", "a.example.com", "a_b"),
    ("uri", "https://example.com/x", "no uri"),
    ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
    ("byte", "aGk=", "*"),
    ("color-of-my-own", "anything", None),
]


@pytest.mark.parametrize(("format_", "good", "bad"), FORMATS, ids=[row[0] for row in FORMATS])
def test_formats_are_checked(format_: str, good: str, bad: str | None) -> None:
    spec = {"type": "object", "properties": {"x": {"type": "string", "format": format_}}}
    schema = schemas.Schema({"type": "object", "properties": {"spec": spec}})
    assert list(schema.check({"spec": {"x": good}})) == []
    if bad is not None:
        (found,) = schema.check({"spec": {"x": bad}})
        assert f'spec.x in body must be of type {format_}: "{bad}"' in str(found)


def ruled(*rules: dict[str, Any], **properties: Any) -> schemas.Schema:
    """A schema with rules about `spec`."""
    spec = {"type": "object", "x-kubernetes-validations": list(rules), "properties": properties}
    document = {"type": "object", "properties": {"spec": spec}}
    assert list(faults.find(document, "")) == []
    return schemas.Schema(document)


INTEGER, TEXT = {"type": "integer"}, {"type": "string"}
RULES = [  # rule, spec, old spec, what is said of spec
    ({"rule": "self.low <= self.high"}, {"low": 1, "high": 2}, None, []),
    (
        {"rule": "self.low <= self.high"},
        {"low": 3, "high": 2},
        None,
        ['spec: Invalid value: "object": failed rule: self.low <= self.high'],
    ),
    (
        {"rule": "self.low > 1", "message": "too low", "reason": "FieldValueForbidden", "fieldPath": ".low"},
        {"low": 1},
        None,
        ["spec.low: Forbidden: too low"],
    ),
    (
        {"rule": "self.low > 1", "messageExpression": "'low is ' + string(self.low)", "message": "no"},
        {"low": 1},
        None,
        ['spec: Invalid value: "object": low is 1'],
    ),
    (
        {"rule": "self.missing == 1", "message": "m"},
        {"low": 1},
        None,
        ['spec: Invalid value: "object": no such key: missing evaluating rule: m'],
    ),
    ({"rule": "self.low >= oldSelf.low"}, {"low": 1}, None, []),
    ({"rule": "self.low >= oldSelf.low", "message": "m"}, {"low": 1}, {"low": 1}, []),
    (
        {"rule": "self.low >= oldSelf.low", "message": "never down"},
        {"low": 1},
        {"low": 2},
        ['spec: Invalid value: "object": never down'],
    ),
    (
        {"rule": "oldSelf.hasValue() || self.low == 0", "optionalOldSelf": True, "message": "m"},
        {"low": 1},
        None,
        ['spec: Invalid value: "object": m'],
    ),
    ({"rule": "self.low > 1"}, {"low": 1}, {"low": 1}, []),  # it was so already
    ({"rule": "self.when > timestamp('2026-01-01T00:00:00Z')"}, {"when": "2026-06-01T00:00:00Z"}, None, []),
    ({"rule": "self.ratio == 2.0"}, {"ratio": 2}, None, []),
    ({"rule": "self.a__dash__b == 'x'"}, {"a-b": "x"}, None, []),
    ({"rule": "self.ports.all(p, p.n > 0)"}, {"ports": [{"n": 1}, {"n": 0}]}, None, ["spec: Invalid value"]),
]


@pytest.mark.parametrize(("rule", "spec", "old", "said"), RULES, ids=[row[0]["rule"] for row in RULES])
def test_rules_in_cel(rule: dict[str, Any], spec: Any, old: Any, said: list[str]) -> None:
    port = {"type": "object", "properties": {"n": INTEGER}}
    schema = ruled(
        rule,
        low=INTEGER,
        high=INTEGER,
        when={"type": "string", "format": "date-time"},
        ratio={"type": "number"},
        ports={"type": "array", "items": port},
        **{"a-b": TEXT},
    )
    found = [str(one) for one in schema.check({"spec": spec}, None if old is None else {"spec": old})]
    assert len(found) == len(said)
    assert all(one.startswith(wanted) for one, wanted in zip(found, said, strict=True)), found


def test_items_are_compared_with_what_they_were_by_their_keys() -> None:
    item = {
        "type": "object",
        "properties": {"id": INTEGER, "n": INTEGER},
        "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n", "message": "never down"}],
    }
    listed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
    schema = ruled(xs={"type": "array", "items": item, **listed})
    old = {"spec": {"xs": [{"id": 1, "n": 1}, {"id": 2, "n": 5}]}}
    new = {"spec": {"xs": [{"id": 3, "n": 0}, {"id": 2, "n": 4}, {"id": 1, "n": 1}]}}
    assert [str(one) for one in schema.check(new, old)] == ['spec.xs[1]: Invalid value: "object": never down']


def test_rules_hold_for_requests_and_bad_ones_are_refused(world: Any) -> None:
    async def story(w: Any) -> None:
        made = definition()
        spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json.loads(json.dumps(SCHEMA))
        rules = [{"rule": "self.size < 10 || self.color == 'blue'", "message": "large ones are blue"}]
        spec["properties"]["spec"]["x-kubernetes-validations"] = rules
        spec["x-kubernetes-validations"] = [{"rule": "self.metadata.name.startsWith('w')"}]
        await w.make(CRDS, made)
        await w.make(WHEELS, wheel("w1", size=20, color="blue"))
        refused = await w.ask("POST", WHEELS, wheel("w2", size=20))
        assert (refused.status, "large ones are blue" in refused.message) == (422, True)
        assert (await w.ask("POST", WHEELS, wheel("x"))).status == 422
        rules[0]["rule"] = "self.size < nothing"
        bad = await w.ask("PUT", f"{CRDS}/wheels.example.com", made)
        assert "compilation failed: ERROR: undeclared reference to 'nothing'" in bad.message

    world(story)


def test_embedded_objects_say_what_they_are() -> None:
    inside = {"type": "object", "x-kubernetes-embedded-resource": True}
    inside["x-kubernetes-preserve-unknown-fields"] = True
    spec = {"type": "object", "properties": {"inside": inside}}
    schema = schemas.Schema({"type": "object", "properties": {"spec": spec}})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"any": "thing"}}
    assert list(schema.check({"spec": {"inside": pod}})) == []
    assert schema.prune({"spec": {"inside": pod}}) == {"spec": {"inside": pod}}
    found = [one.field for one in schema.check({"spec": {"inside": {"kind": ""}}})]
    assert found == ["spec.inside.apiVersion", "spec.inside.kind"]


WORDS = [
    *("type", "properties", "items", "default", "required", "enum", "minimum", "pattern", "anyOf", "not"),
    *("additionalProperties", "nullable", "maxItems", "spec", "x-kubernetes-list-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["object", "array", "x", "(", "string"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@given(schema=JSON, document=st.dictionaries(st.sampled_from(["spec", "properties", "x"]), JSON, max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_schema_and_no_object_breaks_anything(schema: Any, document: dict[str, Any]) -> None:
    inside = {"type": "object", "properties": {"spec": schema}}
    if any(faults.find(inside, "")):
        return
    found = schemas.Schema(inside)
    pruned = found.default(found.prune(document))
    assert found.unknown(pruned) == ()
    assert found.default(pruned) == pruned
    list(found.check(pruned))
    assert fieldsets.merge(pruned, pruned, found.merging) == pruned or any(found.check(pruned))


def test_bad_objects_and_definitions_are_refused(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(CRDS, definition())
        bad = await w.ask("POST", WHEELS, wheel(size=0))
        assert (bad.status, bad.reason) == (422, "Invalid")
        assert bad.message == (
            'Wheel.example.com "a" is invalid: spec.size: Invalid value: 0: spec.size in body should be '
            "greater than or equal to 1"
        )
        for changes, field in (
            ({"storage": False}, "spec.versions"),
            ({"schema": {}}, "spec.versions[0].schema.openAPIV3Schema"),
            (
                {"schema": {"openAPIV3Schema": {"type": "array"}}},
                "spec.versions[0].schema.openAPIV3Schema.type",
            ),
        ):
            refused = await w.ask("POST", CRDS, definition(**changes))
            assert refused.status in (409, 422)
            wrong = definition(**changes)
            wrong["metadata"]["name"] = "spokes.example.com"
            wrong["spec"]["names"] = {"plural": "spokes", "kind": "Spoke"}
            told = await w.ask("POST", CRDS, wrong)
            assert told.status == 422, (field, told.body)
            assert field in [cause["field"] for cause in told.body["details"]["causes"]]

    world(story)


def test_watches_and_the_end(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(CRDS, definition())
        answer = await w.client.raw("GET", WHEELS, query=(("watch", "1"),))
        frames: asyncio.Queue[Any] = asyncio.Queue()

        async def read() -> None:
            async for chunk in answer.body:
                for line in chunk.splitlines():
                    frames.put_nowait(json.loads(line))

        reader = asyncio.create_task(read())
        await w.make(WHEELS, wheel())
        added = await frames.get()
        assert (added["type"], added["object"]["apiVersion"]) == ("ADDED", "example.com/v1")
        made["spec"]["versions"][0]["additionalPrinterColumns"] = []
        assert (await w.ask("PUT", f"{CRDS}/wheels.example.com", made)).status == 200
        await w.ask("PATCH", f"{WHEELS}/a", {"spec": {"size": 9}})
        assert (await frames.get())["object"]["spec"]["size"] == 9
        assert (await w.ask("DELETE", f"{CRDS}/wheels.example.com")).status == 200
        assert (await frames.get())["type"] == "DELETED"
        await gone(w, WHEELS)
        await w.make(CRDS, definition())
        assert (await w.ask("GET", WHEELS)).body["items"] == []
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)

    world(story)


async def gone(w: Any, path: str) -> None:
    """Wait until there is nothing there."""
    while (await w.ask("GET", path)).status != 404:
        await asyncio.sleep(0)


def test_a_definition_waits_for_its_objects(world: Any) -> None:
    """Whose finalizers are honoured; nothing new is made meanwhile."""

    async def story(w: Any) -> None:
        await w.make(CRDS, definition())
        held = wheel("held")
        held["metadata"]["finalizers"] = ["example.com/wait"]
        await w.make(WHEELS, held)
        await w.make(WHEELS, wheel("free"))
        asked = await w.ask("DELETE", f"{CRDS}/wheels.example.com")
        assert asked.body["metadata"]["finalizers"] == [acceptance.FINALIZER]
        await gone(w, f"{WHEELS}/free")
        waiting = (await w.ask("GET", f"{CRDS}/wheels.example.com")).body
        conditions = {one["type"]: one for one in waiting["status"]["conditions"]}
        assert conditions["Terminating"]["status"] == "True"
        assert "deletionTimestamp" in (await w.ask("GET", f"{WHEELS}/held")).body["metadata"]
        refused = await w.ask("POST", WHEELS, wheel("late"))
        assert (refused.status, "definition is terminating" in refused.message) == (403, True)
        await w.ask("PATCH", f"{WHEELS}/held", {"metadata": {"finalizers": None}})
        await gone(w, f"{CRDS}/wheels.example.com")
        assert (await w.ask("GET", WHEELS)).status == 404
        await w.make(CRDS, definition())
        assert (await w.ask("GET", WHEELS)).body["items"] == []

    world(story)


def test_names_that_are_taken_wait_until_they_are_free(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(CRDS, definition())
        other = definition()
        other["metadata"]["name"] = "hoops.example.com"
        other["spec"]["names"] = {"plural": "hoops", "kind": "Hoop", "shortNames": ["wh"]}
        made = await w.make(CRDS, other)
        conditions = {one["type"]: one for one in made["status"]["conditions"]}
        assert (conditions["NamesAccepted"]["status"], conditions["NamesAccepted"]["reason"]) == (
            "False",
            "ShortNamesConflict",
        )
        assert conditions["NamesAccepted"]["message"] == '"wh" is already in use'
        assert conditions["Established"]["reason"] == "NotAccepted"
        assert "shortNames" not in made["status"]["acceptedNames"]
        hoops = WHEELS.replace("wheels", "hoops")
        assert (await w.ask("GET", hoops)).status == 404
        await w.ask("DELETE", f"{CRDS}/wheels.example.com")
        while (await w.ask("GET", hoops)).status == 404:
            await asyncio.sleep(0)
        now = (await w.ask("GET", f"{CRDS}/hoops.example.com")).body["status"]
        assert [one["status"] for one in now["conditions"]] == ["True", "True"]
        assert now["acceptedNames"]["shortNames"] == ["wh"]

    world(story)


def test_quotas_count_custom_objects(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(CRDS, definition())
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/wheels.example.com": "1"}}}
        await w.make("/api/v1/namespaces/default/resourcequotas", quota)
        await w.make(WHEELS, wheel("a"))
        refused = await w.ask("POST", OLDER, wheel("b") | {"apiVersion": "example.com/v1beta1"})
        assert (refused.status, "exceeded quota: q" in refused.message) == (403, True)
        path = "/api/v1/namespaces/default/resourcequotas/q"
        while (await w.ask("GET", path)).body.get("status", {}).get("used") != {
            "count/wheels.example.com": "1"
        }:
            await asyncio.sleep(0)
        await w.ask("DELETE", f"{WHEELS}/a")
        await w.make(WHEELS, wheel("b"))

    world(story)


def test_scaling_is_noted_as_such(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(CRDS, definition())
        await w.make(f"{WHEELS}?fieldManager=maker", wheel())
        scaled = await w.ask("PATCH", f"{WHEELS}/a/scale?fieldManager=scaler", {"spec": {"replicas": 5}})
        assert scaled.status == 200
        fields = (await w.ask("GET", f"{WHEELS}/a")).body["metadata"]["managedFields"]
        (entry,) = [one for one in fields if one["manager"] == "scaler"]
        assert (entry["subresource"], entry["fieldsV1"]) == ("scale", {"f:spec": {"f:replicas": {}}})

    world(story)


def test_discovery_and_openapi_know_it(world: Any) -> None:
    async def story(w: Any) -> None:
        before = (await w.ask("GET", "/openapi/v3")).body["paths"]
        await w.make(CRDS, definition())
        groups = {g["name"]: g for g in (await w.ask("GET", "/apis")).body["groups"]}
        assert groups["example.com"]["preferredVersion"]["version"] == "v1"
        resources = (await w.ask("GET", "/apis/example.com/v1")).body["resources"]
        assert [r["name"] for r in resources] == ["wheels", "wheels/scale", "wheels/status"]
        after = (await w.ask("GET", "/openapi/v3")).body["paths"]
        assert before["api/v1"] == after["api/v1"]
        document = (await w.ask("GET", "/openapi/v3/apis/example.com/v1")).body
        schema = document["components"]["schemas"]["com.example.v1.Wheel"]
        assert schema["properties"]["spec"] == SCHEMA["properties"]["spec"]
        whole = await messages.whole(await w.client.raw("GET", "/openapi/v3/apis/example.com/v1"))
        assert b"strategic-merge-patch" not in whole
        await w.ask("DELETE", f"{CRDS}/wheels.example.com")
        await gone(w, "/apis/example.com")

    world(story)


def test_a_successor_serves_what_was_defined(world: Any, tmp_path: Path) -> None:
    """Also when another version has become the one objects are stored in."""

    async def before(w: Any) -> None:
        made = await w.make(CRDS, definition())
        await w.make(WHEELS, wheel())
        first, second = made["spec"]["versions"]
        first["storage"], second["storage"] = False, True
        changed = await w.ask("PUT", f"{CRDS}/wheels.example.com", made)
        assert changed.body["status"]["storedVersions"] == ["v1", "v1beta1"]

    async def after(w: Any) -> None:
        for path, version in ((WHEELS, "example.com/v1"), (OLDER, "example.com/v1beta1")):
            (found,) = (await w.ask("GET", path)).body["items"]
            assert (found["apiVersion"], found["spec"]["size"]) == (version, 7)
        bad = await w.ask("PATCH", f"{WHEELS}/a", {"spec": {"size": 0}})
        assert bad.status == 422

    for story in (before, after):
        world(story, store=sqlite.open(tmp_path / "store.db"))
