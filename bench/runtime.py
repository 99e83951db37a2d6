"""What pods cost the runtime: `sudo python -m bench.runtime`. A shim in namespaces of its own, no network.

Wall-clock milliseconds as a kubelet waits for them, processor milliseconds of everything in the node and of
this process (so a busy machine disturbs those little), and memory as the kernel counts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench import harness
from netemu.kernel import linux, mounts, process
from netemu.runtime import local, sandboxes, shim
from netemu.wire import cri

PODS = 100
SOCKET = "/run/netemu/runtime.sock"
NETEXEC = cri.ContainerConfig("main", "agnhost", args=("netexec",))
PAUSE = cri.ContainerConfig("main", "pause")
SLEEP = cri.ContainerConfig("main", "busybox", command=("sleep", "infinity"))


class NoNetwork:
    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]:
        return ()

    async def detach(self, sandbox: cri.Sandbox) -> None:
        pass

    def needs_namespace(self, sandbox: cri.Sandbox) -> bool:
        return False


def main() -> None:
    print(harness.machine())
    if not harness.quiet(20):
        print("(the machine has other work to do)")
    for config in (PAUSE, SLEEP, NETEXEC):
        with a_node() as node:
            asyncio.run(measure(node, config))


@contextlib.contextmanager
def a_node() -> Iterator[int]:
    """The pid of a namespaced PID 1 with a shim below it; all of it ends with that process."""
    ours, theirs = socket.socketpair()
    outer = process.fork(lambda: _be_outside(theirs))
    theirs.close()
    node = int(ours.recv(32))
    try:
        yield node
    finally:
        process.kill(os.pidfd_open(node))
        os.waitpid(outer, 0)


def _be_outside(orders: socket.socket) -> None:
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWUTS)
    pid = process.fork(_be_the_node)
    orders.send(str(pid).encode())
    os.waitpid(pid, 0)


def _be_the_node() -> None:
    process.die_with_parent()
    mounts.private("/")
    mounts.proc("/proc")
    mounts.tmpfs("/run")
    sandboxes.bring_up_loopback()
    process.fork(lambda: shim.main(SOCKET, "/run/netemu"))
    while True:
        os.waitpid(-1, 0)


async def measure(node: int, config: cri.ContainerConfig) -> None:
    runtime = local.LocalRuntime(f"/proc/{node}/root{SOCKET}", NoNetwork())
    await remove(runtime, await runtime.run_pod_sandbox(pod("warm")))
    boxes: list[cri.Sandbox] = []
    waits: dict[str, list[float]] = {"sandbox": [], "container": []}
    busy = [used(node)]
    for number in range(PODS):
        began = time.perf_counter()
        boxes.append(await runtime.run_pod_sandbox(pod(f"pod-{number}")))
        waits["sandbox"].append((time.perf_counter() - began) * 1e3)
    busy.append(used(node))
    for box in boxes:
        began = time.perf_counter()
        await runtime.start_container(await runtime.create_container(box.id, config))
        waits["container"].append((time.perf_counter() - began) * 1e3)
    busy.append(used(node))
    what = {"sandbox": "a sandbox", "container": f"a container, {config.image}"}
    for number, (kind, values) in enumerate(waits.items()):
        print(harness.Sample(f"{what[kind]}, waited for", "ms", tuple(values)).line())
        each = (busy[number + 1] - busy[number]) / PODS
        print(harness.Sample(f"{what[kind]}, processor", "ms", (each,)).line())
    own = private(node)
    for name, sizes in sorted(own.items()):
        print(f"  {name:10} {len(sizes):4} processes, {statistics.mean(sizes):7.0f} kB each of their own")
    began = time.perf_counter()
    for box in boxes:
        await remove(runtime, box)
    print(harness.Sample("a pod removed", "ms", ((time.perf_counter() - began) * 1e3 / PODS,)).line())
    await runtime.close()


async def remove(runtime: local.LocalRuntime, box: cri.Sandbox) -> None:
    await runtime.stop_pod_sandbox(box.id)
    await runtime.remove_pod_sandbox(box.id)


def pod(name: str) -> cri.SandboxConfig:
    return cri.SandboxConfig(name, "default", name, hostname=name)


def used(node: int) -> float:
    """Processor milliseconds of this process and of all that live in the node (schedstat: in nanoseconds)."""
    pids = [os.getpid(), *harness.tree(node)]
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e6


def private(node: int) -> dict[str, list[int]]:
    """By name, the kB no other process shares, page tables included."""
    found: dict[str, list[int]] = {}
    for pid in harness.tree(node):
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        tables = re.search(r"^VmPTE:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        own = sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE))
        found.setdefault(name, []).append(own + (int(tables[1]) if tables else 0))
    return found


if __name__ == "__main__":
    main()
