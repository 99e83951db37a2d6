"""Drops are explained a few at a time: a node that is flooded with them still does its other work."""

import asyncio

import pytest

from netemu.base import clock
from netemu.netpol import drops, telling
from netemu.wire import nflog


class Log:
    """A log that has many packets at once."""

    def __init__(self, count):
        self.packets = [nflog.Logged("egress", 1.0, bytes([n & 0xFF])) for n in range(count)]

    def receive(self):
        found, self.packets = self.packets, []
        return found


@pytest.fixture
def explained(monkeypatch):
    """The packets that were explained; what it takes to do so is another test's."""
    found = []
    monkeypatch.setattr(nflog, "flow", lambda payload: nflog.Flow("tcp", "10.0.0.1", 1, "10.0.0.2", 2))
    monkeypatch.setattr(drops, "explain", lambda known, node, logged: found.append(logged))
    return found


def test_a_flood_leaves_time_for_other_work(explained):
    async def run():
        teller = telling.Teller("n", lambda *pair: None, clock.SystemClock())
        teller._receive(Log(50))
        seen = [len(explained)]
        while len(explained) < 50:
            await asyncio.sleep(0)  # what else the loop has to do
            if len(explained) != seen[-1]:
                seen.append(len(explained))
        return seen

    assert asyncio.run(run()) == [10, 20, 30, 40, 50]


def test_of_too_many_the_earliest_are_lost(explained):
    async def run():
        teller = telling.Teller("n", lambda *pair: None, clock.SystemClock())
        teller._receive(Log(3000))
        teller._receive(Log(10))
        return len(teller._waiting)

    assert asyncio.run(run()) == 1000
    assert [one.payload[0] for one in explained] == [(2000 + n) & 0xFF for n in range(10)]
