"""When a lab is ready: every node is, and a Service answers by name on every node. Asks; does nothing.

Where netemu provides no pod network, when every node has registered: the rest waits for whoever brings one.

The questions are real packets from sockets in the nodes' network namespaces (RFC 1035 over UDP, TCP).
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address

from netemu.api import core
from netemu.base import backoff
from netemu.client import api, errors
from netemu.kernel import netns
from netemu.lab import config

NAME = f"kubernetes.default.svc.{config.CLUSTER_DOMAIN}"
_ASK_AGAIN = 0.015  # seconds; a question that is refused costs a third of a millisecond
_PATIENCE, _MOST = 0.5, 8.0  # seconds with an answer, twice as long each time: machines may be slow
_KINDS = {socket.AF_INET: 1, socket.AF_INET6: 28}  # A, AAAA
_LENGTHS = {1: 4, 28: 16}
_IN, _RECURSION = 1, 0x0100


Say = Callable[[str], None]


async def wait(
    client: api.Client, lab: config.LabConfig, place_of: Callable[[str], str], said: Say, mark: Say
) -> None:
    """Return when the lab is ready. `place_of` gives a node's network namespace; `said` hears of progress,
    `mark` of each step of it.
    """
    names = {node.name for node in lab.nodes}
    if not lab.network.provided:
        await nodes_seen(client, names, registered, lambda name: mark(f"{name} is registered"))
        said(f"registered: {len(names)} nodes, Ready when somebody has brought their network")
        return
    await nodes_seen(client, names, is_ready, lambda name: mark(f"{name} is Ready"))
    said(f"{len(lab.nodes)} nodes are Ready")

    async def served(name: str) -> None:
        await service_answers(place_of(name), lab)
        mark(f"cluster DNS answers on {name}")

    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(served(name))
    said("cluster DNS answers on every node")


async def nodes_seen(
    client: api.Client, names: set[str], fulfilled: Callable[[core.Node], bool], seen: Say
) -> None:
    """Until each of them has fulfilled that once; `seen` hears of the first time of each."""
    missing = set(names)

    def see(node: core.Node) -> None:
        if node.metadata.name in missing and fulfilled(node):
            missing.remove(node.metadata.name)
            seen(node.metadata.name)

    while True:
        listing = await client.list(core.Node)
        for node in listing.items:
            see(node)
        if not missing:
            return
        try:
            async for event in client.watch(core.Node, revision=listing.revision):
                see(event.object)
                if not missing:
                    return
        except errors.ApiError:
            continue


def registered(node: core.Node) -> bool:
    """It is there, and has what a network needs to begin."""
    return bool(node.spec.podCIDRs)


def is_ready(node: core.Node) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)


async def service_answers(place: str, lab: config.LabConfig) -> None:
    """Until the name of the API's Service resolves at the DNS Service, and what it resolves to accepts."""
    wanted, server = lab.kubernetes_service[0], (lab.dns_service[0], 53)
    family = socket.AF_INET6 if ":" in wanted else socket.AF_INET
    patience = backoff.Backoff(_PATIENCE, limit=_MOST)
    limit = patience.next()
    while True:
        try:
            async with asyncio.timeout(limit):
                if wanted in await _resolve(place, family, server):
                    await _connect(place, family, (wanted, 443))
                    return
        except TimeoutError:
            limit = patience.next()
        except OSError:
            pass
        await asyncio.sleep(_ASK_AGAIN)


async def _resolve(place: str, family: socket.AddressFamily, server: tuple[str, int]) -> tuple[str, ...]:
    loop = asyncio.get_running_loop()
    with _socket(place, family, socket.SOCK_DGRAM) as stream:
        await loop.sock_connect(stream, server)
        await loop.sock_sendall(stream, question(NAME, number=1, kind=_KINDS[family]))
        return answers(await loop.sock_recv(stream, 4096), number=1)


async def _connect(place: str, family: socket.AddressFamily, server: tuple[str, int]) -> None:
    with _socket(place, family, socket.SOCK_STREAM) as stream:
        await asyncio.get_running_loop().sock_connect(stream, server)


def _socket(place: str, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    with netns.inside(place):
        stream = socket.socket(family, kind)
    stream.setblocking(False)
    return stream


def question(name: str, number: int, kind: int = 1) -> bytes:
    """A query for the records of a kind of `name`: A is 1, AAAA 28 (RFC 1035, 3.2.2; RFC 3596, 2.1)."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, _RECURSION, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, _IN)


def answers(message: bytes, number: int) -> tuple[str, ...]:
    """The addresses in an answer to query `number`; none when it is an error, or no answer to it."""
    try:
        echoed, flags, questions, records, _, _ = struct.unpack_from("!6H", message)
        if echoed != number or flags & 0x800F != 0x8000:
            return ()
        at = 12
        for _ in range(questions):
            at = _after_name(message, at) + 4
        found = []
        for _ in range(records):
            at = _after_name(message, at)
            kind, _, _, length = struct.unpack_from("!HHIH", message, at)
            at += 10
            if _LENGTHS.get(kind) == length:
                found.append(str(ip_address(bytes(message[at : at + length]))))
            at += length
    except (struct.error, IndexError, ValueError):
        return ()
    return tuple(found)


def _after_name(message: bytes, at: int) -> int:
    """RFC 1035, 4.1.4: labels until an empty one or a pointer."""
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += message[at] + 1
    return at + 1
