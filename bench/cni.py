"""What a pod's network costs: `sudo python -m bench.cni`. Our plugins beside the reference's, and in process.

Every host is a network namespace of its own. As executables, ours and the reference's take turns, pod by pod,
so that a busy machine disturbs both alike; a call counts from its start to its end as a runtime waits for it.
In process, pods of one host are connected one after another, IPv4 and IPv6, with leases in memory as a lab's
node has them; their cost is read by position.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cni
from bench import harness
from cni import inprocess
from netemu.kernel import mounts, netns

REFERENCE = "/usr/lib/cni"
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


class Case(NamedTuple):
    """A plugin's configuration; `after`: the one before it in the chain, whose result it gets."""

    name: str
    document: dict[str, Any]
    after: dict[str, Any] | None = None


class Goals(NamedTuple):
    """At most so many times the reference's wall-clock time."""

    add: float | None = None
    delete: float | None = None


def configuration(
    directory: str, kind: str = "bridge", *, dual: bool = True, **more: object
) -> dict[str, Any]:
    ranges = [[{"subnet": "10.244.0.0/22"}], [{"subnet": "fd00:244:0:1::/64"}]]
    ipam = {
        "type": "host-local",
        "dataDir": f"{directory}/leases",
        "ranges": ranges if dual else ranges[:1],
    }
    base = {"cniVersion": "1.0.0", "name": "bench", "type": kind, "ipam": ipam}
    return base | ({"bridge": "cni0", "isDefaultGateway": True} if kind == "bridge" else {}) | more


def cases(directory: str) -> tuple[tuple[Case, Goals], ...]:
    bridge = configuration(directory, dual=False)
    dual = configuration(directory, bridge="cni2")
    ptp = configuration(directory, "ptp", dual=False)
    ptp["ipam"] = ptp["ipam"] | {"routes": ROUTES[:1]}
    plain = {"cniVersion": "1.0.0", "name": "bench"}
    ports = {"portMappings": [{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]}
    shape = {"ingressRate": 1 << 30, "ingressBurst": 1 << 24, "egressRate": 1 << 30, "egressBurst": 1 << 24}
    return (
        (Case("loopback", plain | {"type": "loopback"}), Goals()),
        (Case("bridge + host-local", bridge), Goals(add=1.5, delete=1.0)),
        (Case("bridge + host-local, IPv4 and IPv6", dual), Goals()),
        (
            Case("bridge + host-local, ipMasq", bridge | {"ipMasq": True, "bridge": "cni1"}),
            Goals(add=1.0, delete=1.0),
        ),
        (Case("ptp + host-local", ptp), Goals()),
        (
            Case("portmap, one port", plain | {"type": "portmap", "runtimeConfig": ports}, bridge),
            Goals(1.0, 1.0),
        ),
        (Case("bandwidth, both ways", plain | {"type": "bandwidth"} | shape, bridge), Goals()),
    )


class Host:
    """A network namespace with pods in it, and plugins to call: all in a directory that goes at the end."""

    def __init__(self, directory: str, path: str) -> None:
        self.directory = directory
        self.path = path
        self._made: list[str] = []
        self.netns = self.namespace("host")

    def namespace(self, name: str) -> str:
        path = f"{self.directory}/{name}"
        netns.create(path)
        self._made.append(path)
        return path

    def close(self) -> None:
        for path in self._made:
            netns.remove(path)

    def environment(self, command: str, pod: str, ifname: str = "eth0") -> dict[str, str]:
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod,
            "CNI_NETNS": f"{self.directory}/{pod}",
            "CNI_IFNAME": ifname,
            "CNI_PATH": self.path,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def execute(self, command: str, document: dict[str, Any], pod: str) -> tuple[float, dict[str, Any]]:
        """Milliseconds from the start of the executable to its end, and what it printed."""
        ifname = "lo" if document["type"] == "loopback" else "eth0"
        environment = self.environment(command, pod, ifname)
        binary = f"{self.path}/{document['type']}"
        return netns.call(self.netns, run, binary, environment, json.dumps(document).encode())


def run(binary: str, environment: dict[str, str], text: bytes) -> tuple[float, dict[str, Any]]:
    """One executable by posix_spawn, which costs a runtime least."""
    source = os.memfd_create("stdin")
    os.write(source, text)
    os.lseek(source, 0, os.SEEK_SET)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, writing, 1)]
    began = time.perf_counter()
    pid = os.posix_spawn(binary, [binary], environment, file_actions=actions)
    os.close(writing)
    output = bytearray()
    while piece := os.read(reading, 1 << 16):
        output += piece
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter() - began) * 1e3
    os.close(source)
    os.close(reading)
    if status:
        raise SystemExit(f"{binary}: {output.decode()}")
    return took, json.loads(output) if output else {}


