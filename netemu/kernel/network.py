"""The network of one namespace, observed and changed. Knows rtnetlink; decides nothing.

pyroute2 is the codec (imported at first use: 150 ms); the socket is our own, made in the namespace it speaks
for, usable from any thread and inside an event loop, which pyroute2's IPRoute is not.
"""

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Protocol

from netemu.kernel import fake_network, linux, netns, states
from netemu.kernel import operations as ops

FakeNetwork = fake_network.FakeNetwork

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 16, 17, 18, 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE, RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 24, 25, 26, 28, 29, 30
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 11, 12
IFF_UP, IFA_F_NODAD, NUD_PERMANENT = 0x1, 0x02, 0x80
RT_TABLE_MAIN, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 0, 253, 1

_CREATE = NLM_F_CREATE | NLM_F_EXCL


class Network(Protocol):
    """A network namespace's links, addresses, routes, neighbours and sysctls."""

    def observe(self) -> states.State: ...

    def apply(self, operations: Iterable[ops.Operation]) -> None:
        """In order; stops at the first the kernel refuses (linux.KernelError: which operation, why)."""
        ...


class PyrouteNetwork:
    """The kernel's. `place` is a namespace file or descriptor; None: the one the caller is in now."""

    def __init__(self, place: netns.Place | None = None) -> None:
        self._home = _open(place)
        self._lock = threading.Lock()
        self._sequence = 0
        with netns.inside(self._home):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()
        os.close(self._home)

    def __enter__(self) -> "PyrouteNetwork":
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
            links = {link.name: link for link in self._links()}
            names = {link.index: link.name for link in links.values()}
            return states.State(
                links,
                frozenset(_addresses(self._dump(_ifaddrmsg(), RTM_GETADDR), names)),
                frozenset(_routes(self._dump_routes(), names)),
                frozenset(_neighbours(self._dump(_ndmsg(), RTM_GETNEIGH), names)),
            )

    def _apply(self, operation: ops.Operation) -> None:
        match operation:
            case ops.SetSysctl(value=value):
                with netns.inside(self._home), open(operation.path, "w", encoding="ascii") as file:
                    file.write(value)
            case ops.AddVeth(name, peer, place):
                self._add_veth(name, peer, place)
            case ops.AddBridge(name, mac):
                self._request(_link(name, mac=mac, kind="bridge"), RTM_NEWLINK, _CREATE)
            case ops.AddVxlan():
                self._request(_vxlan(operation), RTM_NEWLINK, _CREATE)
            case ops.SetMaster(name, master):
                change = [("IFLA_MASTER", self._index(master))]
                self._request(_link(index=self._index(name), attributes=change), RTM_NEWLINK)
            case ops.SetUp(name):
                self._request(_link(index=self._index(name), flags=IFF_UP, change=IFF_UP), RTM_NEWLINK)
            case ops.SetDown(name):
                self._request(_link(index=self._index(name), change=IFF_UP), RTM_NEWLINK)
            case ops.SetMTU(name, mtu):
                change = [("IFLA_MTU", mtu)]
                self._request(_link(index=self._index(name), attributes=change), RTM_NEWLINK)
            case ops.SetMAC(name, mac):
                self._request(_link(index=self._index(name), mac=mac), RTM_NEWLINK)
            case ops.DelLink(name):
                self._request(_link(index=self._index(name)), RTM_DELLINK)
            case ops.AddAddress(link, ip):
                self._request(_address(self._index(link), ip), RTM_NEWADDR, _CREATE)
            case ops.DelAddress(link, ip):
                self._request(_address(self._index(link), ip), RTM_DELADDR)
            case ops.AddRoute():
                self._request(self._route(operation), RTM_NEWROUTE, _CREATE)
            case ops.DelRoute():
                self._request(self._route(operation), RTM_DELROUTE)
            case ops.AddNeighbour(link, ip, mac):
                entry = _neighbour(self._index(link), ip, mac)
                self._request(entry, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE)
            case ops.DelNeighbour(link, ip):
                self._request(_neighbour(self._index(link), ip), RTM_DELNEIGH)

    def _add_veth(self, name: str, peer: str, place: str | None) -> None:
        there: list[tuple[str, Any]] = [("IFLA_IFNAME", peer)]
        fd = -1
        if place is not None:
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            there.append(("IFLA_NET_NS_FD", fd))
        try:
            data = {"attrs": [("VETH_INFO_PEER", {"attrs": there})]}
            self._request(_link(name, kind="veth", data=data), RTM_NEWLINK, _CREATE)
        finally:
            if fd >= 0:
                os.close(fd)

    def _route(self, route: ops.AddRoute | ops.DelRoute) -> Any:
        message = _rtmsg()
        adding = isinstance(route, ops.AddRoute)
        message["family"] = _family(route.dst)
        message["dst_len"] = route.dst.prefixlen
        message["table"] = RT_TABLE_MAIN
        message["type"] = RTN_UNICAST if adding else 0
        message["proto"] = route.protocol or (ops.PROTOCOL_STATIC if adding else 0)
        on_link = adding and route.via is None and route.dst.version == 4
        # RT_SCOPE_NOWHERE matches any scope when an IPv4 route is deleted.
        message["scope"] = RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE if adding else 255
        attributes: list[tuple[str, Any]] = []
        if route.dst.prefixlen:
            attributes.append(("RTA_DST", str(route.dst.network_address)))
        if route.via is not None and route.via.version != route.dst.version:
            attributes.append(("RTA_VIA", {"family": _family(route.via), "addr": str(route.via)}))
        elif route.via is not None:
            attributes.append(("RTA_GATEWAY", str(route.via)))
        if route.dev is not None:
            attributes.append(("RTA_OIF", self._index(route.dev)))
        if route.metric is not None:
            attributes.append(("RTA_PRIORITY", route.metric))
        message["attrs"] = attributes
        return message

    def _index(self, name: str) -> int:
        with netns.inside(self._home):
            try:
                return socket.if_nametoindex(name)
            except OSError:
                raise OSError(errno.ENODEV, f"no link {name!r}") from None

    def _links(self) -> Iterator[states.Link]:
        found = list(self._dump(_link(), RTM_GETLINK))
        names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in found}
        for message in found:
            information = message.get_attr("IFLA_LINKINFO")
            yield states.Link(
                name=names[message["index"]],
                index=message["index"],
                kind=(information.get_attr("IFLA_INFO_KIND") or "") if information else "",
                mac=message.get_attr("IFLA_ADDRESS") or "",
                mtu=message.get_attr("IFLA_MTU") or 0,
                up=bool(message["flags"] & IFF_UP),
                master=names.get(message.get_attr("IFLA_MASTER")),
            )

    def _dump_routes(self) -> Iterator[Any]:
        for family in (socket.AF_INET, socket.AF_INET6):  # AF_UNSPEC would end after the first
            message = _rtmsg()
            message["family"] = family
            yield from self._dump(message, RTM_GETROUTE)

    def _request(self, message: Any, kind: int, flags: int = 0) -> None:
        """Send one message and wait for its verdict."""
        sequence = self._send(message, kind, NLM_F_REQUEST | NLM_F_ACK | flags)
        while True:
            answer = self._socket.recv(1 << 16)
            for at, length, what, number in _messages(answer):
                if number == sequence and what == NLMSG_ERROR:
                    _raise_if_refused(answer[at : at + length])
                    return

    def _dump(self, message: Any, kind: int) -> Iterator[Any]:
        sequence = self._send(message, kind, NLM_F_REQUEST | NLM_F_DUMP)
        codec = type(message)
        while True:
            answer = self._socket.recv(1 << 18)
            for at, length, what, number in _messages(answer):
                if number != sequence:
                    continue
                if what == NLMSG_DONE:
                    return
                if what == NLMSG_ERROR:
                    _raise_if_refused(answer[at : at + length])
                decoded = codec(answer[at : at + length])
                decoded.decode()
                yield decoded

    def _send(self, message: Any, kind: int, flags: int) -> int:
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        self._socket.send(bytes(message.data))
        return self._sequence


