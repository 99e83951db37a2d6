"""nginx's image: its welcome page on port 80, mounted pages and the part of its configuration examples use.

Reads /etc/nginx/nginx.conf or /etc/nginx/conf.d/*.conf when mounted: servers with listen, server_name, root,
index, add_header, default_type and locations with return, root, alias, proxy_pass. Says what it leaves out.
"""

import http.client
import os
import re
import time

from netemu.runtime.programs import conversations, files, nginx_conf, serving, sockets
from netemu.runtime.programs.conversations import Later, Reply, Request

VERSION = "nginx/1.27.0"
WELCOME = b"""<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page is served by netemu's look-alike of the nginx image.</p>
</body>
</html>
"""
PHRASES = {
    301: "Moved Permanently",
    403: "Forbidden",
    404: "Not Found",
    405: "Not Allowed",
    502: "Bad Gateway",
}


class Site:
    """The servers of one port, chosen among by the Host header; the first is the default."""

    def __init__(self, servers: list[nginx_conf.Directive]) -> None:
        self.servers = servers

    def handle(self, request: Request) -> Reply | Later:
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        named = (s for s in self.servers if any(host in names.arguments for names in s.all("server_name")))
        server = next(named, self.servers[0])
        location = _location(server, request.path)
        reply = _answer(server, location, request)
        if isinstance(reply, Later):
            return Later(lambda: _logged(request, reply.make()))
        added = tuple(
            (d.arguments[0], fill(d.arguments[1], request))
            for d in (*server.all("add_header"), *location.all("add_header"))
            if len(d.arguments) > 1
        )
        return _logged(request, reply._replace(headers=(*reply.headers, *added)))


def _location(server: nginx_conf.Directive, path: str) -> nginx_conf.Directive:
    """nginx's order: exact, then ^~ or the regular expressions as they stand, then the longest prefix."""
    longest = nginx_conf.Directive("location", ("",))
    expressions: list[nginx_conf.Directive] = []
    for location in server.all("location"):
        how, _, pattern = " ".join(location.arguments).rpartition(" ")
        if how == "=" and path == pattern:
            return location
        if how in ("~", "~*"):
            expressions.append(location)
        elif how in ("", "^~") and path.startswith(pattern) and len(pattern) >= len(longest.arguments[-1]):
            longest = location
    if longest.arguments[0] != "^~":
        for location in expressions:
            ignoring = re.IGNORECASE if location.arguments[0] == "~*" else 0
            if re.search(location.arguments[1], path, ignoring):
                return location
    return longest


def _answer(server: nginx_conf.Directive, location: nginx_conf.Directive, request: Request) -> Reply | Later:
    for directive in (*location.all("return"), *server.all("return")):
        return _returned(
            directive, location.first("default_type", server.first("default_type", "text/plain")), request
        )
    passing = location.all("proxy_pass")
    if passing:
        prefix = location.arguments[-1] if location.arguments else ""
        target = fill(passing[0].arguments[0], request)
        return Later(lambda: _proxied(target, prefix, request))
    index = next(
        (d.arguments for d in (*location.all("index"), *server.all("index"))), ("index.html", "index.htm")
    )
    path, root = request.path, location.first("root", server.first("root", nginx_conf.ROOT))
    alias = location.first("alias", "")
    if alias:
        path, root = path.removeprefix(location.arguments[-1]), alias
    reply = files.serve(root, request, path, _refuse, index)
    welcome = (
        reply.status in (403, 404)
        and path in ("/", "/index.html")
        and root == nginx_conf.ROOT
        and not os.path.isdir(nginx_conf.ROOT)
    )
    return Reply(200, WELCOME, "text/html") if welcome else reply


def _returned(directive: nginx_conf.Directive, kind: str, request: Request) -> Reply:
    first, *rest = directive.arguments
    if not first.isdigit():
        return _refuse(302)._replace(headers=(("Location", fill(first, request)),))
    status, text = int(first), fill(rest[0], request) if rest else ""
    if status in (301, 302, 303, 307, 308):
        return _refuse(status)._replace(headers=(("Location", text),))
    return Reply(status, text.encode(), kind) if rest else _refuse(status)


