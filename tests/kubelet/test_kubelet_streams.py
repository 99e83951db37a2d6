"""Remote commands and port-forwarding over both wires, by good clients and by bad ones.

The runtime here runs real processes on the descriptors it is given, in no container.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from netemu.http import messages
from netemu.http import server as http
from netemu.kubelet import forwarding, streams
from netemu.wire import cri, spdy, websocket

MASK = b"\1\2\3\4"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
EXEC = "/exec?input=1&output=1&error=1"


class Processes:
    """What runtimes.Runtime.exec promises, for processes."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.changed = asyncio.Condition()

    async def exec(
        self, container_id: str, command: Sequence[str], fds: Sequence[int], *, tty: bool = False
    ) -> int:
        process = await asyncio.create_subprocess_exec(*command, stdin=fds[0], stdout=fds[1], stderr=fds[2])
        await self._note(self.running.add, process.pid)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await self._note(self.running.discard, process.pid)

    async def container_status(self, container_id: str) -> cri.Container:
        """Its process is this one, whose /dev/pts the terminals are of then."""
        return cri.Container(container_id, "s1", cri.ContainerConfig("c", "busybox"), "RUNNING", os.getpid())

    async def _note(self, what: Callable[[int], None], pid: int) -> None:
        async with self.changed:
            what(pid)
            self.changed.notify_all()

    async def until(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.running) == count)


class Client:
    """One connection, upgraded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""

    async def upgrade(self, path: str, protocol: str, *, method: str = "GET") -> int:
        if protocol.startswith("spdy:"):
            names = protocol[5:].split(",")
            wanted = "Upgrade: SPDY/3.1\r\n" + "".join(f"X-Stream-Protocol-Version: {n}\r\n" for n in names)
        else:
            wanted = (
                f"Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Protocol: {protocol}\r\n"
            )
        head = f"{method} {path} HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\n{wanted}\r\n"
        self.writer.write(head.encode())
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return int(self.head.split()[1])

    def drop(self) -> None:
        self.writer.transport.abort()


class Messages:
    """WebSocket at the client's end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.decoder = websocket.Decoder(masked=False)
        self.waiting: list[websocket.Message] = []

    def send(self, data: bytes, opcode: int = websocket.BINARY) -> None:
        self.client.writer.write(websocket.encode(opcode, data, mask=MASK))

    async def next(self) -> websocket.Message | None:
        while not self.waiting:
            data = await self.client.reader.read(1 << 16)
            if not data:
                return None
            self.waiting += self.decoder.feed(data)
        return self.waiting.pop(0)

    async def to_the_end(self) -> tuple[dict[int, bytes], int]:
        """What came by channel, and the close code."""
        found: dict[int, bytes] = {}
        while (message := await self.next()) is not None:
            if message.opcode == websocket.CLOSE:
                self.send(message.data, websocket.CLOSE)
                return found, websocket.close_code(message.data)
            found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
        return found, 0


