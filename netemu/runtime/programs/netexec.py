"""agnhost netexec: an HTTP server that says who asks and who answers, dials others, runs commands; UDP too.

Endpoints and answers after upstream's test/images/agnhost/netexec. Every page is a row of PAGES.
"""

import email.parser
import email.policy
import json
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from netemu.runtime.programs import dialing, flags, processes, serving, sockets
from netemu.runtime.programs.conversations import Later, Reply, Request, say

FLAGS = {
    "http-port": 8080,
    "udp-port": 8081,
    "sctp-port": -1,
    "udp-listen-addresses": "",
    "tls-cert-file": "",
    "tls-private-key-file": "",
    "http-override": "",
    "delay-shutdown": 0,
}


class _Netexec:
    """What the pages have in common: the server, and whether it is ready."""

    def __init__(self, server: serving.Server, override: str) -> None:
        self.server, self.override, self.ready = server, override, False
        self.began = time.monotonic()

    def handle(self, request: Request) -> Reply | Later:
        if self.override:
            request = request._replace(method="GET", target=self.override)
        page = PAGES.get(request.path, root)
        return page(self, request)

    def datagram(self, data: bytes, peer: sockets.Address) -> bytes | None:
        """hostname, echo TEXT and clientip, in any case; anything else is not answered."""
        text = data.decode(errors="replace").strip().lower()
        if text == "hostname":
            say("Sending udp hostName response")
            return serving.hostname().encode()
        if text.startswith("echo "):
            say(f"Echoing {text[5:]} to UDP client {sockets.text(peer)}")
            return text[5:].encode()
        if text == "clientip":
            say(f"Sending clientip back to UDP client {sockets.text(peer)}")
            return sockets.text(peer).encode()
        if text:
            say(f"Unknown UDP command received from {sockets.text(peer)}: {text}")
        return None

    def stream(self, connection: socket.socket, peer: sockets.Address) -> None:
        """The same commands on an SCTP association."""
        answer = self.datagram(connection.recv(1024), peer)
        if answer is not None:
            connection.sendall(answer)


Page = Callable[[_Netexec, Request], Reply | Later]


def root(program: _Netexec, _: Request) -> Reply:
    say("GET /")
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now // 10**9))
    since = time.monotonic() - program.began
    return Reply(body=f"NOW: {stamp}.{now % 10**9:09d} +0000 UTC m=+{since:.9f}".encode())


def client_ip(_: _Netexec, request: Request) -> Reply:
    say("GET /clientip")
    return Reply(body=sockets.text(request.peer).encode())


def server_port(_: _Netexec, request: Request) -> Reply:
    say("GET /serverport")
    return Reply(body=str(request.local[1]).encode())


def echo(_: _Netexec, request: Request) -> Reply:
    message, code = request.value("msg"), request.value("code")
    say(f"GET /echo?msg={message}&code={code}")
    if not code:
        return Reply(body=message.encode())
    status = _number(code)
    return _no_integer("code", code) if status is None else Reply(status, message.encode())


def hostname(_: _Netexec, request: Request) -> Reply:
    say(f"GET {request.path}")
    return Reply(body=serving.hostname().encode())


def header(_: _Netexec, request: Request) -> Reply:
    key = request.value("key")
    value = request.headers.get(key.lower(), "")
    say(f"GET /header?key={key}")
    return Reply(body=value.encode())


def healthz(program: _Netexec, _: Request) -> Reply:
    say("GET /healthz")
    return Reply(200 if program.ready else 412)


def redirect(_: _Netexec, request: Request) -> Reply:
    location, code = request.value("location"), request.value("code")
    say(f"{request.method} /redirect?msg={location}&code={code}")
    status = _number(code) if code else 302
    return _no_integer("code", code) if status is None else Reply(status, headers=(("Location", location),))


def shell(_: _Netexec, request: Request) -> Later:
    command = request.value("shellCommand") or request.value("cmd")
    say(f"GET /shell?cmd={command}")

    def run() -> Reply:
        code, output = processes.output_of(["/bin/sh", "-c", command])
        found = {"output": output.decode(errors="replace")} if output else {}
        if code:
            found["error"] = f"exit status {code}" if code > 0 else f"signal: {-code}"
        say(f"Output: {found}")
        return _json(found)

    return Later(run)


def upload(_: _Netexec, request: Request) -> Reply:
    say("GET /upload")
    content = _form_file(request, "file")
    if content is None:
        return _json({"error": "Unable to upload file."})
    try:
        os.makedirs("/uploads", exist_ok=True)
        fd, path = tempfile.mkstemp(prefix="upload", dir="/uploads")
    except OSError:
        return _json({"error": "Unable to open file for write"})
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o700)
    say(f"Wrote upload to {path}")
    return _json({"output": path}, status=201)


