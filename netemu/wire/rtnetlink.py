"""rtnetlink messages as bytes, and back: links, addresses, routes, neighbours.

A codec only: it knows no socket, no namespace and no policy.
Layouts: linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, veth.h. Standard library only, for a
CNI executable that imports this must start in milliseconds.
"""

import struct

from netemu.wire import records

# By their names: these are the words in which every message below is written.
from netemu.wire.netlink import ACK, CREATE, DUMP, EXCL, REPLACE, Reply, attribute, message, split, text, u32

# typing costs ten milliseconds at the start of a CNI executable, ipaddress five: requests do without either.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Iterator

    from netemu.wire import addresses

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address | addresses.Address
    Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface | addresses.Interface
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network | addresses.Network

AF_UNSPEC, AF_INET, AF_BRIDGE, AF_INET6 = 0, 2, 7, 10

# Message types (linux/rtnetlink.h).
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NAMES = {
    NEWLINK: "new link", DELLINK: "delete link", GETLINK: "get link", SETLINK: "set link",
    NEWADDR: "new address", DELADDR: "delete address", GETADDR: "get addresses",
    NEWROUTE: "new route", DELROUTE: "delete route", GETROUTE: "get routes",
    NEWNEIGH: "new neighbour", DELNEIGH: "delete neighbour", GETNEIGH: "get neighbours",
    36: "new queueing discipline", 38: "get queueing disciplines", 44: "new traffic filter",
}  # fmt: skip

# Attributes of a link.
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_TXQLEN = 1, 3, 4, 5, 10, 13
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_NET_NS_FD, IFLA_EXT_MASK = 18, 20, 26, 28, 29
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER = 1
IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING = 1, 3, 4, 7
IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6 = 15, 17
IFLA_BRPORT_MODE, IFLA_BRPORT_MCAST_FLOOD = 4, 27  # mode: hairpin
IFLA_BRPORT_NEIGH_SUPPRESS, IFLA_BRPORT_ISOLATED = 32, 33
IFLA_MACVLAN_MODE = 1
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE = 8, 1
IFLA_INET_CONF, IPV4_DEVCONF_ACCEPT_REDIRECTS = 1, 4
RTEXT_FILTER_SKIP_STATS = 8
IFF_UP, IFF_PROMISC, IFF_ALLMULTI = 0x1, 0x100, 0x200

# Attributes of an address, a route, a neighbour.
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE = 0x02, 0x80, 0x200
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_TABLE = 1, 4, 5, 6, 7, 8, 15
RTA_MULTIPATH = 9
RTAX_MTU, RTAX_ADVMSS = 2, 8
RTN_UNICAST, RTN_UNREACHABLE, RT_TABLE_MAIN, RTPROT_BOOT, RTNH_F_ONLINK = 1, 7, 254, 3, 4
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_NOWHERE = 0, 253, 255  # deleting, "nowhere" matches any
NDA_DST, NDA_LLADDR = 1, 2
NUD_NOARP, NUD_PERMANENT, NTF_SELF, NTF_MASTER = 0x40, 0x80, 0x02, 0x04

_LINK = struct.Struct("=BxHiII")  # family, device type, index, flags, changed flags
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type, flags
_HOP = struct.Struct("=HBBi")  # length, flags, weight less one, index
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
_BODIES = {NEWLINK: _LINK, NEWADDR: _ADDRESS, NEWROUTE: _ROUTE, NEWNEIGH: _NEIGHBOUR}

# What a dump or a get answers with. `mac` is lower-case text; `kind` is "" for a physical device or loopback.
# `vxlan`: a Vxlan for a link of that kind, else None.
# `tied`: the index of a veth's other end or a macvlan's master, maybe in another namespace; 0: none.
Link = records.record(
    "Link", "index name flags mtu mac kind master vxlan tied txqlen alias", defaults=(None, 0, 0, "")
)
Vxlan = records.record("Vxlan", "vni local port link")  # `link`: index of the link below, 0 for none
LinkAddress = records.record("LinkAddress", "index interface flags")
# `also`: further gateways, among which the kernel chooses by flow.
Route = records.record("Route", "dst via index metric table protocol kind also", defaults=((),))
Neighbour = records.record("Neighbour", "index ip mac state")
# A tunnel's: frames to `mac` go to the machine `ip`.
Forwarding = records.record("Forwarding", "index mac ip")
# What a neighbour needs of an address: its family as 4 or 6, and its bytes.
Bare = records.record("Bare", "version packed")


