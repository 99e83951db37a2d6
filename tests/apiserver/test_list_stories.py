"""Lists: selectors, pages, revisions, forms."""

import json
from pathlib import Path
from typing import Any

from netemu.store import sqlite

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = (
    (
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
    ),
)
PARTIAL = (
    (
        "accept",
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    ),
)


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.body["items"]]


def test_selectors_choose(world: Any) -> None:
    async def story(w: Any) -> None:
        for name, node in (("a", "n1"), ("b", "n2"), ("c", "")):
            await w.make(PODS, w.pod(name, **({"nodeName": node} if node else {})))
        rows = [
            ("labelSelector=app=a", ["a"]),
            ("labelSelector=app in (a,c)", ["a", "c"]),
            ("labelSelector=app!=a", ["b", "c"]),
            ("labelSelector=!app", []),
            ("fieldSelector=spec.nodeName=n1", ["a"]),
            ("fieldSelector=spec.nodeName!=n1", ["b", "c"]),
            ("fieldSelector=metadata.name=c", ["c"]),
            ("fieldSelector=status.phase=Pending,spec.nodeName=n2", ["b"]),
            ("labelSelector=app%3Db&fieldSelector=spec.nodeName%3Dn2", ["b"]),
        ]
        for query, expected in rows:
            assert names(await w.ask("GET", f"{PODS}?{query}")) == expected, query
        for query in (
            "labelSelector=a in b",
            "labelSelector=((",
            "fieldSelector=spec.colour=red",
            "fieldSelector=x",
        ):
            refused = await w.ask("GET", f"{PODS}?{query}")
            assert (refused.status, refused.reason) == (400, "BadRequest"), query

    world(story)


def test_pages_hold_one_revision_while_others_write(world: Any) -> None:
    async def story(w: Any) -> None:
        for n in range(7):
            await w.make(MAPS, w.config_map(f"m{n}"))
        first = await w.ask("GET", f"{MAPS}?limit=3&labelSelector=")
        about = first.body["metadata"]
        total = 7 + 1  # and kube-root-ca.crt
        assert (len(first.body["items"]), about["remainingItemCount"]) == (3, total - 3)
        await w.ask("DELETE", f"{MAPS}/m5")
        await w.make(MAPS, w.config_map("m99"))
        seen, token = names(first), about["continue"]
        while token:
            page = await w.ask("GET", f"{MAPS}?limit=3&continue={token}")
            assert page.body["metadata"]["resourceVersion"] == about["resourceVersion"]
            seen += names(page)
            token = page.body["metadata"].get("continue", "")
        assert seen == ["kube-root-ca.crt", *(f"m{n}" for n in range(7))]
        assert (await w.ask("GET", f"{MAPS}?continue=rubbish")).status == 400
        both = await w.ask("GET", f"{MAPS}?continue={about['continue']}&resourceVersion=5")
        assert both.status == 400
        await w.store.compact(w.store.revision)
        old = await w.ask("GET", f"{MAPS}?limit=3&continue={about['continue']}")
        assert (old.status, old.reason) == (410, "Expired")

    world(story)


def test_pages_of_a_selection(world: Any) -> None:
    async def story(w: Any) -> None:
        for n in range(10):
            made = w.config_map(f"m{n}")
            made["metadata"]["labels"] = {"odd": str(n % 2)}
            await w.make(MAPS, made)
        seen: list[str] = []
        token = ""
        while True:
            page = await w.ask("GET", f"{MAPS}?limit=2&labelSelector=odd=1&continue={token}")
            seen += names(page)
            assert "remainingItemCount" not in page.body["metadata"]
            token = page.body["metadata"].get("continue", "")
            if not token:
                break
        assert seen == ["m1", "m3", "m5", "m7", "m9"]

    world(story)


