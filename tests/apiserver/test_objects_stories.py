"""Objects are made, read, changed and refused as Kubernetes does it."""

from typing import Any

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(name: str = "web", replicas: int = 3) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }


def test_a_new_object_gets_what_the_server_gives(world: Any) -> None:
    async def story(w: Any) -> None:
        about = {"uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z"}
        given = w.config_map("a", k="v")
        given["metadata"] |= about
        made = await w.make(MAPS, given)
        metadata = made["metadata"]
        assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"k": "v"})
        assert metadata["namespace"] == "default"
        assert len(metadata["uid"]) == 36
        assert metadata["uid"][14] == "4"
        assert metadata["creationTimestamp"].startswith("20")
        assert metadata["creationTimestamp"] != about["creationTimestamp"]
        assert "generation" not in metadata
        assert int(metadata["resourceVersion"]) == w.store.revision
        got = await w.ask("GET", f"{MAPS}/a")
        assert (got.status, got.body) == (200, made)

    world(story)


def test_a_name_is_made_up_and_cut(world: Any) -> None:
    async def story(w: Any) -> None:
        base = "x" * 70
        named = w.config_map("")
        named["metadata"] = {"generateName": base}
        names = {(await w.make(MAPS, named))["metadata"]["name"] for _ in range(20)}
        assert len(names) == 20
        assert all(len(name) == 63 and name.startswith("x" * 58) for name in names)
        both = {**named, "metadata": {"generateName": "x-", "name": "own"}}
        assert (await w.make(MAPS, both))["metadata"]["name"] == "own"
        none = await w.ask("POST", MAPS, {**named, "metadata": {}})
        assert (none.status, none.reason) == (422, "Invalid")
        assert none.body["details"]["causes"][0]["reason"] == "FieldValueRequired"
        assert none.body["details"]["causes"][0]["field"] == "metadata.name"

    world(story)


