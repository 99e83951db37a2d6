"""A walk of random changes through a real lab, verified after each; and what fails, made small.

Knows the order: do, wait, measure, compare; then take away whatever is not needed to fail.
"""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.client import api
from netemu.lab import handle
from netemu.verify import cases, chance, clusters, hands, judge, measure, observing

WITHIN = 20.0  # seconds until a change must be in force everywhere, however busy the machine is
_SHRUNK_WITHIN = 5.0
_SHRINKING = 180.0  # seconds spent on making a failure small
_SYSTEM = "kube-system"

Progress = Callable[[str], None]


class Failure(NamedTuple):
    """What disagrees. `state` and the `steps` after it are the smallest found that lead there."""

    number: int  # of the step, from 1; 0: what the walk begins with
    step: clusters.Step
    results: tuple[judge.Result, ...]
    state: clusters.State
    steps: tuple[clusters.Step, ...] = ()


class Walked(NamedTuple):
    """What a walk did: steps, flows measured, objects that the API server did not take, and the failure.

    `slowest`: seconds that the longest verification took until all agreed.
    """

    steps: int
    flows: int
    refused: tuple[str, ...]
    failure: Failure | None
    slowest: float = 0.0


def wanted(case: cases.Case) -> bool:
    """Flows of the random cluster: the cluster's own pods and Services are left alone."""
    return case.flow.source.namespace != _SYSTEM and _SYSTEM not in case.target.replace("/", " ").split()


async def surroundings(client: api.Client, lab: handle.Handle) -> chance.Surroundings:
    """The lab, as far as chance needs to know it."""
    ranges = lab.config.ranges
    policed = (await client.raw("GET", observing.CLUSTER_POLICIES)).status == 200
    return chance.Surroundings(
        workers=tuple(node.name for node in lab.config.nodes if node.role == "worker") or lab.nodes,
        pod_ranges=tuple(map(str, ranges.pods)),
        node_ranges=tuple(map(str, ranges.nodes)),
        outside=tuple(f"{a}/{128 if ':' in a else 32}" for a in lab.addresses("outside")),
        external=tuple(str(net[-2]) for net in ranges.balancers),
        families=tuple(dict.fromkeys("IPv6" if ":" in str(net) else "IPv4" for net in ranges.pods)),
        cluster_policies=policed,
    )