def test_revisions_that_are_exact_unknown_or_to_come(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(MAPS, w.config_map("a", k="1"))
        at = made["metadata"]["resourceVersion"]
        await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "2"}})
        exact = await w.ask("GET", f"{MAPS}?resourceVersion={at}&resourceVersionMatch=Exact")
        assert [i["data"] for i in exact.body["items"] if i["metadata"]["name"] == "a"] == [{"k": "1"}]
        assert exact.body["metadata"]["resourceVersion"] == at
        newer = await w.ask("GET", f"{MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan")
        assert newer.body["metadata"]["resourceVersion"] == str(w.store.revision)
        future = await w.ask("GET", f"{MAPS}?resourceVersion=999999")
        assert (future.status, future.reason) == (504, "Timeout")
        assert future.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        for query in (
            "resourceVersionMatch=Exact",
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersion=1&resourceVersionMatch=Sometimes",
            "sendInitialEvents=true",
        ):
            assert (await w.ask("GET", f"{MAPS}?{query}")).status == 422, query
        for query in ("resourceVersion=abc", "resourceVersion=-1", "limit=many"):
            assert (await w.ask("GET", f"{MAPS}?{query}")).status == 400, query

    world(story)


def test_tables_and_metadata_only(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(PODS, w.pod("a"))
        table = await w.ask("GET", PODS, headers=TABLE)
        assert (table.body["kind"], table.body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        titles = [column["name"] for column in table.body["columnDefinitions"]]
        assert titles[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
        row = table.body["rows"][0]
        assert row["cells"][:3] == ["a", "0/1", "Pending"]
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert row["object"]["metadata"]["name"] == "a"
        whole = await w.ask("GET", f"{PODS}?includeObject=Object", headers=TABLE)
        assert whole.body["rows"][0]["object"]["spec"]["containers"][0]["image"] == "nginx"
        none = await w.ask("GET", f"{PODS}/a?includeObject=None", headers=TABLE)
        assert "object" not in none.body["rows"][0]
        partial = await w.ask("GET", PODS, headers=PARTIAL)
        assert partial.body["kind"] == "PartialObjectMetadataList"
        assert set(partial.body["items"][0]) == {"kind", "apiVersion", "metadata"}
        refused = await w.ask("GET", PODS, headers=(("accept", "application/xml"),))
        assert (refused.status, refused.reason) == (406, "NotAcceptable")

    world(story)


def test_pages_go_on_in_the_order_they_began(world: Any, tmp_path: Path) -> None:
    """Though one namespace's name begins another's; selected or not, and when the past is forgotten."""

    async def story(w: Any) -> None:
        wanted = set()
        for namespace in ("a", "a-b", "a0", "ab"):
            await w.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
            for name in ("x", "x-y", "y"):
                document = w.config_map(name)
                document["metadata"]["labels"] = {"mine": "yes"}
                await w.make(f"/api/v1/namespaces/{namespace}/configmaps", document)
                wanted.add((namespace, name))

        async def pages(query: str, *, forgetting: bool = False) -> list[tuple[str, str]]:
            seen, token = [], ""
            while True:
                answer = await w.ask("GET", f"/api/v1/configmaps?limit=2{query}&continue={token}")
                if answer.status == 410:
                    token = answer.body["metadata"]["continue"]
                    continue
                assert len(answer.body["items"]) <= 2
                seen += [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in answer.body["items"]]
                token = answer.body["metadata"].get("continue", "")
                if not token:
                    return seen
                left = answer.body["metadata"].get("remainingItemCount")
                assert left == (None if query else len(everything) - len(seen))
                if forgetting:
                    await w.make(MAPS, w.config_map(f"later-{len(seen)}"))
                    await w.store.compact(w.store.revision)

        whole = (await w.ask("GET", "/api/v1/configmaps")).body["items"]
        everything = [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in whole]
        assert everything == sorted(everything, key="/".join)
        assert await pages("") == everything
        assert set(await pages("&labelSelector=mine")) == wanted
        assert wanted <= set(await pages("&labelSelector=mine", forgetting=True))

    world(story)
    world(story, store=sqlite.open(tmp_path / "store.db"))


def test_a_list_of_all_namespaces(world: Any) -> None:
    async def story(w: Any) -> None:
        answer = await w.ask("GET", "/api/v1/configmaps")
        assert answer.body["kind"] == "ConfigMapList"
        found = {(i["metadata"]["namespace"], i["metadata"]["name"]) for i in answer.body["items"]}
        assert ("kube-system", "kube-root-ca.crt") in found
        assert ("kube-system", "extension-apiserver-authentication") in found
        assert len(found) == 5
        assert json.loads(json.dumps(answer.body)) == answer.body

    world(story)