@contextmanager
def hosts(paths: Sequence[str], *, in_memory: bool = False) -> Iterator[tuple[Host, ...]]:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        made = []
        if in_memory:
            mounts.tmpfs(Path(directory))
            stack.callback(mounts.umount, Path(directory))
        try:
            for number, path in enumerate(paths):
                os.mkdir(f"{directory}/{number}")
                made.append(Host(f"{directory}/{number}", path or f"{directory}/{number}/bin"))
                if not path:
                    cni.install(f"{directory}/{number}/bin")
            yield tuple(made)
        finally:
            for host in made:
                host.close()


def executables(pods: int, reference: str) -> Iterator[harness.Sample]:
    """Whole processes: ours, and the reference's in turn if it is installed."""
    with_reference = os.path.isdir(reference)
    with hosts(("", reference) if with_reference else ("",)) as machines:
        for number, (_, goals) in enumerate(cases("")):
            took: list[tuple[list[float], list[float]]] = [([], []) for _ in machines]
            for pod in range(pods):
                for host, values in zip(machines, took, strict=True):
                    one_pod(host, cases(host.directory)[number][0], f"p{number}-{pod}", pod, values)
            name = cases("")[number][0].name
            for index, command, goal in ((0, "ADD", goals.add), (1, "DEL", goals.delete)):
                theirs = tuple(took[1][index]) if with_reference else ()
                limit = goal * harness.Sample("", "ms", theirs).median if goal and theirs else None
                yield harness.Sample(f"{command} {name}", "ms", tuple(took[0][index]), limit)
                if theirs:
                    yield harness.Sample(f"{command} {name}, reference plugins", "ms", theirs)


def one_pod(host: Host, case: Case, pod: str, number: int, took: tuple[list[float], list[float]]) -> None:
    host.namespace(pod)
    document = dict(case.document)
    if "runtimeConfig" in document:
        ports = [port | {"hostPort": 10_000 + number} for port in document["runtimeConfig"]["portMappings"]]
        document["runtimeConfig"] = {"portMappings": ports}
    before: dict[str, Any] = {}
    if case.after:
        _, before = host.execute("ADD", case.after, pod)
        document["prevResult"] = before
    added, result = host.execute("ADD", document, pod)
    deleted, _ = host.execute("DEL", document | {"prevResult": result or before}, pod)
    if case.after:
        host.execute("DEL", case.after | {"prevResult": before}, pod)
    took[0].append(added)
    took[1].append(deleted)


def in_process(pods: int, kind: str, **more: bool) -> Iterator[harness.Sample]:
    """The same code called by a runtime in Python: first pods of a host, last ones, and their ends."""
    with hosts(("",), in_memory=True) as (host,):
        document = configuration(host.directory, kind, **more)
        document["ipam"]["routes"] = ROUTES if kind == "ptp" else []
        names = [f"pod-{number}" for number in range(pods)]
        for name in names:
            host.namespace(name)

        def work() -> tuple[list[float], list[float]]:
            added, deleted, results = [], [], {}
            for name in names:
                environment = host.environment("ADD", name)
                began = time.perf_counter()
                results[name] = inprocess.call(kind, "ADD", environment, document)
                added.append((time.perf_counter() - began) * 1e3)
            for name in names:
                environment = host.environment("DEL", name)
                began = time.perf_counter()
                inprocess.call(kind, "DEL", environment, document | {"prevResult": results[name]})
                deleted.append((time.perf_counter() - began) * 1e3)
            return added, deleted

        added, deleted = netns.call(host.netns, work)
    tenth = max(1, pods // 10)
    what = f"{kind} in process"
    yield harness.Sample(f"ADD {what}, {pods} pods of a host", "ms", tuple(added), 4.0)
    yield harness.Sample(f"ADD {what}, the first {tenth}", "ms", tuple(added[:tenth]))
    yield harness.Sample(f"ADD {what}, the last {tenth}", "ms", tuple(added[-tenth:]), 4.0)
    yield harness.Sample(f"DEL {what}", "ms", tuple(deleted))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=40, help="pods a plugin, as executables")
    parser.add_argument(
        "--in-process", type=int, default=250, metavar="N", help="pods of one host, in process"
    )
    parser.add_argument(
        "--reference", default=REFERENCE, metavar="DIRECTORY", help="other plugins to compare with"
    )
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    wish = parser.parse_args(argv)
    mounts.isolate()
    samples, note = [], ""
    for part in (
        executables(wish.pods, wish.reference) if wish.pods else (),
        in_process(wish.in_process, "bridge", hairpinMode=True, viaGateway=True) if wish.in_process else (),
        in_process(wish.in_process, "ptp") if wish.in_process else (),
    ):
        # The kernel takes its time to end the namespaces of the part before.
        if not harness.quiet(wish.patience):
            note = "The machine had other work to do."
        for sample in part:
            print(sample.line(), flush=True)
            samples.append(sample)
    if wish.write:
        harness.publish("cni", samples, "sudo python -m bench.cni", note)


if __name__ == "__main__":
    main()
