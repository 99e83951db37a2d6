"""What the API server does in a second: `sudo python -m bench.apiserver [--rounds N] [--write]`.

A real server process (TLS, SQLite on disk, every commit synced to it) and a client process, so on two cores
neither waits for the other. Percentiles are of single requests. `--write` puts the table into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import ipaddress
import os
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from bench import harness
from netemu.api import core, kinds, meta
from netemu.apiserver import cache, contexts, entries, pki, server
from netemu.base import clock
from netemu.client import api, connect
from netemu.http import client as http_client
from netemu.http import messages, tls
from netemu.store import sqlite

ROOT = Path(__file__).parents[1]
LANES = 16
WATCHERS = 100
PODS = 10_000
STORED = 50_000
MAPS = "/api/v1/namespaces/default/configmaps"
POST = (("content-type", "application/json"),)
FIGURES = (  # key, title, unit, goal, more
    ("creates", "ConfigMaps created, 16 connections, each commit synced", "/s", 1000, True),
    ("create p50", "of these: one request, p50", "ms", None, False),
    ("create p99", "of these: one request, p99", "ms", None, False),
    ("one create", "ConfigMaps created one after another", "/s", None, True),
    ("gets", "ConfigMaps read, 16 connections", "/s", 5000, True),
    ("get p50", "of these: one request, p50", "ms", None, False),
    ("get p99", "of these: one request, p99", "ms", None, False),
    ("pods", "Pods created, 16 connections", "/s", None, True),
    ("list", "LIST of 10,000 pods as JSON", "s", 0.5, False),
    ("list table", "LIST of 10,000 pods as a Table", "s", None, False),
    ("list label", "LIST of one in 10,000 pods by label", "s", None, False),
    ("fan p50", "a write seen by the last of 100 watchers, p50", "ms", None, False),
    ("fan p99", "a write seen by the last of 100 watchers, p99", "ms", 20, False),
    ("start", "start-up from a store of 50,000 objects", "s", 2, False),
    ("object", "memory for each of 50,000 stored ConfigMaps of 480 bytes", "KiB", 6, False),
)
Found = defaultdict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each load")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    options = parser.parse_args()
    print(harness.machine(), flush=True)
    found, busy = Found(list), 0
    for _ in range(options.rounds):
        busy += not harness.quiet(options.patience)
        loads(found, options.seconds)
        starts(found)
    samples = [
        harness.Sample(title, unit, tuple(found[key]), goal, more=more)
        for key, title, unit, goal, more in FIGURES
    ]
    for sample in samples:
        print(sample.line())
    if options.write:
        note = f"In {busy} of {options.rounds} rounds the machine was not quiet." if busy else ""
        harness.publish("apiserver", samples, "sudo python -m bench.apiserver", note)


# --- a server under load


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """A server in a process of its own; its URL."""
    authority = pki.ca("bench", time.time())
    admin = pki.client(authority, "bench", ("system:masters",), time.time())
    for name, pem in (("ca", authority), ("admin", admin)):
        (directory / f"{name}.crt").write_bytes(pem.certificate)
        (directory / f"{name}.key").write_bytes(pem.key)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    child = os.fork()
    if child == 0:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(directory, authority, sock))
        os._exit(0)
    sock.close()
    try:
        while not (directory / "ready").exists():
            time.sleep(0.01)
        yield f"https://127.0.0.1:{port}"
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)


async def serve(directory: Path, authority: pki.Pair, sock: socket.socket) -> None:
    addresses = (ipaddress.ip_address("127.0.0.1"),)
    own = pki.server(authority, "kube-apiserver", ("localhost",), addresses, time.time())
    identity = server.Identity(authority.certificate, own, None, pki.key())
    store = sqlite.open(directory / "store.db", durability=sqlite.Durability.POWER)
    running = server.ApiServer(store, identity, contexts.Config(), clock.SystemClock())
    gc.freeze()
    await running.start([sock])
    (directory / "ready").touch()
    await asyncio.get_running_loop().create_future()


def loads(found: Found, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as url:
        asyncio.run(measure(found, url, Path(name), seconds))


async def measure(found: Found, url: str, directory: Path, seconds: float) -> None:
    ca, cert, key = directory / "ca.crt", directory / "admin.crt", directory / "admin.key"
    pods = "/api/v1/namespaces/default/pods"
    async with http_client.Connections(url, tls.client(ca, cert, key)) as pool:

        async def expect(request: messages.Request, status: int) -> bytes:
            answer = await pool.send(request)
            body = await messages.whole(answer)
            assert answer.status == status, body[:300]
            return body

        async def create(path: str, body: Callable[[str], bytes], lane: int, n: int) -> None:
            await expect(messages.Request("POST", path, (), POST, body(f"{lane}-{n}")), 201)

        async def get(lane: int, n: int) -> None:
            await expect(messages.Request("GET", f"{MAPS}/0-0"), 200)

        rate, taken = await hammer(LANES, seconds, functools.partial(create, MAPS, config_map))
        percentiles(found, "create", taken)
        found["creates"].append(rate)
        one_by_one = functools.partial(create, MAPS, lambda name: config_map(f"one-{name}"))
        found["one create"].append((await hammer(1, seconds / 2, one_by_one))[0])
        rate, taken = await hammer(LANES, seconds, get)
        percentiles(found, "get", taken)
        found["gets"].append(rate)
        rate, taken = await hammer(LANES, seconds, functools.partial(create, pods, pod))
        found["pods"].append(rate)
        await fill(functools.partial(create, pods, lambda name: pod(f"more-{name}")), PODS - len(taken))
        table = (("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),)
        label = (("labelSelector", "n=0-0"),)
        for what, request in (
            ("list", messages.Request("GET", pods)),
            ("list table", messages.Request("GET", pods, (), table)),
            ("list label", messages.Request("GET", pods, label)),
        ):
            began = time.perf_counter()
            await expect(request, 200)
            found[what].append(time.perf_counter() - began)
    async with connect.over(url, ca, cert, key) as one:
        percentiles(found, "fan", await fan_out(one))


async def hammer(
    lanes: int, seconds: float, once: Callable[[int, int], Awaitable[object]]
) -> tuple[float, list[float]]:
    """Each of `lanes` does `once(lane, n)` again and again; how many a second, and how long each took."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def lane(number: int) -> None:
        n = 0
        while (began := time.perf_counter()) < end:
            await once(number, n)
            taken.append(time.perf_counter() - began)
            n += 1

    began = time.perf_counter()
    await asyncio.gather(*map(lane, range(lanes)))
    return len(taken) / (time.perf_counter() - began), taken


