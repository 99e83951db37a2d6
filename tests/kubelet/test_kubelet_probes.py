"""Probes: what they ask, how answers become verdicts, and when they ask again."""

import asyncio

import pytest

from netemu.api import core
from netemu.base import clock
from netemu.kubelet import ask, probes, verdicts
from netemu.wire import cri


async def nothing(command, timeout):
    return cri.ExecResult(b"", b"", 0)


async def served(status=b"HTTP/1.1 200 OK\r\n\r\n", requests=None):
    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(head.decode())
        writer.write(status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("reply", "well", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", True, ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "HTTP probe failed with statuscode: 404"),
        (b"hello\r\n", False, "malformed HTTP response"),
        (b"", False, "malformed HTTP response"),
    ],
)
def test_http(reply, well, said):
    async def story():
        heard = []
        server, port = await served(reply, heard)
        container = core.Container(name="c", ports=(core.ContainerPort(name="web", containerPort=port),))
        handler = core.ProbeHandler(
            httpGet=core.HTTPGetAction(
                path="healthz?x=1",
                port="web",
                httpHeaders=(core.HTTPHeader(name="X-A", value="b\r\nEvil: 1"),),
            )
        )
        answer = await ask.ask(handler, ask.Target(container, "127.0.0.1", nothing), 2.0)
        server.close()
        return answer, heard[0], port

    answer, heard, port = asyncio.run(story())
    assert answer.well is well
    assert said in answer.said
    assert heard.startswith(f"GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: kube-probe/")
    assert "\r\nEvil" not in heard


def test_tcp_and_refused_and_silent():
    async def story():
        server, port = await served()
        target = ask.Target(core.Container(name="c"), "127.0.0.1", nothing)

        async def tcp(port):
            return await ask.ask(core.ProbeHandler(tcpSocket=core.TCPSocketAction(port=port)), target, 1.0)

        well = await tcp(port)
        server.close()
        await server.wait_closed()
        refused = await tcp(port)
        unknown = await tcp("nosuch")

        async def hang(reader, writer):
            await asyncio.sleep(30)

        mute = await asyncio.start_server(hang, "127.0.0.1", 0)
        handler = core.ProbeHandler(httpGet=core.HTTPGetAction(port=mute.sockets[0].getsockname()[1]))
        late = await ask.ask(handler, target, 0.2)
        mute.close()
        return well, refused, unknown, late, port

    well, refused, unknown, late, port = asyncio.run(story())
    assert well.well
    assert refused == (False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")
    assert unknown == (False, "couldn't find port: 'nosuch'")
    assert (late.well, "timeout" in late.said) == (False, True)


@pytest.mark.parametrize(("code", "well"), [(0, True), (1, False)])
def test_commands(code, well):
    async def run(command, timeout):
        assert (tuple(command), timeout) == (("cat", "/ok"), 3.0)
        return cri.ExecResult(b"out ", b"err", code)

    handler = core.ProbeHandler(exec=core.ExecAction(command=("cat", "/ok")))
    answer = asyncio.run(ask.ask(handler, ask.Target(core.Container(name="c"), "", run), 3.0))
    assert answer == (well, "out err")


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ("", None),
        ("y", None),
        ("yy", True),
        ("ynnn", False),
        ("yynn", True),
        ("yynnn", False),
        ("nnnynyn", False),
        ("nnnyy", True),
    ],
)
def test_verdicts_need_their_threshold_in_a_row(answers, verdict):
    probe = core.Probe(successThreshold=2, failureThreshold=3)
    count = verdicts.Count()
    for answer in answers:
        count = verdicts.counted(count, probe, well=answer == "y")
    assert count.verdict is verdict


def prober(story, **spec):
    """Run a prober on a fake clock against a container whose answers `story(seconds)` gives; its history."""

    async def go():
        time_of = clock.FakeClock()
        history = []
        failures = []

        async def run(command, timeout):
            return cri.ExecResult(b"", b"no", 0 if story(time_of.monotonic()) else 1)

        def changed():
            history.append((round(time_of.monotonic(), 2), made.health))

        container = core.Container(name="c", **spec)
        target = ask.Target(container, "", run)
        made = probes.Prober(core.Pod(), target, time_of, changed, failures.append)
        task = asyncio.ensure_future(made.run())
        await time_of.run_for(100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return history, failures

    return asyncio.run(go())


def probe(**more):
    return core.Probe(exec=core.ExecAction(command=("x",)), periodSeconds=10, failureThreshold=3, **more)


def test_a_server_that_needs_a_moment_is_ready_in_a_moment():
    history, failures = prober(lambda t: t >= 0.1, readinessProbe=probe())
    [(ready_at, health)] = history
    assert 0.1 <= ready_at < 0.2  # and not a whole period later
    assert health == (True, True, True)
    assert failures == []  # the first eager questions are nobody's business


def test_readiness_comes_and_goes():
    history, failures = prober(lambda t: t < 15 or t > 55, readinessProbe=probe())
    assert [(t, h.ready) for t, h in history] == [(0.0, True), (40.0, False), (60.0, True)]
    assert len(failures) == 4
    assert (failures[0].kind, failures[0].said) == ("Readiness", "no")


def test_a_liveness_failure_is_final_and_waits_for_the_start():
    history, _ = prober(
        lambda t: 20 < t < 40, startupProbe=probe(), livenessProbe=probe(), readinessProbe=probe()
    )
    first, second, *rest = history
    assert 20 < first[0] <= 30  # within one period of the answer that is wanted
    assert first[1] == (True, False, True)
    assert second[1] == (True, True, True)
    assert rest[-1][1].alive is False


def test_initial_delay_is_kept():
    history, _ = prober(lambda t: True, readinessProbe=probe(initialDelaySeconds=7))
    assert history[0][0] == 7.0