class Streams:
    """SPDY at the client's end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.encoder, self.decoder = spdy.Encoder(), spdy.Decoder()
        self.said: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.frames: list[spdy.Frame] = []

    def send(self, frame: spdy.Frame) -> None:
        self.client.writer.write(self.encoder.encode(frame))

    async def until(self, *ids: int) -> None:
        """Until those streams have ended."""
        while not self.ended.issuperset(ids):
            data = await self.client.reader.read(1 << 16)
            assert data, "the server hung up"
            for frame in self.decoder.feed(data):
                self.frames.append(frame)
                if isinstance(frame, spdy.Data):
                    self.said[frame.id] = self.said.get(frame.id, b"") + frame.data
                    if frame.fin:
                        self.ended.add(frame.id)
                elif isinstance(frame, spdy.Reset):
                    self.ended.add(frame.id)


class Kubelet:
    def __init__(self, address: tuple[str, int], runtime: Processes) -> None:
        self.address, self.runtime = address, runtime
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection(*self.address)))
        return self.clients[-1]

    async def command(self, protocol: str, *command: str, path: str = EXEC) -> Client:
        client = await self.connect()
        words = "".join(f"&command={messages.quote(word)}" for word in command)
        assert await client.upgrade(path + words, protocol) == 101
        if protocol.startswith("v5."):  # nothing is said before the client is known to read
            assert await client.reader.readexactly(2) == bytes([0x80 | websocket.PING, 0])
            client.writer.write(websocket.encode(websocket.PONG, b"", mask=MASK))
        return client


@contextlib.asynccontextmanager
async def kubelet() -> AsyncIterator[Kubelet]:
    runtime = Processes()

    async def handle(request: messages.Request) -> messages.Response:
        try:
            if request.path == "/exec":
                return streams.execute(request, runtime, streams.Container("c", False))  # type: ignore[arg-type]
            return streams.forward(request, "", "web")
        except streams.Refused as refused:
            return messages.Response(refused.status, (), refused.message.encode())

    serving = await http.serve(handle, [socket.create_server(("127.0.0.1", 0))])
    try:
        yield Kubelet(serving.addresses()[0], runtime)
    finally:
        await serving.close(grace=0)


def tell(story: Callable[[Kubelet], Awaitable[None]]) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with asyncio.timeout(30):
            async with kubelet() as made:
                await story(made)
                await made.runtime.until(0)
                for client in made.clients:
                    client.drop()
                    with contextlib.suppress(ConnectionError):
                        await client.writer.wait_closed()
        assert len(os.listdir("/proc/self/fd")) <= before

    asyncio.run(main())


def status(said: bytes) -> tuple[str, str]:
    found = json.loads(said)
    return found["status"], (found.get("details") or {"causes": [{"message": ""}]})["causes"][0]["message"]


# -- good clients


def test_what_comes_before_the_answer_to_the_ping_is_kept() -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.connect()
        path = EXEC + "&command=cat"
        assert await client.upgrade(path, "v5.channel.k8s.io") == 101
        ours = Messages(client)
        ours.send(b"\0early")
        assert (await ours.next()).opcode == websocket.PING
        ours.send(b"", websocket.PONG)
        ours.send(b"\xff\0")
        said, code = await ours.to_the_end()
        assert (said[1], code) == (b"early", 1000)

    tell(story)


def test_websocket_v5_with_the_end_of_stdin() -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.command("v5.channel.k8s.io", "sh", "-c", "cat; echo bad >&2; exit 3")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in client.head
        ours = Messages(client)
        ours.send(b"\0hello ")
        ours.send(b"?", websocket.PING)
        ours.send(b"\0world")
        ours.send(b"\xff\0")
        said, code = await ours.to_the_end()
        assert code == 1000
        pongs = {63: b""}  # the pong's "?" reads as a channel here
        assert said == {1: b"hello world", 2: b"bad\n", 3: said[3]} | pongs
        assert status(said[3]) == ("Failure", "3")

    tell(story)


def test_websocket_v4_has_no_end_of_stdin() -> None:
    async def story(kubelet: Kubelet) -> None:
        ours = Messages(await kubelet.command("v4.channel.k8s.io", "head", "-c", "5"))
        ours.send(b"\xff\0")
        ours.send(b"\0hello")
        said, code = await ours.to_the_end()
        assert (said[1], status(said[3]), code) == (b"hello", ("Success", ""), 1000)

    tell(story)


@pytest.mark.parametrize("protocol", ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"])
def test_channels_in_base64(protocol: str) -> None:
    """Text messages: the channel as a digit, then what is said in base64."""

    async def story(kubelet: Kubelet) -> None:
        ours = Messages(await kubelet.command(protocol, "sh", "-c", "head -c 5; exit 3"))
        ours.send(b"0" + base64.b64encode(b"hello"), websocket.TEXT)
        said, code = await ours.to_the_end()
        assert code == 1000
        assert base64.b64decode(said[ord("1")]) == b"hello"
        told = base64.b64decode(said[ord("3")])
        if protocol.startswith("v4"):
            assert status(told) == ("Failure", "3")
        else:
            assert b"exit status 3" in told

    tell(story)


def test_what_is_no_base64_ends_the_conversation() -> None:
    async def story(kubelet: Kubelet) -> None:
        ours = Messages(await kubelet.command("base64.channel.k8s.io", "cat"))
        ours.send(b"0*", websocket.TEXT)
        _, code = await ours.to_the_end()
        assert code == websocket.NOT_UTF8

    tell(story)


@pytest.mark.parametrize("version", ["v4.channel.k8s.io", "v5.channel.k8s.io", "v2.channel.k8s.io"])
def test_spdy(version: str) -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.command(f"spdy:{version}", "sh", "-c", "cat; exit 9")
        assert f"x-stream-protocol-version: {version}".encode() in client.head
        ours = Streams(client)
        for number, kind in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")):
            ours.send(spdy.SynStream(number, {"streamType": kind}))
        ours.send(spdy.Data(3, b"x" * 100_000, fin=True))
        await ours.until(1, 5, 7)
        assert ours.said[5] == b"x" * 100_000
        if version == "v2.channel.k8s.io":
            assert ours.said[1] == b"command terminated with non-zero exit code: exit status 9"
        else:
            assert status(ours.said[1]) == ("Failure", "9")
        client.drop()

    tell(story)


def test_a_terminal_has_the_clients_size() -> None:
    async def story(kubelet: Kubelet) -> None:
        ours = Messages(
            await kubelet.command(
                "v5.channel.k8s.io", "sh", "-c", "read x; tty; stty size", path="/exec?input=1&output=1&tty=1"
            )
        )
        ours.send(b'\4{"Width":123,"Height":45}')
        ours.send(b"\4{garbage")
        ours.send(b"\0\n")
        said, _ = await ours.to_the_end()
        assert b"45 123\r\n" in said[1]
        assert b"/dev/pts/" in said[1]

    tell(story)


def test_stderr_takes_the_place_of_a_terminals_size() -> None:
    """A Go client that asks for a terminal without saying so to its own library: Cyclonus does."""

    async def story(kubelet: Kubelet) -> None:
        path = "/exec?output=1&error=1&tty=1"
        ours = Streams(await kubelet.command("spdy:v4.channel.k8s.io", "echo", "hello", path=path))
        for number, kind in ((1, "error"), (3, "stdout"), (5, "stderr")):
            ours.send(spdy.SynStream(number, {"streamType": kind}))
        await ours.until(1, 3, 5)
        assert ours.said[3] == b"hello\r\n"
        assert status(ours.said[1])[0] == "Success"
        ours.client.drop()

    tell(story)


def forward_request(ours: Streams, number: int, request: str, port: int, data: bytes) -> None:
    ours.send(spdy.SynStream(number, {"streamType": "error", "port": str(port), "requestID": request}, True))
    ours.send(spdy.SynStream(number + 2, {"streamType": "data", "port": str(port), "requestID": request}))
    ours.send(spdy.Data(number + 2, data, fin=True))


@contextlib.asynccontextmanager
async def shouter() -> AsyncIterator[int]:
    """A server that says everything again, in capitals, once it has heard all."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(-1)).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_ports_are_forwarded_many_connections_at_once() -> None:
    async def story(kubelet: Kubelet) -> None:
        async with shouter() as port:
            client = await kubelet.connect()
            assert await client.upgrade("/portForward", "spdy:portforward.k8s.io", method="POST") == 101
            ours = Streams(client)
            for number in range(50):
                forward_request(ours, 4 * number + 1, str(number), port, b"conn %d" % number)
            forward_request(ours, 401, "none", 1, b"")
            await ours.until(*range(1, 200, 2), 401, 403)
            assert [ours.said[4 * n + 3] for n in range(50)] == [b"CONN %d" % n for n in range(50)]
            assert b"connection refused" in ours.said[401]
            client.drop()

    tell(story)


