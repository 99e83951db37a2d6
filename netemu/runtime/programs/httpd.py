"""Apache's image, and busybox httpd: files over HTTP."""

from netemu.runtime.programs import files, flags, serving, sockets
from netemu.runtime.programs.conversations import Reply, Request, say

APACHE_ROOT = "/usr/local/apache2/htdocs"
IT_WORKS = b"<html><body><h1>It works!</h1></body></html>\n"


def main(argv: list[str]) -> int:
    """busybox httpd [-f] [-p [IP:]PORT] [-h DIRECTORY] [-v]; it always stays in the foreground."""
    values, _ = flags.parse(
        _split(argv[1:]),
        {"f": False, "v": False, "p": "80", "h": ".", "c": "", "u": ""},
    )
    host, _, port = str(values["p"]).rpartition(":")
    return _serve(int(port), values["h"], b"", host=host.strip("[]"), loud=values["v"])


def apache(_: list[str]) -> int:
    """httpd-foreground: /usr/local/apache2/htdocs, on port 80, or the page that says it works."""
    return _serve(80, APACHE_ROOT, IT_WORKS, name="Apache/2.4.62 (Unix)", loud=True)


def _split(words: list[str]) -> list[str]:
    """-p8080 as -p 8080, -fv as -f -v."""
    found: list[str] = []
    for word in words:
        if len(word) > 2 and word[0] == "-" and word[1] in "phcu":
            found += [word[:2], word[2:]]
        elif len(word) > 2 and word[0] == "-" and set(word[1:]) <= set("fiv"):
            found += [f"-{letter}" for letter in word[1:] if letter != "i"]
        else:
            found.append(word)
    return found


def _serve(
    port: int, root: str, default: bytes, *, host: str = "", name: str = "", loud: bool = False
) -> int:
    server = serving.Server(name)

    def refuse(status: int) -> Reply:
        return Reply(status, f"<html><body><h1>{status}</h1></body></html>\n".encode(), "text/html")

    def page(request: Request) -> Reply:
        reply = files.serve(root, request, request.path, refuse)
        if default and reply.status in (403, 404) and request.path in ("/", "/index.html"):
            reply = Reply(200, default, "text/html")
        if loud:
            say(f'{sockets.text(request.peer)} "{request.method} {request.target}" {reply.status}')
        return reply

    try:
        server.http(port, page, host=host)
    except OSError as problem:
        say(f"httpd: bind: {sockets.reason(problem)}")
        return 1
    server.on_quit()
    return server.run()
