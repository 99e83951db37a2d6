"""Measures checks in a running lab until they hold or time is up. Knows the order; `judge` knows right."""

import asyncio
from collections.abc import Callable, Sequence

from netemu.lab import handle
from netemu.model import expect, flows, worlds
from netemu.probe import ask, names, questions, rounds
from netemu.scenario import judge, plan, scenarios, sources

DEADLINE = 1.5
_PAUSE = 0.1
_PROTOCOLS: dict[str, questions.Protocol] = {"TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"}


async def measure(
    checks: Sequence[scenarios.Check],
    lab: handle.Handle,
    world: worlds.World,
    *,
    progress: Callable[[str], None],
    deadline: float = DEADLINE,
) -> tuple[tuple[judge.Result, ...], tuple[scenarios.Check, ...]]:
    """Measure checks: results in their order, and the checks without anything to measure.

    Kubernetes promises that everything is in force eventually: what does not hold is measured again for the
    check's `within`, which begins when all was measured once: on a busy machine that may take longer than it
    lasts. One attempt takes `deadline` seconds at most.
    """
    planned = plan.plan(checks, world)
    await sources.unrationed(lab)
    where = await sources.find(lab, {probe.sender for probe in planned.probes})
    results: dict[int, judge.Result] = {}
    waiting = list(range(len(planned.probes)))
    began = 0.0
    while waiting:
        progress(f"measuring {len(waiting)} flows")
        asked = [planned.probes[index] for index in waiting]
        for index, answers in zip(waiting, await _ask(asked, where, deadline), strict=True):
            before = results[index].attempts if index in results else 0
            found = judge.judge(planned.probes[index], answers, world)
            results[index] = found._replace(attempts=before + 1)
        now = asyncio.get_running_loop().time()
        began = began or now
        wrong = [index for index in waiting if not (results[index].ok or results[index].foreseen)]
        waiting = [index for index in wrong if now - began < planned.probes[index].check.within]
        if waiting:
            await asyncio.sleep(_PAUSE)
    return tuple(results[index] for index in range(len(planned.probes))), planned.empty


async def echo(
    checks: Sequence[scenarios.Check], lab: handle.Handle, world: worlds.World, *, deadline: float = DEADLINE
) -> tuple[judge.Result, ...]:
    """Send an ICMP echo request for every sender and address that the checks speak of."""
    planned = {
        (probe.sender, probe.target.host): probe
        for probe in plan.plan(checks, world).probes
        if names.is_literal(probe.target.host)
    }
    await sources.unrationed(lab)
    where = await sources.find(lab, {sender for sender, _ in planned})
    asked = [
        questions.Question(where[sender], host, 0, "ICMP", 6 if ":" in host else 4)
        for sender, host in planned
    ]
    expected = [
        expect.expect(world, flows.Flow(sender.party, host, 0, "ICMP", 6 if ":" in host else 4))
        for sender, host in planned
    ]
    answers = await asyncio.to_thread(rounds.Prober(deadline=deadline).measure, asked)
    return tuple(
        judge.judge(probe._replace(protocol="ICMP", verdict=verdict), [answer], world)
        for probe, verdict, answer in zip(planned.values(), expected, answers, strict=True)
    )


async def _ask(
    probes: Sequence[plan.Probe], where: dict[plan.Sender, questions.Source], deadline: float
) -> list[tuple[questions.Answer, ...]]:
    asked = [
        questions.Question(
            where[probe.sender],
            probe.target.host,
            probe.target.port,
            _PROTOCOLS[probe.protocol],
            6 if probe.target.family == 6 else 4,
            identify=probe.check.identify,
        )
        for probe in probes
        for _ in range(probe.requests)
    ]
    by_hand = [question for question in asked if question.protocol == "SCTP"]
    others = [question for question in asked if question.protocol != "SCTP"]
    prober = rounds.Prober(deadline=deadline)
    found, crafted = await asyncio.gather(
        ask.ask(others, deadline=deadline), asyncio.to_thread(prober.measure, by_hand)
    )
    said = {"SCTP": iter(crafted)}
    rest = iter(found)
    answers = (next(said.get(question.protocol, rest)) for question in asked)
    return [tuple(next(answers) for _ in range(probe.requests)) for probe in probes]
