"""What the API server does in a second: run as `python -m bench.apiserver [--durable] [--seconds S]`.

A real server process (TLS, SQLite on disk) and a client process, so on two cores neither waits for the other.
Prints p50 and p99 of each round; numbers are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from netemu.api import core, meta
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.client import api, connect
from netemu.http import client as http_client
from netemu.http import messages, tls
from netemu.store import sqlite

LANES = 16


async def serve(directory: Path, sock: socket.socket, durable: bool) -> None:
    authority = pki.Pair((directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes())
    identity = server.Identity(
        authority.certificate,
        pki.server(
            authority, "kube-apiserver", ("localhost",), (ipaddress.ip_address("127.0.0.1"),), time.time()
        ),
        None,
        pki.key(),
    )
    durability = sqlite.Durability.POWER if durable else sqlite.Durability.PROCESS
    store = sqlite.open(directory / "store.db", durability=durability)
    running = server.ApiServer(store, identity, contexts.Config(), clock.SystemClock())
    await running.start([sock])
    (directory / "ready").touch()
    await asyncio.get_running_loop().create_future()


def shown(name: str, seconds: list[float], wall: float, note: str = "") -> None:
    ordered = sorted(seconds)
    p50, p99 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    rate = len(ordered) / wall
    print(
        f"{name:34} {rate:9.0f} /s   p50 {p50 * 1e3:8.2f} ms   p99 {p99 * 1e3:8.2f} ms   {note}", flush=True
    )


async def hammer(
    name: str, lanes: int, seconds: float, once: Callable[[int, int], Awaitable[object]], note: str = ""
) -> int:
    """Each of `lanes` does `once(lane, n)` again and again."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def lane(number: int) -> None:
        n = 0
        while (begin := time.perf_counter()) < end:
            await once(number, n)
            taken.append(time.perf_counter() - begin)
            n += 1

    begin = time.perf_counter()
    await asyncio.gather(*(lane(number) for number in range(lanes)))
    shown(name, taken, time.perf_counter() - begin, note)
    return len(taken)


def config_map(name: str) -> bytes:
    document = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"k": "v" * 200}}
    return msgspec.json.encode(document)


def pod(name: str) -> bytes:
    return msgspec.json.encode(
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"app": "web", "n": name}},
            "spec": {
                "containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}],
            },
        }
    )


async def measure(url: str, directory: Path, seconds: float, pods: int) -> None:
    ca, cert, key = directory / "ca.crt", directory / "admin.crt", directory / "admin.key"
    context = tls.client(ca, cert, key)
    post = (("content-type", "application/json"),)
    maps = "/api/v1/namespaces/default/configmaps"

    async with http_client.Connections(url, context) as pool:

        async def expect(request: messages.Request, status: int) -> bytes:
            answer = await pool.send(request)
            body = await messages.whole(answer)
            assert answer.status == status, body[:300]
            return body

        async def create(lane: int, n: int) -> None:
            await expect(messages.Request("POST", maps, (), post, config_map(f"cm-{lane}-{n}")), 201)

        async def get(lane: int, n: int) -> None:
            await expect(messages.Request("GET", f"{maps}/cm-0-0"), 200)

        async def create_one(lane: int, n: int) -> None:
            await expect(messages.Request("POST", maps, (), post, config_map(f"one-{n}")), 201)

        async def create_pod(lane: int, n: int) -> None:
            path = "/api/v1/namespaces/default/pods"
            await expect(messages.Request("POST", path, (), post, pod(f"p-{lane}-{n}")), 201)

        async def health(lane: int, n: int) -> None:
            await expect(messages.Request("GET", "/healthz"), 200)

        await hammer("GET /healthz, 16 connections", LANES, seconds, health)
        await hammer("create ConfigMap, 16 connections", LANES, seconds, create)
        await hammer("create ConfigMap, 1 connection", 1, seconds, create_one)
        await hammer("GET ConfigMap, 16 connections", LANES, seconds, get)
        await hammer("GET ConfigMap, 1 connection", 1, seconds, get)
        await hammer("create Pod, 16 connections", LANES, seconds, create_pod)
        await fill_pods(create_pod, pods)
        await lists(expect, pods)
    async with connect.over(url, ca, cert, key) as one:
        await fan_out(one, url, context, 100)


async def fill_pods(create_pod: Callable[[int, int], Awaitable[None]], pods: int) -> None:
    async def lane(number: int) -> None:
        for n in range(pods // LANES):
            await create_pod(1000 + number, n)

    await asyncio.gather(*(lane(number) for number in range(LANES)))


async def lists(expect: Callable[[messages.Request, int], Awaitable[bytes]], pods: int) -> None:
    path = "/api/v1/namespaces/default/pods"
    table = (("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),)
    for name, request in (
        ("list pods, JSON", messages.Request("GET", path)),
        ("list pods, by label", messages.Request("GET", path, (("labelSelector", "n=p-1000-1"),))),
        ("list pods, Table", messages.Request("GET", path, (), table)),
        ("list pods, limit=500", messages.Request("GET", path, (("limit", "500"),))),
    ):
        taken = []
        for _ in range(3):
            begin = time.perf_counter()
            body = await expect(request, 200)
            taken.append(time.perf_counter() - begin)
        shown(name, taken, sum(taken), f"{len(body) / 1e6:.1f} MB, of {body.count(b'kube-api-access')} lines")


async def fan_out(one: api.Client, url: str, context: object, watchers: int) -> None:
    """One writer, many watchers: from the write's start until the last one has seen it."""
    listing = await one.list(core.ConfigMap, "default")
    seen: dict[str, list[float]] = {}
    ready = asyncio.Event()
    started = 0

    async def watch() -> None:
        nonlocal started
        started += 1
        if started == watchers:
            ready.set()
        async for event in one.watch(core.ConfigMap, "default", revision=listing.revision):
            seen.setdefault(event.object.metadata.name, []).append(time.perf_counter())

    tasks = [asyncio.ensure_future(watch()) for _ in range(watchers)]
    await ready.wait()
    await one.create(core.ConfigMap(metadata=meta.ObjectMeta(name="fan-warm", namespace="default")))
    while len(seen.get("fan-warm", ())) < watchers:
        await asyncio.sleep(0.01)
    last = []
    begin_all = time.perf_counter()
    for n in range(100):
        name = f"fan-{n}"
        begin = time.perf_counter()
        await one.create(core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default")))
        while len(seen.get(name, ())) < watchers:
            await asyncio.sleep(0)
        last.append(seen[name][-1] - begin)
    shown(f"one write to {watchers} watchers", last, time.perf_counter() - begin_all)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def memory(pid: int) -> str:
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return next(line.split(":")[1].strip() for line in lines if line.startswith("Pss:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--durable", action="store_true", help="fdatasync every commit")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each round")
    parser.add_argument("--pods", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = pki.ca("bench", time.time())
        admin = pki.client(authority, "bench", ("system:masters",), time.time())
        for path, pem in (("ca", authority), ("admin", admin)):
            (directory / f"{path}.crt").write_bytes(pem.certificate)
            (directory / f"{path}.key").write_bytes(pem.key)
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        child = os.fork()
        if child == 0:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(serve(directory, sock, given.durable))
            os._exit(0)
        sock.close()
        try:
            while not (directory / "ready").exists():
                time.sleep(0.01)
            print(f"memory of the server: {memory(child)}")
            asyncio.run(measure(f"https://127.0.0.1:{port}", directory, given.seconds, given.pods))
            print(f"memory of the server: {memory(child)}")
        finally:
            os.kill(child, 15)
            os.waitpid(child, 0)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
