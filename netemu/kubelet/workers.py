"""One task for one pod: plan, act, report, wait. Level-triggered: looks at what is, never at what happened.

Knows when; what to do is plan's, how is launch's, what to tell is statuses'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from netemu.api import codec, core
from netemu.base import backoff, errors
from netemu.kubelet import (
    admission,
    launch,
    plan,
    probing,
    problems,
    statuses,
    supplies,
    tellings,
    views,
    volumes,
)
from netemu.wire import cri

_log = logging.getLogger("kubelet")
_PATIENCE = 2.0  # seconds before a slow step is worth a status of its own
_REFRESH = 60.0  # seconds between looks at mounted ConfigMaps, Secrets and tokens


class Worker:
    """`update` and `wake` from anywhere in the loop; `run` until nothing is left of the pod."""

    def __init__(
        self,
        pod: core.Pod,
        teller: tellings.Teller,
        site: launch.Site,
        refusal: admission.Refusal | None = None,
    ) -> None:
        self._pod = pod
        self._refusal = refusal
        self._last_words: dict[str, str] = {}
        self._teller = teller
        self._site = site
        self.gone = False
        self._woken = asyncio.Event()
        self._problems = problems.Problems()
        self._delays: dict[str, float] = {}
        self._stopping: dict[str, float] = {}
        self._detached: set[str] = set()
        self._probing = probing.Probing(pod, site, self.wake)
        self._places: dict[str, str] | None = None
        self._refresh_at = float("inf")
        self._announced: set[str] = set()
        self._refused: dict[str, Any] = {}
        self._reported = ""  # the sandbox whose networks the pod has been told of

    def update(self, pod: core.Pod) -> None:
        """The API's newest version of the pod."""
        if not _older(pod, self._pod):
            self._pod = pod
        self.wake()

    def mirrored(self, mirror: core.Pod | None) -> None:
        """The pod that stands for this static one in the API is another, or gone."""
        assert isinstance(self._teller, tellings.MirrorTeller)
        uid = mirror.metadata.uid if mirror is not None else ""
        if uid != self._teller.mirror:
            self._teller.mirror, self._refused, self._reported = uid, {}, ""
            if mirror is not None:
                self._pod = msgspec.structs.replace(self._pod, status=mirror.status)
            self.wake()

    def forget(self) -> None:
        """The API does not know the pod any more: end it, with force."""
        self.gone = True
        self.wake()

    def wake(self) -> None:
        """Something changed: look again."""
        self._woken.set()

    async def run(self) -> None:
        """Until the pod has been taken away. May be called again after a bug ended it."""
        self._probing.forget()
        self._stopping.clear()
        retry = backoff.Backoff(0.1, limit=10.0)
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                self._woken.clear()
                try:
                    if self._refusal is not None:
                        await self._refuse(self._refusal)
                    wake_at = await self._step()
                    retry.reset()
                except (errors.NetemuError, OSError) as problem:
                    wait = retry.next()
                    self._say(logging.WARNING, problem, wait)
                    wake_at = self._now() + wait
                if wake_at is None:
                    break
                await self._sleep(wake_at)
            self._probing.stop()
        self._site.supplies.forget(self._pod.metadata.uid)

    async def _step(self) -> float | None:
        """Everything that can be done now; when to look again (inf: on a change), None when all is over."""
        while True:
            self._soften()
            view = self._view()
            ending = self.gone or self._pod.metadata.deletionTimestamp is not None
            self._probing.follow(view, self._tasks, ending=ending)
            found = plan.end(view, self._now(), force=self.gone) if ending else plan.plan(view, self._now())
            if not found.actions:
                break
            if isinstance(found.actions[0], plan.RemoveSandbox if ending else plan.StopSandbox):
                await self._report()  # the last word, while containers and addresses can still be seen
            for action in found.actions:
                await self._do(action, view)
        if found.done:
            await self._finish()
            return None
        await self._refresh(view)
        await self._report()
        return min(self._refresh_at, found.wake_at or float("inf"), *self._problems.moments())

    async def _sleep(self, until: float) -> None:
        """Until woken, or until that moment."""
        if until == float("inf"):
            await self._woken.wait()
            return
        timer = self._tasks.create_task(self._site.clock.sleep(max(0.0, until - self._now())))
        change = self._tasks.create_task(self._woken.wait())
        try:
            await asyncio.wait((timer, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            change.cancel()

    def _now(self) -> float:
        return self._site.clock.now()

    def _view(self) -> views.View:
        mine = self._site.observed.of(self._pod.metadata.uid)
        alive = {c.id for c in mine.containers if c.state == "RUNNING"}
        for ended in mine.containers:
            if ended.state == "EXITED" and ended.id not in self._last_words:
                self._last_words[ended.id] = launch.last_words(self._site, self._pod, ended)
        self._stopping = {i: when for i, when in self._stopping.items() if i in alive}
        return views.View(
            pod=self._pod,
            sandboxes=mine.sandboxes,
            containers=mine.containers,
            health=self._probing.health,
            problems=self._problems.known,
            delays=self._delays,
            stopping=self._stopping,
            detached=self._detached,
            last_words=self._last_words,
        )

    # -- acting

    async def _do(self, action: plan.Action, view: views.View) -> None:
        match action:
            case plan.RunSandbox(attempt):
                await self._patiently(self._run_sandbox(attempt))
            case plan.StartContainer():
                await self._patiently(self._start(action, view))
            case plan.StopContainer():
                self._stop(action, view)
            case plan.StopSandbox(sandbox_id):
                await self._stop_sandbox(sandbox_id)
            case plan.RemoveSandbox(sandbox_id):
                await self._site.runtime.remove_pod_sandbox(sandbox_id)
                self._site.observed.drop(sandbox_id)
            case plan.RemoveContainer(container_id):
                await self._site.runtime.remove_container(container_id)
                self._site.observed.drop(container_id)

    async def _patiently(self, step: Coroutine[Any, Any, None]) -> None:
        """Do it; when it takes long, tell the API meanwhile how far the pod is."""
        task = self._tasks.create_task(step)
        done, _ = await asyncio.wait((task,), timeout=_PATIENCE)
        if not done:
            try:
                await self._report()
            except (errors.NetemuError, OSError) as problem:
                self._say(logging.WARNING, problem, 0.0)
        await task

    async def _run_sandbox(self, attempt: int) -> None:
        try:
            if attempt:
                self._site.note(
                    self._pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
                )
            await launch.sandbox(self._site, self._pod, attempt)
        except (errors.NetemuError, OSError) as problem:
            text = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {problem}"
            self._site.note(self._pod, "FailedCreatePodSandBox", text, warning=True)
            self._problems.remember("", "ContainerCreating", "", self._now())
        else:
            self._problems.forgive("")

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        try:
            await self._site.runtime.stop_pod_sandbox(sandbox_id)
        except errors.NetemuError as problem:
            self._site.note(self._pod, "FailedKillPod", f"error killing pod: {problem}", warning=True)
            raise
        self._detached.add(sandbox_id)
        self._site.observed.stopped(sandbox_id)

    async def _start(self, action: plan.StartContainer, view: views.View) -> None:
        home = next(s for s in view.sandboxes if s.id == action.sandbox_id)
        spec = self._pod.spec
        everything = (*spec.initContainers, *spec.containers, *views.ephemeral(self._pod))
        wanted = next(c for c in everything if c.name == action.name)
        if action.attempt and not await self._site.observed.confirm(home.id):
            return  # what ended the last run ended its sandbox, too
        try:
            if self._places is None:
                await self._mount(home.ips, age=supplies.FRESH)
            assert self._places is not None
            await launch.container(
                self._site, self._pod, wanted, home, attempt=action.attempt, where=self._places
            )
        except launch.Failed as problem:
            self._failed(action, problem)
        else:
            self._problems.forgive(action.name)
            self._delays |= {action.name: action.delay} if action.delay else {}

    def _failed(self, action: plan.StartContainer, problem: launch.Failed) -> None:
        match problem.reason:
            case "ContainerCreating":
                self._site.note(self._pod, "FailedMount", problem.message, warning=True)
                self._problems.remember(action.name, problem.reason, "", self._now())
            case "RunContainerError":  # a run that ended before it began: what holds for crashes holds here
                self._problems.show(action.name, problem.reason, problem.message)
                self._delays |= {action.name: action.delay} if action.delay else {}
            case _:
                self._problems.remember(action.name, problem.reason, problem.message, self._now())

    async def _mount(self, ips: tuple[str, ...], *, age: float) -> None:
        self._places = await launch.places(self._site, self._pod, ips, age=age)
        if any(volumes.changes(volume) for volume in self._pod.spec.volumes):
            self._refresh_at = self._now() + _REFRESH

    async def _refresh(self, view: views.View) -> None:
        """Bring mounted ConfigMaps, Secrets and tokens up to date."""
        home = views.ready_sandbox(view)
        if self._now() < self._refresh_at or home is None:
            return
        self._refresh_at = self._now() + _REFRESH
        try:
            await self._mount(home.ips, age=supplies.STALE)
        except launch.Failed as problem:
            self._say(logging.INFO, problem, _REFRESH)

    def _stop(self, action: plan.StopContainer, view: views.View) -> None:
        running = next(c for c in view.containers if c.id == action.id)
        home = views.ready_sandbox(view)
        if action.id not in self._stopping:
            self._site.note(self._pod, "Killing", action.because, container=running.config.name)
        self._stopping[action.id] = self._now() + action.grace
        self._tasks.create_task(self._stopped(action, running, home.ips if home else ()))

    async def _stopped(
        self, action: plan.StopContainer, running: cri.Container, ips: tuple[str, ...]
    ) -> None:
        try:
            await launch.stop(self._site, self._pod, running, action.grace, ips, hook=action.hook)
        except (errors.NetemuError, OSError) as problem:
            self._say(logging.WARNING, problem, 1.0)
            await self._site.clock.sleep(1.0)
            self._stopping.pop(action.id, None)
        self.wake()

    def _soften(self) -> None:
        """What could not be pulled is backing off by now."""
        spec = self._pod.spec
        images = {
            c.name: c.image for c in (*spec.initContainers, *spec.containers, *views.ephemeral(self._pod))
        }
        for name, said in self._problems.soften(self._now(), images):
            self._site.note(self._pod, "BackOff", said, container=name)
            self._site.note(self._pod, "Failed", "Error: ImagePullBackOff", container=name, warning=True)

    # -- telling the API

    async def _refuse(self, why: admission.Refusal) -> None:
        """The node does not take the pod: it has failed, and nothing of it is ever made."""
        ending = self.gone or self._pod.metadata.deletionTimestamp is not None
        if ending or self._pod.status.phase == "Failed":
            return
        self._site.note(self._pod, why.reason, why.message, warning=True)
        told = {"phase": "Failed", "reason": why.reason, "message": f"Pod was rejected: {why.message}"}
        self._pod = await self._teller.status(self._pod, told) or self._pod

    async def _report(self) -> None:
        """Write the status if it says something new."""
        if self.gone or self._refusal is not None:
            return
        view = self._view()
        place = statuses.Place(self._site.node.ips)
        new = statuses.status(view, place, self._now())
        self._announce(new)
        before, after = codec.document(self._pod.status), codec.document(new)
        body = statuses.patch(before, after)
        home = views.ready_sandbox(view)
        notes = self._notes(home)
        if (not body or body == self._refused) and not notes:
            return
        written = await self._teller.status(self._pod, body, notes)
        if written is None:
            return
        self._reported = home.id if home is not None else ""
        # A server that keeps something of its own is not told the same again and again.
        self._refused = body if statuses.patch(codec.document(written.status), after) else {}
        if written.metadata.uid == self._pod.metadata.uid and not _older(written, self._pod):
            self._pod = written

    def _notes(self, home: cri.Sandbox | None) -> dict[str, str]:
        """Annotations about the networks of the pod in this sandbox, if it has not been told yet."""
        if self._site.network is None or home is None or home.id == self._reported:
            return {}
        known = self._pod.metadata.annotations
        return {k: v for k, v in self._site.network.report(home).items() if known.get(k) != v}

    def _announce(self, status: core.PodStatus) -> None:
        """An event for each run that is being held back."""
        for one in (*status.initContainerStatuses, *status.containerStatuses):
            waiting = one.state.waiting
            if waiting is None or waiting.reason != "CrashLoopBackOff" or one.containerID in self._announced:
                continue
            self._announced.add(one.containerID)
            about = self._pod.metadata
            text = (
                f"Back-off restarting failed container {one.name} in pod "
                f"{about.name}_{about.namespace}({about.uid})"
            )
            self._site.note(self._pod, "BackOff", text, container=one.name, warning=True)

    async def _finish(self) -> None:
        """Nothing runs any more: remove what is on disk, tell the API, let the pod go."""
        self._site.remove(self._pod)
        if self.gone:
            return
        await self._teller.ended(self._pod)

    def _say(self, level: int, problem: BaseException, wait: float) -> None:
        about = self._pod.metadata
        _log.log(level, "%s pod=%s/%s retry=%.3gs", problem, about.namespace, about.name, wait)


def _older(one: core.Pod, other: core.Pod) -> bool:
    """Whether `one` is an older version of the same pod (revisions of this API are numbers)."""
    a, b = one.metadata.resourceVersion, other.metadata.resourceVersion
    return a.isdigit() and b.isdigit() and int(a) < int(b)
