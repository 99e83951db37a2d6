"""The probes of running containers: asks at their rhythm, keeps verdicts, tells when one changes.

A readiness or startup probe that has not succeeded yet is asked more often during its first period, without
counting failures: a server that needs 100 ms to listen is not unready for ten seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from netemu.api import core
from netemu.base import clock
from netemu.kubelet import ask, verdicts, views

_EAGER = (0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.2, 0.3)  # seconds between the first, uncounted questions


class Failure(NamedTuple):
    """A probe said no: `kind` is Liveness, Readiness or Startup."""

    pod: core.Pod
    container: core.Container
    kind: str
    said: str


class Prober:
    """Probes of one container in one run of it. `changed` is called when its health is another."""

    def __init__(
        self,
        pod: core.Pod,
        target: ask.Target,
        clock: clock.Clock,
        changed: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._pod = pod
        self._target = target
        self._clock = clock
        self._changed = changed
        self._failed = failed
        spec = target.container
        self.health = views.Health(
            started=spec.startupProbe is None, ready=spec.readinessProbe is None, alive=True
        )

    async def run(self) -> None:
        """Ask until cancelled. Liveness and readiness wait for the startup probe (KEP-950)."""
        spec = self._target.container
        if not self.health.started:
            assert spec.startupProbe is not None
            if not await self._until_started(spec.startupProbe):
                return
        async with asyncio.TaskGroup() as tasks:
            if spec.livenessProbe is not None:
                tasks.create_task(self._watch("Liveness", spec.livenessProbe))
            if spec.readinessProbe is not None:
                tasks.create_task(self._watch("Readiness", spec.readinessProbe))

    async def _until_started(self, probe: core.Probe) -> bool:
        count = verdicts.Count()
        async for well in self._answers("Startup", probe):
            count = verdicts.counted(count, probe, well=well)
            if count.verdict is not None:
                break
        started = bool(count.verdict)
        self._set(self.health._replace(started=started, alive=started))
        return started

    async def _watch(self, kind: str, probe: core.Probe) -> None:
        count = verdicts.Count(verdict=kind == "Liveness")
        async for well in self._answers(kind, probe):
            count = verdicts.counted(count, probe, well=well)
            verdict = bool(count.verdict)
            if kind == "Readiness":
                self._set(self.health._replace(ready=verdict))
            elif not verdict:
                self._set(self.health._replace(alive=False))
                return  # the container will be killed; its next run has a prober of its own

    async def _answers(self, kind: str, probe: core.Probe) -> AsyncIterator[bool]:
        """Yes and no at the probe's rhythm."""
        period = float(probe.periodSeconds or 10)
        if probe.initialDelaySeconds:
            await self._clock.sleep(float(probe.initialDelaySeconds))
        if kind != "Liveness":
            spent = 0.0
            for wait in _EAGER:
                if spent + wait >= period:
                    break
                answer = await self._ask(probe)
                if answer.well:
                    yield True
                    await self._clock.sleep(period)
                    break
                await self._clock.sleep(wait)
                spent += wait
        while True:
            answer = await self._ask(probe)
            if not answer.well:
                self._failed(Failure(self._pod, self._target.container, kind, answer.said))
            yield answer.well
            await self._clock.sleep(period)

    async def _ask(self, probe: core.Probe) -> ask.Answer:
        return await ask.ask(probe, self._target, float(probe.timeoutSeconds or 1))

    def _set(self, health: views.Health) -> None:
        if health != self.health:
            self.health = health
            self._changed()
