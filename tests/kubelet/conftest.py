"""Pods, sandboxes and containers as values; and a kubelet with a real API server and a fake runtime."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from netemu.api import core, meta
from netemu.apiserver import contexts, pki, server
from netemu.base import clock
from netemu.kubelet import agent, fake_runtime, recipes, views
from netemu.store import memory
from netemu.wire import cri

NOW = 1_767_225_600.0
NODE_IPS = ("172.18.0.3", "fd00:18::3")


class Values:
    """Short ways to write down what a test is about."""

    now = NOW
    node_ips = NODE_IPS

    @staticmethod
    def container(name="c", image="busybox", **more):
        return core.Container(name=name, image=image, **more)

    @classmethod
    def pod(cls, *containers, about=None, status=None, **spec):
        return core.Pod(
            metadata=meta.ObjectMeta(**{"name": "web", "namespace": "default", "uid": "u1", **(about or {})}),
            spec=core.PodSpec(
                **{"containers": containers or (cls.container(),), "restartPolicy": "Always", **spec}
            ),
            status=status or core.PodStatus(),
        )

    @staticmethod
    def sandbox(number=1, attempt=0, state="READY", **more):
        return cri.Sandbox(
            id=f"s{number}",
            config=cri.SandboxConfig("web", "default", "u1", attempt=attempt),
            state=state,
            ips=("10.244.1.5", "fd00:244:0:1::5"),
            created_at=NOW + number,
            **more,
        )

    @classmethod
    def run(cls, name="c", *, attempt=0, state="RUNNING", code=0, ended=NOW, started=NOW, home="s1", **more):
        config = recipes.container(cls.pod(), cls.container(name, **more), attempt, (), ())
        return cri.Container(
            id=f"{name}{attempt}",
            sandbox_id=home,
            config=config,
            state=state,
            exit_code=code if state == "EXITED" else 0,
            reason=("Error" if code else "Completed") if state == "EXITED" else "",
            created_at=started,
            started_at=started if state != "CREATED" else 0.0,
            finished_at=ended if state == "EXITED" else 0.0,
            image_id="sha256:x",
        )

    @classmethod
    def view(cls, pod=None, sandboxes=None, containers=(), **more):
        homes = (cls.sandbox(),) if sandboxes is None else sandboxes
        return views.View(pod or cls.pod(), homes, tuple(containers), **more)


@pytest.fixture
def given():
    return Values()


class Cluster:
    """One node `n1`; `eventually` turns the loop until a condition holds."""

    def __init__(self, api, runtime, client, tasks) -> None:
        self.api = api
        self.runtime = runtime
        self.client = client
        self.tasks = tasks

    async def pod(self, name="web"):
        return await self.client.get(core.Pod, name, "default")

    async def create(self, *containers, name="web", **spec):
        return await self.client.create(
            core.Pod(
                metadata=meta.ObjectMeta(name=name, namespace="default"),
                spec=core.PodSpec(nodeName="n1", containers=containers, **spec),
            )
        )

    async def eventually(self, condition, seconds=8.0):
        """The first true value of `condition()` (which may be a coroutine function)."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            if self.tasks and self.tasks[0].done():
                self.tasks[0].result()
            assert asyncio.get_running_loop().time() < deadline, "it never came to pass"
            await asyncio.sleep(0.01)

    async def ready(self, name="web"):
        async def is_ready():
            pod = await self.pod(name)
            return (
                pod if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions) else None
            )

        return await self.eventually(is_ready)

    async def events(self, reason):
        found = (await self.client.list(core.Event, "default")).items
        return [event for event in found if event.reason == reason]


@pytest.fixture
def cluster(tmp_path):
    """Use as `async with cluster() as c`. `restart` starts a second agent on the same runtime."""

    @asynccontextmanager
    async def make(runtime=None, network=None) -> AsyncIterator[Cluster]:
        time_of = clock.SystemClock()
        authority = pki.ca("test", time_of.now())
        identity = server.Identity(authority[0], authority, None, pki.key())
        config = contexts.Config(endpoints=("172.18.0.2",), ca_certificate=authority[0].decode())
        api = server.ApiServer(memory.MemoryStore(), identity, config, time_of)
        await api.start([])
        runtime = runtime or fake_runtime.FakeRuntime(time_of)
        client = api.local_client("admin", ("system:masters", "system:authenticated"))
        made = Cluster(api, runtime, client, [])
        node = agent.NodeConfig(
            "n1",
            NODE_IPS,
            root_directory=str(tmp_path / "kubelet"),
            log_directory=str(tmp_path / "logs"),
            static_directory=str(tmp_path / "manifests"),
        )

        def start():
            kubelet = api.local_client("system:node:n1", ("system:nodes", "system:authenticated"))
            return asyncio.ensure_future(agent.run(kubelet, node, runtime, time_of, network=network))

        async def restart():
            made.tasks[0].cancel()
            await asyncio.gather(*made.tasks, return_exceptions=True)
            made.tasks[:] = [start()]

        made.restart = restart
        made.tasks.append(start())
        try:
            yield made
        finally:
            for task in made.tasks:
                task.cancel()
            await asyncio.gather(*made.tasks, return_exceptions=True)
            await api.stop()

    return make
