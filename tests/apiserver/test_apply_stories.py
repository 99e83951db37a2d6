"""Server-side apply: who owns which field, who may change it, and what goes when its owner lets go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.api import apps, core, fieldsets, kinds

APPLY = (("content-type", "application/apply-patch+yaml"),)
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


async def apply(w: Any, manager: str, body: Any, *, path: str = f"{MAPS}/a", more: str = "") -> Any:
    return await w.ask("PATCH", f"{path}?fieldManager={manager}{more}", body, headers=APPLY)


def owners(document: Any) -> dict[tuple[str, str], Any]:
    entries = document["metadata"].get("managedFields", ())
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def test_two_appliers_share_an_object(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await apply(w, "one", config(x="1", y="1"))
        assert made.status == 201
        assert owners(made.body) == {("one", "Apply"): {"f:data": {"f:x": {}, "f:y": {}}}}
        again = await apply(w, "one", config(x="1", y="1"))
        assert (again.status, again.body) == (200, made.body)
        await apply(w, "two", config(z="1", y="1"))
        refused = await apply(w, "two", config(x="2", y="1"))
        assert (refused.status, refused.reason) == (409, "Conflict")
        assert refused.message == 'Apply failed with 1 conflict: conflict with "one" using v1: .data.x'
        assert refused.body["details"]["causes"] == [
            {"reason": "FieldManagerConflict", "message": 'conflict with "one" using v1', "field": ".data.x"}
        ]
        forced = await apply(w, "two", config(x="2", y="1"), more="&force=true")
        assert forced.body["data"] == {"x": "2", "y": "1"}, "z was two's alone and is gone"
        assert owners(forced.body)["one", "Apply"] == {"f:data": {"f:y": {}}}
        shared = await apply(w, "two", config(x="2"))
        assert shared.body["data"] == {"x": "2", "y": "1"}, "one still owns y"
        left = await apply(w, "one", {k: v for k, v in config().items() if k != "data"})
        assert left.body["data"] == {"x": "2"}
        assert ("one", "Apply") not in owners(left.body)

    world(story)


def test_updates_take_fields_over(world: Any) -> None:
    async def story(w: Any) -> None:
        await apply(w, "one", config(x="1", y="1"))
        changed = await w.ask("PATCH", f"{MAPS}/a?fieldManager=editor", {"data": {"x": "9", "y": None}})
        assert owners(changed.body) == {("editor", "Update"): {"f:data": {"f:x": {}}}}
        refused = await apply(w, "one", config(x="1"))
        assert [cause["field"] for cause in refused.body["details"]["causes"]] == [".data.x"]
        agreed = await apply(w, "one", config(x="9"))
        assert set(owners(agreed.body)) == {("one", "Apply"), ("editor", "Update")}
        cleared = await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"managedFields": [{}]}})
        assert "managedFields" not in cleared.body["metadata"]
        first = await apply(w, "one", config(x="7"))
        assert 'conflict with "before-first-apply"' in first.message

    world(story)


def test_lists_merge_by_their_keys(world: Any) -> None:
    def deployment(*ports: dict[str, Any], **more: Any) -> dict[str, Any]:
        container = {"name": "web", "image": "nginx", "ports": list(ports), **more}
        labels = {"app": "web"}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }

    async def story(w: Any) -> None:
        at = f"{DEPLOYMENTS}/web"
        udp = {"containerPort": 53, "protocol": "UDP"}
        made = await apply(w, "one", deployment({"containerPort": 53}, udp), path=at)
        assert made.status == 201, made.body
        owned = owners(made.body)["one", "Apply"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
        assert set(owned['k:{"name":"web"}']["f:ports"]) == {
            'k:{"containerPort":53,"protocol":"TCP"}',
            'k:{"containerPort":53,"protocol":"UDP"}',
        }
        fewer = await apply(w, "one", deployment(udp, env=[{"name": "A", "value": "1"}]), path=at)
        (container,) = fewer.body["spec"]["template"]["spec"]["containers"]
        assert container["ports"] == [udp]
        assert fewer.body["metadata"]["generation"] == 2
        twice = await apply(w, "one", deployment(udp, udp), path=at)
        assert (twice.status, "duplicate entries for key" in twice.message) == (400, True)
        nameless = await apply(w, "one", deployment(udp, env=[{"value": "1"}]), path=at)
        assert (nameless.status, 'omits key field "name"' in nameless.message) == (400, True)

    world(story)


def test_what_apply_refuses(world: Any) -> None:
    async def story(w: Any) -> None:
        nobody = await w.ask("PATCH", f"{MAPS}/a", config(x="1"), headers=APPLY)
        assert (nobody.status, nobody.reason) == (422, "Invalid")
        assert "is required for apply patch" in nobody.message
        owned = config(x="1")
        owned["metadata"]["managedFields"] = [{"manager": "x"}]
        assert (await apply(w, "one", owned)).message == "metadata.managedFields must be nil"
        assert (await apply(w, "one", {"data": {}})).status == 400
        other = config(x="1") | {"kind": "Secret"}
        assert (await apply(w, "one", other)).status == 400
        strange = await apply(w, "one", config(x="1") | {"odd": 1}, more="&fieldValidation=Strict")
        assert strange.status in (400, 422)
        assert 'unknown field "odd"' in strange.message
        dry = await apply(w, "one", config(x="1"), more="&dryRun=All")
        assert dry.status == 201
        assert (await w.ask("GET", f"{MAPS}/a")).status == 404
        yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n"
        assert (await apply(w, "one", yaml)).status == 201

    world(story)


def test_status_and_the_rest_have_owners_of_their_own(world: Any) -> None:
    async def story(w: Any) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
        at = "/api/v1/nodes/n"
        await apply(w, "one", node | {"spec": {"unschedulable": True}, "status": {"phase": "x"}}, path=at)
        ready = {"type": "Ready", "status": "True"}
        told = await apply(w, "two", node | {"status": {"conditions": [ready]}}, path=f"{at}/status")
        assert told.status == 200, told.body
        found = owners(told.body)
        assert set(found["one", "Apply"]) == {"f:spec"}
        assert set(found["two", "Apply"]) == {"f:status"}
        entry = next(e for e in told.body["metadata"]["managedFields"] if e["manager"] == "two")
        assert entry["subresource"] == "status"
        assert told.body["spec"]["unschedulable"] is True

    world(story)


STEPS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', "v:1"])
SETS = st.frozensets(st.lists(STEPS, min_size=1, max_size=4).map(tuple), max_size=12)


@given(SETS)
@settings(max_examples=300, deadline=None)
def test_what_is_written_as_fieldsv1_is_read_again(found: fieldsets.Fields) -> None:
    assert fieldsets.parse(fieldsets.tree(found)) == found


@pytest.mark.parametrize("record", [core.Pod, core.Service, apps.Deployment], ids=lambda r: r.__name__)
def test_merging_an_object_into_itself_changes_nothing(record: Any) -> None:
    node = fieldsets.of(kinds.of(record))
    port = {"port": 80, "containerPort": 80, "protocol": "TCP"}
    document = {
        "metadata": {"name": "x", "finalizers": ["a", "b"], "labels": {"p": "q"}},
        "spec": {
            "ports": [port, {**port, "protocol": "UDP"}],
            "containers": [{"name": "a", "ports": [port]}],
            "template": {"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "b"}]}},
        },
    }
    assert fieldsets.merge(document, document, node) == document
    assert fieldsets.compare(document, document, node) == (frozenset(), frozenset())
    everything = fieldsets.given(document, node)
    assert fieldsets.without(document, everything, node) in ({}, {"metadata": {}, "spec": {}})
