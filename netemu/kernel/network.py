"""The network of one namespace, observed and changed. Knows rtnetlink's conversation; decides nothing.

wire.rtnetlink is the codec: pyroute2 costs a tenth of the start and 13 MB. One message at a time: more save
microseconds and lose which one was refused. Usable from any thread, and where an event loop runs.
"""

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from netemu.kernel import ethtool, fake_network, linux, netns, states
from netemu.kernel import operations as ops
from netemu.wire import netlink, rtnetlink

FakeNetwork = fake_network.FakeNetwork

_SOL_NETLINK, _NETLINK_EXT_ACK = 270, 11
_EXPLANATION = 1  # NLMSGERR_ATTR_MSG
_CAPPED = 0x100  # NLM_F_CAPPED: only the header of the request is echoed in an error
_DEFAULT_METRIC = {4: 0, 6: 1024}


class Network(Protocol):
    """A network namespace's links, addresses, routes, neighbours and sysctls."""

    def observe(self) -> states.State: ...

    def apply(self, operations: Iterable[ops.Operation]) -> None:
        """In order; stops at the first the kernel refuses (linux.KernelError: which operation, why)."""
        ...


class LinuxNetwork:
    """The kernel's. `place` is a namespace file or descriptor; None: the one the caller is in now."""

    def __init__(self, place: netns.Place | None = None) -> None:
        self._home = _open(place)
        self._lock = threading.Lock()
        self._sequence = 0
        with netns.inside(self._home):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()
        os.close(self._home)

    def __enter__(self) -> "LinuxNetwork":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def apply(self, operations: Iterable[ops.Operation]) -> None:
        with self._lock:
            for operation in operations:
                try:
                    self._apply(operation)
                except OSError as refusal:
                    reason = refusal.strerror or str(refusal)
                    number = refusal.errno or 0
                    raise linux.KernelError(f"{operation.describe()}: {reason}", errno=number) from None

    def observe(self) -> states.State:
        with self._lock:
            links = list(self._dump(rtnetlink.dump_links()))
            names = {link.index: link.name for link in links}
            tunnels = any(link.vxlan is not None for link in links)
            families = (socket.AF_INET, socket.AF_INET6)  # some kernels end a dump of all after the first
            routes = [route for family in families for route in self._dump(rtnetlink.dump_routes(family))]
            return states.State(
                {link.name: _link(link, names) for link in links},
                frozenset(_addresses(self._dump(rtnetlink.dump_addresses()), names)),
                frozenset(_routes(routes, names)),
                frozenset(_neighbours(self._dump(rtnetlink.dump_neighbours()), names)),
                frozenset(_forwarding(self._dump(rtnetlink.dump_forwarding()), names) if tunnels else ()),
            )

    def _apply(self, operation: ops.Operation) -> None:
        match operation:
            case ops.SetSysctl(value=value):
                with netns.inside(self._home), open(operation.path, "w", encoding="ascii") as file:
                    file.write(value)
            case ops.SetTxChecksum(link, on):
                with netns.inside(self._home):
                    ethtool.set_tx_checksum(link, on=on)
            case ops.AddVeth(name, peer, place):
                with netns.opened(self._home if place is None else place) as fd:
                    self._request(rtnetlink.new_veth(name, peer, fd))
            case _:
                self._request(self._message(operation))

    def _message(self, operation: ops.Operation) -> bytes:
        match operation:
            case ops.AddBridge(name, mac):
                return rtnetlink.new_bridge(name, mac=mac or "")
            case ops.AddVxlan(name, vni, local, port, mac, link, mtu):
                below = self._index(link) if link else 0
                return rtnetlink.new_vxlan(name, vni, local, link=below, port=port, mac=mac or "", mtu=mtu)
            case ops.SetMaster(name, master):
                return rtnetlink.set_link(index=self._index(name), master=self._index(master))
            case ops.SetUp(name):
                return rtnetlink.set_link(index=self._index(name), up=True)
            case ops.SetDown(name):
                return rtnetlink.set_link(index=self._index(name), up=False)
            case ops.SetMTU(name, mtu):
                return rtnetlink.set_link(index=self._index(name), mtu=mtu)
            case ops.SetMAC(name, mac):
                return rtnetlink.set_link(index=self._index(name), mac=mac)
            case ops.DelLink(name):
                return rtnetlink.del_link(index=self._index(name))
            case ops.AddAddress(link, ip):
                return rtnetlink.new_address(self._index(link), ip)
            case ops.DelAddress(link, ip):
                return rtnetlink.del_address(self._index(link), ip)
            case ops.AddRoute():
                return self._new_route(operation)
            case ops.DelRoute(dst, via, dev, metric, protocol):
                index = self._index(dev) if dev else 0
                return rtnetlink.del_route(dst, index, via=via, metric=metric or 0, protocol=protocol or 0)
            case ops.AddNeighbour(link, ip, mac):
                return rtnetlink.new_neighbour(self._index(link), ip, mac)
            case ops.DelNeighbour(link, ip):
                return rtnetlink.del_neighbour(self._index(link), ip)
            case ops.AddForwarding(link, mac, ip):
                return rtnetlink.new_forwarding(self._index(link), mac, ip)
            case ops.DelForwarding(link, mac, ip):
                return rtnetlink.del_forwarding(self._index(link), mac, ip)
        raise TypeError(f"no message for {operation}")

    def _new_route(self, route: ops.AddRoute) -> bytes:
        return rtnetlink.new_route(
            route.dst,
            self._index(route.dev) if route.dev else 0,
            via=route.via,
            metric=route.metric or 0,
            onlink=route.onlink,
            protocol=ops.PROTOCOL_STATIC if route.protocol is None else route.protocol,
            kind=rtnetlink.RTN_UNICAST if route.reachable else rtnetlink.RTN_UNREACHABLE,
            also=route.also,
        )

    def _index(self, name: str) -> int:
        with netns.inside(self._home):
            try:
                return socket.if_nametoindex(name)
            except OSError:
                raise OSError(errno.ENODEV, f"no link {name!r}") from None

    def _request(self, message: bytes) -> None:
        """Send one message and wait for its verdict."""
        for reply in self._ask(message):
            if reply.type == netlink.ERROR:
                return

    def _dump(self, message: bytes) -> Iterator[Any]:
        for reply in self._ask(message):
            if reply.type == netlink.DONE:
                return
            found = rtnetlink.parse(reply)
            if found is not None:
                yield found

    def _ask(self, message: bytes) -> Iterator[Any]:
        """The answers, without end; OSError for an error among them."""
        self._sequence += 1
        self._socket.send(netlink.number((message,), self._sequence))
        while True:
            for reply in netlink.replies(self._socket.recv(1 << 18)):
                if reply.sequence == self._sequence:
                    if reply.error:
                        raise OSError(reply.error, os.strerror(reply.error) + _explanation(reply.body))
                    yield reply


