"""What clients may do to the server: ask well, badly, slowly, too much, and go away."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from netemu.http import client, messages, server


async def echo(request: messages.Request) -> messages.Response:
    if request.path == "/fail":
        raise RuntimeError("a bug in the handler")
    if request.path == "/stream":
        return messages.Response(200, (("content-type", "text/plain"),), _count(3))
    text = f"{request.method} {request.path} {request.parameter('q')} {len(request.body)}"
    return messages.Response(200, (("x-echo", request.header("x-in")),), text.encode())


async def _count(n: int) -> AsyncIterator[bytes]:
    for i in range(n):
        yield f"part {i}\n".encode()


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET)
    sock.bind(("127.0.0.1", 0))
    return sock


def with_server(
    story: Callable[[int, server.Server], Awaitable[None]],
    handler: server.Handler = echo,
    limits: server.Limits | None = None,
) -> None:
    async def run() -> None:
        running = await server.serve(handler, [bound()], limits=limits)
        try:
            async with asyncio.timeout(20):
                await story(running.addresses()[0][1], running)
        finally:
            await running.close(grace=0.1)

    asyncio.run(run())


async def raw(port: int, *pieces: bytes, read_all: bool = True) -> bytes:
    """What the server says to these bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await reader.read() if read_all else await reader.read(65536)
    writer.close()
    return answer