def leave(program: _Netexec, request: Request) -> Reply | Later:
    """/exit?code=&timeout=&wait=: end in `wait`, letting connections finish for `timeout`."""
    code, timeout, wait = (request.value(name) for name in ("code", "timeout", "wait"))
    say(f"GET /exit?code={code}&timeout={timeout}&wait={wait}")
    delays = []
    for name, text in (("timeout", timeout), ("wait", wait)):
        try:
            delays.append(flags.duration(text or "0"))
        except ValueError:
            note = f"argument '{name}' must be a valid golang duration or empty, got \"{text}\"\n"
            return Reply(body=note.encode())
    status = _number(code or "0")
    if status is None:
        return Reply(body=f"argument 'code' must be an integer [0-127] or empty, got \"{code}\"\n".encode())
    say(
        f"Will begin shutdown in {wait or '0s'}, allowing {timeout or '0s'} for connections to close, "
        f"then will exit with {status}"
    )
    program.server.exit_after(delays[1] or 0.001, status)
    return Reply()


def shutdown(program: _Netexec, _: Request) -> Reply:
    say("GET /shutdown")
    program.server.exit_after(0.001, 0)
    return Reply(close=True)


def dial(_: _Netexec, request: Request) -> Reply | Later:
    """/dial?host=&port=&protocol=&request=&tries=: what others answer, as JSON."""
    query = parse_qs(request.target.partition("?")[2])
    host, port, protocol, ask, tries = (
        query.get(name, [""])[0] for name in ("host", "port", "protocol", "request", "tries")
    )
    say(f"GET /dial?host={host}&protocol={protocol}&port={port}&request={ask}&tries={tries}")
    count = _number(tries or "1")
    if count is None:
        return _bad(f'tries parameter is invalid. strconv.Atoi: parsing "{tries}": invalid syntax')
    if not ask:
        return _bad("request parameter not specified. <nil>")
    dialer = dialing.DIALERS.get(protocol.lower() or "http")
    if dialer is None:
        return _bad(f"unsupported protocol. {protocol}")

    def run() -> Reply:
        try:
            number = int(port) if port.isdigit() else socket.getservbyname(port)
            address = sockets.resolve(host, number)[0][1]
        except OSError as problem:
            return _bad(f"host and/or port param are invalid. {problem.strerror or problem}")
        return _json(_dialled(dialer, ask, address, count))

    return Later(run)


def _dialled(dialer: dialing.Dialer, ask: str, address: sockets.Address, tries: int) -> dict[str, list[str]]:
    """As upstream: `responses` is there only if the last answer was not empty."""
    responses: list[str] = []
    failures: list[str] = []
    last = ""
    for _ in range(tries):
        try:
            last = dialer(ask, address)
            responses.append(last)
        except OSError as problem:
            last = ""
            failures.append(str(problem))
    return {**({"responses": responses} if last else {}), **({"errors": failures} if failures else {})}


PAGES: dict[str, Page] = {
    "/clientip": client_ip,
    "/dial": dial,
    "/echo": echo,
    "/exit": leave,
    "/header": header,
    "/healthz": healthz,
    "/hostName": hostname,
    "/hostname": hostname,
    "/redirect": redirect,
    "/serverport": server_port,
    "/shell": shell,
    "/shutdown": shutdown,
    "/upload": upload,
}


def main(arguments: list[str]) -> int:
    """Serve until told to leave."""
    values, _ = flags.parse(arguments, FLAGS)
    server = serving.Server()
    program = _Netexec(server, values["http-override"])
    try:
        _open(server, program, values)
    except OSError as problem:
        say(problem.strerror or str(problem))
        return 1
    delay = values["delay-shutdown"]
    if delay:
        server.on_signal(lambda: server.exit_after(delay, 0))
    return server.run()


def _open(server: serving.Server, program: _Netexec, values: dict[str, Any]) -> None:
    if values["udp-port"] != -1:
        for address in dict.fromkeys(values["udp-listen-addresses"].split(",")):
            server.udp(values["udp-port"], program.datagram, host=address.strip())
            say(f"Started UDP server on port {address} {values['udp-port']}")
        program.ready = True
    if values["sctp-port"] != -1:
        say(server.sctp(values["sctp-port"], program.stream))
        program.ready = True
    tls = None
    if values["tls-cert-file"]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(values["tls-cert-file"], values["tls-private-key-file"] or None)
    server.http(values["http-port"], program.handle, tls=tls)
    say(f"Started HTTP server on port {values['http-port']}")


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _no_integer(name: str, text: str) -> Reply:
    return Reply(body=f"argument '{name}' must be an integer or empty, got \"{text}\"\n".encode())


def _bad(message: str) -> Reply:
    return Reply(400, f"{message}\n".encode())


def _json(value: object, status: int = 200) -> Reply:
    """Go marshals maps with sorted keys and without blanks."""
    return Reply(
        status, json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )


def _form_file(request: Request, name: str) -> bytes | None:
    """The file of that field in a multipart form."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return None
    whole = f"Content-Type: {kind}\r\nMIME-Version: 1.0\r\n\r\n".encode() + request.body
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
    for part in message.walk():
        if part.get_param("name", header="content-disposition") == name and part.get_filename():
            content = part.get_payload(decode=True)
            return content if isinstance(content, bytes) else b""
    return None
