"""The kubelet's stories, told against a real API server; the runtime is the fake one."""

import asyncio
from pathlib import Path

import pytest

from netemu.api import coordination, core, meta
from netemu.kubelet import fake_runtime
from netemu.wire import cri


def run(story):
    return asyncio.run(asyncio.wait_for(story, 30))


class Switch:
    """A pod network that is ready once it is told so."""

    def __init__(self) -> None:
        self.ready = False

    async def attach(self, sandbox):
        return ()

    async def detach(self, sandbox):
        return None

    async def collect(self, alive):
        return None

    def assign(self, ranges):
        return None

    def report(self, sandbox):
        return {}

    async def status(self):
        if not self.ready:
            from netemu.kubelet import cni

            raise cni.NotReady("cni plugin not initialized")


def test_a_node_registers_is_ready_with_its_network_and_renews_its_lease(cluster):
    async def story():
        network = Switch()
        async with cluster(network=network) as c:
            node = await c.eventually(lambda: node_of(c))
            ready = next(x for x in node.status.conditions if x.type == "Ready")
            assert (ready.status, ready.reason) == ("False", "KubeletNotReady")
            assert (
                "NetworkPluginNotReady message:Network plugin returns error: cni plugin not" in ready.message
            )
            assert node.metadata.labels["kubernetes.io/hostname"] == "n1"
            assert [(a.type, a.address) for a in node.status.addresses] == [
                ("InternalIP", "172.18.0.3"),
                ("InternalIP", "fd00:18::3"),
                ("Hostname", "n1"),
            ]
            assert int(node.status.allocatable["pods"]) == 250
            network.ready = True
            node = await c.eventually(lambda: node_of(c, "True"))
            assert [a.address for a in node.status.addresses] == ["172.18.0.3", "fd00:18::3", "n1"]
            lease = await c.client.get(coordination.Lease, "n1", "kube-node-lease")
            assert (lease.spec.holderIdentity, lease.spec.leaseDurationSeconds) == ("n1", 40)

    async def node_of(c, status="False"):
        for node in (await c.client.list(core.Node)).items:
            if any(x.type == "Ready" and x.status == status for x in node.status.conditions):
                return node
        return None

    run(story())