def test_one_connection_serves_many_requests_and_streams() -> None:
    async def story(port: int, _: server.Server) -> None:
        async with client.Connections(f"http://127.0.0.1:{port}") as pool:
            for n in range(5):
                answer = await pool.send(
                    messages.Request("POST", "/a b", (("q", "1&2"),), (("x-in", "v"),), b"x" * n)
                )
                assert (answer.status, answer.header("x-echo")) == (200, "v")
                assert answer.body == f"POST /a b 1&2 {n}".encode()
            streamed = await pool.send(messages.Request("GET", "/stream"))
            assert not isinstance(streamed.body, bytes)
            assert await messages.whole(streamed) == b"part 0\npart 1\npart 2\n"
            assert (await pool.send(messages.Request("GET", "/"))).status == 200

    with_server(story)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def story(port: int, _: server.Server) -> None:
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(50))
        last = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        answer = await raw(port, requests + last)
        bodies = [part.split(b"\r\n\r\n")[1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"GET /%d  0" % n for n in range(50)] + [b"GET /last  0"]

    with_server(story)


BROKEN = [
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
    ("bad header", b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", b"400"),
    ("bad length", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
    ("bad query", b"GET /?" + b"a&" * 2000 + b" HTTP/1.1\r\n\r\n", b"400"),
    ("long head", b"GET / HTTP/1.1\r\nX: " + b"y" * 70000 + b"\r\n\r\n", b"431"),
    ("endless head", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000, b"431"),
    ("announced body", b"POST / HTTP/1.1\r\nContent-Length: 4000\r\n\r\n", b"413"),
    ("chunked body", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + b"z" * 4095, b"413"),
]


@pytest.mark.parametrize(("name", "sent", "status"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_breaks_the_protocol_is_refused(name: str, sent: bytes, status: bytes) -> None:
    async def story(port: int, _: server.Server) -> None:
        answer = await raw(port, sent)
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert b"connection: close" in answer

    with_server(story, limits=server.Limits(body=1000, linger=0.05, request=1.0))


def test_a_refusal_comes_after_the_answers_still_owed() -> None:
    async def story(port: int, _: server.Server) -> None:
        answer = await raw(port, b"GET /first HTTP/1.1\r\nHost: h\r\n\r\nrubbish\r\n\r\n")
        assert b"GET /first" in answer
        assert answer.index(b"GET /first") < answer.index(b"HTTP/1.1 400")

    with_server(story, limits=server.Limits(linger=0.05))


def test_a_failing_handler_is_a_500_and_the_connection_goes_on() -> None:
    async def story(port: int, _: server.Server) -> None:
        async with client.Connections(f"http://127.0.0.1:{port}") as pool:
            assert (await pool.send(messages.Request("GET", "/fail"))).status == 500
            assert (await pool.send(messages.Request("GET", "/"))).status == 200

    with_server(story)


def test_continue_is_said_before_the_body_is_sent() -> None:
    async def story(port: int, _: server.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"abc")
        assert b"PUT /x  3" in await reader.read(4096)
        writer.close()

    with_server(story)


def test_a_client_that_stops_in_mid_request_is_told_and_dropped() -> None:
    async def story(port: int, running: server.Server) -> None:
        answer = await raw(port, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        assert answer.startswith(b"HTTP/1.1 408")
        assert not running.open

    with_server(story, limits=server.Limits(request=0.2, linger=0.05))


def test_a_lost_reader_ends_the_stream_at_once() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    class Endless:
        def __aiter__(self) -> "Endless":
            return self

        async def __anext__(self) -> bytes:
            begun.set()
            await asyncio.get_running_loop().create_future()
            raise AssertionError("never")

        async def aclose(self) -> None:
            ended.set()

    async def handler(_: messages.Request) -> messages.Response:
        return messages.Response(200, (), Endless())

    async def story(port: int, running: server.Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await begun.wait()
        writer.close()
        await ended.wait()

    with_server(story, handler)


def test_a_reader_that_does_not_read_is_cut_off() -> None:
    done = asyncio.Event()

    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            done.set()

    async def handler(_: messages.Request) -> messages.Response:
        return messages.Response(200, (), flood())

    async def story(port: int, _: server.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await done.wait()
        writer.close()

    with_server(story, handler, server.Limits(write=0.2, request=0.2))


def test_close_lets_an_answer_finish_and_ends_streams() -> None:
    async def run() -> None:
        release = asyncio.Event()
        started = asyncio.Event()

        async def handler(request: messages.Request) -> messages.Response:
            started.set()
            await release.wait()
            return messages.Response(200, (), b"done")

        running = await server.serve(handler, [bound()])
        pool = client.Connections(f"http://127.0.0.1:{running.addresses()[0][1]}")
        asking = asyncio.ensure_future(pool.send(messages.Request("GET", "/")))
        await started.wait()
        closing = asyncio.ensure_future(running.close(grace=5))
        await asyncio.sleep(0)
        release.set()
        assert (await asking).body == b"done"
        await closing
        assert not running.tasks
        with pytest.raises(client.Unreachable):
            await pool.send(messages.Request("GET", "/"))
        await pool.close()

    asyncio.run(run())


def test_an_upgrade_gets_the_connection_with_what_came_early() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()

    async def handler(request: messages.Request) -> messages.Response:
        if request.path == "/no":
            return messages.Response(403, (), b"no")
        return messages.Response(101, (("upgrade", "shout"), ("connection", "Upgrade")), b"", shout)

    async def story(port: int, _: server.Server) -> None:
        ask = b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ask % b"/yes" + b"early\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert await reader.readline() == b"EARLY\n"
        writer.write(b"late\n")
        assert await reader.readline() == b"LATE\n"
        writer.close()
        assert b"HTTP/1.1 403" in await raw(port, ask % b"/no")

    with_server(story, handler, server.Limits(linger=0.05, request=1))


def test_an_http_1_0_client_gets_a_body_ended_by_close() -> None:
    async def story(port: int, _: server.Server) -> None:
        answer = await raw(port, b"GET /stream HTTP/1.0\r\n\r\n")
        assert b"chunked" not in answer
        assert answer.endswith(b"\r\n\r\npart 0\npart 1\npart 2\n")

    with_server(story)


def test_a_header_value_cannot_smuggle_a_line() -> None:
    async def handler(_: messages.Request) -> messages.Response:
        return messages.Response(200, (("warning", "a\r\nset-cookie: b"),), b"")

    async def story(port: int, _: server.Server) -> None:
        answer = await raw(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b"\r\nset-cookie" not in answer

    with_server(story, handler)


def test_a_dead_kept_alive_connection_is_replaced_for_reads_only() -> None:
    async def story(port: int, running: server.Server) -> None:
        async with client.Connections(f"http://127.0.0.1:{port}") as pool:
            await pool.send(messages.Request("GET", "/"))
            for connection in tuple(running.open):
                connection.abort()
            assert (await pool.send(messages.Request("GET", "/"))).status == 200

    with_server(story)


def test_no_answer_in_time_is_unreachable() -> None:
    async def handler(_: messages.Request) -> messages.Response:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("never")

    async def story(port: int, _: server.Server) -> None:
        async with client.Connections(f"http://127.0.0.1:{port}", timeout=0.1) as pool:
            with pytest.raises(client.Unreachable, match="no answer"):
                await pool.send(messages.Request("GET", "/"))

    with_server(story, handler)


def test_a_stream_broken_in_the_middle_is_not_taken_for_whole() -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("broken")

    async def handler(_: messages.Request) -> messages.Response:
        return messages.Response(200, (), half())

    async def story(port: int, _: server.Server) -> None:
        async with client.Connections(f"http://127.0.0.1:{port}") as pool:
            response = await pool.send(messages.Request("GET", "/"))
            with pytest.raises(client.Unreachable):
                await messages.whole(response)
            with contextlib.suppress(client.Unreachable):
                await pool.send(messages.Request("GET", "/"))

    with_server(story, handler)
