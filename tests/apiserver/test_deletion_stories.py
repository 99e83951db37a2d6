"""Deletion: at once, with grace, with finalizers, by selection; and the end of a namespace."""

from typing import Any

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def running(w: Any, name: str = "web", **spec: Any) -> Any:
    """A pod that a node has."""
    await w.make(PODS, w.pod(name, **spec))
    body = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": name}, "target": {"name": "n1"}}
    assert (await w.ask("POST", f"{PODS}/{name}/binding", body)).status == 201
    return (await w.ask("GET", f"{PODS}/{name}")).body


def test_what_nothing_holds_back_is_gone_at_once(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(MAPS, w.config_map("a"))
        answer = await w.ask("DELETE", f"{MAPS}/a")
        assert (answer.status, answer.body["status"]) == (200, "Success")
        assert answer.body["details"] == {
            "name": "a",
            "kind": "configmaps",
            "uid": made["metadata"]["uid"],
        }
        assert (await w.ask("GET", f"{MAPS}/a")).status == 404
        assert (await w.ask("DELETE", f"{MAPS}/a")).status == 404

    world(story)


def test_a_pod_on_a_node_waits_for_the_kubelet(world: Any) -> None:
    async def story(w: Any) -> None:
        await running(w, terminationGracePeriodSeconds=20)
        first = (await w.ask("DELETE", f"{PODS}/web")).body
        assert first["kind"] == "Pod"
        assert first["metadata"]["deletionGracePeriodSeconds"] == 20
        from netemu.base import clock

        due = clock.parse_rfc3339(first["metadata"]["deletionTimestamp"])
        assert 19 <= due - w.clock.now() <= 20
        assert first["metadata"]["generation"] == 2
        longer = (await w.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 60})).body
        assert longer["metadata"]["deletionTimestamp"] == first["metadata"]["deletionTimestamp"]
        shorter = (await w.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 5})).body
        assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
        assert clock.parse_rfc3339(shorter["metadata"]["deletionTimestamp"]) == due - 15
        assert (await w.ask("GET", f"{PODS}/web")).status == 200
        assert (await w.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 0})).status == 200
        assert (await w.ask("GET", f"{PODS}/web")).status == 404

    world(story)


def test_a_pod_no_node_has_or_that_has_ended_goes_at_once(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(PODS, w.pod("unscheduled"))
        await running(w, "ended")
        await w.ask("PATCH", f"{PODS}/ended/status", {"status": {"phase": "Succeeded"}})
        for name in ("unscheduled", "ended"):
            await w.ask("DELETE", f"{PODS}/{name}")
            assert (await w.ask("GET", f"{PODS}/{name}")).status == 404

    world(story)


def test_finalizers_hold_an_object_until_the_last_is_taken_away(world: Any) -> None:
    async def story(w: Any) -> None:
        held = w.config_map("a")
        held["metadata"]["finalizers"] = ["example.com/one", "example.com/two"]
        await w.make(MAPS, held)
        marked = (await w.ask("DELETE", f"{MAPS}/a")).body
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
        assert "deletionTimestamp" in marked["metadata"]
        one = await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/two"]}})
        assert one.status == 200
        again = (await w.ask("DELETE", f"{MAPS}/a")).body
        assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
        assert (await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}})).status == 200
        assert (await w.ask("GET", f"{MAPS}/a")).status == 404

    world(story)


