"""Versions of a custom kind that a webhook converts: v1 has `spec.size`, v2 `spec.diameter` in its place."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from netemu.http import messages
from netemu.store import sqlite

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1 = "/apis/example.com/v1/namespaces/default/wheels"
V2 = "/apis/example.com/v2/namespaces/default/wheels"
_FIELDS = {"example.com/v1": "size", "example.com/v2": "diameter"}


class Converter:
    """The webhook, and what it was asked."""

    def __init__(self, world: Any) -> None:
        self._authority = world.authority
        self.reviews: list[dict[str, Any]] = []
        self.broken = ""
        self.port = 0

    async def handle(self, request: messages.Request) -> messages.Response:
        review = json.loads(request.body)
        self.reviews.append(review["request"])
        wanted = review["request"]["desiredAPIVersion"]
        found = [self._turned(one, wanted) for one in review["request"]["objects"]]
        result = {"status": "Success"}
        if self.broken == "refuses":
            result = {"status": "Failure", "message": "cannot"}
        if self.broken == "loses":
            found = found[1:]
        if self.broken == "renames":
            found[0]["metadata"]["name"] = "other"
        response = {"uid": review["request"]["uid"], "convertedObjects": found, "result": result}
        body = {"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response": response}
        return messages.Response(200, (("content-type", "application/json"),), json.dumps(body).encode())

    @staticmethod
    def _turned(document: dict[str, Any], wanted: str) -> dict[str, Any]:
        spec = dict(document["spec"])
        spec[_FIELDS[wanted]] = spec.pop(_FIELDS[document["apiVersion"]])
        return {**document, "apiVersion": wanted, "spec": spec}

    def definition(self, storage: str = "v2") -> dict[str, Any]:
        def version(name: str, field: str) -> dict[str, Any]:
            spec = {"type": "object", "properties": {field: {"type": "integer"}}, "required": [field]}
            schema = {"type": "object", "properties": {"spec": spec}}
            return {
                "name": name,
                "served": True,
                "storage": name == storage,
                "schema": {"openAPIV3Schema": schema},
                "selectableFields": [{"jsonPath": f".spec.{field}"}],
            }

        about = {
            "url": f"https://localhost:{self.port}/convert",
            "caBundle": base64.b64encode(self._authority.certificate).decode(),
        }
        webhook = {"clientConfig": about, "conversionReviewVersions": ["v1"]}
        return {
            "metadata": {"name": "wheels.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "wheels", "kind": "Wheel"},
                "versions": [version("v1", "size"), version("v2", "diameter")],
                "conversion": {"strategy": "Webhook", "webhook": webhook},
            },
        }


@contextlib.asynccontextmanager
async def converting(world: Any) -> AsyncIterator[Converter]:
    """That webhook, on localhost."""
    hook = Converter(world)
    async with world.beside(hook.handle, "localhost") as hook.port:
        yield hook


def wheel(version: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"example.com/{version}",
        "kind": "Wheel",
        "metadata": {"name": name},
        "spec": spec,
    }


def test_each_version_is_written_and_read(world: Any) -> None:
    async def story(w: Any) -> None:
        async with converting(w) as hook:
            await w.make(CRDS, hook.definition())
            made = await w.make(V1, wheel("v1", "a", size=7))
            assert (made["apiVersion"], made["spec"]) == ("example.com/v1", {"size": 7})
            newer = (await w.ask("GET", f"{V2}/a")).body
            assert (newer["apiVersion"], newer["spec"]) == ("example.com/v2", {"diameter": 7})
            assert newer["metadata"] == made["metadata"]
            asked = len(hook.reviews)
            assert (await w.ask("GET", f"{V1}/a")).body == made
            assert len(hook.reviews) == asked  # it is known
            patched = await w.ask("PATCH", f"{V1}/a", {"spec": {"size": 9}})
            assert patched.body["metadata"]["generation"] == 2
            assert (await w.ask("GET", f"{V2}/a")).body["spec"] == {"diameter": 9}
            for n in range(3):
                await w.make(V2, wheel("v2", f"b{n}", diameter=n))
            asked = len(hook.reviews)
            listed = (await w.ask("GET", V1)).body
            assert [one["spec"]["size"] for one in listed["items"]] == [9, 0, 1, 2]
            assert len(hook.reviews) == asked + 1  # all that was not known, at once
            chosen = (await w.ask("GET", f"{V1}?fieldSelector=spec.size=1")).body["items"]
            assert [one["metadata"]["name"] for one in chosen] == ["b1"]
            page = (await w.ask("GET", f"{V1}?limit=3")).body
            token = page["metadata"]["continue"]
            rest = (await w.ask("GET", f"{V1}?limit=3&continue={token}")).body["items"]
            assert [one["spec"]["size"] for one in rest] == [2]
            bad = await w.ask("POST", V1, wheel("v1", "bad", diameter=1))
            assert (bad.status, bad.reason) == (422, "Invalid")
            assert (await w.ask("DELETE", f"{V1}/a")).status == 200
            assert (await w.ask("GET", f"{V2}/a")).status == 404

    world(story)


def test_a_watch_sees_changes_of_another_version_in_order(world: Any) -> None:
    async def story(w: Any) -> None:
        async with converting(w) as hook:
            await w.make(CRDS, hook.definition())
            made = await w.make(V2, wheel("v2", "a", diameter=1))
            await w.ask("PATCH", f"{V2}/a", {"spec": {"diameter": 2}})
            since = made["metadata"]["resourceVersion"]
            query = (("watch", "1"), ("resourceVersion", since), ("fieldSelector", "spec.size!=5"))
            answer = await w.client.raw("GET", V1, query=query)
            frames = asyncio.Queue[Any]()

            async def read() -> None:
                async for chunk in answer.body:
                    for line in chunk.splitlines():
                        frames.put_nowait(json.loads(line))
                frames.put_nowait(None)

            reader = asyncio.create_task(read())
            for number in (3, 5, 6):
                await w.ask("PATCH", f"{V2}/a", {"spec": {"diameter": number}})
            await w.ask("DELETE", f"{V2}/a")
            seen = [await frames.get() for _ in range(5)]
            shown = [(f["type"], f["object"]["apiVersion"], f["object"]["spec"]["size"]) for f in seen]
            v1 = "example.com/v1"
            assert shown == [
                ("MODIFIED", v1, 2),
                ("MODIFIED", v1, 3),
                ("DELETED", v1, 3),  # it no longer matches
                ("ADDED", v1, 6),
                ("DELETED", v1, 6),
            ]
            versions = [int(f["object"]["metadata"]["resourceVersion"]) for f in seen]
            assert versions == sorted(set(versions))
            hook.broken = "refuses"
            await w.make(V2, wheel("v2", "b", diameter=1))
            assert await frames.get() is None  # sent away
            await reader

    world(story)


def test_a_webhook_that_fails_fails_the_request_alone(world: Any) -> None:
    async def story(w: Any) -> None:
        async with converting(w) as hook:
            await w.make(CRDS, hook.definition())
            await w.make(V2, wheel("v2", "a", diameter=1))
            for broken, why in (
                ("refuses", "failed: cannot"),
                ("loses", "webhook returned 0 objects, expected 1"),
                ("renames", "webhook changed metadata.name"),
            ):
                hook.broken = broken
                for method, path, body in (
                    ("GET", f"{V1}/a", None),
                    ("GET", V1, None),
                    ("POST", V1, wheel("v1", "b", size=1)),
                    ("PATCH", f"{V1}/a", {"spec": {"size": 3}}),
                ):
                    answer = await w.ask(method, path, body)
                    assert (answer.status, why in answer.message) == (500, True), (method, answer.body)
                    assert "conversion webhook for example.com/v" in answer.message
            assert [one["spec"] for one in (await w.ask("GET", V2)).body["items"]] == [{"diameter": 1}]
            hook.broken = ""
            assert (await w.ask("GET", f"{V1}/a")).body["spec"] == {"size": 1}

    world(story)


def test_objects_stay_in_the_version_they_were_stored_in(world: Any, tmp_path: Path) -> None:
    """Also under a successor, and when another version has become the stored one."""

    async def before(w: Any) -> None:
        async with converting(w) as hook:
            made = await w.make(CRDS, hook.definition("v1"))
            await w.make(V1, wheel("v1", "old", size=1))
            for version in made["spec"]["versions"]:
                version["storage"] = version["name"] == "v2"
            assert (await w.ask("PUT", f"{CRDS}/wheels.example.com", made)).status == 200
            await w.make(V1, wheel("v1", "new", size=2))

    async def after(w: Any) -> None:
        async with converting(w) as hook:
            moved = {"spec": hook.definition()["spec"]}
            assert (await w.ask("PATCH", f"{CRDS}/wheels.example.com", moved)).status == 200
            newer = (await w.ask("GET", V2)).body["items"]
            assert [one["spec"]["diameter"] for one in newer] == [2, 1]
            (review,) = hook.reviews
            assert [one["metadata"]["name"] for one in review["objects"]] == ["old"]
            gone = {"spec": {"versions": [v for v in moved["spec"]["versions"] if v["name"] == "v2"]}}
            refused = await w.ask("PATCH", f"{CRDS}/wheels.example.com", gone)
            assert (refused.status, "status.storedVersions[0]" in refused.message) == (422, True)

    for story in (before, after):
        world(story, store=sqlite.open(tmp_path / "store.db"))