class Fuzzer:
    """One walk in one lab."""

    def __init__(
        self, client: api.Client, meter: measure.Meter, walk: chance.Walk, progress: Progress
    ) -> None:
        self._client, self._meter, self._walk, self._progress = client, meter, walk, progress
        self._hands = hands.Hands(client)

    async def run(self, steps: int, seconds: float | None = None) -> Walked:
        """Until `steps` are done, `seconds` are over, or something fails; what fails is made small.

        However little time there is, one step is done.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds if seconds else float("inf")
        refused: list[str] = []
        history: list[clusters.Step] = []
        flows, slowest = 0, 0.0
        self._progress("making the pods")
        await self._hands.become(self._walk.state)
        first = dict(self._hands.state)
        for number in range(steps + 1):
            if number:
                if number > 1 and loop.time() >= end:
                    return Walked(number - 1, flows, tuple(refused), None, slowest)
                step = self._walk.step()
                self._progress(f"step {number}: {step}")
                try:
                    await self._hands.do(step)
                except hands.Refused as error:
                    refused.append(error.message)
                    continue
                history.append(step)
                await self._hands.settled()
            began = loop.time()
            results = await self._meter.verify(within=WITHIN, wanted=wanted)
            flows, slowest = flows + len(results), max(slowest, loop.time() - began)
            if wrong := tuple(result for result in results if not result.ok):
                self._progress(f"{len(wrong)} flows differ: making it small")
                last = history[-1] if history else clusters.Step("put", next(iter(first)))
                return Walked(
                    number, flows, tuple(refused), await self._small(number, last, wrong, first, history)
                )
        return Walked(steps, flows, tuple(refused), None, slowest)

    async def undo(self) -> None:
        """Delete all that the walk made."""
        await self._hands.become({})

    async def _small(
        self,
        number: int,
        last: clusters.Step,
        wrong: tuple[judge.Result, ...],
        first: clusters.State,
        history: Sequence[clusters.Step],
    ) -> Failure:
        """The smallest state that still fails when it is made anew; else the last steps that lead there."""
        final = clusters.after(first, history)
        end = asyncio.get_running_loop().time() + _SHRINKING
        try:
            async with asyncio.timeout_at(end + WITHIN):
                if await self._fails_anew(final):
                    small = await shrink(final, self._fails, lambda: asyncio.get_running_loop().time() > end)
                    if results := await self._wrong(small):
                        return Failure(number, last, results, small)
                for count in (1, 2, 4, 8, 16, 32):
                    steps = tuple(history[-count:])
                    before = clusters.after(first, history[: -len(steps)])
                    if results := await self._replayed(before, steps):
                        return Failure(number, last, results, before, steps)
        except TimeoutError:
            pass
        return Failure(number, last, wrong, first, tuple(history))

    async def _fails_anew(self, state: clusters.State) -> bool:
        await self._hands.become({})
        return await self._fails(state)

    async def _fails(self, state: clusters.State) -> bool:
        self._progress(f"making it small: {len(state)} objects are tried")
        return bool(await self._wrong(state))

    async def _wrong(self, state: clusters.State) -> tuple[judge.Result, ...]:
        try:
            await self._hands.become(state)
        except (hands.Refused, errors.Transient):
            return ()
        results = await self._meter.verify(within=_SHRUNK_WITHIN, wanted=wanted)
        return tuple(result for result in results if not result.ok)

    async def _replayed(
        self, before: clusters.State, steps: Sequence[clusters.Step]
    ) -> tuple[judge.Result, ...]:
        self._progress(f"replaying the last {len(steps)} steps")
        await self._hands.become({})
        await self._hands.become(before)
        for step in steps:
            await self._hands.do(step)
            await self._hands.settled()
        results = await self._meter.verify(within=_SHRUNK_WITHIN, wanted=wanted)
        return tuple(result for result in results if not result.ok)


async def shrink(
    state: clusters.State,
    fails: Callable[[clusters.State], Awaitable[bool]],
    enough: Callable[[], bool] = lambda: False,
) -> clusters.State:
    """A smaller state that still fails: without objects first, then without parts of objects.

    Nothing more can be taken away from it, unless it was `enough` before.
    """
    found = dict(state)
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(found):
            if enough():
                return found
            if await fails(smaller):
                found, progress = smaller, True
                break
    return found


def _smaller(state: dict[clusters.Key, str]) -> Iterator[dict[clusters.Key, str]]:
    """States with less in them, the much smaller first."""
    keys = [key for key in reversed(list(state)) if key.kind != "Namespace"]
    size = max(len(keys) // 2, 1)
    while size:
        for start in range(0, len(keys), size):
            gone = set(keys[start : start + size])
            yield {key: text for key, text in state.items() if key not in gone}
        size //= 2
    inhabited = {key.namespace for key in state}
    for key in state:
        if key.kind == "Namespace" and key.name not in inhabited:
            yield {k: text for k, text in state.items() if k != key}
    for key, text in state.items():
        if key.kind not in ("Pod", "Namespace"):
            for document in _simpler(json.loads(text)):
                yield {**state, key: clusters.put(document).text}


def _simpler(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document without one item of a list, or with an emptied selector."""
    for path in _places(document["spec"]):
        smaller = copy.deepcopy(document)
        inner = smaller["spec"]
        for key in path[:-1]:
            inner = inner[key]
        if isinstance(path[-1], int):
            del inner[path[-1]]
        else:
            inner[path[-1]] = {}
        yield smaller


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Items of lists, and selectors with something in them."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index)
            yield from _places(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key.endswith("Selector") and item:
                yield (*path, key)
            yield from _places(item, (*path, key))