def test_propagation_is_written_as_a_finalizer(world: Any) -> None:
    async def story(w: Any) -> None:
        rows = [
            ({"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
            ({"propagationPolicy": "Orphan"}, ["orphan"]),
            ({"orphanDependents": True}, ["orphan"]),
        ]
        for options, finalizers in rows:
            await w.make(MAPS, w.config_map("a"))
            marked = (await w.ask("DELETE", f"{MAPS}/a", options)).body
            assert marked["metadata"]["finalizers"] == finalizers
            await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": []}})
        await w.make(MAPS, w.config_map("a"))
        for wrong in (
            {"propagationPolicy": "Sometimes"},
            {"gracePeriodSeconds": -1},
            {"propagationPolicy": "Orphan", "orphanDependents": True},
        ):
            assert (await w.ask("DELETE", f"{MAPS}/a", wrong)).status == 422
        for wrong in ({"gracePeriodSeconds": "soon"}, [], b"{"):
            assert (await w.ask("DELETE", f"{MAPS}/a", wrong)).status == 400
        assert (await w.ask("DELETE", f"{MAPS}/a?propagationPolicy=Background")).status == 200

    world(story)


def test_preconditions_protect_another_object_of_that_name(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(MAPS, w.config_map("a"))
        uid, revision = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
        for wanted in ({"uid": "other"}, {"resourceVersion": "1"}):
            refused = await w.ask("DELETE", f"{MAPS}/a", {"preconditions": wanted})
            assert (refused.status, refused.reason) == (409, "Conflict")
        right = {"preconditions": {"uid": uid, "resourceVersion": revision}}
        assert (await w.ask("DELETE", f"{MAPS}/a", right)).status == 200

    world(story)


def test_a_selection_is_deleted(world: Any) -> None:
    async def story(w: Any) -> None:
        for n in range(4):
            made = w.config_map(f"m{n}")
            made["metadata"]["labels"] = {"odd": str(n % 2)}
            await w.make(MAPS, made)
        answer = await w.ask("DELETE", f"{MAPS}?labelSelector=odd=1")
        assert [i["metadata"]["name"] for i in answer.body["items"]] == ["m1", "m3"]
        left = await w.ask("GET", f"{MAPS}?labelSelector=odd")
        assert [i["metadata"]["name"] for i in left.body["items"]] == ["m0", "m2"]

    world(story)


def test_what_a_cluster_lives_in_may_not_be_deleted(world: Any) -> None:
    async def story(w: Any) -> None:
        for name in ("default", "kube-public", "kube-system"):
            answer = await w.ask("DELETE", f"/api/v1/namespaces/{name}")
            assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
            assert answer.body["message"] == (
                f'namespaces "{name}" is forbidden: this namespace may not be deleted'
            )

    world(story)


def test_a_namespace_is_labelled_with_its_name_and_ends_when_it_is_finalized(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(
            "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}}
        )
        label = {"kubernetes.io/metadata.name": "shop"}
        assert made["metadata"]["labels"] == label
        for other in (None, "hop"):
            patch = {"metadata": {"labels": {"kubernetes.io/metadata.name": other}}}
            kept = await w.ask("PATCH", "/api/v1/namespaces/shop", patch)
            assert (kept.status, kept.body["metadata"]["labels"]) == (200, label)
        assert made["spec"]["finalizers"] == ["kubernetes"]
        assert made["status"]["phase"] == "Active"
        maps = "/api/v1/namespaces/shop/configmaps"
        await w.make(maps, w.config_map("a"))
        ending = (await w.ask("DELETE", "/api/v1/namespaces/shop")).body
        assert ending["status"]["phase"] == "Terminating"
        refused = await w.ask("POST", maps, w.config_map("b"))
        assert (refused.status, refused.reason) == (403, "Forbidden")
        assert refused.message == (
            'configmaps "b" is forbidden: unable to create new content in namespace shop '
            "because it is being terminated"
        )
        assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        assert (await w.ask("PATCH", f"{maps}/a", {"data": {"k": "v"}})).status == 200
        assert (await w.ask("DELETE", f"{maps}/a")).status == 200
        ending["spec"]["finalizers"] = []
        done = await w.ask("PUT", "/api/v1/namespaces/shop/finalize", ending)
        assert done.status == 200
        assert (await w.ask("GET", "/api/v1/namespaces/shop")).status == 404
        missing = await w.ask("POST", maps, w.config_map("b"))
        assert (missing.status, missing.message) == (404, 'namespaces "shop" not found')

    world(story)
