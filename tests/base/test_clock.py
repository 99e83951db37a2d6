"""Time is an argument: a fake clock moves only when told, and times read as Kubernetes writes them."""

import asyncio
import random

import pytest

from netemu.base import backoff, clock, ids


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-02T03:04:05Z", 1_767_323_045.0),
        ("2026-01-02T05:04:05+02:00", 1_767_323_045.0),
        ("2026-01-02T03:04:05.250000Z", 1_767_323_045.25),
    ],
)
def test_times_are_rfc3339(text: str, seconds: float) -> None:
    assert clock.parse_rfc3339(text) == seconds


def test_times_are_written_in_utc() -> None:
    assert clock.rfc3339(1_767_323_045.9) == "2026-01-02T03:04:05Z"
    assert clock.rfc3339_micro(1_767_323_045.25) == "2026-01-02T03:04:05.250000Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- any ValueError is the contract
        clock.parse_rfc3339(text)


def test_a_fake_clock_wakes_sleepers_in_order_and_only_when_told() -> None:
    async def story() -> list[str]:
        fake, seen = clock.FakeClock(1000.0), list[str]()

        async def sleeper(name: str, seconds: float) -> None:
            await fake.sleep(seconds)
            seen.append(f"{name} at {fake.now():g}")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sleeper("late", 20))
            tasks.create_task(sleeper("early", 5))
            await fake.run_for(4)
            assert seen == []
            await fake.run_for(30)
        return seen

    assert asyncio.run(story()) == ["early at 1005", "late at 1020"]


def test_a_loop_that_sleeps_again_runs_at_every_due_time() -> None:
    async def story() -> list[float]:
        fake, ticks = clock.FakeClock(0.0), list[float]()

        async def ticker() -> None:
            while True:
                await fake.sleep(10)
                ticks.append(fake.monotonic())

        task = asyncio.ensure_future(ticker())
        await fake.run_for(35)
        task.cancel()
        return ticks

    assert asyncio.run(story()) == [10, 20, 30]


def test_backoff_doubles_up_to_its_limit_and_starts_again() -> None:
    waits = backoff.Backoff(0.5, limit=3)
    assert [waits.next() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    waits.reset()
    assert waits.next() == 0.5


def test_generated_names_use_kubernetes_alphabet() -> None:
    rng = random.Random(7)
    made = {ids.suffix(rng) for _ in range(200)}
    assert all(len(name) == 5 and set(name) <= set("bcdfghjklmnpqrstvwxz2456789") for name in made)
    assert len(made) > 190