def _proxied(target: str, prefix: str, request: Request) -> Reply:
    """A proxy_pass with a path replaces the location's prefix by it; one without keeps the request's path."""
    match = re.fullmatch(r"http://([^/]+)(/.*)?", target)
    if match is None:
        return _refuse(502)
    authority, path = match.groups()
    asked = request.target if path is None else path + request.target.removeprefix(prefix)
    passed = {
        n: v
        for n, v in request.raw_headers
        if n.lower() not in ("connection", "host", "content-length", "expect")
    }
    try:
        host, port = sockets.split(authority if re.search(r":\d+$", authority) else f"{authority}:80")
        connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=60)
        try:
            connection.request(request.method, asked, request.body or None, {**passed, "Host": authority})
            answer = connection.getresponse()
            kept = tuple(
                (n, v)
                for n, v in answer.getheaders()
                if n.lower()
                not in ("connection", "content-length", "content-type", "transfer-encoding", "server", "date")
            )
            return Reply(answer.status, answer.read(), answer.headers.get("Content-Type", ""), kept)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as problem:
        conversations.say(
            f'[error] connect() failed ({problem}) while connecting to upstream, upstream: "{target}"'
        )
        return _refuse(502)


def fill(text: str, request: Request) -> str:
    """The variables a test page is likely to show."""
    values = {
        "hostname": serving.hostname(),
        "remote_addr": request.peer[0],
        "remote_port": str(request.peer[1]),
        "server_addr": request.local[0],
        "server_port": str(request.local[1]),
        "host": request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", ""),
        "uri": request.path,
        "request_uri": request.target,
        "request_method": request.method,
        "scheme": "http",
        "nginx_version": VERSION.partition("/")[2],
        "args": request.target.partition("?")[2],
    }

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name.startswith("http_"):
            return request.headers.get(name[5:].replace("_", "-"), "")
        return values.get(name, "")

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, text)


def _refuse(status: int) -> Reply:
    title = f"{status} {PHRASES.get(status) or http.client.responses.get(status, '')}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{VERSION}</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, page.encode(), "text/html")


def _logged(request: Request, reply: Reply) -> Reply:
    """The image's access log (its `main` format) goes to stdout."""
    date = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    seen = (request.headers.get(name, "-") for name in ("referer", "user-agent", "x-forwarded-for"))
    tail = " ".join(f'"{value}"' for value in seen)
    asked = f"{request.method} {request.target} {request.version}"
    line = f'{request.peer[0]} - - [{date}] "{asked}" {reply.status} {len(reply.body)} {tail}\n'
    os.write(1, line.encode(errors="replace"))
    return reply


def main(argv: list[str]) -> int:
    """Serve; `-t` only checks the configuration, `-v` says the version."""
    if "-v" in argv:
        os.write(2, f"nginx version: {VERSION}\n".encode())
        return 0
    try:
        servers = nginx_conf.configured()
        ports: dict[int, list[nginx_conf.Directive]] = {}
        for server in servers:
            for listen in server.all("listen") or [nginx_conf.Directive("listen", ("80",))]:
                found = ports.setdefault(nginx_conf.port_of(listen.arguments[0]), [])
                if server not in found:
                    found.append(server)
    except (nginx_conf.BadConfiguration, OSError) as problem:
        conversations.say(f"[emerg] {problem}")
        return 1
    if "-t" in argv:
        os.write(2, b"nginx: configuration file /etc/nginx/nginx.conf test is successful\n")
        return 0
    for name in dict.fromkeys(nginx_conf.left_out(tuple(servers))):
        conversations.say(f'[warn] directive "{name}" is not played by netemu')
    process = serving.Server(VERSION)
    try:
        for port, sites in ports.items():
            process.http(port, Site(sites).handle)
    except OSError as problem:
        conversations.say(f"[emerg] bind() failed: {sockets.reason(problem)}")
        return 1
    conversations.say(f"[notice] {VERSION} (netemu)")
    process.on_quit()
    return process.run()