def _open(place: netns.Place | None) -> int:
    if isinstance(place, int):
        return os.dup(place)
    return os.open("/proc/thread-self/ns/net" if place is None else place, os.O_RDONLY | os.O_CLOEXEC)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(offset, length, type, sequence number) of each netlink message in a datagram."""
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence = struct.unpack_from("=IHHI", data, at)
        yield at, length, kind, sequence
        at += (length + 3) & ~3


def _raise_if_refused(message: bytes) -> None:
    """An NLMSG_ERROR carries -errno (0: done) and, after the echoed header, the kernel's comment on it."""
    (code,) = struct.unpack_from("=i", message, 16)
    if not code:
        return
    reason = os.strerror(-code)
    (echoed,) = struct.unpack_from("=I", message, 20)
    capped = struct.unpack_from("=H", message, 6)[0] & 0x100  # NLM_F_CAPPED: only the header is echoed
    at = 20 + (16 if capped else (echoed + 3) & ~3)
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind == 1:  # NLMSGERR_ATTR_MSG
            reason += " (" + message[at + 4 : at + length].rstrip(b"\0").decode(errors="replace") + ")"
        at += max(4, (length + 3) & ~3)
    raise OSError(-code, reason)


def _family(address: ops.IPAddress | ops.IPInterface | ops.IPNetwork) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _link(
    name: str | None = None,
    *,
    index: int = 0,
    flags: int = 0,
    change: int = 0,
    mac: str | None = None,
    kind: str | None = None,
    data: Any = None,
    attributes: Iterable[tuple[str, Any]] = (),
) -> Any:
    from pyroute2.netlink.rtnl import ifinfmsg

    message = ifinfmsg.ifinfmsg()
    message["index"], message["flags"], message["change"] = index, flags, change
    given: list[tuple[str, Any]] = [*attributes]
    if name is not None:
        given.append(("IFLA_IFNAME", name))
    if mac is not None:
        given.append(("IFLA_ADDRESS", mac))
    if kind is not None:
        information: list[tuple[str, Any]] = [("IFLA_INFO_KIND", kind)]
        if data is not None:
            information.append(("IFLA_INFO_DATA", data))
        given.append(("IFLA_LINKINFO", {"attrs": information}))
    message["attrs"] = given
    return message


