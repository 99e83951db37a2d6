"""The kubelet's server: who may ask, and the logs it gives."""

import asyncio

import pytest

from netemu.api import core, meta
from netemu.base import clock
from netemu.http import messages
from netemu.kubelet import fake_runtime, launch, observations, recipes, server
from netemu.wire import cri

MASTER = messages.Peer("127.0.0.1", "kube-apiserver", ("system:masters",))
LINES = "".join(f"2026-01-01T00:00:0{n}.000000000Z stdout F line {n}\n" for n in range(5))


@pytest.fixture
def kubelet(tmp_path):
    pod = core.Pod(
        metadata=meta.ObjectMeta(name="web", namespace="default", uid="u1"),
        spec=core.PodSpec(containers=(core.Container(name="c"), core.Container(name="idle"))),
    )
    time_of = clock.FakeClock()
    observed = observations.Observations(fake_runtime.FakeRuntime(time_of), time_of)
    node = launch.NodeConfig("n1", ("172.18.0.3",), log_directory=str(tmp_path))
    for attempt, state in ((0, "EXITED"), (1, "RUNNING")):
        config = recipes.container(pod, pod.spec.containers[0], attempt, (), ())
        observed.put_container(cri.Container(f"c{attempt}", "s1", config, state))
        path = tmp_path / "default_web_u1" / "c" / f"{attempt}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINES.replace("line", f"run {attempt} line"))
    made = server.Server(node, observed, lambda: [pod], clock.SystemClock())
    made.path, made.observed = path, observed
    return made


def ask(kubelet, path, peer=MASTER, **query):
    async def go():
        request = messages.Request("GET", path, tuple(query.items()), peer=peer)
        response = await kubelet.handle(request)
        return response.status, (await messages.whole(response)).decode()

    return asyncio.run(go())


LOGS = "/containerLogs/default/web/c"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [f"run 1 line {n}" for n in range(5)]),
        ({"tailLines": "2"}, ["run 1 line 3", "run 1 line 4"]),
        ({"tailLines": "0"}, []),
        ({"previous": "true", "tailLines": "1"}, ["run 0 line 4"]),
        ({"sinceTime": "2026-01-01T00:00:03Z"}, ["run 1 line 3", "run 1 line 4"]),
        ({"tailLines": "1", "timestamps": "true"}, ["2026-01-01T00:00:04.000000000Z run 1 line 4"]),
        ({"limitBytes": "5"}, ["run 1"]),
    ],
)
def test_logs(kubelet, query, wanted):
    status, text = ask(kubelet, LOGS, **query)
    assert (status, text.splitlines()) == (200, wanted)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/containerLogs/default/web/none", {}, 404),
        ("/containerLogs/default/none/c", {}, 404),
        ("/containerLogs/default/web/idle", {}, 400),
        ("/containerLogs/default/web/c/..", {}, 404),
        (LOGS, {"tailLines": "many"}, 400),
        ("/nowhere", {}, 404),
        ("/pods", {}, 200),
    ],
)
def test_what_is_not_there(kubelet, path, query, status):
    assert ask(kubelet, path, **query)[0] == status


@pytest.mark.parametrize(
    ("peer", "status"),
    [(messages.NOBODY, 401), (messages.Peer("x", "system:node:n2", ("system:nodes",)), 403), (MASTER, 200)],
)
def test_only_masters_may_ask(kubelet, peer, status):
    assert ask(kubelet, LOGS, peer)[0] == status
    assert ask(kubelet, "/healthz", peer) == (200, "ok")


def test_a_followed_log_goes_on_until_the_container_ends(kubelet):
    async def go():
        request = messages.Request("GET", LOGS, (("follow", "true"), ("tailLines", "1")), peer=MASTER)
        body = (await kubelet.handle(request)).body
        heard = [await anext(body)]
        with open(kubelet.path, "a") as log:
            log.write("2026-01-01T00:00:06.000000000Z stdout F half")
            log.flush()
            log.write(" and half\n")
        heard.append(await anext(body))
        (config,) = [c.config for c in kubelet.observed.of("u1").containers if c.state == "RUNNING"]
        kubelet.observed.put_container(cri.Container("c1", "s1", config, "EXITED"))
        heard += [piece async for piece in body]
        return b"".join(heard).decode()

    assert asyncio.run(asyncio.wait_for(go(), 10)) == "run 1 line 4\nhalf and half\n"
