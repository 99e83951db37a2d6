"""Requests to take a connection over: /exec, /attach, /portForward, by WebSocket or SPDY.

Chooses the protocol; what is carried is for commands.py and forwarding.py. Upstream's paths and parameters
(k8s.io/kubelet/pkg/cri/streaming): command, input, output, error, tty; port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from netemu.http import messages
from netemu.kubelet import channels, commands, conversations, forwarding, runtimes
from netemu.wire import websocket

SPDY = "SPDY/3.1"
_COMMANDS = {  # subprotocol -> version
    "v5.channel.k8s.io": 5,
    "v4.channel.k8s.io": 4,
    "v3.channel.k8s.io": 3,
    "v2.channel.k8s.io": 2,
    "channel.k8s.io": 1,
    "": 1,
}
_CODED = {"v4.base64.channel.k8s.io": 4, "base64.channel.k8s.io": 1}  # over WebSocket only
_PLAIN = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
_OVER_WEBSOCKET = (*_PLAIN, *_CODED, "")
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_FORWARD = "portforward.k8s.io"
_MOST_PORTS = 100
_STREAMS = 16  # more than any remote command has


class Refused(Exception):
    """The request cannot be answered; `status` is an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Container(NamedTuple):
    """A running container, as a request means it."""

    id: str
    tty: bool


def execute(request: messages.Request, runtime: runtimes.Runtime, container: Container) -> messages.Response:
    """Run the request's command for the client. Refused."""
    wish = _wish(request)
    command = request.parameters("command")
    if not command:
        raise Refused(400, "you must specify at least 1 command for the container")
    return _remote(
        request,
        wish,
        lambda client: commands.execute(runtime, container.id, command, wish, client),
    )


def attach(request: messages.Request, runtime: runtimes.Runtime, container: Container) -> messages.Response:
    """Join the client to the container's own streams. Refused."""
    wish = _wish(request)
    return _remote(
        request,
        wish,
        lambda client: commands.attach(runtime, container.id, wish, client, tty=container.tty),
    )


def forward(request: messages.Request, network: str, about: str) -> messages.Response:
    """Carry connections into the pod's network namespace ("": the node's own). Refused."""
    dial = forwarding.dialer(network)
    if _is_websocket(request):
        chosen = _choose_subprotocol(request, (_TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"))
        if chosen == _TUNNEL:
            return _websocket(
                request,
                chosen,
                lambda client: forwarding.over_spdy(conversations.Tunnel(client), dial, about),
            )
        ports = _ports(request)
        return _websocket(request, chosen, lambda client: forwarding.over_websocket(client, ports, dial))
    _choose_stream_protocol(request, (_FORWARD,))
    return _spdy(_FORWARD, lambda stream: forwarding.over_spdy(stream, dial, about))


def _wish(request: messages.Request) -> channels.Wish:
    stdin, stdout, stderr, tty = (
        request.parameter(name) in ("1", "true") for name in ("input", "output", "error", "tty")
    )
    if not (stdin or stdout or stderr):
        raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")
    return channels.Wish(stdin, stdout, stderr and not tty, tty)


def _ports(request: messages.Request) -> tuple[int, ...]:
    texts = [text for given in request.parameters("port") for text in given.split(",")]
    if not texts or len(texts) > _MOST_PORTS:
        raise Refused(400, 'query parameter "port" is required' if not texts else "too many ports")
    for text in texts:
        if not (text.isdigit() and 0 < int(text) < 1 << 16):
            raise Refused(400, f'invalid port "{text}"')
    return tuple(map(int, texts))


def _remote(
    request: messages.Request, wish: channels.Wish, serve: Callable[[channels.Channels], Awaitable[None]]
) -> messages.Response:
    if _is_websocket(request):
        chosen = _choose_subprotocol(request, _OVER_WEBSOCKET)
        version = _CODED.get(chosen) or _COMMANDS[chosen]
        return _websocket(
            request, chosen, lambda client: serve(channels.OverWebSocket(client, wish, version))
        )
    chosen = _choose_stream_protocol(request, tuple(_COMMANDS))

    async def over_spdy(stream: conversations.Bytes) -> None:
        session = conversations.Session(stream, most=_STREAMS)
        await serve(channels.OverSpdy(session, wish, _COMMANDS[chosen]))

    return _spdy(chosen, over_spdy)


def _is_websocket(request: messages.Request) -> bool:
    """Whether WebSocket is wanted; Refused unless it is that or SPDY."""
    wanted = {word.strip().lower() for word in request.header("upgrade").split(",")}
    if "upgrade" in request.header("connection").lower():
        if "websocket" in wanted:
            return True
        if SPDY.lower() in wanted:
            return False
    raise Refused(400, "Upgrade request required")


def _choose_subprotocol(request: messages.Request, known: tuple[str, ...]) -> str:
    offered = [word.strip() for word in request.header("sec-websocket-protocol").split(",")]
    chosen = next((word for word in known if word in offered), None)
    if chosen is None:
        raise Refused(
            400, f"unable to negotiate a subprotocol: client offers {offered}, server {list(known)}"
        )
    if request.header("sec-websocket-version") != "13" or not websocket.valid_key(
        request.header("sec-websocket-key")
    ):
        raise Refused(400, "bad WebSocket handshake")
    return chosen


def _choose_stream_protocol(request: messages.Request, known: tuple[str, ...]) -> str:
    """The client's favourite among those known; a client that names none speaks the oldest."""
    offered = [word.strip() for word in request.header("x-stream-protocol-version").split(",")]
    for word in offered:
        if word in known:
            return word
    if offered == [""]:
        return known[-1]
    message = f"unable to negotiate protocol: client supports {offered}, server accepts {list(known)}"
    raise Refused(403, f"unable to upgrade: {message}")


def _websocket(
    request: messages.Request, chosen: str, serve: Callable[[conversations.WebSocket], Awaitable[None]]
) -> messages.Response:
    accepted = websocket.accept(request.header("sec-websocket-key"))
    headers = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accepted)]
    if chosen:
        headers.append(("sec-websocket-protocol", chosen))

    async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(conversations.WebSocket(reader, writer, coded=chosen in _CODED))

    return messages.Response(101, tuple(headers), upgrade=take_over)


def _spdy(chosen: str, serve: Callable[[conversations.Bytes], Awaitable[None]]) -> messages.Response:
    headers = [("connection", "Upgrade"), ("upgrade", SPDY)]
    if chosen:
        headers.append(("x-stream-protocol-version", chosen))

    async def take_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(conversations.Plain(reader, writer))

    return messages.Response(101, tuple(headers), upgrade=take_over)
