"""The kubelet's HTTPS server: logs and streams of containers for the API server, health for everybody.

Who may ask: a client whose certificate, signed by the cluster's CA, says system:masters. Upstream's paths.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator

from netemu.api import codec, core
from netemu.base import clock, times
from netemu.http import messages
from netemu.kubelet import launch, logs, observations, recipes, runtimes

_ALLOWED = "system:masters"
_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_STREAMS = ("exec", "attach", "portForward")
_LOOK = 0.1  # seconds between looks at a log that is followed


class Server:
    """`handle` answers requests. `pods` gives the node's pods by (namespace, name)."""

    def __init__(
        self,
        node: launch.NodeConfig,
        observed: observations.Observations,
        pods: Callable[[], list[core.Pod]],
        clock: clock.Clock,
        runtime: runtimes.Runtime | None = None,
    ) -> None:
        self._node = node
        self._observed = observed
        self._pods = pods
        self._clock = clock
        self._runtime = runtime

    async def handle(self, request: messages.Request) -> messages.Response:
        """One request."""
        if request.path == "/healthz":
            return _plain(200, "ok")
        if not request.peer.common_name:
            return _plain(401, "Unauthorized")
        if _ALLOWED not in request.peer.organizations:
            return _plain(403, f"Forbidden (user={request.peer.common_name}, verb=get, resource=nodes)")
        parts = request.path.strip("/").split("/")
        if request.path == "/pods":
            items = [codec.document(pod) for pod in self._pods()]
            body = codec.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
            return messages.Response(200, (("content-type", "application/json"),), body)
        if parts[0] == "containerLogs" and len(parts) == 4:
            return self._logs(parts[1], parts[2], parts[3], request)
        if parts[0] in _STREAMS and self._runtime is not None:
            return self._streams(parts, request, self._runtime)
        return _plain(404, "404 page not found")

    def _pod(self, namespace: str, name: str, uid: str = "") -> core.Pod | None:
        for pod in self._pods():
            about = pod.metadata
            if (about.namespace, about.name) == (namespace, name) and uid in ("", about.uid):
                return pod
        return None

    def _streams(
        self, parts: list[str], request: messages.Request, runtime: runtimes.Runtime
    ) -> messages.Response:
        """/exec|attach/<namespace>/<pod>[/<uid>]/<container>, /portForward/<namespace>/<pod>[/<uid>]."""
        from netemu.kubelet import streams  # few nodes ever need them

        verb, *rest = parts
        container = "" if verb == "portForward" or len(rest) < 3 else rest.pop()
        if len(rest) not in (2, 3) or bool(container) == (verb == "portForward"):
            return _plain(404, "404 page not found")
        pod = self._pod(*rest)
        if pod is None:
            return _plain(404, f'pod "{rest[1]}" does not exist')
        mine = self._observed.of(pod.metadata.uid)
        try:
            if verb == "portForward":
                alive = [s for s in mine.sandboxes if s.state == "READY"]
                if not alive:
                    return _plain(500, f"pod {rest[1]} is not running")
                return streams.forward(request, alive[-1].netns, f"{rest[1]}, uid {pod.metadata.uid}")
            runs = [c for c in mine.containers if c.config.name == container and c.state == "RUNNING"]
            if not runs:
                return _plain(500, f'container not found ("{container}")')
            target = streams.Container(runs[-1].id, runs[-1].config.tty)
            return (streams.execute if verb == "exec" else streams.attach)(request, runtime, target)
        except streams.Refused as refused:
            return _plain(refused.status, refused.message)

    def _logs(
        self, namespace: str, name: str, container: str, request: messages.Request
    ) -> messages.Response:
        pod = self._pod(namespace, name)
        if pod is None:
            return _plain(404, f'pod "{name}" does not exist')
        names = {c.name for c in (*pod.spec.initContainers, *pod.spec.containers)}
        if container not in names | {c.name for c in pod.spec.ephemeralContainers}:
            return _plain(404, f'container "{container}" not found in pod "{name}"')
        try:
            wish = _wish(request, self._clock.now())
        except ValueError as problem:
            return _plain(400, str(problem))
        runs = sorted(
            (c for c in self._observed.of(pod.metadata.uid).containers if c.config.name == container),
            key=lambda c: (c.config.attempt, c.created_at),
        )
        previous = request.parameter("previous") in ("true", "1")
        if len(runs) < (2 if previous else 1):
            what = "previous terminated container" if previous else "container"
            reason = f'{what} "{container}" in pod "{name}" not found'
            waiting = f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating'
            return _plain(400, reason if previous else waiting)
        run = runs[-2] if previous else runs[-1]
        directory = recipes.log_directory(self._node.log_directory, pod)
        path = os.path.join(directory, recipes.log_path(container, run.config.attempt))
        return messages.Response(200, _TEXT, self._stream(path, run.id, wish))

    async def _stream(self, path: str, container_id: str, wish: logs.Wish) -> AsyncIterator[bytes]:
        left = wish.limit
        async for piece in self._pieces(path, container_id, wish):
            shown = piece[:left]
            if shown:
                yield shown
            if left is not None:
                left -= len(shown)
                if left == 0:
                    return

    async def _pieces(self, path: str, container_id: str, wish: logs.Wish) -> AsyncIterator[bytes]:
        """What is in the file, then, when it is followed, what comes until the container has ended."""
        while not os.path.exists(path):
            if not wish.follow or not self._runs(container_id):
                return
            await self._clock.sleep(_LOOK)
        with open(path, "rb") as file:
            if wish.tail is not None:
                file.seek(logs.tail_offset(path, wish.tail))
            rest = b""
            while True:
                running = self._runs(container_id)  # before reading: what it wrote last is read, too
                while block := file.read(1 << 16):
                    lines, rest = _split(rest + block)
                    if text := b"".join(logs.select(lines, wish)):
                        yield text
                    await asyncio.sleep(0)
                if not (wish.follow and running):
                    return
                await self._clock.sleep(_LOOK)

    def _runs(self, container_id: str) -> bool:
        found = self._observed.container(container_id)
        return found is not None and found.state != "EXITED"


def _split(data: bytes) -> tuple[Iterator[bytes], bytes]:
    """Whole lines with their ends, and the beginning of the next one."""
    whole, newline, rest = data.rpartition(b"\n")
    return iter((whole + newline).splitlines(keepends=True)), rest


def _wish(request: messages.Request, now: float) -> logs.Wish:
    since = request.parameter("sinceTime")
    seconds = _number(request, "sinceSeconds")
    moment = times.parse_rfc3339(since) if since else (now - seconds if seconds is not None else 0.0)
    return logs.Wish(
        follow=request.parameter("follow") in ("true", "1"),
        tail=_number(request, "tailLines"),
        since=moment,
        timestamps=request.parameter("timestamps") in ("true", "1"),
        limit=_number(request, "limitBytes"),
    )


def _number(request: messages.Request, name: str) -> int | None:
    text = request.parameter(name)
    if not text:
        return None
    if not text.isdigit():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _plain(status: int, text: str) -> messages.Response:
    return messages.Response(status, _TEXT, text.encode())
