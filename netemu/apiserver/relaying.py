"""Requests passed on to another HTTP server, and its answers back: which header fields go along.

Knows HTTP only (RFC 9110 7.6). Where to, and what for, others know.
"""

from __future__ import annotations

from netemu.http import client, messages, upgrades

# RFC 9110 7.6.1, and what is between the client and this server alone.
_OWN = (
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
    *("trailer", "transfer-encoding", "upgrade", "host", "content-length", "authorization", "expect"),
)
_HOPS = _OWN[:9]
_FORWARDED = "x-forwarded-"


def forward(request: messages.Request, *, without: tuple[str, ...] = ()) -> messages.Fields:
    """The header fields to pass on, and for whom; none that begin as one of `without`."""
    switching = ("connection", "upgrade") if upgrades.wanted(request) else ()
    dropped = (_FORWARDED, *without)
    kept = tuple(
        (name, value)
        for name, value in request.headers
        if (name not in _OWN or name in switching) and not name.startswith(dropped)
    )
    before = request.header("x-forwarded-for")
    chain = f"{before}, {request.peer.address}" if before else request.peer.address
    about = (("x-forwarded-uri", request.path), ("x-forwarded-host", request.header("host")))
    return (*kept, ("x-forwarded-for", chain), *about, ("x-forwarded-proto", "https"))


def returned(response: messages.Response) -> messages.Fields:
    """The header fields to pass back."""
    left = (*_HOPS, "content-length", "date")
    return tuple((name, value) for name, value in response.headers if name not in left)


async def send(pool: client.Connections, request: messages.Request) -> messages.Response:
    """Ask; what a HEAD asks for is the head of a GET, whose body is not read. client.Unreachable."""
    if request.method != "HEAD":
        return await pool.send(request)
    response = await pool.send(messages.Request("GET", request.path, request.query, request.headers))
    await messages.discard(response.body)
    return messages.Response(response.status, response.headers)
