"""Changes to a network namespace as values. Knows what can be asked of the kernel; asks nothing.

`describe()` says the same in the words of ip(8) and sysctl(8), for error messages, logs and golden files.
(Structs of msgspec: as frozen and typed as dataclasses, and made at import in a tenth of the time.)
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

import msgspec

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

# rtnetlink(7): who made a route. The kernel gives back whatever number it was given.
PROTOCOL_KERNEL, PROTOCOL_STATIC = 2, 4


class AddBridge(msgspec.Struct, frozen=True):
    """A bridge without spanning tree. With `mac` its address does not follow that of its first port."""

    name: str
    mac: str | None = None

    def describe(self) -> str:
        return f"ip link add {self.name}" + (f" address {self.mac}" if self.mac else "") + " type bridge"


class AddVeth(msgspec.Struct, frozen=True):
    """A pair of links; the peer is born in the namespace `peer_netns` (a path), or here."""

    name: str
    peer: str
    peer_netns: str | None = None

    def describe(self) -> str:
        where = f" netns {self.peer_netns}" if self.peer_netns else ""
        return f"ip link add {self.name} type veth peer name {self.peer}{where}"


class AddVxlan(msgspec.Struct, frozen=True):
    """A VXLAN tunnel end that learns nothing: its forwarding table is programmed (RFC 7348).

    `link` carries it; without one the route to the other end does. `mtu` 0: what the kernel makes of that.
    """

    name: str
    vni: int
    local: IPAddress
    port: int = 8472
    mac: str | None = None
    link: str | None = None
    mtu: int = 0

    def describe(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        mtu = f" mtu {self.mtu}" if self.mtu else ""
        dev = f" dev {self.link}" if self.link else ""
        return (
            f"ip link add {self.name}{mac}{mtu} type vxlan id {self.vni}{dev} local {self.local} "
            f"dstport {self.port} nolearning"
        )


class SetMaster(msgspec.Struct, frozen=True):
    """Plug a link into a bridge."""

    name: str
    master: str

    def describe(self) -> str:
        return f"ip link set {self.name} master {self.master}"


class SetUp(msgspec.Struct, frozen=True):
    name: str

    def describe(self) -> str:
        return f"ip link set {self.name} up"


class SetDown(msgspec.Struct, frozen=True):
    name: str

    def describe(self) -> str:
        return f"ip link set {self.name} down"


class SetMTU(msgspec.Struct, frozen=True):
    """Bytes of an IP packet that fit."""

    name: str
    mtu: int

    def describe(self) -> str:
        return f"ip link set {self.name} mtu {self.mtu}"


class SetMAC(msgspec.Struct, frozen=True):
    """`mac` in lower case, with colons."""

    name: str
    mac: str

    def describe(self) -> str:
        return f"ip link set {self.name} address {self.mac}"


class DelLink(msgspec.Struct, frozen=True):
    """Removes a veth's peer too, wherever that is."""

    name: str

    def describe(self) -> str:
        return f"ip link del {self.name}"


class AddAddress(msgspec.Struct, frozen=True):
    """IPv6 addresses are usable at once: no duplicate address detection (RFC 4862, 5.4) for a second."""

    link: str
    ip: IPInterface

    def describe(self) -> str:
        nodad = " nodad" if self.ip.version == 6 else ""
        return f"ip addr add {self.ip} dev {self.link}{nodad}"


class DelAddress(msgspec.Struct, frozen=True):
    """`ip` with the prefix length it was given with; either family."""

    link: str
    ip: IPInterface

    def describe(self) -> str:
        return f"ip addr del {self.ip} dev {self.link}"


class AddRoute(msgspec.Struct, frozen=True):
    """A route in the main table; `protocol` None means static, `metric` None the kernel's default.

    `onlink`: `via` is a neighbour on `dev`, whatever the addresses there say. `reachable` False: packets to
    it are answered with ICMP unreachable; `via` and `dev` are None. `also`: gateways with the same right as
    `via`, among which the kernel chooses by flow.
    """

    dst: IPNetwork
    via: IPAddress | None = None
    dev: str | None = None
    metric: int | None = None
    protocol: int | None = None
    onlink: bool = False
    reachable: bool = True
    also: tuple[IPAddress, ...] = ()

    def describe(self) -> str:
        kind = "" if self.reachable else "unreachable "
        more = "".join(f" nexthop via {hop}" for hop in self.also)
        return f"ip route add {kind}{_route(self)}" + (" onlink" if self.onlink else "") + more


class DelRoute(msgspec.Struct, frozen=True):
    """The route with that destination and, as far as they are given, that gateway, link, metric, protocol."""

    dst: IPNetwork
    via: IPAddress | None = None
    dev: str | None = None
    metric: int | None = None
    protocol: int | None = None

    def describe(self) -> str:
        return "ip route del " + _route(self)


def _route(route: AddRoute | DelRoute) -> str:
    parts = [str(route.dst)]
    for word, value in (
        ("via", route.via),
        ("dev", route.dev),
        ("metric", route.metric),
        ("proto", route.protocol),
    ):
        if value is not None:
            parts += [word, str(value)]
    return " ".join(parts)


class AddNeighbour(msgspec.Struct, frozen=True):
    """A permanent entry, exempt from the limit which all namespaces share; an existing one is replaced."""

    link: str
    ip: IPAddress
    mac: str

    def describe(self) -> str:
        return f"ip neigh replace {self.ip} lladdr {self.mac} dev {self.link} nud permanent"


class DelNeighbour(msgspec.Struct, frozen=True):
    """Of either family, permanent or learnt."""

    link: str
    ip: IPAddress

    def describe(self) -> str:
        return f"ip neigh del {self.ip} dev {self.link}"


class AddForwarding(msgspec.Struct, frozen=True):
    """A VXLAN end sends frames for `mac` to the machine `ip`; an existing entry is replaced."""

    link: str
    mac: str
    ip: IPAddress

    def describe(self) -> str:
        return f"bridge fdb replace {self.mac} dev {self.link} dst {self.ip} self permanent"


class DelForwarding(msgspec.Struct, frozen=True):
    """A VXLAN end forgets where frames for `mac` go."""

    link: str
    mac: str
    ip: IPAddress

    def describe(self) -> str:
        return f"bridge fdb del {self.mac} dev {self.link} dst {self.ip} self"


class SetTxChecksum(msgspec.Struct, frozen=True):
    """Whether a link is trusted to fill in checksums, or the stack does it before (ethtool -K DEV tx)."""

    link: str
    on: bool

    def describe(self) -> str:
        return f"ethtool -K {self.link} tx {'on' if self.on else 'off'}"


class SetSysctl(msgspec.Struct, frozen=True):
    """`key` with dots, as sysctl(8) has it; link names with dots are written with slashes throughout."""

    key: str
    value: str

    @property
    def path(self) -> str:
        return "/proc/sys/" + (self.key if "/" in self.key else self.key.replace(".", "/"))

    def describe(self) -> str:
        return f"sysctl -w {self.key}={self.value}"


Operation = (
    AddBridge
    | AddVeth
    | AddVxlan
    | SetMaster
    | SetUp
    | SetDown
    | SetMTU
    | SetMAC
    | DelLink
    | AddAddress
    | DelAddress
    | AddRoute
    | DelRoute
    | AddNeighbour
    | DelNeighbour
    | AddForwarding
    | DelForwarding
    | SetTxChecksum
    | SetSysctl
)
