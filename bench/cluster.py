"""The figures a whole lab is held to: `sudo python -m bench.cluster [--rounds N] [--write]`.

Start and stop by the command line as a user runs it, with modules compiled as they are from the second start
on; a hundred pods of one Deployment through the API; memory and processor time of all the lab's processes off
/proc. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import harness
from netemu.api import apps, core, meta
from netemu.client import api, connect
from netemu.lab import handle

ROOT = Path(__file__).parent.parent
PODS = 100
IDLE_SECONDS = 20.0
_NETEMU = (sys.executable, "-m", "netemu.cli.main")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="labs made and removed")
    parser.add_argument("--name", default="bench", help="the labs' name")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    options = parser.parse_args()
    print(harness.machine(), flush=True)
    with tempfile.TemporaryDirectory() as bytecode:
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
            os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        samples, busy = asyncio.run(measure(options.name, options.rounds, options.patience))
    for sample in samples:
        print(sample.line())
    if options.write:
        write(samples, busy)


def write(samples: list[harness.Sample], busy: int) -> None:
    note = f"{busy} rounds were disturbed by other work on the machine." if busy else ""
    harness.publish("cluster", samples, "sudo python -m bench.cluster", note)


async def measure(name: str, rounds: int, patience: float) -> tuple[list[harness.Sample], int]:
    """Rounds of: up, idle, a hundred pods, idle, down. And how many of them began on a busy machine.

    The first start, which compiles what it imports, is none of them.
    """
    found: dict[str, list[float]] = {}
    busy = 0
    netemu("down", "--name", name, "--quiet", check=False)
    netemu("up", "--nodes", "3", "--name", name, "--quiet")
    for round_ in range(rounds):
        netemu("down", "--name", name, "--quiet", check=False)
        busy += not harness.quiet(patience)
        note(found, "up", harness.timed(lambda: netemu("up", "--nodes", "3", "--name", name, "--quiet")))
        try:
            await in_lab(name, found, idle=round_ == 0)
        finally:
            note(found, "down", harness.timed(lambda: netemu("down", "--name", name, "--quiet")))
        print(
            f"round {round_ + 1}/{rounds}: " + ", ".join(f"{k} {v[-1]:.3g}" for k, v in found.items()),
            flush=True,
        )
    samples = [
        harness.Sample(title, unit, tuple(found[key]), goal, aim)
        for key, title, unit, goal, aim in FIGURES
        if key in found
    ]
    return samples, busy


FIGURES = (
    ("up", "`netemu up`, 3 nodes, until a Service answers by DNS name", "s", 1.5, 1.0),
    ("down", "`netemu down`", "s", 0.3, None),
    ("pods", f"{PODS} pods of one Deployment Ready on 2 workers", "s", 4.0, 2.0),
    ("bound", f"of these: {PODS} pods made and bound", "s", None, None),
    ("pods down", f"{PODS} pods gone after the Deployment is deleted", "s", None, None),
    ("memory", "control plane and three agents, idle (PSS)", "MiB", 150.0, None),
    ("memory lab", "all processes of the lab, idle (PSS)", "MiB", None, None),
    ("memory pod", "each pod more, all processes (PSS)", "MiB", 0.5, None),
    ("cpu", "processor, idle, all processes of the lab", "%", 2.0, None),
    ("cpu pods", f"the same with {PODS} pods", "%", None, None),
)


async def in_lab(name: str, found: dict[str, list[float]], *, idle: bool) -> None:
    root = handle.open(name).record.supervisor.pid
    if idle:
        note(found, "cpu", await idle_cpu(root))
    before = harness.pss(harness.tree(root))
    note(found, "memory lab", before)
    note(found, "memory", harness.pss(components(name, root)))
    async with connect.from_kubeconfig(str(handle.open(name).kubeconfig)) as client:
        bound, ready = await deploy(client)
        note(found, "bound", bound)
        note(found, "pods", ready)
        if idle:
            note(found, "cpu pods", await idle_cpu(root))
        note(found, "memory pod", (harness.pss(harness.tree(root)) - before) / PODS)
        note(found, "pods down", await undeploy(client))


def components(name: str, root: int) -> list[int]:
    """The processes of the control plane and the node agents, by their pids in the lab."""
    (status,) = json.loads(netemu("status", "--name", name, "--json"))
    wanted = {
        one["pid"] for one in status["components"] if one["name"].startswith(("control-plane", "agent-"))
    }
    return [pid for pid in harness.tree(root) if inner_pid(pid) in wanted]


def inner_pid(pid: int) -> int:
    """The pid in the lab's own pid namespace; 0 for processes in a pod's."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            pids = line.split()[1:]
            return int(pids[1]) if len(pids) == 2 else 0
    return 0


async def idle_cpu(root: int) -> float:
    """Per cent of one processor while nothing is asked for."""
    await asyncio.sleep(3)  # what starting has left to do is not idleness
    pids = harness.tree(root)
    began, used = time.perf_counter(), harness.cpu(pids)
    await asyncio.sleep(IDLE_SECONDS)
    return 100 * (harness.cpu(pids) - used) / (time.perf_counter() - began)


async def deploy(client: api.Client) -> tuple[float, float]:
    """Seconds until all pods have a node, and until all are Ready."""
    labels = {"app": "bench"}
    container = core.Container(name="pause", image="registry.k8s.io/pause:3.9")
    await client.create(
        apps.Deployment(
            metadata=meta.ObjectMeta(name="bench", namespace="default"),
            spec=apps.DeploymentSpec(
                replicas=PODS,
                selector=meta.LabelSelector(matchLabels=labels),
                template=core.PodTemplateSpec(
                    metadata=meta.ObjectMeta(labels=labels), spec=core.PodSpec(containers=(container,))
                ),
            ),
        )
    )
    began = time.perf_counter()
    bound: set[str] = set()
    ready: set[str] = set()
    took = 0.0
    async with asyncio.timeout(120):
        listing = await client.list(core.Pod, "default", labels="app=bench")
        events = client.watch(core.Pod, "default", labels="app=bench", revision=listing.revision)
        for pod in listing.items:
            _sort(pod, bound, ready)
        async for event in events:
            if event.type in ("ADDED", "MODIFIED"):
                _sort(event.object, bound, ready)
            if len(bound) >= PODS and not took:
                took = time.perf_counter() - began
            if len(ready) >= PODS:
                return took, time.perf_counter() - began
    raise RuntimeError("the watch ended early")


def _sort(pod: core.Pod, bound: set[str], ready: set[str]) -> None:
    if pod.spec.nodeName:
        bound.add(pod.metadata.name)
    if any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions):
        ready.add(pod.metadata.name)


async def undeploy(client: api.Client) -> float:
    """Seconds until the last pod is gone."""
    began = time.perf_counter()
    await client.delete(apps.Deployment, "bench", "default", propagation="Background")
    async with asyncio.timeout(120):
        listing = await client.list(core.Pod, "default", labels="app=bench")
        left = {pod.metadata.name for pod in listing.items}
        events = client.watch(core.Pod, "default", labels="app=bench", revision=listing.revision)
        async for event in events:
            if event.type == "DELETED":
                left.discard(event.object.metadata.name)
            if not left:
                return time.perf_counter() - began
    raise RuntimeError("the watch ended early")


def note(found: dict[str, list[float]], key: str, value: float) -> None:
    found.setdefault(key, []).append(value)


def netemu(*arguments: str, check: bool = True) -> str:
    """Run a command as a user would; its output."""
    done = subprocess.run([*_NETEMU, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if check and done.returncode:
        raise RuntimeError(f"netemu {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
