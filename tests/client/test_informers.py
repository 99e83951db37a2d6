"""The typed client and informers against a real API server in the same process, and against a failing one."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from netemu.api import core, meta
from netemu.apiserver import contexts, pki, server
from netemu.base import clock, errors
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.http import messages
from netemu.store import memory

Story = Callable[[server.ApiServer, api.Client], Awaitable[None]]
IDENTITY: list[server.Identity] = []


def play(story: Story) -> None:
    async def main() -> None:
        if not IDENTITY:
            now = time.time()
            authority = pki.ca("ca", now)
            own = pki.server(authority, "kube-apiserver", ["localhost"], [], now)
            IDENTITY.append(server.Identity(authority.certificate, own, None, pki.key()))
        running = server.ApiServer(memory.MemoryStore(), IDENTITY[0], contexts.Config(), clock.SystemClock())
        await running.start([])
        try:
            async with asyncio.timeout(20):
                await story(running, running.local_client("admin", ("system:masters",)))
        finally:
            await running.stop()

    asyncio.run(main())


def config_map(name: str, **data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data=data)


def key(name: str) -> informers.Key:
    return informers.Key("default", name)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_typed_calls() -> None:
    async def story(_: server.ApiServer, client: api.Client) -> None:
        made = await client.create(config_map("a", k="1"))
        assert made.metadata.uid
        changed = await client.update(core.ConfigMap(metadata=made.metadata, data={"k": "2"}))
        assert changed.data == {"k": "2"}
        with pytest.raises(api_errors.Conflict):
            await client.update(made)
        patched = await client.patch(core.ConfigMap, "a", "default", body={"data": {"k": "3"}})
        assert patched.data == {"k": "3"}
        with pytest.raises(api_errors.AlreadyExists):
            await client.create(config_map("a"))
        with pytest.raises(api_errors.Invalid) as invalid:
            await client.create(config_map("BAD NAME"))
        assert invalid.value.status.details is not None
        assert invalid.value.status.details.causes[0].field == "metadata.name"
        with pytest.raises(api_errors.Conflict):
            await client.delete(core.ConfigMap, "a", "default", uid="another")
        await client.delete(core.ConfigMap, "a", "default", uid=made.metadata.uid)
        with pytest.raises(api_errors.NotFound):
            await client.get(core.ConfigMap, "a", "default")
        found = await client.list(core.Namespace, fields="metadata.name=default")
        assert [n.metadata.name for n in found.items] == ["default"]
        with pytest.raises(api_errors.BadRequest):
            await client.list(core.Namespace, labels="((")

    play(story)


def test_an_informer_lists_then_follows() -> None:
    async def story(_: server.ApiServer, client: api.Client) -> None:
        await client.create(config_map("a", k="1"))
        informer = informers.Informer(client, core.ConfigMap, namespace="default", clock=clock.SystemClock())
        heard: list[tuple[str, str | None, str | None]] = []

        def hear(change: informers.Change[core.ConfigMap]) -> None:
            if change.key.name.startswith("kube"):
                return
            old = change.previous.data.get("k") if change.previous else None
            new = change.current.data.get("k") if change.current else None
            heard.append((change.key.name, old, new))

        informer.subscribe(hear)
        running = asyncio.ensure_future(informer.run())
        await informer.synced.wait()
        assert heard == [("a", None, "1")]
        await client.patch(core.ConfigMap, "a", "default", body={"data": {"k": "2"}})
        await client.create(config_map("b", k="1"))
        await client.delete(core.ConfigMap, "a", "default")
        await until(lambda: len(heard) == 4)
        assert heard[1:] == [("a", "1", "2"), ("b", None, "1"), ("a", "2", None)]
        assert informer.get(key("a")) is None
        assert informer.objects[key("b")].data == {"k": "1"}
        late: list[informers.Key] = []
        informer.subscribe(lambda change: late.append(change.key))
        assert key("b") in late
        running.cancel()

    play(story)


class Flaky:
    """A transport which breaks when told: refuses, or ends watches under way."""

    def __init__(self, inner: messages.Transport) -> None:
        self._inner = inner
        self.broken = False
        self.forget = False
        self.lists = 0
        self._bodies: list[messages.Body] = []

    async def send(self, request: messages.Request) -> messages.Response:
        if self.broken:
            raise errors.Transient("nobody there")
        watch = request.parameter("watch") == "true"
        self.lists += not watch
        if watch and self.forget:
            self.forget = False
            status = b'{"kind":"Status","status":"Failure","reason":"Expired","code":410}'
            return messages.Response(410, (("content-type", "application/json"),), status)
        response = await self._inner.send(request)
        if not isinstance(response.body, bytes):
            self._bodies.append(response.body)
        return response

    async def cut(self) -> None:
        for body in self._bodies:
            body.end()  # type: ignore[attr-defined]
        self._bodies.clear()


def test_an_informer_survives_ends_failures_and_forgetting() -> None:
    async def story(_: server.ApiServer, client: api.Client) -> None:
        flaky = Flaky(client._transport)
        fake = clock.FakeClock()
        informer = informers.Informer(api.Client(flaky), core.ConfigMap, namespace="default", clock=fake)
        gone: list[str] = []
        informer.subscribe(lambda c: gone.append(c.key.name) if c.current is None else None)
        await client.create(config_map("a", k="1"))
        running = asyncio.ensure_future(informer.run())
        await informer.synced.wait()
        await until(lambda: bool(flaky._bodies))

        fake.advance(10)
        await flaky.cut()  # the server's timeout: the watch goes on from where it was, without a list
        await client.create(config_map("b"))
        await until(lambda: key("b") in informer.objects)
        assert flaky.lists == 1

        fake.advance(10)
        flaky.broken = True
        await flaky.cut()
        await client.delete(core.ConfigMap, "a", "default")
        await fake.run_for(3)
        assert key("a") in informer.objects
        flaky.broken = False
        await fake.run_for(20)
        await until(lambda: key("a") not in informer.objects)
        assert gone == ["a"]

        flaky.forget = True
        fake.advance(10)
        await until(lambda: bool(flaky._bodies))
        await flaky.cut()
        lists = flaky.lists
        while flaky.lists == lists:
            await fake.run_for(1)
        await client.create(config_map("c"))
        await until(lambda: key("c") in informer.objects)
        running.cancel()

    play(story)


def test_informers_are_shared_and_may_be_asked_for_later() -> None:
    async def story(_: server.ApiServer, client: api.Client) -> None:
        shared = informers.Informers(client, clock.SystemClock())
        spaces = shared.of(core.Namespace)
        assert shared.of(core.Namespace) is spaces
        assert shared.of(core.Namespace, fields="metadata.name=default") is not spaces
        running = asyncio.ensure_future(shared.run())
        await shared.synced()
        assert len(spaces.objects) == 4
        later = shared.of(core.Service)
        await later.synced.wait()
        assert key("kubernetes") in later.objects
        running.cancel()

    play(story)


def test_a_kind_that_is_gone_is_followed_no_longer() -> None:
    async def story(_: server.ApiServer, client: api.Client) -> None:
        shared = informers.Informers(client, clock.SystemClock())
        running = asyncio.ensure_future(shared.run())
        await client.create(config_map("a"))
        informer = shared.of(core.ConfigMap)
        await informer.synced.wait()
        left = shared.drop(core.ConfigMap)
        assert "a" in [one.metadata.name for one in left]
        heard: list[informers.Change[core.ConfigMap]] = []
        again = shared.of(core.ConfigMap)
        assert again is not informer
        again.subscribe(heard.append)
        await client.create(config_map("b"))
        await until(lambda: key("b") in again.objects)
        assert key("b") not in informer.objects
        assert not running.done(), "one that is dropped ends no other"
        running.cancel()

    play(story)


def test_a_handler_with_a_bug_ends_the_informer_loudly() -> None:
    async def story(_: server.ApiServer, client: api.Client) -> None:
        shared = informers.Informers(client, clock.SystemClock())

        def handler(change: informers.Change[core.Namespace]) -> None:
            raise KeyError(change.key)

        shared.of(core.Namespace).subscribe(handler)
        with pytest.raises(ExceptionGroup) as group:
            await shared.run()
        assert group.group_contains(KeyError)

    play(story)
