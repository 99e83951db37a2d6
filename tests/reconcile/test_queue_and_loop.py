"""The work queue and the loop, on a clock that moves when told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from netemu.api import meta
from netemu.base import clock, errors
from netemu.client import errors as api_errors
from netemu.reconcile import loops, queues


def play(story: Callable[[clock.FakeClock], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await story(clock.FakeClock())

    asyncio.run(main())


def test_a_key_waits_once_and_is_with_one_worker_at_a_time() -> None:
    async def story(c: clock.FakeClock) -> None:
        queue: queues.Queue[str] = queues.Queue(c)
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert len(queue) == 2
        assert await queue.get() == "a"
        queue.add("a")  # while it is worked on
        assert await queue.get() == "b"
        waiting = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.done("a")
        assert await waiting == "a"
        queue.done("a")
        queue.done("b")
        assert len(queue) == 0

    play(story)


def test_delays_are_kept_and_the_shortest_counts() -> None:
    async def story(c: clock.FakeClock) -> None:
        queue: queues.Queue[str] = queues.Queue(c)
        queue.add_after("late", 30)
        queue.add_after("soon", 10)
        queue.add_after("late", 20)
        queue.add_after("late", 50)
        got: list[tuple[float, str]] = []

        async def work() -> None:
            while True:
                key = await queue.get()
                got.append((c.monotonic(), key))
                queue.done(key)

        worker = asyncio.ensure_future(work())
        await c.run_for(60)
        assert got == [(10, "soon"), (20, "late")]
        queue.add_after("now", 0)
        await c.run_for(0)
        assert got[-1] == (60, "now")
        worker.cancel()

    play(story)


def test_a_delay_shorter_than_the_one_waited_for_is_not_missed() -> None:
    async def story(c: clock.FakeClock) -> None:
        queue: queues.Queue[str] = queues.Queue(c)
        queue.add_after("late", 100)
        getting = asyncio.ensure_future(queue.get())
        await c.run_for(1)
        queue.add_after("soon", 5)
        await c.run_for(5)
        assert getting.done()
        assert getting.result() == "soon"

    play(story)


def refused(kind: type[api_errors.ApiError]) -> api_errors.ApiError:
    return kind(meta.Status(message="no"))


def test_what_fails_is_tried_again_with_back_off_and_what_asks_comes_back() -> None:
    async def story(c: clock.FakeClock) -> None:
        failures: list[Exception] = [
            refused(api_errors.Conflict),
            refused(api_errors.Invalid),
            errors.Transient("the kernel is busy"),
        ]
        calls: list[float] = []

        async def reconcile(key: str) -> float | None:
            calls.append(round(c.monotonic(), 3))
            if failures:
                raise failures.pop(0)
            return 60.0 if len(calls) == 4 else None

        loop = loops.Loop("test", reconcile, clock=c)
        running = asyncio.ensure_future(loop.run())
        loop.enqueue("k")
        await c.run_for(1000)
        assert calls == [0.0, 0.01, 0.03, 0.07, 60.07]
        running.cancel()

    play(story)


def test_a_bug_ends_the_loop_loudly() -> None:
    async def story(c: clock.FakeClock) -> None:
        async def reconcile(key: str) -> None:
            raise KeyError(key)

        loop = loops.Loop("test", reconcile, clock=c, workers=2)
        loop.enqueue("k")
        with pytest.raises(ExceptionGroup) as group:
            await loop.run()
        assert group.group_contains(KeyError)

    play(story)


def test_workers_share_keys_but_never_one_key(caplog: pytest.LogCaptureFixture) -> None:
    async def story(c: clock.FakeClock) -> None:
        busy: set[int] = set()
        most = 0
        done: list[int] = []

        async def reconcile(key: int) -> None:
            nonlocal most
            assert key not in busy
            busy.add(key)
            most = max(most, len(busy))
            await asyncio.sleep(0)
            loop.enqueue(key) if key not in done else None
            done.append(key)
            await asyncio.sleep(0)
            busy.discard(key)

        loop = loops.Loop("test", reconcile, clock=c, workers=3)
        for key in range(9):
            loop.enqueue(key)
        running = asyncio.ensure_future(loop.run())
        await c.run_for(1, turns=200)
        assert sorted(done) == sorted([*range(9), *range(9)])
        assert most == 3
        running.cancel()

    with caplog.at_level(logging.WARNING):
        play(story)
    assert not caplog.records