def test_spdy_in_websocket_is_a_plain_byte_stream() -> None:
    async def story(kubelet: Kubelet) -> None:
        async with shouter() as port:
            client = await kubelet.connect()
            assert await client.upgrade("/portForward", "SPDY/3.1+portforward.k8s.io") == 101
            ours, encoder, decoder = Messages(client), spdy.Encoder(), spdy.Decoder()
            about = {"port": str(port), "requestID": "0"}
            sent = encoder.encode(spdy.SynStream(1, {"streamType": "error", **about}))
            sent += encoder.encode(spdy.SynStream(3, {"streamType": "data", **about}))
            sent += encoder.encode(spdy.Data(3, b"quiet", fin=True))
            for at in range(0, len(sent), 3):
                ours.send(sent[at : at + 3])
            said = b""
            while (message := await ours.next()) is not None:
                frames = decoder.feed(message.data)
                said += b"".join(f.data for f in frames if isinstance(f, spdy.Data) and f.id == 3)
                if any(isinstance(f, spdy.Data) and f.fin for f in frames):
                    break
            assert said == b"QUIET"
            client.drop()

    tell(story)


def test_ports_over_websocket_do_not_wait_for_each_other() -> None:
    async def story(kubelet: Kubelet) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(5))
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = await kubelet.connect()
            path = f"/portForward?port=1&port={port}"
            assert await client.upgrade(path, "v4.channel.k8s.io") == 101
            ours = Messages(client)
            for _ in range(200):  # to the port where nobody listens
                ours.send(b"\0" + bytes(1000))
            ours.send(b"\2hello")
            said, code = await ours.to_the_end()
            number = port.to_bytes(2, "little")
            assert (said[0], said[2], said[3], code) == (b"\1\0", number + b"hello", number, 1000)
            assert b"connection refused" in said[1]

    tell(story)