def _mac(kind: int, mac: str) -> bytes:
    return attribute(kind, bytes.fromhex(mac.replace(":", "")))


def _family(version: int) -> int:
    return AF_INET if version == 4 else AF_INET6


# -- links ---------------------------------------------------------------------------------------------------


def new_bridge(name: str, *, mac: str = "", mtu: int = 0) -> bytes:
    """A bridge, down. EEXIST if any link has the name. A bridge with an explicit `mac` keeps it for good."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    return message(NEWLINK, ACK | CREATE | EXCL, _link_body(0, name, mac=mac, mtu=mtu) + info)


def new_veth(
    name: str, peer: str, peer_netns: int, *, mac: str = "", peer_mac: str = "", mtu: int = 0, master: int = 0
) -> bytes:
    """A veth pair: `name` here (down, port of link `master` if given), `peer` in an open file's namespace.

    The far end cannot be born up: veth_open answers ENOTCONN before the pair is tied.
    """
    far = _link_body(0, peer, mac=peer_mac, mtu=mtu) + u32(IFLA_NET_NS_FD, peer_netns)
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, far))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth") + data)
    near = _link_body(0, name, mac=mac, mtu=mtu) + (u32(IFLA_MASTER, master) if master else b"")
    return message(NEWLINK, ACK | CREATE | EXCL, near + info)


def new_macvlan(name: str, master: int, mode: str, netns: int, *, mac: str = "", mtu: int = 0) -> bytes:
    """A further address on link `master`, down, born in an open file's namespace. See MACVLAN_MODES."""
    data = attribute(IFLA_INFO_DATA, u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode]))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"macvlan") + data)
    where = u32(IFLA_LINK, master) + u32(IFLA_NET_NS_FD, netns)
    return message(NEWLINK, ACK | CREATE | EXCL, _link_body(0, name, mac=mac, mtu=mtu) + where + info)


