"""Walks and mutations in labs made for them: up, walk, down. Knows the order, and how to go a walk again."""

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import yaml

from netemu.base import clock
from netemu.client import api, connect
from netemu.lab import config, down, handle, up
from netemu.scenario import ready, watching
from netemu.verify import breaking, chance, clusters, fuzzing, hands, measure

T = TypeVar("T")
Progress = Callable[[str], None]
_READY = 60.0


class Asked(NamedTuple):
    """A walk: the lab's name, the seed, how far (steps, seconds), and how Services and pods are done."""

    name: str
    seed: int
    steps: int
    seconds: float | None = None
    proxy: str = "nftables"
    pods: str = "bridged"

    def command(self, steps: int) -> str:
        """What goes so far on the same walk."""
        ways = f" --proxy {self.proxy}" if self.proxy != "nftables" else ""
        ways += f" --pods {self.pods}" if self.pods != "bridged" else ""
        return f"netemu fuzz --seed {self.seed} --steps {steps}{ways}"

    @property
    def lab(self) -> config.LabConfig:
        """A control plane and two workers."""
        return config.parse({"name": self.name, **self._document})

    @property
    def _document(self) -> dict[str, Any]:
        proxy = {"proxy": {"mode": self.proxy}} if self.proxy != "nftables" else {}
        network = {"network": {"pods": self.pods}} if self.pods != "bridged" else {}
        return {"nodes": 3, **network, **proxy}

    def by_hand(self, file: str) -> str:
        """What makes such a lab, puts a file's objects into it, and verifies that."""
        lab = self._document
        up = "netemu up" if lab.keys() == {"nodes"} else f"echo '{json.dumps(lab)}' | netemu up -f /dev/stdin"
        return f"{up} && netemu apply -f {file} && netemu verify"


def walk(asked: Asked, progress: Progress, *, keep: bool = False) -> fuzzing.Walked:
    """Make a lab, go the walk, remove the lab (unless something failed and it is to be kept)."""
    walked: list[fuzzing.Walked] = []
    with made(asked, progress, keep=lambda: keep and bool(walked and walked[0].failure)) as lab:
        walked.append(
            asyncio.run(within(lab, lambda client, meter: _walk(client, meter, lab, asked, progress)))
        )
    return walked[0]


async def _walk(
    client: api.Client, meter: measure.Meter, lab: handle.Handle, asked: Asked, progress: Progress
) -> fuzzing.Walked:
    around = await fuzzing.surroundings(client, lab)
    fuzzer = fuzzing.Fuzzer(client, meter, chance.Walk(asked.seed, around), progress)
    return await fuzzer.run(asked.steps, asked.seconds)


async def within(lab: handle.Handle, work: Callable[[api.Client, measure.Meter], Awaitable[T]]) -> T:
    """Do something with a client and a meter, once cluster DNS is ready."""
    async with connect.from_kubeconfig(lab.kubeconfig) as client, measure.metering(client, lab) as meter:
        async with watching.watching(client, clock.SystemClock()) as watcher:
            await watcher.until_ready(ready.ALWAYS, timeout=_READY, progress=lambda text: None)
        return await work(client, meter)


@contextlib.contextmanager
def made(
    asked: Asked, progress: Progress, *, keep: Callable[[], bool] = lambda: False
) -> Iterator[handle.Handle]:
    """A lab for a walk; gone afterwards, however it ends."""
    lab = up.up(asked.lab, progress=progress)
    try:
        yield lab
    finally:
        if not keep():
            down.down(lab.name, progress)


def manifests(failure: fuzzing.Failure) -> str:
    """The objects that fail, as YAML; and the steps after them, if it takes those."""
    text = yaml.safe_dump_all(clusters.documents(failure.state), sort_keys=False)
    for step in failure.steps:
        text += f"---\n# then: {step}\n"
        if step.verb == "put":
            text += yaml.safe_dump(step.document, sort_keys=False)
    return text


def mutate(asked: Asked, progress: Progress, *, most: int = 1000) -> breaking.Score:
    """Make a lab, go the walk without verifying, plant faults one by one, remove the lab."""

    async def work(client: api.Client, meter: measure.Meter) -> breaking.Score:
        around = await fuzzing.surroundings(client, lab)
        walk = chance.Walk(asked.seed, around)
        for _ in range(asked.steps):
            walk.step()
        progress(f"making what {asked.steps} steps lead to")
        await hands.Hands(client).become(walk.state)
        dice = random.Random(asked.seed)
        return await breaking.score(
            client, lab, meter, dice, most=most, seconds=asked.seconds, progress=progress
        )

    with made(asked, progress) as lab:
        return asyncio.run(within(lab, work))