def _open(place: netns.Place | None) -> int:
    if isinstance(place, int):
        return os.dup(place)
    return os.open("/proc/thread-self/ns/net" if place is None else place, os.O_RDONLY | os.O_CLOEXEC)


def _explanation(body: bytes) -> str:
    """What the kernel says to an error besides its number, in brackets; "" when it says nothing.

    The body is: the error, the header of the request (or all of it), attributes (linux/netlink.h, nlmsgerr).
    """
    if len(body) < 20:
        return ""
    length, _, flags = struct.unpack_from("=IHH", body, 4)
    at = 4 + (16 if flags & _CAPPED or len(body) < 4 + length else (length + 3) & ~3)
    while at + 4 <= len(body):
        size, kind = struct.unpack_from("=HH", body, at)
        if kind == _EXPLANATION:
            return " (" + body[at + 4 : at + size].rstrip(b"\0").decode(errors="replace") + ")"
        at += max(4, (size + 3) & ~3)
    return ""


def _link(link: Any, names: dict[int, str]) -> states.Link:
    up = bool(link.flags & rtnetlink.IFF_UP)
    tunnel = link.vxlan and states.Vxlan(
        link.vxlan.vni, link.vxlan.local, link.vxlan.port, names.get(link.vxlan.link)
    )
    return states.Link(
        link.name, link.index, link.kind, link.mac, link.mtu, up, names.get(link.master), tunnel
    )


def _addresses(found: Iterable[Any], names: dict[int, str]) -> Iterator[states.Address]:
    for address in found:
        ip = address.interface
        if address.index in names and not (ip.version == 6 and ip.is_link_local):
            yield states.Address(names[address.index], ip)


def _routes(found: Iterable[Any], names: dict[int, str]) -> Iterator[states.Route]:
    for route in found:
        reachable = route.kind == rtnetlink.RTN_UNICAST
        dst, dev = route.dst, names.get(route.index) if reachable else "lo"
        if route.table != rtnetlink.RT_TABLE_MAIN or dev is None:
            continue
        if not reachable and route.kind != rtnetlink.RTN_UNREACHABLE:
            continue
        if dst.version == 6 and (dst.is_link_local or dst.is_multicast):
            continue
        metric = None if route.metric == _DEFAULT_METRIC[dst.version] else route.metric
        yield states.Route(dst, route.via, dev, metric, route.protocol, reachable, route.also)


def _neighbours(found: Iterable[Any], names: dict[int, str]) -> Iterator[states.Neighbour]:
    for neighbour in found:
        link = names.get(neighbour.index)
        if link is not None and neighbour.mac and neighbour.state & rtnetlink.NUD_PERMANENT:
            yield states.Neighbour(link, neighbour.ip, neighbour.mac)


def _forwarding(found: Iterable[Any], names: dict[int, str]) -> Iterator[states.Forwarding]:
    for entry in found:
        if entry.index in names:
            yield states.Forwarding(names[entry.index], entry.mac, entry.ip)