def new_ifb(name: str, *, mtu: int = 0, txqlen: int = 0) -> bytes:
    """A link whose packets, redirected to it, can queue: for shaping what arrives. Up. EEXIST if taken."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"ifb"))
    body = _link_body(0, name, mtu=mtu, flags=IFF_UP, changed=IFF_UP)
    return message(NEWLINK, ACK | CREATE | EXCL, body + (u32(IFLA_TXQLEN, txqlen) if txqlen else b"") + info)


def set_alias(name: str, alias: str) -> bytes:
    """A remark on a link, at most 255 bytes."""
    return message(SETLINK, ACK, _link_body(0, name) + attribute(IFLA_IFALIAS, alias.encode()))


def new_vxlan(
    name: str, vni: int, local: "Address", *, link: int = 0, port: int = 8472, mac: str = "", mtu: int = 0
) -> bytes:
    """A VXLAN end (RFC 7348), down, that learns nothing from what arrives. EEXIST if the name is taken.

    `link` is the index of the link that carries it (0: whichever the route to the other end takes).
    """
    own = IFLA_VXLAN_LOCAL if local.version == 4 else IFLA_VXLAN_LOCAL6
    data = u32(IFLA_VXLAN_ID, vni) + attribute(own, local.packed)
    data += u32(IFLA_VXLAN_LINK, link) if link else b""
    data += attribute(IFLA_VXLAN_PORT, port.to_bytes(2, "big")) + attribute(IFLA_VXLAN_LEARNING, b"\0")
    info = attribute(IFLA_INFO_KIND, b"vxlan") + attribute(IFLA_INFO_DATA, data)
    near = _link_body(0, name, mac=mac, mtu=mtu)
    return message(NEWLINK, ACK | CREATE | EXCL, near + attribute(IFLA_LINKINFO, info))


def set_link(
    name: str = "",
    *,
    index: int = 0,
    up: bool | None = None,
    promiscuous: bool | None = None,
    allmulti: bool | None = None,
    master: int | None = None,
    mac: str = "",
    mtu: int = 0,
    txqlen: int | None = None,
    redirects: bool | None = None,
) -> bytes:
    """Change a link found by index or name; None, "" and 0 leave a property alone, master=0 releases it.

    `redirects`: its sysctl net.ipv4.conf.*.accept_redirects.
    """
    flags = changed = 0
    for wish, bit in ((up, IFF_UP), (promiscuous, IFF_PROMISC), (allmulti, IFF_ALLMULTI)):
        if wish is not None:
            changed |= bit
            flags |= bit if wish else 0
    body = _link_body(index, name, flags=flags, changed=changed, mac=mac, mtu=mtu)
    body += b"" if master is None else u32(IFLA_MASTER, master)
    body += b"" if txqlen is None else u32(IFLA_TXQLEN, txqlen)
    if redirects is not None:
        settings = attribute(IFLA_INET_CONF, u32(IPV4_DEVCONF_ACCEPT_REDIRECTS, redirects))
        body += attribute(IFLA_AF_SPEC, attribute(AF_INET, settings))
    return message(SETLINK, ACK, body)


def set_port(name: str, *, hairpin: bool = False, isolated: bool = False, spared: bool = False) -> bytes:
    """What a bridge does at a port. `hairpin`: it sends a frame back where it came from (a pod that reaches
    itself by its Service); `isolated`: no frame goes from here to other isolated ports; `spared`: multicast
    of other ports does not come here, and whose addresses the bridge knows it answers for (ARP, NDP).
    """
    wishes = (
        (IFLA_BRPORT_MODE, hairpin),
        (IFLA_BRPORT_ISOLATED, isolated),
        (IFLA_BRPORT_MCAST_FLOOD, not spared),
        (IFLA_BRPORT_NEIGH_SUPPRESS, spared),
    )
    data = b"".join(attribute(kind, bytes([wish])) for kind, wish in wishes)
    slave = attribute(IFLA_INFO_SLAVE_KIND, b"bridge\0") + attribute(IFLA_INFO_SLAVE_DATA, data)
    # RTM_NEWLINK without CREATE: RTM_SETLINK does not look at a port's data.
    return message(NEWLINK, ACK, _link_body(0, name) + attribute(IFLA_LINKINFO, slave))


def set_no_ipv6_address(name: str) -> bytes:
    """Never generate a link-local IPv6 address: a bridge port needs none; each would start DAD and MLD."""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([ADDR_GEN_NONE]))
    return message(SETLINK, ACK, _link_body(0, name) + attribute(IFLA_AF_SPEC, attribute(AF_INET6, mode)))


def del_link(name: str = "", *, index: int = 0) -> bytes:
    """Remove a link (both ends, for a veth). Blocks about 20 ms in the kernel."""
    return message(DELLINK, ACK, _link_body(index, name))


def get_link(name: str = "", *, index: int = 0) -> bytes:
    """Ask for one link; the answer is a NEWLINK without statistics. ENODEV if there is none."""
    return message(GETLINK, ACK, _link_body(index, name) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS))


def _link_body(
    index: int, name: str, *, flags: int = 0, changed: int = 0, mac: str = "", mtu: int = 0
) -> bytes:
    body = _LINK.pack(AF_UNSPEC, 0, index, flags, changed)
    if name:
        body += text(IFLA_IFNAME, name)
    if mac:
        body += _mac(IFLA_ADDRESS, mac)
    return body + (u32(IFLA_MTU, mtu) if mtu else b"")


# -- addresses, routes, neighbours ---------------------------------------------------------------------------


def new_address(index: int, interface: "Interface", *, dad: bool = False, prefix_route: bool = True) -> bytes:
    """An address with its prefix on a link. EEXIST if it has it.

    IPv6 skips duplicate address detection unless `dad`. Without `prefix_route` neighbours of its subnet are
    not reached by the link unless a route says so.
    """
    packed, family = interface.ip.packed, _family(interface.version)
    flags = IFA_F_PERMANENT | (IFA_F_NODAD if family == AF_INET6 and not dad else 0)
    flags |= 0 if prefix_route else IFA_F_NOPREFIXROUTE
    body = _ADDRESS.pack(family, interface.network.prefixlen, 0, SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if family == AF_INET and interface.network.prefixlen < 31:
        body += attribute(IFA_BROADCAST, interface.network.broadcast_address.packed)
    return message(NEWADDR, ACK | CREATE | EXCL, body + u32(IFA_FLAGS, flags))


def del_address(index: int, interface: "Interface") -> bytes:
    """Take an address off a link. EADDRNOTAVAIL if it is not there."""
    body = _ADDRESS.pack(_family(interface.version), interface.network.prefixlen, 0, 0, index)
    return message(DELADDR, ACK, body + attribute(IFA_LOCAL, interface.ip.packed))


def new_route(
    dst: "Network",
    index: int,
    *,
    via: "Address | None" = None,
    metric: int = 0,
    table: int = RT_TABLE_MAIN,
    mtu: int = 0,
    advmss: int = 0,
    onlink: bool = False,
    protocol: int = RTPROT_BOOT,
    kind: int = RTN_UNICAST,
    source: "Address | None" = None,
    also: "tuple[Address, ...]" = (),
) -> bytes:
    """A route out of a link (0: the kernel finds it by `via`). EEXIST if the same is there.

    With `onlink` the kernel believes that `via` is a neighbour there. An unreachable one has neither.
    `source`: the address that packets without one get. `also`: gateways with the same right as `via`.
    """
    far = via is not None or dst.version == 6 or kind != RTN_UNICAST
    scope = SCOPE_UNIVERSE if far else SCOPE_LINK
    flags = RTNH_F_ONLINK if onlink else 0
    one = via if not also else None
    body = _route_body(dst, index, one, metric, table, scope=scope, flags=flags, protocol=protocol, kind=kind)
    if also and via is not None:
        hops = (attribute(RTA_GATEWAY, hop.packed) for hop in (via, *also))
        body += attribute(
            RTA_MULTIPATH, b"".join(_HOP.pack(_HOP.size + len(h), 0, 0, index) + h for h in hops)
        )
    metrics = (u32(RTAX_MTU, mtu) if mtu else b"") + (u32(RTAX_ADVMSS, advmss) if advmss else b"")
    if metrics:
        body += attribute(RTA_METRICS, metrics)
    if source is not None:
        body += attribute(RTA_PREFSRC, source.packed)
    return message(NEWROUTE, ACK | CREATE | EXCL, body)


def get_route(dst: "Address") -> bytes:
    """Ask which route a packet to an address takes. ENETUNREACH if none does."""
    body = _ROUTE.pack(_family(dst.version), len(dst.packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    return message(GETROUTE, ACK, body + attribute(RTA_DST, dst.packed))


def del_route(
    dst: "Network",
    index: int,
    *,
    via: "Address | None" = None,
    metric: int = 0,
    table: int = RT_TABLE_MAIN,
    protocol: int = 0,
) -> bytes:
    """Remove a route; index, metric and protocol 0 match any. ESRCH if there is none."""
    body = _route_body(dst, index, via, metric, table, scope=SCOPE_NOWHERE, protocol=protocol, kind=0)
    return message(DELROUTE, ACK, body)


def _route_body(
    dst: "Network",
    index: int,
    via: "Address | None",
    metric: int,
    table: int,
    *,
    scope: int = 0,
    flags: int = 0,
    protocol: int = RTPROT_BOOT,
    kind: int = RTN_UNICAST,
) -> bytes:
    small = table if table < 256 else 0
    body = _ROUTE.pack(_family(dst.version), dst.prefixlen, 0, 0, small, protocol, scope, kind, flags)
    if dst.prefixlen:
        body += attribute(RTA_DST, dst.network_address.packed)
    if via is not None:
        body += attribute(RTA_GATEWAY, via.packed)
    if index:
        body += u32(RTA_OIF, index)
    if metric:
        body += u32(RTA_PRIORITY, metric)
    return body + u32(RTA_TABLE, table)


def new_neighbour(index: int, ip: "Address", mac: str) -> bytes:
    """A permanent neighbour; replaces what is there. Such are exempt from the global table limit."""
    body = _NEIGHBOUR.pack(_family(ip.version), index, NUD_PERMANENT, 0, RTN_UNICAST)
    body += attribute(NDA_DST, ip.packed) + _mac(NDA_LLADDR, mac)
    return message(NEWNEIGH, ACK | CREATE | REPLACE, body)


def del_neighbour(index: int, ip: "Address | Bare") -> bytes:
    """Forget a neighbour. ENOENT if it is not known."""
    body = _NEIGHBOUR.pack(_family(ip.version), index, 0, 0, 0)
    return message(DELNEIGH, ACK, body + attribute(NDA_DST, ip.packed))


def new_station(port: int, mac: str) -> bytes:
    """Frames to `mac` leave a bridge by this port, whether it has ever sent one or not."""
    body = _NEIGHBOUR.pack(AF_BRIDGE, port, NUD_NOARP, NTF_MASTER, 0)  # PERMANENT would be the bridge itself
    return message(NEWNEIGH, ACK | CREATE | REPLACE, body + _mac(NDA_LLADDR, mac))


def new_forwarding(index: int, mac: str, ip: "Address") -> bytes:
    """Frames to `mac` leave a tunnel's end `index` for the machine `ip`, for good; replaces what is there."""
    body = _NEIGHBOUR.pack(AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF, 0)
    body += _mac(NDA_LLADDR, mac) + attribute(NDA_DST, ip.packed)
    return message(NEWNEIGH, ACK | CREATE | REPLACE, body)