def test_a_pod_runs_is_ready_and_goes_without_a_trace(cluster, tmp_path):
    async def story():
        async with cluster() as c:
            await c.create(core.Container(name="a", image="nginx"), core.Container(name="b", image="busybox"))
            pod = await c.ready()
            assert pod.status.phase == "Running"
            assert c.runtime.running() == ["a", "b"]
            (config,) = [x.config for x in c.runtime.containers.values() if x.config.name == "a"]
            variables = dict(config.env)
            assert variables["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
            (token,) = [m for m in config.mounts if m.container_path.endswith("serviceaccount")]
            secrets = Path(token.host_path)
            assert (secrets / "token").read_text().count(".") == 2
            assert (secrets / "namespace").read_text() == "default"
            await c.client.delete(core.Pod, "web", "default")
            await c.eventually(lambda: gone(c))
            assert (c.runtime.sandboxes, c.runtime.containers) == ({}, {})
            assert not list((tmp_path / "kubelet" / "pods").iterdir())
            reasons = {e.reason for e in (await c.client.list(core.Event, "default")).items}
            await c.eventually(lambda: c.events("Killing"))
            reasons = {e.reason for e in (await c.client.list(core.Event, "default")).items}
            assert {"Pulled", "Created", "Started", "Killing"} <= reasons

    async def gone(c):
        return not (await c.client.list(core.Pod, "default")).items

    run(story())


def test_one_status_write_takes_a_pod_from_bound_to_ready(cluster):
    """No redundant writes: what the API sees is Pending and bound, then Running and Ready."""

    async def story():
        async with cluster() as c:
            seen = []
            listing = await c.client.list(core.Pod)
            task = asyncio.ensure_future(collect(c, listing.revision, seen))
            await c.create(core.Container(name="a", image="nginx"))
            await c.ready()
            await asyncio.wait_for(c.eventually(lambda: len(seen) >= 2), 5)
            task.cancel()
            assert seen == [("ADDED", "Pending"), ("MODIFIED", "Running")]

    async def collect(c, revision, seen):
        async for event in c.client.watch(core.Pod, "default", revision=revision):
            if event.type != "BOOKMARK":
                seen.append((event.type, event.object.status.phase))

    run(story())


def test_an_image_nobody_has(cluster):
    async def story():
        async with cluster() as c:
            await c.create(core.Container(name="a", image="nosuch:1"))

            async def waits(reason):
                found = (await c.pod()).status.containerStatuses
                return found and found[0].state.waiting and found[0].state.waiting.reason == reason

            await c.eventually(lambda: waits("ErrImagePull"))
            message = (await c.pod()).status.containerStatuses[0].state.waiting.message
            assert "there are: busybox, nginx" in message
            await c.eventually(lambda: waits("ImagePullBackOff"))
            assert "there are: busybox, nginx" in (
                (await c.pod()).status.containerStatuses[0].state.waiting.message
            )
            assert (await c.pod()).status.phase == "Pending"
            await c.eventually(lambda: c.events("BackOff"))

    run(story())


def test_somebody_wants_to_look_into_a_pod_with_an_image_nobody_has(cluster):
    async def story():
        async with cluster() as c:
            await c.create(core.Container(name="a", image="nginx"))
            pod = await c.ready()
            look = {"spec": {"ephemeralContainers": [{"name": "look", "image": "nosuch:2"}]}}
            about = pod.metadata
            await c.client.patch(
                core.Pod,
                about.name,
                about.namespace,
                body=look,
                how="strategic",
                subresource="ephemeralcontainers",
            )

            async def backs_off():
                found = (await c.pod()).status.ephemeralContainerStatuses
                return (
                    found and found[0].state.waiting and found[0].state.waiting.reason == "ImagePullBackOff"
                )

            await c.eventually(backs_off)
            assert (await c.pod()).status.phase == "Running"

    run(story())


def test_a_missing_config_map_is_waited_for(cluster):
    async def story():
        async with cluster() as c:
            source = core.EnvVarSource(configMapKeyRef=core.ConfigMapKeySelector(name="x", key="k"))
            await c.create(
                core.Container(name="a", image="nginx", env=(core.EnvVar(name="A", valueFrom=source),))
            )

            async def reason():
                found = (await c.pod()).status.containerStatuses
                waiting = found[0].state.waiting if found else None
                return waiting and (waiting.reason, waiting.message)

            wanted = ("CreateContainerConfigError", 'configmap "x" not found')

            async def told():
                return await reason() == wanted

            await c.eventually(told)
            about = meta.ObjectMeta(name="x", namespace="default")
            await c.client.create(core.ConfigMap(metadata=about, data={"k": "v"}))
            await c.ready()
            (config,) = [x.config for x in c.runtime.containers.values()]
            assert dict(config.env)["A"] == "v"

    run(story())


def test_a_program_that_fails_is_restarted_then_held_back(cluster):
    async def story():
        async with cluster() as c:
            c.runtime.programs["a"] = fake_runtime.Ends(3)
            await c.create(core.Container(name="a", image="nginx"))

            async def held():
                (one,) = (await c.pod()).status.containerStatuses or (None,)
                return one and one.state.waiting and one.state.waiting.reason == "CrashLoopBackOff" and one

            one = await c.eventually(held)
            assert one.state.waiting.message.startswith("back-off 10s restarting failed container=a pod=web")
            assert (one.restartCount, one.lastState.terminated.exitCode) == (1, 3)
            assert (await c.eventually(lambda: c.events("BackOff")))[0].type == "Warning"

    run(story())


def test_a_job_like_pod_succeeds_and_gives_its_network_back(cluster):
    async def story():
        async with cluster() as c:
            c.runtime.programs |= {"i": fake_runtime.Ends(0, 0.05), "a": fake_runtime.Ends(0, 0.05)}
            init = (core.Container(name="i", image="busybox"),)
            await c.create(
                core.Container(name="a", image="busybox"), restartPolicy="Never", initContainers=init
            )

            async def succeeded():
                pod = await c.pod()
                return pod.status.phase == "Succeeded" and pod

            pod = await c.eventually(succeeded)
            assert pod.status.podIP  # what it had stays in the status
            assert pod.status.initContainerStatuses[0].state.terminated.exitCode == 0
            await c.eventually(lambda: all(s.state == "NOTREADY" for s in c.runtime.sandboxes.values()))
            assert [x[1] for x in c.runtime.calls if x[0] == "start"] == ["i", "a"]

    run(story())


def test_a_pod_whose_sandbox_dies_lives_on_in_another(cluster):
    async def story():
        async with cluster() as c:
            await c.create(core.Container(name="a", image="nginx"))
            before = await c.ready()
            c.runtime.kill_sandbox(next(iter(c.runtime.sandboxes)))

            async def moved():
                pod = await c.pod()
                return pod.status.podIP not in ("", before.status.podIP) and pod

            await c.eventually(moved)
            pod = await c.ready()
            assert pod.status.containerStatuses[0].restartCount == 1
            assert len(pod.status.podIPs) == 2
            assert {s.config.attempt for s in c.runtime.sandboxes.values() if s.state == "READY"} == {1}

    run(story())


def test_pods_outlive_the_agent_and_orphans_do_not(cluster):
    async def story():
        async with cluster() as c:
            await c.create(core.Container(name="a", image="nginx"))
            await c.create(core.Container(name="b", image="nginx"), name="other")
            await c.ready()
            await c.ready("other")
            ids = dict(c.runtime.containers)
            c.tasks[0].cancel()
            await asyncio.gather(*c.tasks, return_exceptions=True)
            await c.client.delete(core.Pod, "other", "default", grace=0)
            c.runtime.calls.clear()
            await c.restart()
            await c.eventually(lambda: c.runtime.running() == ["a"])
            await c.eventually(lambda: len(c.runtime.sandboxes) == 1)
            pod = await c.ready()
            assert pod.status.containerStatuses[0].restartCount == 0
            assert ids.keys() > c.runtime.containers.keys()
            assert not [call for call in c.runtime.calls if call[0] in ("run sandbox", "start")]

    run(story())


def test_a_network_that_refuses_is_tried_again(cluster):
    async def story():
        async with cluster() as c:
            c.runtime.broken_network = "no IP addresses available in range set: 10.244.1.1-10.244.1.254"
            await c.create(core.Container(name="a", image="nginx"))
            (event,) = await c.eventually(lambda: c.events("FailedCreatePodSandBox"))
            assert "no IP addresses available" in event.message
            c.runtime.broken_network = ""
            await c.ready()

    run(story())


@pytest.mark.parametrize("kind", ["livenessProbe", "startupProbe"])
def test_a_probe_that_fails_restarts_the_container(cluster, kind):
    async def story():
        async with cluster() as c:
            probe = core.Probe(
                exec=core.ExecAction(command=("check",)),
                periodSeconds=1,
                failureThreshold=1,
                timeoutSeconds=1,
            )
            await c.create(core.Container(name="a", image="nginx", **{kind: probe}))
            await c.eventually(lambda: len([x for x in c.runtime.calls if x == ("start", "a")]) >= 2)
            killing = await c.eventually(lambda: c.events("Killing"))
            word = kind.removesuffix("Probe")
            assert killing[0].message == f"Container a failed {word} probe, will be restarted"
            (unhealthy, *_) = await c.eventually(lambda: c.events("Unhealthy"))
            assert unhealthy.message == f"{word.capitalize()} probe failed: no such program"
            c.runtime.execs["check",] = cri.ExecResult(b"", b"", 0)

    run(story())


def test_readiness_follows_its_probe(cluster):
    async def story():
        async with cluster() as c:
            c.runtime.execs["check",] = cri.ExecResult(b"", b"", 0)
            probe = core.Probe(
                exec=core.ExecAction(command=("check",)),
                periodSeconds=1,
                failureThreshold=1,
                timeoutSeconds=1,
            )
            await c.create(core.Container(name="a", image="nginx", readinessProbe=probe))
            await c.ready()
            c.runtime.execs["check",] = cri.ExecResult(b"", b"", 1)

            async def unready():
                return not (await c.pod()).status.containerStatuses[0].ready

            await c.eventually(unready)
            assert c.runtime.running() == ["a"]

    run(story())
