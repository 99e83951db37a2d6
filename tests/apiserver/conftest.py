"""A server to ask, in this process or over TLS; its store is in memory unless a test brings one."""

import asyncio
import contextlib
import ipaddress
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netemu.apiserver import contexts, pki, server, watching
from netemu.base import clock
from netemu.client import api
from netemu.http import messages, tls
from netemu.http import server as http
from netemu.store import memory, revisions

JSON = (("content-type", "application/json"),)
MERGE = (("content-type", "application/merge-patch+json"),)


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: messages.Fields

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


@dataclass
class World:
    """A running server and ways to ask it."""

    server: server.ApiServer
    client: api.Client
    clock: clock.FakeClock
    directory: Path
    authority: pki.Pair
    store: revisions.Store
    url: str = ""
    users: dict[str, api.Client] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: messages.Fields = (),
        client: api.Client | None = None,
    ) -> Answer:
        """Send a JSON document (or bytes as they are) and decode what comes."""
        target, query = messages.split(path)
        data = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        kind = MERGE if method == "PATCH" else JSON
        if any(name == "content-type" for name, _ in headers):
            kind = ()
        answer = await (client or self.client).raw(
            method, target, query=query, body=data, headers=(*kind, *headers)
        )
        raw = await messages.whole(answer)
        decoded = msgspec.json.decode(raw) if "json" in answer.header("content-type") and raw else raw
        return Answer(answer.status, decoded, answer.headers)

    async def make(self, path: str, body: Any) -> Any:
        """Create, and insist on it."""
        answer = await self.ask("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.body

    @staticmethod
    def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "nginx"}], **spec},
        }

    @staticmethod
    def config_map(name: str, **data: str) -> dict[str, Any]:
        return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}

    @staticmethod
    def service(name: str = "web", **spec: Any) -> dict[str, Any]:
        return {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
        }

    def client_pair(self, name: str, *groups: str) -> pki.Pair:
        return pki.client(self.authority, name, groups, time.time())

    @contextlib.asynccontextmanager
    async def beside(
        self, handle: http.Handler, *names: str, address: str = "127.0.0.1"
    ) -> AsyncIterator[int]:
        """Another server, over TLS, with a certificate of the same authority for these names; its port."""
        addresses = [ipaddress.ip_address(address)]
        pair = pki.server(self.authority, names[0], names, addresses, time.time())
        context = tls.server(*pair, self.authority.certificate)
        listening = socket.create_server((address, 0))
        there = await http.serve(handle, [listening], context)
        try:
            yield listening.getsockname()[1]
        finally:
            await there.close(grace=0.1)

    def kubeconfig(self, name: str = "admin", *groups: str) -> Path:
        pair = self.client_pair(name, *(groups or ("system:masters",)))
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(pki.kubeconfig("lab", self.url, self.authority.certificate, name, pair))
        return path


Story = Callable[[World], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(scope="session")
def identity() -> tuple[pki.Pair, server.Identity]:
    now = time.time()
    authority = pki.ca("test-ca", now)
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    return authority, server.Identity(
        authority.certificate,
        pki.server(authority, "kube-apiserver", ["localhost"], addresses, now),
        pki.client(authority, "apiserver-kubelet", ["system:masters"], now),
        pki.key(),
        pki.client(authority, pki.FRONT_PROXY, (), now),
    )


@pytest.fixture
def world(identity: tuple[pki.Pair, server.Identity], tmp_path: Path) -> Run:
    """Run a story against a fresh server; its clock stands still."""

    def run(
        story: Story, *, store: revisions.Store | None = None, timeout: float = 60.0, **config: Any
    ) -> None:
        async def main() -> None:
            authority, own = identity
            kept = store or memory.MemoryStore()
            fake = clock.FakeClock(time.time())
            settings = contexts.Config(
                ca_certificate=own.ca.decode(),
                **{
                    "endpoints": ("172.18.0.2", "fd00:18::2"),
                    "watches": watching.Settings(bookmark=3600),
                    **config,
                },
            )
            running = server.ApiServer(kept, own, settings, fake, rng=random.Random(1))
            sock = socket.create_server(("127.0.0.1", 0))
            await running.start([sock])
            admin = running.local_client("admin", ("system:masters", "system:authenticated"))
            url = f"https://127.0.0.1:{running.addresses()[0][1]}"
            try:
                async with asyncio.timeout(timeout):
                    await story(World(running, admin, fake, tmp_path, authority, kept, url))
            finally:
                await running.stop()
                await kept.close()

        asyncio.run(main())

    return run
