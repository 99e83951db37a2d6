"""Images whose whole purpose is to answer: http-echo, whoami, two echo servers, two hellos, httpbin."""

import json
import os
import secrets
import socket
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

from netemu.runtime.programs import flags, serving, sockets
from netemu.runtime.programs.conversations import Handler, Later, Reply, Request, say


def _run(port: int, handle: Handler, name: str = "") -> int:
    server = serving.Server(name)
    try:
        server.http(port, handle)
    except OSError as problem:
        say(f"listen tcp :{port}: bind: {sockets.reason(problem)}")
        return 1
    return server.run()


def _json(value: object, status: int = 200, *, indent: int | None = None) -> Reply:
    return Reply(status, json.dumps(value, indent=indent).encode() + b"\n", "application/json")


def http_echo(argv: list[str]) -> int:
    """hashicorp/http-echo: one text on every path."""
    values, _ = flags.parse(
        argv[1:],
        {"listen": ":5678", "text": os.environ.get("ECHO_TEXT", ""), "status-code": 200, "version": False},
    )
    if values["version"]:
        print("http-echo v1.0.0")
        return 0
    if not values["text"]:
        print("Missing -text option!")
        return 127
    about = (("X-App-Name", "http-echo"), ("X-App-Version", "1.0.0"))

    def page(request: Request) -> Reply:
        if request.path == "/health":
            return Reply(200, b'{"status":"ok"}\n', headers=about)
        asked = f"{request.method} {request.target}"
        host, client = request.headers.get("host", ""), sockets.text(request.peer)
        say(f'{host} {client} "{asked}" {values["status-code"]}')
        return Reply(values["status-code"], values["text"].encode() + b"\n", headers=about)

    port = int(values["listen"].rpartition(":")[2])
    say(f"[INFO] server is listening on {values['listen']}")
    return _run(port, page)


def whoami(argv: list[str]) -> int:
    """traefik/whoami: who answers, from which addresses, and the request as it came."""
    values, _ = flags.parse(
        argv[1:],
        {
            "port": os.environ.get("WHOAMI_PORT_NUMBER", "80"),
            "name": os.environ.get("WHOAMI_NAME", ""),
            "verbose": False,
        },
    )

    def page(request: Request) -> Reply:
        match request.path:
            case "/health":
                return Reply(200)
            case "/bench":
                return Reply(200, b"1")
            case "/api":
                return _json(_about(request, values["name"]))
        return Reply(200, "\n".join((*_lines(request, values["name"]), "", "")).encode())

    print(f"Starting up on port {values['port']}", flush=True)
    return _run(int(values["port"]), page)


def _about(request: Request, name: str) -> dict[str, Any]:
    return {
        "hostname": serving.hostname(),
        "ip": list(_addresses()),
        "headers": {key.title(): [value] for key, value in request.headers.items() if key != "host"},
        "url": request.target,
        "host": request.headers.get("host", ""),
        "method": request.method,
        "remoteAddr": sockets.text(request.peer),
        **({"name": name} if name else {}),
    }


def _lines(request: Request, name: str) -> Iterator[str]:
    if name:
        yield f"Name: {name}"
    yield f"Hostname: {serving.hostname()}"
    yield from (f"IP: {ip}" for ip in _addresses())
    yield f"RemoteAddr: {sockets.text(request.peer)}"
    yield f"{request.method} {request.target} {request.version}"
    yield f"Host: {request.headers.get('host', '')}"
    yield from sorted(f"{key.title()}: {value}" for key, value in request.headers.items() if key != "host")


def echo_server(_: list[str]) -> int:
    """ealen/echo-server: everything about the request, as JSON, on port $PORT or 80."""

    def page(request: Request) -> Reply:
        query = dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))
        url = {"method": request.method, "baseUrl": "", "originalUrl": request.target, "protocol": "http"}
        found = {
            "host": {
                "hostname": request.headers.get("host", "").rpartition(":")[0]
                or request.headers.get("host", ""),
                "ip": request.peer[0] if ":" in request.peer[0] else f"::ffff:{request.peer[0]}",
                "ips": [],
            },
            "http": url,
            "request": {
                "params": {"0": request.path},
                "query": query,
                "cookies": {},
                "body": request.body.decode(errors="replace"),
                "headers": request.headers,
            },
            "environment": dict(os.environ),
        }
        return _json(found)

    return _run(int(os.environ.get("PORT", "80")), page)


