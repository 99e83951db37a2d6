"""What a meter does with time: a busy machine makes rounds long, and is no reason to give up."""

import asyncio

import pytest

from netemu.model import flows, verdicts, worlds
from netemu.probe import questions
from netemu.verify import cases, judge, measure, observing

OUTSIDE = worlds.Party("outside", "outside", addresses=("203.0.113.10",))
CASE = cases.Case(flows.Flow(OUTSIDE, "10.96.0.1", 80, "TCP", 4), "service", "service s")


class Busy(measure.Meter):
    """Its first round takes longer than agreement may, and loses an answer."""

    def __init__(self, rounds):
        super().__init__(None, None, None)
        self._prober = type("Calm", (), {"overflowed": False, "mute": set()})
        self.rounds, self.asked = list(rounds), 0

    async def measure(self, asked, world):
        self.asked += 1
        await asyncio.sleep(0.02)
        answer = questions.Answer(self.rounds.pop(0))
        return tuple(judge.judge(case, verdicts.one("ok"), answer, world) for case in asked)


@pytest.fixture
def unchanging(monkeypatch):
    async def world(client, lab):
        return worlds.World()

    monkeypatch.setattr(observing, "world", world)
    monkeypatch.setattr(cases, "every", lambda world, **_: (CASE,))


def test_what_differs_is_measured_again_however_long_the_first_round_took(unchanging):
    meter = Busy([questions.Outcome.TIMEOUT, questions.Outcome.OK])
    (result,) = asyncio.run(meter.verify(within=0.01))
    assert result.ok
    assert result.attempts == meter.asked == 2


def test_once_means_once(unchanging):
    meter = Busy([questions.Outcome.TIMEOUT])
    (result,) = asyncio.run(meter.verify(within=0.0))
    assert not result.ok


def test_only_dns_servers_that_answer_are_asked_for_names():
    text = "search x.svc.cluster.local\nnameserver 10.96.0.10\nnameserver fd00:96::a\noptions ndots:5\n"
    source = questions.Source("a", 0, text)
    assert measure._served(source, {"fd00:96::a"}).resolv_conf.splitlines() == [
        "search x.svc.cluster.local",
        "nameserver fd00:96::a",
        "options ndots:5",
    ]