# -- bad clients


@pytest.mark.parametrize(
    ("path", "protocol", "wanted"),
    [
        ("/exec?output=1&command=true", "v9.channel.k8s.io", 400),
        ("/exec?output=1&command=true", "spdy:v9", 403),
        ("/exec?command=true", "v5.channel.k8s.io", 400),
        ("/exec?output=1", "v5.channel.k8s.io", 400),
        ("/portForward", "v4.channel.k8s.io", 400),
        ("/portForward?port=99999", "v4.channel.k8s.io", 400),
    ],
)
def test_refusals(path: str, protocol: str, wanted: int) -> None:
    async def story(kubelet: Kubelet) -> None:
        assert await (await kubelet.connect()).upgrade(path, protocol) == wanted

    tell(story)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "spdy:v4.channel.k8s.io"])
@pytest.mark.parametrize("seed", range(5))
def test_garbage_ends_the_command(protocol: str, seed: int) -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.command(protocol, "sleep", "1000")
        if protocol.startswith("spdy"):
            ours = Streams(client)
            for number, kind in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")):
                ours.send(spdy.SynStream(number, {"streamType": kind}))
        await kubelet.runtime.until(1)
        # Random bytes may well be a frame of some length that never comes: then the connection is just idle.
        client.writer.write(b"\xff\xff" + random.Random(seed).randbytes(5000))
        await kubelet.runtime.until(0)
        await client.reader.read(-1)

    tell(story)


@pytest.mark.parametrize("command", [("sleep", "1000"), ("yes",), ("cat",)])
@pytest.mark.parametrize("polite", [False, True])
def test_a_client_that_is_gone_takes_its_command_with_it(command: tuple[str, ...], polite: bool) -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.command("v5.channel.k8s.io", *command)
        await kubelet.runtime.until(1)
        Messages(client).send(b"\0" + bytes(200_000))  # more than a pipe holds
        await client.writer.drain()
        if polite:
            client.writer.close()
        else:
            client.drop()
        await kubelet.runtime.until(0)

    tell(story)


def test_a_client_that_never_reads_holds_up_nobody_else() -> None:
    async def story(kubelet: Kubelet) -> None:
        deaf = await kubelet.command("v5.channel.k8s.io", "yes")
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await kubelet.runtime.until(1)
        (pid,) = kubelet.runtime.running
        for _ in range(5):
            other = Messages(await kubelet.command("v5.channel.k8s.io", "echo", "hello"))
            assert (await other.to_the_end())[0][1] == b"hello\n"
        with open(f"/proc/{pid}/io") as file:
            written = int(next(line for line in file if line.startswith("wchar")).split()[1])
        assert written < 64 << 20  # it waits
        deaf.drop()

    tell(story)


def test_a_client_that_opens_no_streams_runs_nothing() -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.command("spdy:v4.channel.k8s.io", "touch", "/nonexistent/x")
        ours = Streams(client)
        ours.send(spdy.SynStream(1, {"streamType": "error"}))
        ours.send(spdy.SynStream(2, {"streamType": "stdout"}))  # the server's number
        ours.send(spdy.SynStream(5, {"streamType": "nonsense"}))
        await ours.until(2, 5)
        assert not kubelet.runtime.running
        client.drop()

    tell(story)


def test_too_many_streams_are_refused_and_ended_ones_make_room() -> None:
    async def story(kubelet: Kubelet) -> None:
        client = await kubelet.connect()
        assert await client.upgrade("/portForward", "spdy:portforward.k8s.io") == 101
        ours = Streams(client)
        for number in range(forwarding.MOST + 10):
            ours.send(spdy.SynStream(2 * number + 1, {"streamType": "error", "port": "1"}))
        last = 2 * (forwarding.MOST + 9) + 1
        await ours.until(last)
        refused = [f for f in ours.frames if isinstance(f, spdy.Reset) and f.status == spdy.REFUSED]
        assert len(refused) == 10
        client.drop()

    tell(story)
