"""curl, the part of it that network examples use, for hosts without one. Exit codes are curl's."""

import socket
import sys

from netemu.runtime.programs import flags, sockets, web_client

FLAGS = {
    "silent": False,
    "show-error": False,
    "output": "",
    "write-out": "",
    "head": False,
    "include": False,
    "request": "",
    "data": [""],
    "data-binary": [""],
    "json": "",
    "header": [""],
    "insecure": False,
    "max-time": "",
    "connect-timeout": "",
    "location": False,
    "verbose": False,
    "fail": False,
    "user-agent": "curl/8.9.1",
    "resolve": [""],
    "ipv4": False,
    "ipv6": False,
    "globoff": False,
    "get": False,
    "retry": 0,
    "retry-delay": "",
    "retry-connrefused": False,
    "no-progress-meter": False,
    "version": False,
    "http1.1": False,
    "noproxy": "",
    "url": "",
    "max-redirs": 50,
}
SHORT = dict(
    zip(
        "sSowIiXdHkmLvfA46gG",
        (
            *("silent", "show-error", "output", "write-out", "head", "include", "request", "data", "header"),
            *(
                "insecure",
                "max-time",
                "location",
                "verbose",
                "fail",
                "user-agent",
                "ipv4",
                "ipv6",
                "globoff",
                "get",
            ),
        ),
        strict=True,
    )
)
SWITCHES, TAKES_VALUE = "sSIikLvf46gG", "owXdHmA"
RESOLVE, CONNECT, HTTP, TIMEOUT, EMPTY, TLS, RECEIVE, BAD_URL = 6, 7, 22, 28, 52, 60, 56, 3


def main(argv: list[str]) -> int:
    values, urls = flags.parse(flags.unpack(argv[1:], SWITCHES, TAKES_VALUE), FLAGS, SHORT)
    if values["version"]:
        print("curl 8.9.1 (netemu) libcurl/8.9.1\nProtocols: http https")
        return 0
    urls += [values["url"]] if values["url"] else []
    if not urls:
        print("curl: try 'curl --help' for more information", file=sys.stderr)
        return 2
    code = 0
    for url in urls:
        for _ in range(values["retry"] + 1):
            code = _one(url, values)
            if code in (0, HTTP) or (code == CONNECT and not values["retry-connrefused"]):
                break
    return code


def _one(url: str, values: dict[str, object]) -> int:
    try:
        answers = web_client.follow(
            _ask(url, values), int(str(values["max-redirs"])) if values["location"] else 0
        )
    except (OSError, ValueError) as problem:
        code, words = _explained(problem, url, values)
        if not values["silent"] or values["show-error"]:
            print(f"curl: ({code}) {words}", file=sys.stderr)
        _write_out(str(values["write-out"]), None)
        return code
    got = answers[-1]
    if values["verbose"]:
        host = web_client.split(got.url)[1]
        print(
            f"* Connected to {host} ({got.peer[0]}) port {got.peer[1]}\n< HTTP/1.1 {got.status} {got.phrase}",
            file=sys.stderr,
        )
        print("".join(f"< {name}: {value}\n" for name, value in got.headers), file=sys.stderr)
    failed = bool(values["fail"]) and got.status >= 400
    if failed and (not values["silent"] or values["show-error"]):
        print(f"curl: ({HTTP}) The requested URL returned error: {got.status}", file=sys.stderr)
    _deliver(b"" if failed else _shown(answers, values), str(values["output"]))
    _write_out(str(values["write-out"]), got)
    return HTTP if failed else 0


