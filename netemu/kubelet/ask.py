"""One question to a container, from the node: HTTP, TCP, gRPC or a command. Answers (well?, what was heard).

Used by probes and by lifecycle hooks. Wording of failures is upstream's, for people search for it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from netemu.api import core
from netemu.base import errors
from netemu.wire import cri, grpchealth

Exec = Callable[[Sequence[str], float], Awaitable[cri.ExecResult]]
_LIMIT = 10 << 10


class Answer(NamedTuple):
    """A probe's: `said` is what its event tells when it is not well."""

    well: bool
    said: str = ""


class Target(NamedTuple):
    """The container asked: its spec (for named ports), the pod's address, and a way to run commands in it."""

    container: core.Container
    ip: str
    run: Exec


async def ask(handler: core.ProbeHandler | core.LifecycleHandler, target: Target, timeout: float) -> Answer:
    """Ask once; never raises for what the container does wrong."""
    try:
        if handler.exec is not None:
            return await _command(handler.exec.command, target, timeout)
        if handler.httpGet is not None:
            async with asyncio.timeout(timeout):
                return await _http(handler.httpGet, target)
        if handler.tcpSocket is not None:
            async with asyncio.timeout(timeout):
                return await _tcp(handler.tcpSocket, target)
        if isinstance(handler, core.ProbeHandler) and handler.grpc is not None:
            return await _grpc(handler.grpc, target, timeout)
    except TimeoutError:
        return Answer(well=False, said=f"{_url(handler, target)}i/o timeout")
    except OSError as problem:
        return Answer(well=False, said=f"{_url(handler, target)}{_why(problem)}")
    except (ValueError, errors.NetemuError) as problem:
        return Answer(well=False, said=str(problem))
    sleep = getattr(handler, "sleep", None)
    if sleep is not None:
        await asyncio.sleep(min(float(sleep.seconds), timeout))
        return Answer(well=True)
    return Answer(well=False, said="no handler that this node knows (exec, httpGet, tcpSocket, grpc, sleep)")


def _why(problem: OSError) -> str:
    """As Go says it; asyncio puts the address into strerror, and several failures into one."""
    if problem.errno is None:
        return str(problem)
    return f"connect: {os.strerror(problem.errno).lower()}"


def _url(handler: core.ProbeHandler | core.LifecycleHandler, target: Target) -> str:
    if handler.httpGet is not None:
        host = f"{_host(handler.httpGet.host or target.ip)}:{_port(handler.httpGet.port, target.container)}"
        return f'Get "{_address(handler.httpGet, target)}": dial tcp {host}: '
    if handler.tcpSocket is not None:
        port = _port(handler.tcpSocket.port, target.container)
        return f"dial tcp {_host(handler.tcpSocket.host or target.ip)}:{port}: "
    return ""


async def _command(command: Sequence[str], target: Target, timeout: float) -> Answer:
    try:
        done = await target.run(command, timeout)
    except errors.NetemuError as problem:
        return Answer(well=False, said=str(problem))
    output = (done.stdout + done.stderr)[:_LIMIT].decode(errors="replace").strip()
    return Answer(well=done.code == 0, said=output)


async def _tcp(action: core.TCPSocketAction, target: Target) -> Answer:
    host, port = action.host or target.ip, _port(action.port, target.container)
    _, writer = await asyncio.open_connection(host, port)
    writer.transport.abort()
    return Answer(well=True)


async def _grpc(action: core.GRPCAction, target: Target, timeout: float) -> Answer:
    """grpc.health.v1.Health/Check: SERVING is well (KEP-2727)."""
    address = f"{_host(target.ip)}:{action.port}"
    try:
        async with asyncio.timeout(timeout):
            status = await _check(target.ip, action.port, address, action.service or "")
    except TimeoutError:
        return Answer(well=False, said=f'timeout: failed to connect service "{address}" within {timeout:g}s')
    except OSError as problem:
        return Answer(well=False, said=f'failed to connect service "{address}": {_why(problem)}')
    if status is None:
        return Answer(well=False, said="error: this server does not implement the grpc health protocol")
    if status is not grpchealth.Status.SERVING:
        return Answer(well=False, said=f'service unhealthy (responded with "{status.name}")')
    return Answer(well=True)


async def _check(host: str, port: int, authority: str, service: str) -> grpchealth.Status | None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(grpchealth.question(authority, service))
        answer = grpchealth.Answer()
        while not answer.done:
            data = await reader.read(1 << 16)
            if not data:
                break
            writer.write(answer.feed(data))
        return answer.status
    finally:
        writer.transport.abort()


async def _http(action: core.HTTPGetAction, target: Target) -> Answer:
    """GET; 200 to 399 is well. No certificate is verified, as kubelet does not."""
    host, port = action.host or target.ip, _port(action.port, target.container)
    context = None
    if action.scheme == "HTTPS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        given = {h.name.lower() for h in action.httpHeaders}
        lines = [f"GET {_path(action)} HTTP/1.1"]
        lines += [] if "host" in given else [f"Host: {_host(host)}:{port}"]
        lines += [] if "user-agent" in given else ["User-Agent: kube-probe/1.32"]
        lines += [] if "accept" in given else ["Accept: */*"]
        lines += [f"{_plain(h.name)}: {_plain(h.value)}" for h in action.httpHeaders]
        writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode())
        status = (await reader.readline()).split(maxsplit=2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/") or not status[1].isdigit():
            return Answer(well=False, said=f'Get "{_address(action, target)}": malformed HTTP response')
        code = int(status[1])
        if 200 <= code < 400:
            return Answer(well=True)
        return Answer(well=False, said=f"HTTP probe failed with statuscode: {code}")
    finally:
        writer.transport.abort()


def _plain(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def _path(action: core.HTTPGetAction) -> str:
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    return _plain(path).replace(" ", "%20")


def _address(action: core.HTTPGetAction, target: Target) -> str:
    scheme = (action.scheme or "HTTP").lower()
    port = _port(action.port, target.container)
    return f"{scheme}://{_host(action.host or target.ip)}:{port}{_path(action)}"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(port: int | str, container: core.Container) -> int:
    """A number, or the container port of that name. ValueError when there is none."""
    if isinstance(port, int):
        return port
    for each in container.ports:
        if each.name == port:
            return each.containerPort
    if port.isdigit():
        return int(port)
    raise ValueError(f"couldn't find port: {port!r}")
