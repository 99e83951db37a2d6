"""nc, what busybox's and OpenBSD's have in common and examples use, for hosts without one."""

import os
import select
import socket
import sys

from netemu.runtime.programs import flags, sockets

SHORT = {
    "l": "listen",
    "p": "port",
    "u": "udp",
    "z": "zero",
    "v": "verbose",
    "w": "wait",
    "k": "keep",
    "n": "numeric",
}
SHORT |= {"e": "execute", "4": "four", "6": "six", "q": "quit", "N": "shutdown"}
FLAGS = {
    "listen": False,
    "port": "",
    "udp": False,
    "zero": False,
    "verbose": False,
    "wait": "",
    "keep": False,
    "numeric": False,
    "execute": "",
    "four": False,
    "six": False,
    "quit": "",
    "shutdown": False,
}


def main(argv: list[str]) -> int:
    """nc [-uzv] [-w S] HOST PORT[-PORT], nc -l[k] [-p] PORT [-e PROGRAM]; 1 when there is no connection."""
    words = flags.unpack(argv[1:], "luzvkn46N", "pweq")
    program: list[str] = []
    if "-e" in words:  # what follows belongs to the program
        at = words.index("-e")
        program, words = words[at + 1 :], words[:at]
    values, rest = flags.parse(words, FLAGS, SHORT)
    timeout = float(values["wait"]) if values["wait"] else None
    kind = socket.SOCK_DGRAM if values["udp"] else socket.SOCK_STREAM
    if values["listen"]:
        text = values["port"] or (rest[-1] if rest else "")
        return _listen(int(text), kind, program, keep=values["keep"], loud=values["verbose"])
    if len(rest) != 2:
        flags.fail("nc: usage: nc [-luzvk] [-w SECONDS] [-p PORT] [HOST] [PORT]")
    first, _, last = rest[1].partition("-")
    if values["zero"]:
        results = [
            _scan(rest[0], port, kind, timeout, loud=values["verbose"])
            for port in range(int(first), int(last or first) + 1)
        ]
        return 0 if any(results) else 1
    try:
        sock = sockets.connect(rest[0], int(first), timeout, kind)
    except OSError as problem:
        _refused(rest[0], int(first), problem)
        return 1
    if values["verbose"]:
        print(f"{rest[0]} ({sock.getpeername()[0]}:{first}) open", file=sys.stderr)
    with sock:
        return _serve(sock, program) if program else _copy(sock, timeout)


def _scan(host: str, port: int, kind: socket.SocketKind, timeout: float | None, *, loud: bool) -> bool:
    try:
        with sockets.connect(host, port, timeout, kind) as sock:
            if kind == socket.SOCK_DGRAM and not _udp_answers(sock):
                raise ConnectionRefusedError(111, "Connection refused")
            if loud:
                print(f"{host} ({sock.getpeername()[0]}:{port}) open", file=sys.stderr)
            return True
    except OSError as problem:
        if loud:
            _refused(host, port, problem)
        return False


def _udp_answers(sock: socket.socket) -> bool:
    """A port that is shut says so; silence counts as open."""
    sock.settimeout(0.5)
    try:
        sock.send(b"\n")
        sock.recv(1)
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def _refused(host: str, port: int, problem: OSError) -> None:
    if isinstance(problem, sockets.Unresolved):
        print(f"nc: bad address '{host}'", file=sys.stderr)
    else:
        why = "Connection timed out" if isinstance(problem, TimeoutError) else os.strerror(problem.errno or 0)
        print(f"nc: {host} ({host}:{port}): {why}", file=sys.stderr)


def _listen(port: int, kind: socket.SocketKind, program: list[str], *, keep: bool, loud: bool) -> int:
    with sockets.listen(port, kind) as listener:
        listener.setblocking(True)
        if loud:
            print(f"listening on [::]:{port} ...", file=sys.stderr)
        if kind == socket.SOCK_DGRAM:
            _, peer = listener.recvfrom(65535, socket.MSG_PEEK)
            listener.connect(peer)
            return _serve(listener, program) if program else _copy(listener, None)
        while True:
            stream, peer = listener.accept()
            if loud:
                print(f"connect to [::]:{port} from {sockets.text(sockets.plain(peer))}", file=sys.stderr)
            with stream:
                code = _serve(stream, program) if program else _copy(stream, None)
            if not keep:
                return code


def _serve(sock: socket.socket, program: list[str]) -> int:
    """The program talks to the other side."""
    actions = [(os.POSIX_SPAWN_DUP2, sock.fileno(), fd) for fd in (0, 1, 2)]
    pid = os.posix_spawnp(program[0], program, os.environ, file_actions=actions)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _copy(sock: socket.socket, timeout: float | None) -> int:
    """stdin to the other side and back, until that ends, or nothing comes for `timeout` seconds."""
    sources = [sock.fileno(), 0]
    sock.setblocking(True)
    while True:
        ready, _, _ = select.select(sources, [], [], timeout)
        if not ready:
            return 0
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if data:
                sock.sendall(data)
            else:
                sources.remove(0)
                if sock.type == socket.SOCK_STREAM:
                    sock.shutdown(socket.SHUT_WR)
        if sock.fileno() in ready:
            try:
                data = sock.recv(1 << 16)
            except OSError as problem:
                print(f"nc: {os.strerror(problem.errno or 0)}", file=sys.stderr)
                return 1
            if not data and sock.type == socket.SOCK_STREAM:
                return 0
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
