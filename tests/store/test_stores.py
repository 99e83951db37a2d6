"""Every store tells the same stories; the one on disk also survives."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from netemu.base import errors
from netemu.store import memory, revisions, sqlite, watches

Opener = Callable[[Path], revisions.Store]
STORES: dict[str, Opener] = {
    "memory": lambda _: memory.MemoryStore(),
    "sqlite": lambda path: sqlite.open(path / "store.db"),
    "sqlite-power": lambda path: sqlite.open(path / "store.db", durability=sqlite.Durability.POWER),
}


@pytest.fixture(params=STORES)
def opener(request: pytest.FixtureRequest) -> Opener:
    return STORES[request.param]


def run(opener: Opener, path: Path, story: Callable[[revisions.Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = opener(path)
        try:
            async with asyncio.timeout(20):
                await story(store)
        finally:
            await store.close()

    asyncio.run(main())


def test_every_change_has_a_number_and_the_past_can_be_read(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        a = await store.create("pods/a", b"1")
        b = await store.create("pods/b", b"1")
        a2 = await store.update("pods/a", b"2", a.revision)
        gone = await store.delete("pods/b", b.revision)
        assert (a.revision, b.revision, a2.revision, gone.revision) == (1, 2, 3, 4)
        assert a2.created == a.revision
        assert gone.previous == b
        assert store.read("pods/").records == (a2,)
        assert store.read("pods/", at=2).records == (a, b)
        assert store.read("pods/", at=3).records == (a2, b)
        assert store.changes("pods/", 1) == (
            revisions.Change(2, "pods/b", b, None),
            revisions.Change(3, "pods/a", a2, a),
            revisions.Change(4, "pods/b", None, b),
        )
        again = await store.create("pods/b", b"3")
        assert again.created == again.revision == 5
        with pytest.raises(revisions.Future):
            store.read("pods/", at=6)

    run(opener, tmp_path, story)


def test_compare_and_swap_changes_nothing_when_it_fails(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        a = await store.create("a", b"1")
        with pytest.raises(revisions.Exists) as exists:
            await store.create("a", b"2")
        assert exists.value.record == a
        for expected in (0, 2):
            with pytest.raises(revisions.Changed) as changed:
                await store.update("a", b"2", expected)
            assert changed.value.record == a
        with pytest.raises(revisions.Changed):
            await store.delete("a", 7)
        with pytest.raises(revisions.Changed) as absent:
            await store.update("b", b"2", 1)
        assert absent.value.record is None
        assert store.revision == 1
        assert store.read("").records == (a,)

    run(opener, tmp_path, story)


def test_of_many_writers_of_one_turn_exactly_one_wins(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        start = await store.create("counter", b"0")
        outcomes = await asyncio.gather(
            *(store.update("counter", b"%d" % n, start.revision) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(o, revisions.Record) for o in outcomes) == 1
        assert sum(isinstance(o, revisions.Changed) for o in outcomes) == 19
        assert store.revision == 2

    run(opener, tmp_path, story)


def test_pages_are_consistent_while_others_write(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        for n in range(10):
            await store.create(f"p/{n}", b"old")
        await store.create("q/0", b"other prefix")
        first = store.read("p/", limit=4, count=True)
        assert (len(first.records), first.remaining, first.revision) == (4, 6, 11)
        await store.delete("p/7", store.read("p/7").records[0].revision)
        await store.update("p/8", b"new", 9)
        await store.create("p/55", b"new")
        second = store.read("p/", after=first.records[-1].key, limit=4, at=first.revision, count=True)
        third = store.read("p/", after=second.records[-1].key, limit=4, at=first.revision, count=True)
        keys = [r.key for page in (first, second, third) for r in page.records]
        assert keys == [f"p/{n}" for n in range(10)]
        assert {r.value for r in third.records} == {b"old"}
        assert (second.remaining, third.remaining) == (2, 0)

    run(opener, tmp_path, story)


def test_compaction_forgets_the_past_and_keeps_the_present(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        a = await store.create("a", b"1")
        b = await store.create("b", b"1")
        await store.delete("b", b.revision)
        a2 = await store.update("a", b"2", a.revision)
        await store.compact(4)
        a3 = await store.update("a", b"3", a2.revision)
        assert store.read("", at=4).records == (a2,)
        assert store.changes("", 4) == (revisions.Change(5, "a", a3, a2),)
        with pytest.raises(revisions.Compacted) as compacted:
            store.read("", at=3)
        assert compacted.value.oldest == 4
        with pytest.raises(revisions.Compacted):
            store.changes("", 3)
        with pytest.raises(revisions.Future):
            await store.compact(99)

    run(opener, tmp_path, story)


def test_a_watch_begins_in_the_past_and_misses_nothing(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        for n in range(3):
            await store.create(f"p/{n}", b"")
        seen: list[int] = []

        async def read() -> None:
            async for change in watches.watch(store, "p/", 1):
                seen.append(change.revision)
                if change.key == "p/last":
                    return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await store.create("q/0", b"")
            await asyncio.gather(*(store.create(f"p/x{n}", b"") for n in range(50)))
            await store.create("p/last", b"")
        assert seen == [2, 3, *range(5, 56)]

    run(opener, tmp_path, story)


def test_a_subscriber_has_heard_before_the_write_returns(opener: Opener, tmp_path: Path) -> None:
    async def story(store: revisions.Store) -> None:
        heard: list[str] = []
        end = store.subscribe("a", lambda change: heard.append(change.key))
        await store.create("a1", b"")
        assert heard == ["a1"]
        await store.create("b1", b"")
        end()
        await store.create("a2", b"")
        assert heard == ["a1"]

    run(opener, tmp_path, story)


def test_the_stores_agree_on_a_random_walk(tmp_path: Path) -> None:
    async def walk(stores: list[revisions.Store]) -> None:
        rng = random.Random(7)
        for _ in range(400):
            key, action = f"k/{rng.randrange(8)}", rng.choice(["create", "update", "delete", "compact"])
            expected, at = rng.randrange(0, stores[0].revision + 2), rng.randrange(0, stores[0].revision + 2)
            found = stores[0].read(key).records
            if found and rng.random() < 0.7:
                expected = found[0].revision
            outcomes = []
            for store in stores:
                try:
                    if action == "create":
                        outcome: object = await store.create(key, b"v")
                    elif action == "update":
                        outcome = await store.update(key, b"w", expected)
                    elif action == "delete":
                        outcome = await store.delete(key, expected)
                    else:
                        outcome = await store.compact(at) if at % 5 == 0 else None
                except errors.NetemuError as error:
                    outcome = (type(error), str(error))
                outcomes.append(
                    (
                        outcome,
                        store.revision,
                        store.compacted,
                        store.read(""),
                        store.read("", limit=3, count=True),
                    )
                )
                outcomes[-1] += (store.changes("", store.compacted),)
                if store.revision:
                    outcomes[-1] += (store.read("k/", at=max(store.compacted, store.revision // 2, 1)),)
            assert outcomes[0] == outcomes[1]

    async def main() -> None:
        on_disk = sqlite.open(tmp_path / "store.db")
        await walk([memory.MemoryStore(), on_disk])
        await on_disk.close()

    asyncio.run(main())


def test_a_store_is_found_again_as_it_was_left(tmp_path: Path) -> None:
    async def main() -> None:
        store = sqlite.open(tmp_path / "s.db")
        a = await store.create("a", b"1")
        await store.delete("a", a.revision)
        await store.compact(2)
        await store.close()
        store = sqlite.open(tmp_path / "s.db")
        assert (store.revision, store.compacted) == (2, 2)
        assert (await store.create("a", b"2")).revision == 3
        await store.close()
        assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o600

    asyncio.run(main())


WRITER = """
import asyncio, sys
from netemu.store import sqlite
async def main():
    store = sqlite.open(sys.argv[1])
    async def write(lane):
        n = 0
        while True:
            record = await store.create(f"k/{lane}/{n}", b"x" * 500)
            sys.stdout.write(f"{record.key} {record.revision}\\n"); sys.stdout.flush()
            n += 1
    await asyncio.gather(*(write(lane) for lane in range(4)))
asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 40, 700])
def test_an_acknowledged_write_survives_sigkill(tmp_path: Path, acknowledged: int) -> None:
    async def main() -> None:
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path / "s.db"), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        lines = [await writer.stdout.readline() for _ in range(acknowledged)]
        os.kill(writer.pid, signal.SIGKILL)
        lines += (await writer.stdout.read()).splitlines(keepends=True)
        await writer.wait()
        store = sqlite.open(tmp_path / "s.db")
        found = {r.key: r.revision for r in store.read("k/").records}
        told = dict(line.decode().split() for line in lines if line.endswith(b"\n"))
        assert len(told) >= acknowledged
        assert {key: found.get(key) for key in told} == {key: int(rev) for key, rev in told.items()}
        assert store.revision == len(found)
        await store.create("k/after", b"")
        await store.close()

    asyncio.run(main())


BAD = [("not a store", b"this is no database" * 100), ("a foreign format", None)]


@pytest.mark.parametrize(("name", "content"), BAD, ids=[row[0] for row in BAD])
def test_what_is_no_store_of_ours_is_rejected_and_left_alone(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / "s.db"
    if content is None:
        import sqlite3

        other = sqlite3.connect(path)
        other.execute("PRAGMA user_version = 99")
        other.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(errors.Rejected, match=r"store"):
        sqlite.open(path)
    assert path.read_bytes() == content


def test_a_store_in_use_is_rejected(tmp_path: Path) -> None:
    async def main() -> None:
        store = sqlite.open(tmp_path / "s.db")
        await store.create("a", b"")
        with pytest.raises(errors.Rejected, match="locked"):
            sqlite.open(tmp_path / "s.db")
        await store.create("b", b"")
        await store.close()

    asyncio.run(main())


def test_a_full_disk_fails_the_write_and_the_store_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        store = sqlite.open(tmp_path / "s.db")
        await store.create("a", b"1")
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        heard: list[revisions.Change] = []
        store.subscribe("", heard.append)
        with pytest.raises(revisions.Failed, match="full"):
            await store.create("big", b"x" * 100_000)
        assert (store.revision, heard) == (1, [])
        store._db.execute("PRAGMA max_page_count = 1000000")
        assert (await store.create("big", b"x" * 100_000)).revision == 2
        await store.close()

    asyncio.run(main())
