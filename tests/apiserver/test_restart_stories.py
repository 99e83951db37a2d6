"""A server that was killed: its successor on the same store goes on as if nothing had been."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from netemu.base import errors
from netemu.client import connect
from netemu.store import sqlite

MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"


def test_a_successor_knows_objects_addresses_and_changes(world: Any, tmp_path: Path) -> None:
    kept: dict[str, Any] = {}

    async def before(w: Any) -> None:
        kept["map"] = await w.make(MAPS, w.config_map("a", k="1"))
        kept["service"] = await w.make(SERVICES, w.service("s", clusterIP="10.96.0.77"))
        kept["namespace"] = (await w.ask("GET", "/api/v1/namespaces/default")).body
        await w.ask("PATCH", f"{MAPS}/a", {"data": {"k": "2"}})
        await w.make(MAPS, w.config_map("gone"))
        await w.ask("DELETE", f"{MAPS}/gone")

    async def after(w: Any) -> None:
        found = await w.ask("GET", f"{MAPS}/a")
        assert found.body["data"] == {"k": "2"}
        assert found.body["metadata"]["uid"] == kept["map"]["metadata"]["uid"]
        assert (await w.ask("GET", "/api/v1/namespaces/default")).body == kept["namespace"]
        taken = await w.ask("POST", SERVICES, w.service("t", clusterIP="10.96.0.77"))
        assert taken.status == 422
        revision = kept["map"]["metadata"]["resourceVersion"]
        query = (("watch", "true"), ("resourceVersion", revision), ("timeoutSeconds", "1"))
        watch = await w.client.raw("GET", MAPS, query=query)
        import json

        frames = [json.loads(line) async for part in watch.body for line in part.splitlines()]
        assert [(f["type"], f["object"]["metadata"]["name"]) for f in frames] == [
            ("MODIFIED", "a"),
            ("ADDED", "gone"),
            ("DELETED", "gone"),
        ]
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        moved = (await w.ask("GET", slices)).body["endpoints"][0]["addresses"]
        assert moved == ["172.18.0.9"]

    def run(story: Any, **config: Any) -> None:
        world(story, store=sqlite.open(tmp_path / "store.db"), **config)

    run(before)
    run(after, endpoints=("172.18.0.9",))


SERVER = """
import asyncio, ipaddress, pathlib, random, socket, sys, time
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.store import sqlite
async def main(directory):
    now = time.time()
    authority = pki.Pair((directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes())
    own = pki.server(authority, "kube-apiserver", [], [ipaddress.ip_address("127.0.0.1")], now)
    identity = server.Identity(authority.certificate, own, None, pki.key())
    store = sqlite.open(directory / "store.db")
    running = server.ApiServer(store, identity, contexts.Config(), clock.SystemClock())
    await running.start([socket.create_server(("127.0.0.1", 0))])
    print(running.addresses()[0][1], flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def test_what_was_acknowledged_over_the_wire_survives_sigkill(identity: Any, tmp_path: Path) -> None:
    from netemu.api import core, meta
    from netemu.apiserver import pki

    authority = identity[0]
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "ca.key").write_bytes(authority.key)
    pair = pki.client(authority, "admin", ["system:masters"], 1_700_000_000.0)

    async def start() -> tuple[asyncio.subprocess.Process, int]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        return process, int(await process.stdout.readline())

    async def main() -> None:
        acknowledged: list[str] = []
        for generation in range(2):
            process, port = await start()

            async def write(lane: int, generation: int = generation, port: int = port) -> None:
                url = f"https://127.0.0.1:{port}"
                async with connect.over(url, authority.certificate, *pair) as client:
                    for n in range(10_000):
                        name = f"m-{generation}-{lane}-{n}"
                        about = meta.ObjectMeta(name=name, namespace="default")
                        try:
                            await client.create(core.ConfigMap(metadata=about, data={"k": "v"}))
                        except errors.Transient:
                            return
                        acknowledged.append(name)

            writers = [asyncio.ensure_future(write(lane)) for lane in range(4)]
            goal = len(acknowledged) + 100
            while len(acknowledged) < goal:
                await asyncio.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            await asyncio.gather(*writers)
        process, port = await start()
        async with connect.over(f"https://127.0.0.1:{port}", authority.certificate, *pair) as client:
            found = {o.metadata.name for o in (await client.list(core.ConfigMap, "default")).items}
        process.kill()
        await process.wait()
        assert set(acknowledged) <= found

    asyncio.run(main())