def del_forwarding(index: int, mac: str, ip: "Address") -> bytes:
    """Forget where frames to `mac` go. ENOENT if it is not known."""
    body = _NEIGHBOUR.pack(AF_BRIDGE, index, 0, NTF_SELF, 0)
    return message(DELNEIGH, ACK, body + _mac(NDA_LLADDR, mac) + attribute(NDA_DST, ip.packed))


_GETNETCONF, _NETCONFA_IFINDEX, _NETCONFA_FORWARDING = 82, 1, 2
NAMES[_GETNETCONF] = "get forwarding"


def get_forwarding(version: int) -> bytes:
    """Ask whether the namespace routes IPv4 or IPv6, as /proc/sys/net/…/forwarding of "all" says."""
    everything = struct.pack("=i", -1)
    return message(
        _GETNETCONF, ACK, bytes([_family(version), 0, 0, 0]) + attribute(_NETCONFA_IFINDEX, everything)
    )


def forwards(reply: Reply) -> bool:
    """The answer to `get_forwarding`."""
    return _number(dict(split(reply.body, 4)), _NETCONFA_FORWARDING) == 1


# -- dumps ---------------------------------------------------------------------------------------------------


def dump_links() -> bytes:
    """All links of the namespace."""
    body = _LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    return message(GETLINK, DUMP, body)


