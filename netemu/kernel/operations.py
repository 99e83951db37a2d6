"""Changes to a network namespace as values. Knows what can be asked of the kernel; asks nothing.

`describe()` says the same in the words of ip(8) and sysctl(8), for error messages, logs and golden files.
"""

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

# rtnetlink(7): who made a route. The kernel gives back whatever number it was given.
PROTOCOL_KERNEL, PROTOCOL_BOOT, PROTOCOL_STATIC = 2, 3, 4


@dataclass(frozen=True, slots=True)
class AddBridge:
    """A bridge without spanning tree. With `mac` its address does not follow that of its first port."""

    name: str
    mac: str | None = None

    def describe(self) -> str:
        return f"ip link add {self.name}" + (f" address {self.mac}" if self.mac else "") + " type bridge"


@dataclass(frozen=True, slots=True)
class AddVeth:
    """A pair of links; the peer is born in the namespace `peer_netns` (a path), or here."""

    name: str
    peer: str
    peer_netns: str | None = None

    def describe(self) -> str:
        where = f" netns {self.peer_netns}" if self.peer_netns else ""
        return f"ip link add {self.name} type veth peer name {self.peer}{where}"


@dataclass(frozen=True, slots=True)
class AddVxlan:
    """A VXLAN tunnel end that learns nothing: its forwarding table is programmed (RFC 7348)."""

    name: str
    vni: int
    local: IPAddress
    port: int = 8472
    mac: str | None = None

    def describe(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        return (
            f"ip link add {self.name}{mac} type vxlan id {self.vni} local {self.local} "
            f"dstport {self.port} nolearning"
        )


@dataclass(frozen=True, slots=True)
class SetMaster:
    """Plug a link into a bridge."""

    name: str
    master: str

    def describe(self) -> str:
        return f"ip link set {self.name} master {self.master}"


@dataclass(frozen=True, slots=True)
class SetUp:
    name: str

    def describe(self) -> str:
        return f"ip link set {self.name} up"


@dataclass(frozen=True, slots=True)
class SetDown:
    name: str

    def describe(self) -> str:
        return f"ip link set {self.name} down"


@dataclass(frozen=True, slots=True)
class SetMTU:
    """Bytes of an IP packet that fit."""

    name: str
    mtu: int

    def describe(self) -> str:
        return f"ip link set {self.name} mtu {self.mtu}"


@dataclass(frozen=True, slots=True)
class SetMAC:
    name: str
    mac: str

    def describe(self) -> str:
        return f"ip link set {self.name} address {self.mac}"


@dataclass(frozen=True, slots=True)
class DelLink:
    """Removes a veth's peer too, wherever that is."""

    name: str

    def describe(self) -> str:
        return f"ip link del {self.name}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """IPv6 addresses are usable at once: no duplicate address detection (RFC 4862, 5.4) for a second."""

    link: str
    ip: IPInterface

    def describe(self) -> str:
        nodad = " nodad" if self.ip.version == 6 else ""
        return f"ip addr add {self.ip} dev {self.link}{nodad}"


@dataclass(frozen=True, slots=True)
class DelAddress:
    link: str
    ip: IPInterface

    def describe(self) -> str:
        return f"ip addr del {self.ip} dev {self.link}"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """A unicast route in the main table; `protocol` None means static, `metric` None the kernel's default."""

    dst: IPNetwork
    via: IPAddress | None = None
    dev: str | None = None
    metric: int | None = None
    protocol: int | None = None

    def describe(self) -> str:
        return "ip route add " + _route(self)


@dataclass(frozen=True, slots=True)
class DelRoute:
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


@dataclass(frozen=True, slots=True)
class AddNeighbour:
    """A permanent entry, exempt from the limit which all namespaces share; an existing one is replaced."""

    link: str
    ip: IPAddress
    mac: str

    def describe(self) -> str:
        return f"ip neigh replace {self.ip} lladdr {self.mac} dev {self.link} nud permanent"


@dataclass(frozen=True, slots=True)
class DelNeighbour:
    link: str
    ip: IPAddress

    def describe(self) -> str:
        return f"ip neigh del {self.ip} dev {self.link}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
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
    | SetSysctl
)
