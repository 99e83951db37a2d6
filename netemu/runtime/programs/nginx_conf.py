"""nginx's configuration files: the grammar, and the servers in them. Knows files; serves nothing."""

import glob
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

ROOT = "/usr/share/nginx/html"  # where the image's own server has its pages
# What is played; and what has no consequence for what is answered here.
KNOWN = frozenset((
    "listen", "server_name", "root", "index", "return", "alias", "proxy_pass", "add_header", "default_type",
    "location", "server", "include",
))  # fmt: skip
QUIET = frozenset((
    "user", "worker_processes", "error_log", "pid", "events", "worker_connections", "log_format",
    "access_log", "sendfile", "tcp_nopush", "keepalive_timeout", "gzip", "types", "proxy_set_header",
    "server_tokens", "proxy_http_version", "charset", "proxy_connect_timeout", "proxy_read_timeout", "daemon",
    "error_page",
))  # fmt: skip
_TOKEN = re.compile(
    r"""\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([;{}])|((?:[^\s;{}"'\\$]|\\.|\$\{\w+\}|\$)+)"""
)


class Directive(NamedTuple):
    """One statement; `block` is what stands in its braces."""

    name: str
    arguments: tuple[str, ...]
    block: "tuple[Directive, ...]" = ()

    def all(self, name: str) -> "list[Directive]":
        return [child for child in self.block if child.name == name]

    def first(self, name: str, default: str) -> str:
        found = self.all(name)
        return found[0].arguments[0] if found and found[0].arguments else default


class BadConfiguration(ValueError):
    """What nginx would refuse to start with."""


def parse(text: str) -> tuple[Directive, ...]:
    """nginx's grammar: words, then ; or a block. BadConfiguration says what is wrong."""
    tokens = list(_tokens(text))
    found, rest = _block(tokens, 0, nested=False)
    if rest != len(tokens):
        raise BadConfiguration('unexpected "}"')
    return found


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Each word or mark, and whether it is a mark."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadConfiguration(f"unexpected {text[at]!r} in line {text.count(chr(10), 0, at) + 1}")
        at = match.end()
        double, single, mark, word = match.groups()
        if mark:
            yield mark, True
        elif word is not None:
            yield word, False
        elif double is not None or single is not None:
            yield re.sub(r"\\(.)", _unescape, double if double is not None else single), False


def _unescape(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1])


def _block(tokens: list[tuple[str, bool]], at: int, *, nested: bool) -> tuple[tuple[Directive, ...], int]:
    found: list[Directive] = []
    words: list[str] = []
    while at < len(tokens):
        text, is_mark = tokens[at]
        at += 1
        if not is_mark:
            words.append(text)
        elif text == "}":
            if words or not nested:
                raise BadConfiguration('unexpected "}"')
            return tuple(found), at
        elif not words:
            raise BadConfiguration(f'unexpected "{text}"')
        else:
            inner: tuple[Directive, ...] = ()
            if text == "{":
                inner, at = _block(tokens, at, nested=True)
            found.append(Directive(words[0], tuple(words[1:]), inner))
            words = []
    if words or nested:
        raise BadConfiguration('unexpected end of file, expecting ";" or "}"')
    return tuple(found), at


def configured(conf: str = "/etc/nginx/nginx.conf", directory: str = "/etc/nginx/conf.d") -> list[Directive]:
    """The servers of a mounted configuration; the image's own default one when nothing is mounted."""
    tops = (
        [_read(conf)]
        if os.path.isfile(conf)
        else [_read(p) for p in sorted(glob.glob(f"{directory}/*.conf"))]
    )
    servers = [server for top in tops for server in _servers(top)]
    return servers or [Directive("server", (), (Directive("listen", ("80",)), Directive("root", (ROOT,))))]


def _read(path: str) -> tuple[Directive, ...]:
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            return parse(file.read())
        except BadConfiguration as problem:
            raise BadConfiguration(f"{problem} in {path}") from None


def _servers(block: tuple[Directive, ...]) -> Iterator[Directive]:
    for directive in block:
        if directive.name == "server":
            yield directive
        elif directive.name == "http":
            yield from _servers(directive.block)
        elif directive.name == "include":
            for path in sorted(glob.glob(os.path.join("/etc/nginx", directive.arguments[0]))):
                if not path.endswith("mime.types"):
                    yield from _servers(_read(path))


def port_of(listen: str) -> int:
    """80 of `80`, `*:80`, `10.0.0.1:80`, `[::]:80`."""
    text = listen.rpartition(":")[2] if ":" in listen and not listen.endswith("]") else listen
    return int(text) if text.isdigit() else 80


def left_out(block: tuple[Directive, ...]) -> Iterator[str]:
    """The names of directives in servers and locations that are not played."""
    for directive in block:
        if directive.name not in KNOWN | QUIET:
            yield directive.name
        if directive.name in ("server", "location"):
            yield from left_out(directive.block)
