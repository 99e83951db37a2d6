"""Lists in all their forms: compressed, of a revision, continued when it is forgotten; events that expire."""

from __future__ import annotations

import gzip
from typing import Any

from netemu.apiserver import expiring
from netemu.http import messages

MAPS = "/api/v1/namespaces/default/configmaps"


def test_large_answers_are_compressed_for_who_asks(world: Any) -> None:
    async def story(w: Any) -> None:
        for n in range(3):
            await w.make(MAPS, w.config_map(f"big-{n}", x="y" * 60_000))
        plain = await w.client.raw("GET", MAPS)
        whole = await messages.whole(plain)
        for accepted, packed in (("gzip", True), ("deflate, gzip;q=1.0", True), ("gzip;q=0", False)):
            answer = await w.client.raw("GET", MAPS, headers=(("accept-encoding", accepted),))
            body = await messages.whole(answer)
            assert (answer.header("content-encoding") == "gzip") is packed
            assert (gzip.decompress(body) if packed else body) == whole
            assert not packed or len(body) < len(whole) / 10
        small = await w.client.raw("GET", f"{MAPS}/big-0", headers=(("accept-encoding", "gzip"),))
        assert small.header("content-encoding") == ""

    world(story)


def test_lists_of_a_revision(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a"))
        then = (await w.ask("GET", MAPS)).body["metadata"]["resourceVersion"]
        await w.make(MAPS, w.config_map("b"))
        for query, names in (
            (f"resourceVersion={then}&resourceVersionMatch=Exact", ["a"]),
            (f"resourceVersion={then}&resourceVersionMatch=NotOlderThan", ["a", "b"]),
            (f"resourceVersion={then}", ["a", "b"]),
            (f"resourceVersion={then}&limit=10", ["a"]),
            (f"resourceVersion={then}&limit=10&resourceVersionMatch=NotOlderThan", ["a", "b"]),
            ("resourceVersion=0&limit=1", ["a", "b"]),
        ):
            listed = (await w.ask("GET", f"{MAPS}?{query}")).body
            found = [one["metadata"]["name"] for one in listed["items"]]
            assert [name for name in found if name != "kube-root-ca.crt"] == names, query
        await w.store.compact(w.store.revision)
        gone = await w.ask("GET", f"{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")
        assert (gone.status, gone.reason) == (410, "Expired")

    world(story)


def test_a_forgotten_list_may_go_on_as_it_is_now(world: Any) -> None:
    async def story(w: Any) -> None:
        for name in "abcd":
            await w.make(MAPS, w.config_map(name))
        first = (await w.ask("GET", f"{MAPS}?limit=2")).body
        await w.make(MAPS, w.config_map("bb"))
        await w.store.compact(w.store.revision)
        token = first["metadata"]["continue"]
        late = await w.ask("GET", f"{MAPS}?limit=2&continue={token}")
        assert (late.status, late.reason) == (410, "Expired")
        again = late.body["metadata"]["continue"]
        rest = (await w.ask("GET", f"{MAPS}?continue={again}")).body
        names = [one["metadata"]["name"] for one in rest["items"]]
        assert names == ["bb", "c", "d", "kube-root-ca.crt"]

    world(story)


def test_events_expire_an_hour_after_they_last_happened(world: Any) -> None:
    events = "/api/v1/namespaces/default/events"

    async def story(w: Any) -> None:
        expiry = expiring.Expiry(w.server._parts)
        for name in ("old", "again"):
            about = {"namespace": "default"}
            await w.make(events, {"metadata": {"name": name}, "involvedObject": about})
        assert await expiry.look() == 0
        w.clock.advance(expiring.EVENTS / 2)
        await w.ask("PATCH", f"{events}/again", {"count": 2})
        assert await expiry.look() == 0
        w.clock.advance(expiring.EVENTS / 2 + 1)
        assert await expiry.look() == 1
        left = (await w.ask("GET", events)).body["items"]
        assert [one["metadata"]["name"] for one in left] == ["again"]

    world(story)
