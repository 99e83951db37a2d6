"""agnhost's smaller servers: liveness, tcp-reset, test-webserver, port-forward-tester, no-snat-test."""

import http.client
import os
import socket
import time

from netemu.runtime.programs import files, flags, serving, sockets
from netemu.runtime.programs.conversations import Later, Reply, Request, say


def liveness(_: list[str]) -> int:
    """Healthy for ten seconds, then no longer, on port 8080."""
    started, server = time.monotonic(), serving.Server()

    def page(request: Request) -> Reply:
        age = time.monotonic() - started
        if request.path == "/started":
            return Reply(body=f"{age:.6f}s".encode())
        if request.path == "/healthz":
            return Reply(500, f"error: {age:.6f}".encode()) if age > 10 else Reply(200, b"ok")
        return Reply(404, b"404 page not found\n")

    server.http(8080, page)
    return server.run()


def tcp_reset(arguments: list[str]) -> int:
    """Reads one byte and closes: who sent more gets a RST."""
    values, _ = flags.parse(arguments, {"port": 8080})
    server = serving.Server()

    def talk(stream: socket.socket, peer: sockets.Address) -> None:
        say(f"TCP connection from {sockets.text(peer)}")
        stream.recv(1)

    server.tcp(values["port"], talk)
    return server.run()


def test_webserver(arguments: list[str]) -> int:
    """Any file of the container, by its path."""
    values, _ = flags.parse(arguments, {"port": 80})
    server = serving.Server()

    def refuse(status: int) -> Reply:
        return Reply(status, b"404 page not found\n" if status == 404 else b"")

    def page(request: Request) -> Reply:
        say(f"{request.method} {request.path} from {sockets.text(request.peer)}")
        reply = files.serve("/", request, request.path, refuse)
        return (files.listing("/", request.path) or reply) if reply.status == 403 else reply

    server.http(values["port"], page)
    return server.run()


def port_forward_tester(arguments: list[str]) -> int:
    """One connection: check what comes (EXPECTED_CLIENT_DATA), send CHUNKS of CHUNK_SIZE bytes, end."""
    address, port = os.environ.get("BIND_ADDRESS") or "localhost", os.environ.get("BIND_PORT", "")
    expected = os.environ.get("EXPECTED_CLIENT_DATA", "").encode()
    try:
        number, chunks, size, interval = (
            int(port),
            *(int(os.environ[name]) for name in ("CHUNKS", "CHUNK_SIZE", "CHUNK_INTERVAL")),
        )
    except (KeyError, ValueError) as problem:
        print(f"BIND_PORT, CHUNKS, CHUNK_SIZE and CHUNK_INTERVAL must be numbers: {problem}")
        return 1
    with sockets.listen(number, host=sockets.resolve(address, number)[0][1][0]) as listener:
        listener.setblocking(True)
        stream = listener.accept()[0]
    with stream:
        print("Accepted client connection", flush=True)
        if expected:
            got = stream.recv(len(expected), socket.MSG_WAITALL)
            if got != expected:
                print(f"Expected {expected!r} from client, got {got!r}")
                return 3
            print("Received expected client data", flush=True)
        for _ in range(chunks):
            stream.sendall(b"x" * size)
            time.sleep(interval / 1000)
        stream.shutdown(socket.SHUT_WR)
    print("Done", flush=True)
    return 0


def no_snat_test(arguments: list[str]) -> int:
    """/whoami: the client's address. /checknosnat?ips=a:p,b:p: whether all of them see POD_IP."""
    values, _ = flags.parse(arguments, {"port": "8080"})
    own, node = os.environ.get("POD_IP", ""), os.environ.get("NODE_IP", "")
    if not own or not node:
        print("POD_IP and NODE_IP must be set")
        return 1
    server = serving.Server()

    def check(targets: list[str]) -> Reply:
        for target in targets:
            try:
                status, seen = _get(target, "/whoami")
            except (OSError, ValueError, http.client.HTTPException) as problem:
                return Reply(500, f"error querying {target}: {problem}".encode())
            if status != 200 or sockets.split(seen)[0] != own:
                return Reply(500, f"Returned ip {seen!r} != my Pod ip {own!r} - SNAT was performed".encode())
        return Reply(200)

    def page(request: Request) -> Reply | Later:
        if request.path == "/whoami":
            return Reply(body=sockets.text(request.peer).encode())
        if request.path == "/checknosnat":
            targets = request.value("ips").split(",")
            return Later(lambda: check(targets))
        return Reply(404, b"404 page not found\n")

    server.http(int(values["port"]), page)
    return server.run()


def no_snat_test_proxy(arguments: list[str]) -> int:
    """/checknosnat?target=a:p&ips=...: asks the target and hands on its answer."""
    values, _ = flags.parse(arguments, {"port": "31235"})
    server = serving.Server()

    def ask(target: str, addresses: str) -> Reply:
        try:
            status, body = _get(target, f"/checknosnat?ips={addresses}")
        except (OSError, ValueError, http.client.HTTPException) as problem:
            return Reply(500, str(problem).encode())
        return Reply(status, body.encode())

    def page(request: Request) -> Reply | Later:
        target, addresses = request.value("target"), request.value("ips")
        return Later(lambda: ask(target, addresses)) if request.path == "/checknosnat" else Reply(404)

    server.http(int(values["port"]), page)
    return server.run()


def _get(target: str, path: str) -> tuple[int, str]:
    host, port = sockets.split(target)
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()
