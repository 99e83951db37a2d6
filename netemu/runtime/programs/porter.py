"""agnhost porter: serves the values of SERVE_PORT_80=text and its kind, each on its port."""

import json
import os
import socket
import ssl

from netemu.runtime.programs import flags, serving, sockets
from netemu.runtime.programs.conversations import Reply, Request, say

# Prefix of the variable to what is spoken on the port; the longer ones do not begin with the first.
KINDS = (
    ("SERVE_PORT_", "http"),
    ("SERVE_TCP_PORT_", "http"),
    ("SERVE_UDP_PORT_", "udp"),
    ("SERVE_TLS_PORT_", "tls"),
    ("SERVE_SCTP_PORT_", "sctp"),
)


def main(arguments: list[str]) -> int:
    """What cannot be served is said and left out."""
    values, _ = flags.parse(arguments, {"json-response": False})
    server = serving.Server()
    for variable, text in os.environ.items():
        for prefix, kind in KINDS:
            if variable.startswith(prefix):
                port = variable.removeprefix(prefix)
                try:
                    _serve(server, kind, int(port), text, as_json=values["json-response"])
                except (OSError, ValueError) as problem:
                    say(f'server on port "{port}" failed: {getattr(problem, "strerror", "") or problem}')
    return server.run()


def _serve(server: serving.Server, kind: str, port: int, text: str, *, as_json: bool) -> None:
    body = text.encode(errors="surrogateescape")

    def page(request: Request) -> Reply:
        if as_json:
            answer = json.dumps({"Method": request.method, "Body": text}, separators=(",", ":"))
            return Reply(body=answer.encode(), kind="application/json")
        return Reply(body=body)

    def send(stream: socket.socket, _: sockets.Address) -> None:
        stream.sendall(body)

    if kind == "udp":
        server.udp(port, lambda data, peer: body)
        say(f"Started UDP server on port {port}")
    elif kind == "sctp":
        say(server.sctp(port, send))
    else:
        server.http(port, page, tls=_certificate() if kind == "tls" else None)


def _certificate() -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(
        os.environ.get("CERT_FILE", "localhost.crt"), os.environ.get("KEY_FILE", "localhost.key")
    )
    return tls