def test_refusals_have_upstreams_words(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a"))
        rows = [
            (await w.ask("GET", f"{MAPS}/b"), 404, "NotFound", 'configmaps "b" not found'),
            (await w.ask("GET", f"{DEPLOYMENTS}/b"), 404, "NotFound", 'deployments.apps "b" not found'),
            (
                await w.ask("POST", MAPS, w.config_map("a")),
                409,
                "AlreadyExists",
                'configmaps "a" already exists',
            ),
            (
                await w.ask("GET", "/api/v1/nothings"),
                404,
                "NotFound",
                "the server could not find the requested resource",
            ),
            (
                await w.ask("POST", f"{MAPS}/a", w.config_map("a")),
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
        ]
        for answer, code, reason, message in rows:
            assert (answer.status, answer.reason, answer.message) == (code, reason, message)
            assert (answer.body["kind"], answer.body["code"]) == ("Status", code)
        assert rows[1][0].body["details"] == {"name": "b", "group": "apps", "kind": "deployments"}
        unknown = await w.ask("GET", "/nonsense")
        assert (unknown.status, unknown.body) == (404, b"404 page not found\n")

    world(story)


def test_an_update_of_an_old_revision_conflicts(world: Any) -> None:
    async def story(w: Any) -> None:
        first = await w.make(MAPS, w.config_map("a", k="1"))
        second = await w.ask("PUT", f"{MAPS}/a", {**first, "data": {"k": "2"}})
        assert second.status == 200
        stale = await w.ask("PUT", f"{MAPS}/a", {**first, "data": {"k": "3"}})
        assert (stale.status, stale.reason) == (409, "Conflict")
        assert stale.message == (
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        blind = w.config_map("a", k="4")
        assert (await w.ask("PUT", f"{MAPS}/a", blind)).body["data"] == {"k": "4"}
        other = {**first, "metadata": {"name": "a", "uid": "other"}}
        wrong_uid = await w.ask("PUT", f"{MAPS}/a", other)
        assert (wrong_uid.status, wrong_uid.reason) == (409, "Conflict")
        assert (await w.ask("PUT", f"{MAPS}/b", w.config_map("b"))).status == 404
        assert (await w.ask("PUT", f"{MAPS}/a", w.config_map("b"))).status == 400

    world(story)


def test_an_update_that_changes_nothing_writes_nothing(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(MAPS, w.config_map("a", k="1"))
        before = w.store.revision
        again = await w.ask("PUT", f"{MAPS}/a", made)
        patched = await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "1"}})
        assert again.body == patched.body == made
        assert w.store.revision == before

    world(story)


def test_patches_of_three_kinds(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(DEPLOYMENTS, deployment())
        one = f"{DEPLOYMENTS}/web"

        async def patch(how: str, body: Any) -> Any:
            answer = await w.ask(
                "PATCH", one, body, headers=(("content-type", f"application/{how}-patch+json"),)
            )
            assert answer.status == 200, answer.body
            return answer.body

        merged = await patch("merge", {"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 4}})
        assert (merged["metadata"]["labels"], merged["spec"]["replicas"]) == ({"a": "b"}, 4)
        edited = await patch(
            "json",
            [
                {"op": "remove", "path": "/metadata/labels"},
                {"op": "test", "path": "/spec/replicas", "value": 4},
            ],
        )
        assert "labels" not in edited["metadata"]
        env = {"name": "c", "env": [{"name": "A", "value": "1"}]}
        strategic = await patch("strategic-merge", {"spec": {"template": {"spec": {"containers": [env]}}}})
        container = strategic["spec"]["template"]["spec"]["containers"][0]
        assert (container["image"], container["env"]) == ("nginx", [{"name": "A", "value": "1"}])
        assert merged["metadata"]["generation"] == 2
        assert edited["metadata"]["generation"] == 2
        assert strategic["metadata"]["generation"] == 3

    world(story)


def test_bad_patches_are_refused_and_change_nothing(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(DEPLOYMENTS, deployment())
        one = f"{DEPLOYMENTS}/web"
        rows = [
            ("application/merge-patch+json", b"{", 400),
            ("application/merge-patch+json", b"[]", 400),
            ("application/merge-patch+json", b'{"spec":{"replicas":"many"}}', 422),
            ("application/merge-patch+json", b'{"metadata":{"name":"other"}}', 422),
            ("application/merge-patch+json", b'{"metadata":{"resourceVersion":"1"}}', 409),
            ("application/merge-patch+json", b'{"metadata":null}', 422),
            ("application/json-patch+json", b'[{"op":"remove","path":"/no/such"}]', 422),
            ("application/json-patch+json", b'[{"op":"dance","path":"/spec"}]', 400),
            ("application/json-patch+json", b'{"op":"remove"}', 400),
            ("application/strategic-merge-patch+json", b'{"spec":{"template":{"$patch":"x"}}}', 400),
            ("application/apply-patch+yaml", b"{}", 400),
            ("text/plain", b"{}", 415),
        ]
        for media, body, code in rows:
            answer = await w.ask("PATCH", one, body, headers=(("content-type", media),))
            assert (answer.status, answer.body["kind"]) == (code, "Status"), (media, body, answer.body)
        assert (await w.ask("GET", one)).body == made

    world(story)


def test_unknown_fields_by_field_validation(world: Any) -> None:
    async def story(w: Any) -> None:
        odd = {**w.config_map("a"), "bogus": 1}
        strict = await w.ask("POST", f"{MAPS}?fieldValidation=Strict", odd)
        assert (strict.status, strict.reason) == (400, "BadRequest")
        assert 'strict decoding error: unknown field "bogus"' in strict.message
        warned = await w.ask("POST", f"{MAPS}?fieldValidation=Warn", odd)
        assert warned.status == 201
        assert ("warning", '299 - "unknown field \\"bogus\\""') in warned.headers
        assert "bogus" not in warned.body
        silent = await w.ask("POST", f"{MAPS}?fieldValidation=Ignore", {**w.config_map("b"), "bogus": 1})
        assert silent.status == 201
        assert not any(name == "warning" for name, _ in silent.headers)
        twice = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},"data":{"k":"1","k":"2"}}'
        duplicate = await w.ask("POST", f"{MAPS}?fieldValidation=Strict", twice)
        assert duplicate.status == 400
        assert 'duplicate field "data.k"' in duplicate.message
        nonsense = await w.ask("POST", f"{MAPS}?fieldValidation=Sometimes", w.config_map("c"))
        assert nonsense.status == 422

    world(story)


def test_a_dry_run_answers_and_stores_nothing(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a", k="1"))
        before = w.store.revision
        created = await w.ask("POST", f"{MAPS}?dryRun=All", w.config_map("b"))
        assert (created.status, created.body["metadata"]["name"]) == (201, "b")
        updated = await w.ask("PATCH", f"{MAPS}/a?dryRun=All", {"data": {"k": "2"}})
        assert updated.body["data"] == {"k": "2"}
        assert (await w.ask("DELETE", f"{MAPS}/a?dryRun=All")).status == 200
        assert (await w.ask("DELETE", f"{MAPS}/a", {"dryRun": ["All"]})).status == 200
        assert (await w.ask("POST", f"{MAPS}?dryRun=Some", w.config_map("b"))).status == 422
        assert w.store.revision == before
        service = await w.ask("POST", "/api/v1/namespaces/default/services?dryRun=All", w.service())
        assert service.body["spec"]["clusterIP"].startswith("10.96.")
        assert w.store.revision == before

    world(story)


def test_status_and_spec_are_written_apart(world: Any) -> None:
    async def story(w: Any) -> None:
        given = {**deployment(), "status": {"replicas": 9}}
        made = await w.make(DEPLOYMENTS, given)
        assert made.get("status", {}).get("replicas", 0) == 0
        one = f"{DEPLOYMENTS}/web"
        changed = {**made, "spec": {**made["spec"], "replicas": 7}, "status": {"replicas": 2}}
        changed["metadata"] = {**made["metadata"], "annotations": {"a": "b"}}
        status = (await w.ask("PUT", f"{one}/status", changed)).body
        assert (status["spec"]["replicas"], status["status"]["replicas"]) == (3, 2)
        assert status["metadata"]["annotations"] == {"a": "b"}
        assert status["metadata"]["generation"] == 1
        main = (await w.ask("PUT", one, {**status, "status": {}, "spec": changed["spec"]})).body
        assert (main["spec"]["replicas"], main["status"]["replicas"]) == (7, 2)
        assert main["metadata"]["generation"] == 2

    world(story)


def test_yaml_is_read_like_json(world: Any) -> None:
    async def story(w: Any) -> None:
        text = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: y}\ndata: {when: '2001-01-01'}\n"
        made = await w.ask("POST", MAPS, text, headers=(("content-type", "application/yaml"),))
        assert (made.status, made.body["data"]) == (201, {"when": "2001-01-01"})
        broken = await w.ask("POST", MAPS, b"a: [", headers=(("content-type", "application/yaml"),))
        assert (broken.status, broken.reason) == (400, "BadRequest")

    world(story)


def test_keys_that_stand_twice_are_told_in_yaml_too(world: Any) -> None:
    async def story(w: Any) -> None:
        given = (("content-type", "application/yaml"),)
        text = b"metadata:\n  name: y\n  labels: {a: b, a: c}\ndata:\n  k: v\n  k: w\n"
        warned = await w.ask("POST", MAPS, text, headers=given)
        assert (warned.status, warned.body["data"]) == (201, {"k": "w"})
        said = [value for name, value in warned.headers if name == "warning"]
        fields = ("metadata.labels.a", "data.k")
        assert said == [f'299 - "duplicate field \\"{field}\\""' for field in fields]
        strict = await w.ask("POST", f"{MAPS}?fieldValidation=Strict", text, headers=given)
        assert (strict.status, 'duplicate field "data.k"' in strict.message) == (400, True)
        silent = await w.ask("PUT", f"{MAPS}/y?fieldValidation=Ignore", text, headers=given)
        assert "warning" not in dict(silent.headers)
        apply = (("content-type", "application/apply-patch+yaml"),)
        wanted = b"apiVersion: v1\nkind: ConfigMap\n" + text
        applied = await w.ask(
            "PATCH", f"{MAPS}/z?fieldManager=f&fieldValidation=Strict", wanted, headers=apply
        )
        assert "duplicate field" in applied.message

    world(story)


def test_aliases_in_yaml_are_followed_but_not_forever(world: Any) -> None:
    async def story(w: Any) -> None:
        given = (("content-type", "application/yaml"),)
        shared = b"metadata: {name: s, labels: &a {x: y}, annotations: *a}\n"
        made = await w.ask("POST", MAPS, shared, headers=given)
        assert made.body["metadata"]["annotations"] == {"x": "y"}
        levels = [b"a0: &a0 [x]"] + [
            b"a%d: &a%d [%b]" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
        ]
        bomb = b"\n".join(levels)
        refused = await w.ask("POST", MAPS, bomb, headers=given)
        assert (refused.status, "excessive aliasing" in refused.message) == (400, True)
        endless = await w.ask("POST", MAPS, b"a: &a [*a]", headers=given)
        assert endless.status == 400

    world(story)


def test_an_object_for_another_place_is_refused(world: Any) -> None:
    async def story(w: Any) -> None:
        elsewhere = w.config_map("a")
        elsewhere["metadata"]["namespace"] = "kube-system"
        assert (await w.ask("POST", MAPS, elsewhere)).status == 400
        assert (await w.ask("POST", MAPS, w.pod())).status == 400
        versioned = w.config_map("a")
        versioned["metadata"]["resourceVersion"] = "5"
        assert (await w.ask("POST", MAPS, versioned)).status == 400
        assert (await w.ask("POST", "/api/v1/configmaps", w.config_map("a"))).status == 405
        assert (await w.ask("GET", "/api/v1/namespaces/default/nodes")).status == 404
        assert (await w.ask("GET", "/api/v1/configmaps/a")).status == 405

    world(story)


def test_many_patches_at_once_all_count(world: Any) -> None:
    import asyncio

    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a"))
        answers = await asyncio.gather(
            *(w.ask("PATCH", f"{MAPS}/a", {"data": {f"k{n}": "v"}}) for n in range(6))
        )
        assert [answer.status for answer in answers] == [200] * 6
        assert len((await w.ask("GET", f"{MAPS}/a")).body["data"]) == 6

    world(story)


def test_empty_texts_are_as_good_as_absent(world: Any) -> None:
    """Go's encoders write them: `kubectl create deployment` sends metadata.namespace ""."""

    async def story(w: Any) -> None:
        given = w.config_map("a")
        given["metadata"] |= {"namespace": "", "uid": "", "resourceVersion": "", "generateName": ""}
        given["metadata"] |= {"creationTimestamp": None, "deletionTimestamp": None, "labels": None}
        made = await w.make(MAPS, given)
        assert made["metadata"]["namespace"] == "default"
        given["metadata"]["name"] = ""
        changed = await w.ask("PUT", f"{MAPS}/a", {**given, "data": {"k": "v"}})
        assert (changed.status, changed.body["data"]) == (200, {"k": "v"})
        assert "deletionTimestamp" not in changed.body["metadata"]
        patched = await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"namespace": "", "uid": ""}})
        assert patched.status == 200

    world(story)
