"""What a node takes of pods that were bound to it without a scheduler, and how it says no."""

import asyncio
from pathlib import Path

import pytest

from netemu.api import core, meta
from netemu.kubelet import admission, fake_runtime, launch

NODE = core.Node(metadata=meta.ObjectMeta(name="n1", labels={"disk": "ssd"}))
ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "pods": "3"}


def pod(given, cpu="", ports=(), **spec):
    resources = core.ResourceRequirements(requests={"cpu": cpu} if cpu else {})
    found = tuple(core.ContainerPort(containerPort=80, hostPort=port, hostIP=ip) for port, ip in ports)
    container = core.Container(name="c", image="busybox", resources=resources, ports=found)
    return given.pod(container, **{"nodeName": "n1", **spec})


def expression(key, *values):
    term = core.NodeSelectorTerm(
        matchExpressions=(core.NodeSelectorRequirement(key=key, operator="In", values=values),)
    )
    required = core.NodeSelector(nodeSelectorTerms=(term,))
    return core.Affinity(
        nodeAffinity=core.NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=required)
    )


@pytest.mark.parametrize(
    ("others", "new", "reason", "message"),
    [
        ([{"cpu": "1"}], {"cpu": "1"}, "", ""),
        ([{"cpu": "1500m"}], {"cpu": "1"}, "OutOfcpu",
         "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"),
        ([{}, {}, {}], {}, "OutOfpods",
         "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"),
        ([], {"nodeSelector": {"disk": "ssd"}}, "", ""),
        ([], {"nodeSelector": {"disk": "hdd"}}, "NodeAffinity",
         "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
        ([], {"affinity": expression("disk", "ssd", "nvme")}, "", ""),
        ([], {"affinity": expression("disk", "hdd")}, "NodeAffinity",
         "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
        ([{"ports": [(80, "")]}], {"ports": [(81, "")]}, "", ""),
        ([{"ports": [(80, "10.0.0.1")]}], {"ports": [(80, "10.0.0.2")]}, "", ""),
        ([{"ports": [(80, "10.0.0.1")]}], {"ports": [(80, "")]}, "NodePorts",
         "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"),
    ],
)  # fmt: skip
def test_general_predicates(given, others, new, reason, message):
    claims = [admission.claim(pod(given, **one)) for one in others]
    found = admission.refusal(pod(given, **new), claims, NODE, ALLOCATABLE)
    assert (found or admission.Refusal("", "")) == (reason, message)


def test_a_pod_that_is_refused_has_failed_and_runs_nothing(cluster):
    async def story():
        async with cluster() as c:
            await c.create(core.Container(name="a", image="nginx"), name="odd", nodeSelector={"disk": "hdd"})

            async def failed():
                found = await c.pod("odd")
                return found if found.status.phase == "Failed" else None

            found = await c.eventually(failed)
            assert found.status.reason == "NodeAffinity"
            assert found.status.message == (
                "Pod was rejected: Predicate NodeAffinity failed: "
                "node(s) didn't match Pod's node affinity/selector"
            )
            assert ("run sandbox", "odd") not in c.runtime.calls
            await c.client.delete(core.Pod, "odd", "default", grace=0)
            await c.create(core.Container(name="a", image="nginx"), name="web")
            await c.ready()
            await c.restart()  # what runs was taken once, whatever the node says by now
            await c.ready()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_container_s_last_words_are_in_its_status(cluster, tmp_path):
    """terminationMessagePath, and the end of the log where the policy says so."""

    async def story():
        runtime = fake_runtime.FakeRuntime(clock())
        async with cluster(runtime) as c:
            spec = core.Container(name="a", image="nginx", terminationMessagePath="/dev/termination-log")
            await c.create(spec, name="web", restartPolicy="Never")
            await c.ready()
            (config,) = [one.config for one in runtime.containers.values()]
            (mount,) = [one for one in config.mounts if one.container_path == "/dev/termination-log"]
            file = Path(mount.host_path)
            assert file.stat().st_mode & 0o777 == 0o666
            file.write_text("x" * 5000)
            runtime.end("a", 3)

            async def ended():
                (status,) = (await c.pod()).status.containerStatuses
                return status.state.terminated

            found = await c.eventually(ended)
            assert (found.exitCode, found.message) == (3, "x" * 4096)

    asyncio.run(asyncio.wait_for(story(), 30))


def clock():
    from netemu.base import clock as clocks

    return clocks.SystemClock()


def test_without_a_message_a_failure_s_log_may_speak(given, tmp_path):
    node = launch.NodeConfig("n1", (), root_directory=str(tmp_path), log_directory=str(tmp_path / "logs"))
    site = launch.Site(*(node, *(None,) * 8))  # its directories are all that is asked for
    run = given.run(state="EXITED", code=1, terminationMessagePolicy="FallbackToLogsOnError")
    directory = tmp_path / "logs" / "default_web_u1" / "c"
    directory.mkdir(parents=True)
    lines = [f"2026-01-01T00:00:00.000000000Z stderr F line {n}\n" for n in range(100)]
    (directory / "0.log").write_text("".join(lines))
    said = launch.last_words(site, given.pod(), run)
    assert said.splitlines()[0] == "line 20"
    assert said.splitlines()[-1] == "line 99"
    well = given.run(state="EXITED", code=0, terminationMessagePolicy="FallbackToLogsOnError")
    assert launch.last_words(site, given.pod(), well) == ""
