"""wget as busybox has it, for hosts without one."""

import os
import socket
import sys
import urllib.parse

from netemu.runtime.programs import flags, sockets, web_client

FLAGS = {
    "quiet": False,
    "output-document": "",
    "timeout": "900",
    "tries": 1,
    "server-response": False,
    "spider": False,
    "header": [""],
    "post-data": "",
    "user-agent": "Wget",
    "no-check-certificate": False,
    "continue": False,
    "inet4-only": False,
    "inet6-only": False,
    "directory-prefix": "",
}
SHORT = {"q": "quiet", "O": "output-document", "T": "timeout", "t": "tries", "S": "server-response"}
SHORT |= {"U": "user-agent", "c": "continue", "4": "inet4-only", "6": "inet6-only", "P": "directory-prefix"}
TAKES_VALUE = "OTtUP"


def main(argv: list[str]) -> int:
    values, urls = flags.parse(flags.unpack(argv[1:], "qSc46", TAKES_VALUE), FLAGS, SHORT)
    if not urls:
        flags.fail("wget: missing URL")
    post = values["post-data"]
    headers = [("User-Agent", values["user-agent"])]
    headers += [(n.strip(), v.strip()) for n, _, v in (h.partition(":") for h in values["header"] if h)]
    if post:
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    families = (
        {True: socket.AF_INET}
        if values["inet4-only"]
        else {True: socket.AF_INET6}
        if values["inet6-only"]
        else {}
    )
    for url in urls:
        ask = web_client.Ask(
            url,
            "POST" if post else "HEAD" if values["spider"] else "GET",
            (*headers, ("Connection", "close")),
            post.encode() if post else None,
            timeout=float(values["timeout"]) or None,
            family=families.get(True, socket.AF_UNSPEC),
            insecure=values["no-check-certificate"],
        )
        try:
            _fetch(ask, values)
        except (OSError, ValueError) as problem:
            print(f"wget: {_explained(problem, ask)}", file=sys.stderr)
            return 1
    return 0


def _fetch(ask: web_client.Ask, values: dict[str, object]) -> None:
    got = web_client.follow(ask, 5)[-1]
    if not values["quiet"]:
        host = web_client.split(got.url)[1]
        print(f"Connecting to {host} ({sockets.text(got.peer)})", file=sys.stderr)
    if values["server-response"]:
        print(f"  HTTP/1.1 {got.status} {got.phrase}", file=sys.stderr)
        print("".join(f"  {name}: {value}\n" for name, value in got.headers), end="", file=sys.stderr)
    if got.status >= 400:
        raise ValueError(f"server returned error: HTTP/1.1 {got.status} {got.phrase}")
    if values["spider"]:
        if not values["quiet"]:
            print("remote file exists", file=sys.stderr)
        return
    path = str(values["output-document"])
    if path == "-":
        sys.stdout.buffer.write(got.body)
        sys.stdout.buffer.flush()
        return
    path = path or os.path.basename(urllib.parse.urlsplit(got.url).path) or "index.html"
    with open(os.path.join(str(values["directory-prefix"]), path), "wb") as file:
        file.write(got.body)
    if not values["quiet"]:
        print(f"'{path}' saved", file=sys.stderr)


def _explained(problem: Exception, ask: web_client.Ask) -> str:
    """busybox's words."""
    if isinstance(problem, sockets.Unresolved):
        return f"bad address '{web_client.split(ask.url)[1]}'"
    if isinstance(problem, web_client.NoConnection):
        if problem.timed_out:
            return "download timed out"
        return f"can't connect to remote host ({problem.peer[0]}): {os.strerror(problem.errno or 0)}"
    if isinstance(problem, web_client.BrokenOff):
        return "download timed out" if problem.timed_out else f"error getting response: {problem.strerror}"
    return str(problem)