async def fill(once: Callable[[int, int], Awaitable[object]], count: int) -> None:
    async def lane(number: int) -> None:
        for n in range(number, count, LANES):
            await once(number, n)

    await asyncio.gather(*map(lane, range(LANES)))


def percentiles(found: Found, what: str, seconds: list[float]) -> None:
    of = harness.Sample(what, "ms", tuple(one * 1e3 for one in seconds))
    found[f"{what} p50"].append(of.percentile(50))
    found[f"{what} p99"].append(of.percentile(99))


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


async def fan_out(one: api.Client) -> list[float]:
    """One writer, many watchers: seconds from a write's start until the last one has seen it."""
    listing = await one.list(core.ConfigMap, "default")
    seen: dict[str, list[float]] = {}

    async def watch() -> None:
        async for event in one.watch(core.ConfigMap, "default", revision=listing.revision):
            seen.setdefault(event.object.metadata.name, []).append(time.perf_counter())

    tasks = [asyncio.ensure_future(watch()) for _ in range(WATCHERS)]

    async def told(name: str) -> float:
        began = time.perf_counter()
        await one.create(core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default")))
        while len(seen.get(name, ())) < WATCHERS:
            await asyncio.sleep(0)
        return seen[name][-1] - began

    await told("fan-warm")
    taken = [await told(f"fan-{n}") for n in range(100)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken


# --- a start with a full store


def starts(found: Found) -> None:
    """Time and memory of a fresh process, less those of one whose store is empty."""
    with tempfile.TemporaryDirectory() as name:
        full, empty = Path(name, "full.db"), Path(name, "empty.db")
        asyncio.run(stock(full))
        asyncio.run(stock(empty, 0))
        seconds, much = started(full)
        _, little = started(empty)
        found["start"].append(seconds)
        found["object"].append((much - little) * 1024 / STORED)


async def stock(path: Path, count: int = STORED) -> None:
    store = sqlite.open(path)
    kind = kinds.of(core.ConfigMap)
    for begin in range(0, count, 1000):
        writes = []
        for n in range(begin, begin + 1000):
            document = msgspec.json.decode(config_map(f"stored-{n}"))
            about = {"namespace": "default", "uid": f"{n:032x}", "creationTimestamp": "2026-01-01T00:00:00Z"}
            document["metadata"] |= about
            key = cache.key(kind, "default", document["metadata"]["name"])
            writes.append(store.create(key, entries.dump(document)))
        await asyncio.gather(*writes)
    await store.close()


def started(path: Path) -> tuple[float, float]:
    """Seconds until the server could answer, and the MiB (PSS) of its process then."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        began = time.perf_counter()

        async def start() -> None:
            authority = pki.ca("bench", time.time())
            identity = server.Identity(authority.certificate, authority, None, pki.key())
            store = sqlite.open(path)
            running = server.ApiServer(store, identity, contexts.Config(), clock.SystemClock())
            await running.prepare()
            taken = time.perf_counter() - began
            gc.collect()
            os.write(writing, msgspec.json.encode((taken, harness.pss([os.getpid()]))))
            assert running is not None

        asyncio.run(start())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        seconds, mebibytes = msgspec.json.decode(pipe.read(), type=tuple[float, float])
    os.waitpid(child, 0)
    return seconds, mebibytes


if __name__ == "__main__":
    main()
