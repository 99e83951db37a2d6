"""How long a truth table takes: `sudo python -m bench.policy_probe [--rounds N] [--write]`.

Nine pods ask nine pods on two ports in three protocols and two families: 972 flows. A policy drops 432 of
them: port 81, but for each pod itself. What counts is the whole round, with the time that proves silence.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter

from bench import harness
from netemu.client import api
from netemu.lab import down, handle, up
from netemu.probe import rounds
from netemu.verify import cases, clusters, fuzzlabs, hands, measure, observing

GOAL = 1.5  # seconds
NAMESPACES, PODS = ("x", "y", "z"), ("a", "b", "c")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    options = parser.parse_args()
    print(harness.machine(), flush=True)
    with tempfile.TemporaryDirectory() as state:
        os.environ["NETEMU_STATE_DIR"] = state
        lab = up.up(fuzzlabs.Asked("bench-probe", 0, 0).lab)
        try:
            harness.quiet(options.patience)
            samples = asyncio.run(
                fuzzlabs.within(lab, lambda client, meter: run(client, lab, options.rounds))
            )
        finally:
            down.down(lab.name)
    for sample in samples:
        print(sample.line())
    if options.write:
        harness.publish("policy_probe", samples, "sudo python -m bench.policy_probe")


async def run(client: api.Client, lab: handle.Handle, count: int) -> list[harness.Sample]:
    """Rounds one after the other; each must find what the policies say."""
    await hands.Hands(client).become(_state(lab))
    prober = rounds.Prober()
    found: dict[str, list[float]] = {"round": [], "sent": [], "with the model": []}
    async with measure.metering(client, lab, prober=prober) as meter:
        await meter.verify(within=20.0, wanted=_wanted)  # in force everywhere
        for _ in range(count):
            began = time.perf_counter()
            world = await observing.world(client, lab)
            asked = cases.every(world, wanted=_wanted)
            results = await meter.measure(asked, world)
            found["with the model"].append(time.perf_counter() - began)
            found["round"].append(prober.took)
            found["sent"].append(prober.sent)
            outcomes = Counter(str(result.answer.outcome) for result in results)
            if outcomes != {"ok": 540, "timeout": 432} or not all(result.ok for result in results):
                sys.exit(f"the policies are not in force: {outcomes}")
    return [
        harness.Sample("972 flows, 432 of them dropped and proven so", "s", tuple(found["round"]), GOAL),
        harness.Sample("until all 972 were sent the first time", "s", tuple(found["sent"])),
        harness.Sample("objects listed, measured, judged by the model", "s", tuple(found["with the model"])),
    ]


def _state(lab: handle.Handle) -> dict[clusters.Key, str]:
    """Nine pods, and a policy in each Namespace that lets port 80 in."""
    workers = [node.name for node in lab.config.nodes if node.role == "worker"]
    ports = [{"protocol": protocol, "port": 80} for protocol in clusters.PROTOCOLS]
    state: dict[clusters.Key, str] = {}
    for namespace in NAMESPACES:
        documents = [clusters.named("Namespace", namespace)]
        for number, name in enumerate(PODS):
            documents.append(dict(clusters.pod(namespace, name, {}, node=workers[number % len(workers)])))
        spec = {"podSelector": {}, "ingress": [{"ports": ports}]}
        documents.append({**clusters.named("NetworkPolicy", "web", namespace), "spec": spec})
        state = clusters.after(state, map(clusters.put, documents))
    return state


def _wanted(case: cases.Case) -> bool:
    ours = case.flow.source.namespace in NAMESPACES
    return ours and case.kind == "pod" and case.owner is not None and case.owner.namespace in NAMESPACES


if __name__ == "__main__":
    main()