def _vxlan(link: ops.AddVxlan) -> Any:
    local = "IFLA_VXLAN_LOCAL" if link.local.version == 4 else "IFLA_VXLAN_LOCAL6"
    data = {
        "attrs": [
            ("IFLA_VXLAN_ID", link.vni),
            (local, str(link.local)),
            ("IFLA_VXLAN_PORT", link.port),
            ("IFLA_VXLAN_LEARNING", 0),
        ]
    }
    return _link(link.name, mac=link.mac, kind="vxlan", data=data)


def _ifaddrmsg() -> Any:
    from pyroute2.netlink.rtnl import ifaddrmsg

    return ifaddrmsg.ifaddrmsg()


def _address(index: int, ip: ops.IPInterface) -> Any:
    message = _ifaddrmsg()
    message["family"], message["prefixlen"], message["index"] = _family(ip), ip.network.prefixlen, index
    message["flags"] = IFA_F_NODAD if ip.version == 6 else 0
    message["attrs"] = [("IFA_LOCAL", str(ip.ip)), ("IFA_ADDRESS", str(ip.ip))]
    return message


def _rtmsg() -> Any:
    from pyroute2.netlink.rtnl import rtmsg

    return rtmsg.rtmsg()


def _ndmsg() -> Any:
    from pyroute2.netlink.rtnl import ndmsg

    return ndmsg.ndmsg()


def _neighbour(index: int, ip: ops.IPAddress, mac: str | None = None) -> Any:
    message = _ndmsg()
    message["family"], message["ifindex"] = _family(ip), index
    message["state"] = NUD_PERMANENT if mac else 0
    message["attrs"] = [("NDA_DST", str(ip)), *([("NDA_LLADDR", mac)] if mac else [])]
    return message


def _addresses(messages: Iterable[Any], names: dict[int, str]) -> Iterator[states.Address]:
    for message in messages:
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        ip = ip_interface(f"{text}/{message['prefixlen']}")
        if message["index"] in names and not (ip.version == 6 and ip.is_link_local):
            yield states.Address(names[message["index"]], ip)


def _routes(messages: Iterable[Any], names: dict[int, str]) -> Iterator[states.Route]:
    for message in messages:
        dev = names.get(message.get_attr("RTA_OIF"))
        if message["table"] != RT_TABLE_MAIN or message["type"] != RTN_UNICAST or dev is None:
            continue
        anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
        dst = ip_network(f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}")
        if dst.version == 6 and (dst.is_link_local or dst.is_multicast):
            continue
        gateway = message.get_attr("RTA_GATEWAY") or (message.get_attr("RTA_VIA") or {}).get("addr")
        metric = message.get_attr("RTA_PRIORITY") or 0
        default = 0 if dst.version == 4 else 1024
        yield states.Route(
            dst,
            ip_address(gateway) if gateway else None,
            dev,
            None if metric == default else metric,
            message["proto"],
        )


def _neighbours(messages: Iterable[Any], names: dict[int, str]) -> Iterator[states.Neighbour]:
    for message in messages:
        link, mac = names.get(message["ifindex"]), message.get_attr("NDA_LLADDR")
        if link is not None and mac and message["state"] & NUD_PERMANENT:
            yield states.Neighbour(link, ip_address(message.get_attr("NDA_DST")), mac)