def echoserver(_: list[str]) -> int:
    """registry.k8s.io/echoserver: the request as text, on port 8080."""

    def page(request: Request) -> Reply:
        headers = "\n".join(f"\t{name}={value}" for name, value in sorted(request.headers.items()))
        text = f"""

Hostname: {serving.hostname()}

Pod Information:
\t-no pod information available-

Request Information:
\tclient_address={request.peer[0]}
\tmethod={request.method}
\treal path={request.target}
\tquery={request.target.partition("?")[2]}
\trequest_version={request.version.removeprefix("HTTP/")}
\trequest_scheme=http
\trequest_uri=http://{request.headers.get("host", "")}{request.target}

Request Headers:
{headers}

Request Body:
{request.body.decode(errors="replace") or chr(9) + "-no body in request-"}

"""
        return Reply(200, text.encode(), "text/plain")

    return _run(8080, page, "echoserver")


def hello_app(_: list[str]) -> int:
    """google-samples/hello-app: which version on which pod; the image's tag is the version."""
    version = os.environ.get("HELLO_APP_TAG", "1.0")
    version = version + ".0" if version.count(".") == 1 else version

    def page(request: Request) -> Reply:
        say(f"Serving request: {request.path}")
        return Reply(200, f"Hello, world!\nVersion: {version}\nHostname: {serving.hostname()}\n".encode())

    port = int(os.environ.get("PORT", "8080"))
    say(f"Server listening on port {port}")
    return _run(port, page)


def hello(_: list[str]) -> int:
    """nginxdemos/hello: which address of which pod answered."""

    def page(request: Request) -> Reply:
        date = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        rows = {
            "Server address": sockets.text(request.local),
            "Server name": serving.hostname(),
            "Date": date,
            "URI": request.target,
            "Request ID": secrets.token_hex(16),
        }
        return Reply(
            200, "".join(f"{name}: {value}\n" for name, value in rows.items()).encode(), "text/plain"
        )

    return _run(80, page, "nginx")


def httpbin(_: list[str]) -> int:
    """The parts of httpbin that ask about the network: /get /post /ip /headers /status/N /delay/N ..."""
    return _run(int(os.environ.get("PORT", "80")), _httpbin, "httpbin")


def _httpbin(request: Request) -> Reply | Later:
    first, _, rest = request.path.lstrip("/").partition("/")
    headers = {name.title(): value for name, value in request.headers.items()}
    origin = request.headers.get("x-forwarded-for", request.peer[0])
    url = f"http://{request.headers.get('host', '')}{request.target}"
    about: dict[str, object] = {
        "args": dict(urllib.parse.parse_qsl(request.target.partition("?")[2])),
        "headers": headers,
        "origin": origin,
        "url": url,
    }
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        about["data"] = request.body.decode(errors="replace")
    if first == "delay" and rest.replace(".", "", 1).isdigit():
        return Later(lambda: _delayed(min(float(rest), 10), _json(about, indent=2)))
    if first == "status" and rest.isdigit():
        return Reply(int(rest))
    pages: dict[str, object] = {
        "ip": {"origin": origin},
        "headers": {"headers": headers},
        "user-agent": {"user-agent": request.headers.get("user-agent", "")},
        "uuid": {"uuid": str(uuid.uuid4())},
        "hostname": {"hostname": serving.hostname()},
        "anything": {**about, "method": request.method},
    }
    if first in ("get", "post", "put", "patch", "delete"):
        return _json(about, indent=2) if request.method.lower() == first else Reply(405)
    return _json(pages[first], indent=2) if first in pages else Reply(404 if first else 200)


def _delayed(seconds: float, reply: Reply) -> Reply:
    time.sleep(seconds)
    return reply


def _addresses() -> Iterator[str]:
    """This pod's: those of lo, and those it would speak from."""
    yield "127.0.0.1"
    yield "::1"
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))  # sends nothing
                yield str(probe.getsockname()[0])
        except OSError:
            continue
