"""What a kubelet relies on of a runtime: the same stories for the fake one and for the real one."""

import asyncio
import contextlib
import importlib.util
from pathlib import Path

import pytest

from netemu.base import clock, errors
from netemu.kubelet import fake_runtime, observations
from netemu.wire import cri

REFUSALS = (errors.NetemuError,)


@contextlib.contextmanager
def fake(tmp_path):
    async def tell(story):
        await story(fake_runtime.FakeRuntime(clock.SystemClock()))

    yield lambda story: asyncio.run(asyncio.wait_for(tell(story), 20))


@contextlib.contextmanager
def real(tmp_path):
    spec = importlib.util.spec_from_file_location(
        "runtime_conftest", Path(__file__).parents[1] / "runtime" / "conftest.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    node = module.Node(tmp_path)
    try:
        yield node.run
    finally:
        node.close()


@pytest.fixture(params=[fake, pytest.param(real, marks=pytest.mark.root)], ids=["fake", "real"])
def run(request, tmp_path):
    with request.param(tmp_path) as tell:
        yield tell


def sandbox(name="web", attempt=0, **more):
    return cri.SandboxConfig(name, "default", f"uid-{name}", attempt=attempt, hostname=name, **more)


def container(name="c", attempt=0, image="busybox", command=("sleep", "1000")):
    labels = {observations.UID: "uid-web"}
    return cri.ContainerConfig(name, image, attempt, command=command, labels=labels)


async def refused(call):
    with pytest.raises(REFUSALS):
        await call


async def launch(runtime, box_id):
    await runtime.start_container(await runtime.create_container(box_id, container(attempt=1)))


def test_a_pod_s_life(run):
    async def story(runtime):
        box = await runtime.run_pod_sandbox(sandbox())
        assert (box.state, len(box.ips)) == ("READY", 2)
        assert await runtime.pull_image("busybox")
        one = await runtime.create_container(box.id, container())
        assert (await runtime.container_status(one)).state == "CREATED"
        await runtime.start_container(one)
        found = await runtime.container_status(one)
        assert (found.state, found.sandbox_id, found.config.name) == ("RUNNING", box.id, "c")
        assert found.started_at >= found.created_at > 0
        await runtime.stop_container(one, 0)
        ended = await runtime.container_status(one)
        assert (ended.state, ended.exit_code, ended.reason) == ("EXITED", 137, "Error")
        assert ended.finished_at >= ended.started_at
        await runtime.stop_container(one, 0)  # once more is fine
        await runtime.stop_pod_sandbox(box.id)
        await runtime.stop_pod_sandbox(box.id)
        (left,) = await runtime.list_pod_sandboxes()
        assert left.state == "NOTREADY"
        await runtime.remove_pod_sandbox(box.id)
        await runtime.remove_pod_sandbox(box.id)
        assert (await runtime.list_pod_sandboxes(), await runtime.list_containers()) == ((), ())

    run(story)


def test_what_a_runtime_refuses(run):
    async def story(runtime):
        await refused(runtime.pull_image("nosuch/image:1"))
        await refused(runtime.container_status("0" * 64))
        await refused(runtime.start_container("0" * 64))
        await refused(runtime.create_container("0" * 64, container()))
        box = await runtime.run_pod_sandbox(sandbox())
        one = await runtime.create_container(box.id, container())
        await refused(runtime.exec_sync(one, ("true",), 1.0))  # not running yet
        await runtime.start_container(one)
        await refused(runtime.start_container(one))
        await runtime.stop_pod_sandbox(box.id)
        assert (await runtime.container_status(one)).state == "EXITED"
        await refused(launch(runtime, box.id))
        await runtime.remove_container(one)
        await runtime.remove_container(one)
        assert one not in {c.id for c in await runtime.list_containers()}

    run(story)


def test_events_tell_what_is_and_then_what_becomes(run):
    async def story(runtime):
        box = await runtime.run_pod_sandbox(sandbox())
        one = await runtime.create_container(box.id, container())
        await runtime.start_container(one)
        heard = []

        async def listen():
            async for event in runtime.events():
                heard.append((event.id, event.state))
                if event.id == box.id:
                    return

        task = asyncio.ensure_future(listen())
        while (one, "RUNNING") not in heard:
            await asyncio.sleep(0.01)
        await runtime.stop_pod_sandbox(box.id)
        await asyncio.wait_for(task, 5)
        assert (one, "EXITED") in heard
        assert heard[-1] == (box.id, "EXITED")

    run(story)


def test_a_second_attempt_after_the_first(run):
    async def story(runtime):
        box = await runtime.run_pod_sandbox(sandbox())
        for attempt in range(2):
            one = await runtime.create_container(box.id, container(attempt=attempt))
            await runtime.start_container(one)
            await runtime.stop_container(one, 0)
        found = await runtime.list_containers()
        assert sorted((c.config.attempt, c.state) for c in found) == [(0, "EXITED"), (1, "EXITED")]
        await runtime.stop_pod_sandbox(box.id)
        again = await runtime.run_pod_sandbox(sandbox(attempt=1))
        assert again.id != box.id
        assert {s.state for s in await runtime.list_pod_sandboxes()} == {"READY", "NOTREADY"}

    run(story)


def test_a_pod_on_the_node_s_network_has_no_addresses_of_its_own(run):
    async def story(runtime):
        box = await runtime.run_pod_sandbox(sandbox(host_network=True))
        assert (box.state, box.ips) == ("READY", ())

    run(story)


def test_the_fake_one_is_stricter_about_names(tmp_path):
    """As containerd: a kubelet that makes anything twice has lost count."""

    async def story(runtime):
        box = await runtime.run_pod_sandbox(sandbox())
        await refused(runtime.run_pod_sandbox(sandbox()))
        await runtime.start_container(await runtime.create_container(box.id, container()))
        await refused(runtime.create_container(box.id, container()))
        await refused(runtime.create_container(box.id, container(attempt=1)))  # the first one still runs

    with fake(tmp_path) as tell:
        tell(story)