def dump_addresses(family: int = AF_UNSPEC) -> bytes:
    """All addresses of the namespace."""
    return message(GETADDR, DUMP, _ADDRESS.pack(family, 0, 0, 0, 0))


def dump_routes(family: int = AF_UNSPEC) -> bytes:
    """All routes of the namespace, of every table. Some kernels end a dump of all after one family."""
    return message(GETROUTE, DUMP, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def dump_neighbours(family: int = AF_UNSPEC) -> bytes:
    """All neighbours of the namespace."""
    return message(GETNEIGH, DUMP, _NEIGHBOUR.pack(family, 0, 0, 0, 0))


def dump_forwarding() -> bytes:
    """The forwarding tables of all bridges and tunnels; `parse` gives those of tunnels."""
    return message(GETNEIGH, DUMP, _NEIGHBOUR.pack(AF_BRIDGE, 0, 0, 0, 0))


# -- answers -----------------------------------------------------------------------------------------------


def kind(message: bytes) -> str:
    """What a request of this module asks for, in words, for an error message."""
    return NAMES.get(struct.unpack_from("=H", message, 4)[0], "request")


def parse(reply: Reply) -> "Link | LinkAddress | Route | Neighbour | Forwarding | None":
    """The value in a NEWLINK, NEWADDR, NEWROUTE or NEWNEIGH message; None for another kind or family."""
    layout = _BODIES.get(reply.type)
    if layout is None or len(reply.body) < layout.size:
        return None
    fields = layout.unpack_from(reply.body)
    attributes = dict(split(reply.body, (layout.size + 3) & ~3))
    if reply.type == NEWLINK:
        return _parse_link(fields, attributes)
    if reply.type == NEWNEIGH and fields[0] == AF_BRIDGE:
        return _parse_forwarding(fields, attributes)
    if fields[0] not in (AF_INET, AF_INET6):
        return None
    import ipaddress

    if reply.type == NEWADDR:
        packed = attributes.get(IFA_LOCAL) or attributes[IFA_ADDRESS]
        interface = ipaddress.ip_interface((packed, fields[1]))
        flags = _number(attributes, IFA_FLAGS) or fields[2]
        return LinkAddress(fields[4], interface, flags)
    if reply.type == NEWROUTE:
        return _parse_route(fields, attributes)
    ip = ipaddress.ip_address(attributes[NDA_DST])
    return Neighbour(fields[1], ip, attributes.get(NDA_LLADDR, b"").hex(":"), fields[2])


def _parse_link(fields: "tuple[int, ...]", attributes: dict[int, bytes]) -> Link:
    info = dict(split(attributes.get(IFLA_LINKINFO, b""), 0))
    return Link(
        index=fields[2],
        name=attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        flags=fields[3],
        mtu=_number(attributes, IFLA_MTU),
        mac=attributes.get(IFLA_ADDRESS, b"").hex(":"),
        kind=info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
        master=_number(attributes, IFLA_MASTER),
        vxlan=_parse_vxlan(info.get(IFLA_INFO_DATA, b"")) if info.get(IFLA_INFO_KIND) == b"vxlan\0" else None,
        tied=_number(attributes, IFLA_LINK),
        txqlen=_number(attributes, IFLA_TXQLEN),
        alias=attributes.get(IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace"),
    )


def _parse_vxlan(data: bytes) -> Vxlan:
    import ipaddress

    found = dict(split(data, 0))
    local = found.get(IFLA_VXLAN_LOCAL) or found.get(IFLA_VXLAN_LOCAL6)
    return Vxlan(
        vni=_number(found, IFLA_VXLAN_ID),
        local=ipaddress.ip_address(local) if local else None,
        port=int.from_bytes(found.get(IFLA_VXLAN_PORT, b"")[:2], "big"),
        link=_number(found, IFLA_VXLAN_LINK),
    )


def _parse_forwarding(fields: "tuple[int, ...]", attributes: dict[int, bytes]) -> "Forwarding | None":
    import ipaddress

    if NDA_DST not in attributes or NDA_LLADDR not in attributes:
        return None
    ip = ipaddress.ip_address(attributes[NDA_DST])
    return Forwarding(fields[1], attributes[NDA_LLADDR].hex(":"), ip)


def out_of(reply: Reply) -> int:
    """The index of the link that the route in an answer to `get_route` leaves by; 0 for none."""
    return _number(dict(split(reply.body, _ROUTE.size)), RTA_OIF)


def _parse_route(fields: "tuple[int, ...]", attributes: dict[int, bytes]) -> Route:
    import ipaddress

    width = 4 if fields[0] == AF_INET else 16
    dst = ipaddress.ip_network((attributes.get(RTA_DST, b"\0" * width), fields[1]))
    hops = tuple(_hops(attributes.get(RTA_MULTIPATH, b"")))
    via = hops[0][1] if hops else attributes.get(RTA_GATEWAY)
    return Route(
        dst=dst,
        via=ipaddress.ip_address(via) if via else None,
        index=hops[0][0] if hops else _number(attributes, RTA_OIF),
        also=tuple(ipaddress.ip_address(gateway) for _, gateway in hops[1:] if gateway),
        metric=_number(attributes, RTA_PRIORITY),
        table=_number(attributes, RTA_TABLE) or fields[4],
        protocol=fields[5],
        kind=fields[7],
    )


def _hops(data: bytes) -> "Iterator[tuple[int, bytes]]":
    """The link and the gateway of each."""
    at = 0
    while at + _HOP.size <= len(data):
        length, _, _, index = _HOP.unpack_from(data, at)
        yield index, dict(split(data[at : at + length], _HOP.size)).get(RTA_GATEWAY, b"")
        at += max(_HOP.size, length + 3 & ~3)


def _number(attributes: dict[int, bytes], kind: int) -> int:
    value = attributes.get(kind)
    return struct.unpack("=I", value)[0] if value else 0
