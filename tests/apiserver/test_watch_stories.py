"""Watches: where they begin, what they show, how they end."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from netemu.apiserver import watching
from netemu.http import messages, tls

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = (("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),)


class Watcher:
    """Reads a watch frame by frame."""

    def __init__(self, response: messages.Response) -> None:
        assert not isinstance(response.body, bytes), response.body
        self.body = response.body
        self._frames = self._read(response.body)

    @staticmethod
    async def _read(body: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
        async for part in body:
            for line in part.splitlines():
                yield json.loads(line)

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        frame = await self._frames.__anext__()
        obj = frame["object"]
        return frame["type"], obj.get("metadata", {}).get("name", ""), obj

    async def close(self) -> None:
        await messages.discard(self.body)


async def watch(w: Any, query: str, path: str = MAPS, headers: messages.Fields = ()) -> Watcher:
    target, given = messages.split(f"{path}?watch=true&{query}")
    return Watcher(await w.client.raw("GET", target, query=given, headers=headers))


def test_a_watch_from_a_revision_shows_only_what_came_later(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(MAPS, w.config_map("a", k="1"))
        await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "2"}})
        watcher = await watch(w, f"resourceVersion={made['metadata']['resourceVersion']}")
        kind, name, obj = await watcher.next()
        assert (kind, name, obj["data"]) == ("MODIFIED", "a", {"k": "2"})
        await w.make(MAPS, w.config_map("b"))
        assert (await watcher.next())[:2] == ("ADDED", "b")
        await w.ask("DELETE", f"{MAPS}/a")
        kind, name, obj = await watcher.next()
        assert (kind, name, obj["data"]) == ("DELETED", "a", {"k": "2"})
        assert obj["metadata"]["resourceVersion"] == str(w.store.revision)
        await watcher.close()

    world(story)


@pytest.mark.parametrize("query", ["", "resourceVersion=0"])
def test_a_watch_from_anywhere_begins_with_what_is_there(world: Any, query: str) -> None:
    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a"))
        watcher = await watch(w, f"{query}&fieldSelector=metadata.name=a")
        assert (await watcher.next())[:2] == ("ADDED", "a")
        await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "2"}})
        assert (await watcher.next())[:2] == ("MODIFIED", "a")
        await watcher.close()

    world(story)


def test_objects_enter_and_leave_a_selection(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a", k="v"))
        watcher = await watch(w, f"labelSelector=in=yes&resourceVersion={w.store.revision}")
        await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"in": "yes"}}})
        assert (await watcher.next())[:2] == ("ADDED", "a")
        await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "w"}})
        assert (await watcher.next())[:2] == ("MODIFIED", "a")
        left = (await w.ask("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"in": "no"}}})).body
        kind, name, obj = await watcher.next()
        assert (kind, name, obj["metadata"]["labels"]) == ("DELETED", "a", {"in": "yes"})
        assert obj["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]
        await w.ask("DELETE", f"{MAPS}/a")
        other = w.config_map("b")
        other["metadata"]["labels"] = {"in": "yes"}
        await w.make(MAPS, other)
        assert (await watcher.next())[:2] == ("ADDED", "b")
        await watcher.close()

    world(story)


def test_a_namespace_is_not_disturbed_by_another(world: Any) -> None:
    async def story(w: Any) -> None:
        watcher = await watch(w, f"resourceVersion={w.store.revision}")
        await w.make("/api/v1/namespaces/kube-system/configmaps", w.config_map("elsewhere"))
        await w.make(MAPS, w.config_map("here"))
        assert (await watcher.next())[:2] == ("ADDED", "here")
        await watcher.close()

    world(story)


def test_initial_events_end_with_a_bookmark(world: Any) -> None:
    async def story(w: Any) -> None:
        await w.make(MAPS, w.config_map("a"))
        query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
        watcher = await watch(w, query)
        shown = [await watcher.next() for _ in range(3)]
        assert [frame[:2] for frame in shown[:2]] == [("ADDED", "a"), ("ADDED", "kube-root-ca.crt")]
        kind, _, mark = shown[2]
        assert kind == "BOOKMARK"
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert mark["metadata"]["resourceVersion"] == str(w.store.revision)
        assert (mark["kind"], mark["apiVersion"]) == ("ConfigMap", "v1")
        await w.make(MAPS, w.config_map("b"))
        assert (await watcher.next())[:2] == ("ADDED", "b")
        await watcher.close()
        for wrong in ("sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"):
            assert (await w.ask("GET", f"{MAPS}?watch=1&{wrong}")).status == 422

    world(story)


def test_a_forgotten_revision_is_expired_and_a_future_one_too_large(world: Any) -> None:
    async def story(w: Any) -> None:
        made = await w.make(MAPS, w.config_map("a"))
        old = made["metadata"]["resourceVersion"]
        await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "2"}})
        w.server._parts.cache.forget(w.store.revision)
        gone = await w.ask("GET", f"{MAPS}?watch=1&resourceVersion={old}")
        assert (gone.status, gone.reason) == (410, "Expired")
        assert gone.message.startswith(f"too old resource version: {old} (")
        future = await w.ask("GET", f"{MAPS}?watch=1&resourceVersion=999999")
        assert (future.status, future.reason) == (504, "Timeout")

    world(story)


def test_a_watch_ends_in_time_with_a_bookmark(world: Any) -> None:
    async def story(w: Any) -> None:
        query = f"resourceVersion={w.store.revision}&timeoutSeconds=1&allowWatchBookmarks=true"
        watcher = await watch(w, query)
        kind, _, mark = await watcher.next()
        assert (kind, mark["metadata"]["resourceVersion"]) == ("BOOKMARK", str(w.store.revision))
        assert all([frame["type"] == "BOOKMARK" async for frame in watcher._frames])

    world(story, watches=watching.Settings(bookmark=0.2))


def test_a_table_watch_shows_one_row_tables(world: Any) -> None:
    async def story(w: Any) -> None:
        watcher = await watch(w, f"resourceVersion={w.store.revision}", headers=TABLE)
        await w.make(MAPS, w.config_map("a", k="v"))
        kind, _, table = await watcher.next()
        assert (kind, table["kind"], len(table["rows"])) == ("ADDED", "Table", 1)
        assert table["rows"][0]["cells"][:2] == ["a", 1]
        await watcher.close()

    world(story)


def listeners(w: Any) -> int:
    return sum(len(c._listeners) for c in w.server._parts.cache._collections.values())


def test_a_watcher_that_does_not_read_is_cut_off_and_no_one_else(world: Any) -> None:
    async def story(w: Any) -> None:
        before = listeners(w)
        slow = await watch(w, f"resourceVersion={w.store.revision}")
        quick = await watch(w, f"resourceVersion={w.store.revision}")
        for n in range(12):
            await w.make(MAPS, w.config_map(f"m{n}"))
            assert (await quick.next())[:2] == ("ADDED", f"m{n}")
        with pytest.raises(StopAsyncIteration):
            await slow.next()
        await quick.close()
        assert listeners(w) == before

    world(story, watches=watching.Settings(backlog=10))


def test_a_client_that_stops_reading_costs_a_bounded_backlog(world: Any) -> None:
    """Over TCP: what fits into sockets is sent, a little more is kept, then the watch is over."""

    async def story(w: Any) -> None:
        before = listeners(w)
        pair = w.client_pair("admin", "system:masters")
        context = tls.client(w.authority.certificate, *pair)
        host, port = w.url.removeprefix("https://").split(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.connect((host, int(port)))
        _, writer = await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname="localhost", limit=1 << 12
        )
        writer.write(f"GET {MAPS}?watch=1&resourceVersion={w.store.revision} HTTP/1.1\r\n\r\n".encode())
        while listeners(w) == before:
            await asyncio.sleep(0.001)
        quick = await watch(w, f"resourceVersion={w.store.revision}")
        collection = next(c for p, c in w.server._parts.cache._collections.items() if p == "core/configmaps/")
        for n in range(400):
            await w.make(MAPS, w.config_map(f"m{n}", k="v" * 200_000))
            assert (await quick.next())[:2] == ("ADDED", f"m{n}")
            kept = [hears.__self__._size for hears in collection._listeners]  # type: ignore[attr-defined]
            assert max(kept) <= 1 << 20
            if listeners(w) == before + 1:
                break
        assert listeners(w) == before + 1, "it still hears of everything"
        await quick.close()
        writer.transport.abort()

    world(story, watches=watching.Settings(backlog_bytes=1 << 20))


def test_watchers_over_the_wire_leave_nothing_behind(world: Any) -> None:
    from netemu.client import connect

    async def story(w: Any) -> None:
        pair = w.client_pair("admin", "system:masters")
        async with connect.over(w.url, w.authority.certificate, *pair) as client:
            answer = await client.raw("GET", MAPS, query=(("watch", "true"),))
            watcher = Watcher(answer)
            assert (await watcher.next())[0] == "ADDED"
            await watcher.close()
        collection = next(c for p, c in w.server._parts.cache._collections.items() if p == "core/configmaps/")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while collection._listeners:
                    await asyncio.sleep(0.01)
        assert not collection._listeners

    world(story)