def _ask(url: str, values: dict[str, object]) -> web_client.Ask:
    def texts(name: str) -> list[str]:
        found = values[name]
        assert isinstance(found, list)
        return [text for text in found if text]

    data = "&".join(_content(text) for text in (*texts("data"), *texts("data-binary"))) or str(values["json"])
    headers = {"User-Agent": str(values["user-agent"]), "Accept": "*/*"}
    if data and not values["get"]:
        headers["Content-Type"] = (
            "application/json" if values["json"] else "application/x-www-form-urlencoded"
        )
    for text in texts("header"):
        name, _, value = text.partition(":")
        for known in [known for known in headers if known.lower() == name.strip().lower()]:
            del headers[known]
        headers[name.strip()] = value.strip()
    if data and values["get"]:
        url += ("&" if "?" in url else "?") + data
    posts = bool(data) and not values["get"]
    return web_client.Ask(
        url,
        str(values["request"]) or ("HEAD" if values["head"] else "POST" if posts else "GET"),
        tuple(headers.items()),
        data.encode() if posts else None,
        timeout=float(str(values["max-time"])) if values["max-time"] else None,
        connecting=float(str(values["connect-timeout"])) if values["connect-timeout"] else None,
        family=socket.AF_INET if values["ipv4"] else socket.AF_INET6 if values["ipv6"] else socket.AF_UNSPEC,
        insecure=bool(values["insecure"]),
        resolve=tuple(_pinned(text) for text in texts("resolve")),
    )


def _content(text: str) -> str:
    if not text.startswith("@"):
        return text
    with open(0 if text == "@-" else text[1:], encoding="utf-8", closefd=text != "@-") as file:
        return file.read()


def _pinned(text: str) -> tuple[str, int, str]:
    """HOST:PORT:ADDRESS."""
    host, port, address = text.split(":", 2)
    return host, int(port), address.strip("[]")


def _shown(answers: tuple[web_client.Got, ...], values: dict[str, object]) -> bytes:
    if not (values["head"] or values["include"]):
        return answers[-1].body
    heads = [
        f"HTTP/1.1 {got.status} {got.phrase}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in got.headers) + "\r\n"
        for got in answers
    ]
    return "".join(heads).encode("latin-1") + (b"" if values["head"] else answers[-1].body)


def _deliver(content: bytes, path: str) -> None:
    if path in ("", "-"):
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        with open(path, "wb") as file:
            file.write(content)


def _write_out(template: str, got: web_client.Got | None) -> None:
    if not template:
        return
    known: dict[str, object] = {
        "http_code": "000",
        "response_code": "000",
        "size_download": 0,
        "time_total": "0.000000",
        "time_connect": "0.000000",
        "remote_ip": "",
        "remote_port": 0,
        "local_ip": "",
        "local_port": 0,
        "url_effective": "",
    }
    if got:
        known |= {
            "http_code": f"{got.status:03d}",
            "response_code": f"{got.status:03d}",
            "size_download": len(got.body),
        }
        known |= {
            "time_total": f"{got.total:.6f}",
            "time_connect": f"{got.connected:.6f}",
            "url_effective": got.url,
        }
        known |= dict(
            zip(("remote_ip", "remote_port", "local_ip", "local_port"), (*got.peer, *got.local), strict=True)
        )
    for name, value in known.items():
        template = template.replace(f"%{{{name}}}", str(value))
    for escape, character in (("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ("%%", "%")):
        template = template.replace(escape, character)
    sys.stdout.write(template)
    sys.stdout.flush()


def _explained(problem: Exception, url: str, values: dict[str, object]) -> tuple[int, str]:
    if isinstance(problem, web_client.BadUrl):
        return BAD_URL, f"URL rejected: {problem}"
    host, port = web_client.split(url)[1:3]
    if isinstance(problem, sockets.Unresolved):
        return RESOLVE, f"Could not resolve host: {host}"
    if isinstance(problem, web_client.NoConnection):
        if problem.timed_out:
            return TIMEOUT, f"Failed to connect to {host} port {port}: Timeout was reached"
        return CONNECT, f"Failed to connect to {host} port {port}: {(problem.strerror or '').capitalize()}"
    if isinstance(problem, web_client.BrokenOff):
        if problem.timed_out:
            return (
                TIMEOUT,
                f"Operation timed out after {float(str(values['max-time'] or 0)) * 1000:.0f} milliseconds",
            )
        if problem.tls:
            return TLS, f"SSL certificate problem: {problem.strerror}"
        return (
            (EMPTY, "Empty reply from server")
            if problem.empty
            else (RECEIVE, f"Recv failure: {problem.strerror}")
        )
    return RECEIVE, str(problem)
