"""How fast pods are placed: `python -m bench.scheduler`. Decisions alone, on clusters of several sizes.

Processor time of this process, so a busy machine disturbs it little. Compare with kube-scheduler's own goal
of 100 pods/s.
"""

from __future__ import annotations

import random
import time

from bench import harness
from netemu.api import core, meta
from netemu.scheduler import caches, plan, pods

PODS = 300
SIZES = (3, 30, 300)


def main() -> None:
    print(harness.machine())
    for size in SIZES:
        for what, labels in (("alone", {}), ("of one Service", {"app": "web"})):
            values = tuple(sorted(decide(size, labels)))
            name = f"a decision, {size} nodes, pods {what}"
            print(harness.Sample(name, "ms", values).line())


def decide(nodes: int, labels: dict[str, str]) -> list[float]:
    """Milliseconds of processor time for each of many pods in a row, each counting for the next."""
    cache = caches.Cache()
    for number in range(nodes):
        cache.node_changed(f"node-{number}", _node(f"node-{number}"))
    selector = core.ServiceSpec(selector={"app": "web"})
    service = core.Service(metadata=meta.ObjectMeta(name="web", namespace="default"), spec=selector)
    cache.service_changed(("default", "web"), service)
    chance, found = random.Random(1), []
    for number in range(PODS):
        pod = pods.of(_pod(f"pod-{number}", labels))
        began = time.process_time()
        decision = plan.plan(cache.snapshot(), pod, chance)
        found.append((time.process_time() - began) * 1e3)
        if decision.node is None:
            raise RuntimeError(decision.message)
        cache.reserve(pod, decision.node)
    return found


def _node(name: str) -> core.Node:
    return core.Node(
        metadata=meta.ObjectMeta(name=name, labels={"kubernetes.io/hostname": name}),
        status=core.NodeStatus(allocatable={"cpu": "64", "memory": "256Gi", "pods": "1000"}),
    )


def _pod(name: str, labels: dict[str, str]) -> core.Pod:
    container = core.Container(name="c", resources=core.ResourceRequirements(requests={"cpu": "10m"}))
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", uid=name, labels=labels),
        spec=core.PodSpec(containers=(container,)),
    )


if __name__ == "__main__":
    main()
