"""agnhost serve-hostname: the pod's name over HTTP, or over bare TCP and UDP."""

import socket

from netemu.runtime.programs import flags, serving, sockets
from netemu.runtime.programs.conversations import Reply, Request, say

FLAGS = {"tcp": False, "udp": False, "http": True, "close": False, "port": 9376}


def main(arguments: list[str]) -> int:
    """After SIGTERM it goes on for up to 60 s, as upstream: it shows what graceful termination is for."""
    values, _ = flags.parse(arguments, FLAGS)
    if values["http"] and (values["tcp"] or values["udp"]):
        say("Can't server TCP/UDP mode and HTTP mode at the same time")
        return 1
    name, port, server = serving.hostname().encode(), values["port"], serving.Server()

    def page(request: Request) -> Reply:
        say(f"HTTP request from {sockets.text(request.peer)}")
        return Reply(body=name, close=values["close"])

    def greet(stream: socket.socket, peer: sockets.Address) -> None:
        say(f"TCP request from {sockets.text(peer)}")
        stream.sendall(name)

    def answer(_: bytes, peer: sockets.Address) -> bytes:
        say(f"UDP request from {sockets.text(peer)}")
        return name

    def terminate() -> None:
        say("Shutting down after receiving signal: terminated.")
        say("Awaiting pod deletion.")
        server.exit_after(60, 0)

    try:
        if values["tcp"]:
            server.tcp(port, greet)
        if values["udp"]:
            server.udp(port, answer)
        if values["http"]:
            server.http(port, page)
    except OSError as problem:
        say(f"Error from net.Listen(): {sockets.reason(problem)}")
        return 1
    say(f"Serving on port {port}.")
    server.on_signal(terminate)
    return server.run()
