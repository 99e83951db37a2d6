"""bridge: a veth pair between the container and a bridge of the host, which can be its gateway.

Options and errors of the reference plugin (containernetworking/plugins, main/bridge). Differences, and why:
a container's MAC address is made from its IPv4 address, and it and its gateway are each other's permanent
neighbours, because the kernel's neighbour table has one limit for all namespaces; DAD, router solicitation
and link-local addresses of ports are off, because each floods the whole bridge.
"""

import errno
import ipaddress
import os

from cni import delegate, frame
from netemu.kernel import rtnl
from netemu.wire import cni, records, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    Gateways = tuple[rtnetlink.Interface, ...]

# Options that change who may talk to whom: ignoring one would be worse than refusing it.
REFUSED = ("vlan", "vlanTrunk", "macspoofchk", "portIsolation", "ipMasq")

Options = records.record(
    "Options", "bridge gateway default_gateway force_address mtu hairpin promiscuous dad mac"
)


def options(call: cni.Call, configuration: "cni.Document") -> Options:
    """What the configuration and the call ask for. UNSUPPORTED_FIELD for what is not offered."""
    for name in REFUSED:
        if configuration.get(name):
            raise cni.Failure(cni.UNSUPPORTED_FIELD, f"{name} is not supported by netemu's bridge plugin")
    default_gateway = bool(configuration.get("isDefaultGateway"))
    found = Options(
        bridge=configuration.get("bridge") or "cni0",
        gateway=bool(configuration.get("isGateway")) or default_gateway,
        default_gateway=default_gateway,
        force_address=bool(configuration.get("forceAddress")),
        mtu=configuration.get("mtu") or 0,
        hairpin=bool(configuration.get("hairpinMode")),
        promiscuous=bool(configuration.get("promiscMode")),
        dad=bool(configuration.get("enabledad")),
        mac=(configuration.get("runtimeConfig") or {}).get("mac")
        or ((configuration.get("args") or {}).get("cni") or {}).get("mac")
        or call.args.get("MAC", ""),
    )
    if found.hairpin and found.promiscuous:
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, "cannot set hairpin mode and promiscuous mode at the same time"
        )
    if not isinstance(found.mtu, int) or found.mtu < 0:
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"invalid mtu {found.mtu}")
    return found


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Address, link, routes; nothing remains when one of them fails."""
    wish = options(call, configuration)
    layer3 = bool((configuration.get("ipam") or {}).get("type"))
    with frame.Netns(call.netns) as netns:
        ipam = delegate.ipam(call, configuration, "ADD") if layer3 else cni.Result()
        try:
            if layer3 and not (ipam and ipam.ips):
                raise cni.Failure(cni.INVALID_CONFIGURATION, "IPAM plugin returned missing IP config")
            assert ipam is not None
            plan = with_gateways(ipam, wish)
            return _connect(
                call,
                netns,
                wish,
                plan._replace(
                    dns=cni.dns(configuration.get("dns") or {}) if configuration.get("dns") else plan.dns
                ),
            )
        except BaseException:
            if layer3:
                delegate.ipam(call, configuration, "DEL")
            raise


def with_gateways(ipam: cni.Result, wish: Options) -> cni.Result:
    """IPAM's result with the gateways the bridge will be, and the default routes it was asked for."""
    ips = ipam.ips
    if wish.gateway:
        ips = tuple(
            ip if ip.gateway else ip._replace(gateway=ip.address.network.network_address + 1) for ip in ips
        )
    routes = list(ipam.routes)
    if wish.default_gateway:
        for ip in ips:
            everything = ipaddress.ip_network("0.0.0.0/0" if ip.address.version == 4 else "::/0")
            if not any(route.dst == everything for route in ipam.routes):
                routes.append(cni.Route(everything, ip.gateway))
    return ipam._replace(ips=tuple(ip._replace(interface=2) for ip in ips), routes=tuple(routes))


def hardware(address: "rtnetlink.Interface") -> str:
    """A MAC address that names its IP address: locally administered, the same after every restart."""
    packed = address.ip.packed
    if len(packed) == 4:
        return b"\x0a\x58".hex(":") + ":" + packed.hex(":")
    return (
        b"\x0a\x59".hex(":")
        + ":"
        + bytes(a ^ b for a, b in zip(packed[8:12], packed[12:], strict=True)).hex(":")
    )


def _connect(call: cni.Call, netns: int, wish: Options, plan: cni.Result) -> cni.Result:
    near = "veth" + os.urandom(4).hex()
    mac = wish.mac or (hardware(plan.ips[0].address) if plan.ips else "")
    with rtnl.Rtnl() as host:
        bridge = _bridge(host, wish, _gateways(wish, plan))
        try:
            host.run(_host_side(call, netns, wish, plan, bridge, near=near, mac=mac))
            far = _container_side(call, netns, wish, plan, bridge)
            port = host.link(near)
        except OSError as problem:
            host.send([rtnetlink.del_link(near)])
            raise _told(call, problem) from None
    assert port is not None
    interfaces = (
        cni.Interface(bridge.name, bridge.mac),
        cni.Interface(near, port.mac),
        cni.Interface(call.ifname, far.mac, wish.mtu, call.netns),
    )
    return plan._replace(interfaces=interfaces)


def _told(call: cni.Call, problem: OSError) -> cni.Failure:
    if problem.errno == errno.EEXIST:
        text = f"container veth name provided ({call.ifname}) already exists, or its address or route does"
        return cni.Failure(cni.INVALID_CONFIGURATION, text, str(problem))
    return cni.Failure(cni.IO_FAILURE, f"failed to connect {call.ifname}", str(problem))


def _gateways(wish: Options, plan: cni.Result) -> "Gateways":
    """The bridge's own addresses: each gateway with the prefix of the subnet it serves."""
    if not wish.gateway:
        return ()
    return tuple(ipaddress.ip_interface((ip.gateway.packed, ip.address.network.prefixlen)) for ip in plan.ips)


def _bridge(host: rtnl.Rtnl, wish: Options, gateways: "Gateways") -> rtnetlink.Link:
    """The bridge, up and with its addresses; made if missing. Any number of us may do this at once."""
    link = host.link(wish.bridge)
    if link is None:
        mac = hardware(gateways[0]) if gateways else ""
        host.run([rtnetlink.new_bridge(wish.bridge, mac=mac, mtu=wish.mtu)], ignore=(errno.EEXIST,))
        link = host.link(wish.bridge)
    if link is None or link.kind != "bridge":
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'"{wish.bridge}" already exists but is not a bridge')
    messages = []
    if not link.flags & rtnetlink.IFF_UP:
        _quiet(wish.bridge)
        messages.append(rtnetlink.set_link(index=link.index, up=True))
    if wish.promiscuous:
        messages.append(rtnetlink.set_link(index=link.index, promiscuous=True))
    if gateways and link.mac != hardware(gateways[0]):
        # Not made by us: left alone it takes its lowest port's MAC, and permanent neighbours would go stale.
        messages.append(rtnetlink.set_link(index=link.index, mac=link.mac))
    host.run(messages)
    outcomes = host.send([rtnetlink.new_address(link.index, gateway) for gateway in gateways])
    for gateway, (code, _) in zip(gateways, outcomes, strict=True):
        if code == 0:
            _sole(host, link, gateway, wish)
        elif code != errno.EEXIST:
            raise rtnl.RtnlError(code, f"address {gateway} on {wish.bridge}")
    for version in {gateway.version for gateway in gateways}:
        _write(_FORWARDING[version], "1")
    return link


def _sole(host: rtnl.Rtnl, link: rtnetlink.Link, gateway: "rtnetlink.Interface", wish: Options) -> None:
    """A bridge has one IPv4 address, and no two IPv6 subnets that overlap (the reference plugin's rule)."""
    mine = [a.interface for a in host.dump(rtnetlink.dump_addresses()) if a.index == link.index]
    others = [
        other
        for other in mine
        if other != gateway
        and other.version == gateway.version
        and not (other.version == 6 and not other.network.overlaps(gateway.network))
    ]
    if others and not wish.force_address:
        host.send([rtnetlink.del_address(link.index, gateway)])
        text = f'"{wish.bridge}" already has an IP address different from {gateway}'
        raise cni.Failure(cni.INVALID_CONFIGURATION, text, ", ".join(map(str, others)))
    host.run([rtnetlink.del_address(link.index, other) for other in others], ignore=(errno.EADDRNOTAVAIL,))


def _host_side(
    call: cni.Call,
    netns: int,
    wish: Options,
    plan: cni.Result,
    bridge: rtnetlink.Link,
    *,
    near: str,
    mac: str,
) -> list[bytes]:
    """
    bridge (gateway) --- near ======== ifname (container)
    """
    messages = [rtnetlink.new_veth(near, call.ifname, netns, peer_mac=mac, mtu=wish.mtu, master=bridge.index)]
    if _has_ipv6():
        messages.append(rtnetlink.set_no_ipv6_address(near))
    if wish.hairpin:
        messages.append(rtnetlink.set_hairpin(near, on=True))
    messages.append(rtnetlink.set_link(near, up=True))
    if wish.gateway:
        messages += [rtnetlink.new_neighbour(bridge.index, ip.address.ip, mac) for ip in plan.ips]
    return messages


def _container_side(
    call: cni.Call, netns: int, wish: Options, plan: cni.Result, bridge: rtnetlink.Link
) -> rtnetlink.Link:
    with rtnl.Inside(netns), rtnl.Rtnl() as inside:
        link = inside.link(call.ifname)
        assert link is not None
        if _has_ipv6():
            _quiet(call.ifname, dad=wish.dad)
            if any(ip.address.version == 6 for ip in plan.ips):
                _write(f"/proc/sys/net/ipv6/conf/{call.ifname}/disable_ipv6", "0")
        messages = [rtnetlink.set_link(index=link.index, up=True)]
        messages += [rtnetlink.new_address(link.index, ip.address) for ip in plan.ips]
        if wish.gateway:
            messages += [rtnetlink.new_neighbour(link.index, ip.gateway, bridge.mac) for ip in plan.ips]
        messages += [_route(link.index, route, plan) for route in plan.routes]
        inside.run(messages)
    return link


def _route(index: int, route: cni.Route, plan: cni.Result) -> bytes:
    same = [ip for ip in plan.ips if ip.address.version == route.dst.version]
    via = route.gw or next((ip.gateway for ip in same if ip.gateway), None)
    onlink = via is not None and not any(via in ip.address.network for ip in same)
    return rtnetlink.new_route(
        route.dst,
        index,
        via=via,
        metric=route.priority or 0,
        table=route.table or rtnetlink.RT_TABLE_MAIN,
        mtu=route.mtu or 0,
        advmss=route.advmss or 0,
        onlink=onlink,
    )


_FORWARDING = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}


def _has_ipv6() -> bool:
    return os.path.isdir("/proc/sys/net/ipv6")


def _quiet(ifname: str, *, dad: bool = False) -> None:
    """No duplicate address detection, no router solicitation: each is a frame to every port of the bridge."""
    if _has_ipv6():
        if not dad:
            _write(f"/proc/sys/net/ipv6/conf/{ifname}/accept_dad", "0")
        _write(f"/proc/sys/net/ipv6/conf/{ifname}/accept_ra", "0")


def _write(path: str, value: str) -> None:
    """Set a sysctl unless it has the value: /proc/sys may be mounted read-only where all is set already."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.read(fd, 64).strip() == value.encode():
            return
    finally:
        os.close(fd)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Link, neighbours, address; whatever is gone already is fine."""
    held = [
        ip["address"].partition("/")[0] for ip in (configuration.get("prevResult") or {}).get("ips") or ()
    ]
    if call.netns and os.path.exists(call.netns):
        with frame.Netns(call.netns) as netns:
            held = _disconnect(netns, call.ifname, wanted=not held) or held
    if held:
        with rtnl.Rtnl() as host:
            bridge = host.link(configuration.get("bridge") or "cni0")
            if bridge is not None:
                gone = [rtnetlink.del_neighbour(bridge.index, ipaddress.ip_address(ip)) for ip in held]
                host.run(gone, ignore=(errno.ENOENT,))
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "DEL")


def _disconnect(netns: int, ifname: str, *, wanted: bool) -> list[str]:
    """Remove the link; with `wanted`, say which addresses it had."""
    with rtnl.Inside(netns), rtnl.Rtnl() as inside:
        held = []
        link = inside.link(ifname)
        if link is None:
            return []
        if wanted:
            addresses = inside.dump(rtnetlink.dump_addresses())
            held = [
                str(a.interface.ip)
                for a in addresses
                if a.index == link.index and not a.interface.is_link_local
            ]
        inside.run([rtnetlink.del_link(index=link.index)], ignore=(errno.ENODEV,))
    return held


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED when a link, address or route that ADD answered with is not there any more."""
    previous = configuration.get("prevResult")
    if not previous:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "required prevResult missing")
    wanted = cni.result(previous)
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "CHECK")
    with frame.Netns(call.netns) as netns:
        with rtnl.Rtnl() as host:
            for interface in wanted.interfaces:
                if not interface.sandbox:
                    _same(host, interface)
        mine = [i for i in wanted.interfaces if i.sandbox == call.netns and i.name == call.ifname]
        if not mine:
            text = f"prevResult has no interface {call.ifname} in {call.netns}"
            raise cni.Failure(cni.INVALID_CONFIGURATION, text)
        with rtnl.Inside(netns), rtnl.Rtnl() as inside:
            index = _same(inside, mine[0]).index
            addresses = {a.interface for a in inside.dump(rtnetlink.dump_addresses()) if a.index == index}
            routes = {(r.dst, r.via) for r in inside.dump(rtnetlink.dump_routes()) if r.index == index}
    for ip in wanted.ips:
        if ip.address not in addresses:
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} has lost address {ip.address}")
    for route in wanted.routes:
        if not any(dst == route.dst and route.gw in (None, via) for dst, via in routes):
            raise cni.Failure(frame.CHECK_FAILED, f"{call.ifname} has lost the route to {route.dst}")


def _same(socket: rtnl.Rtnl, wanted: cni.Interface) -> rtnetlink.Link:
    link = socket.link(wanted.name)
    if link is None:
        raise cni.Failure(frame.CHECK_FAILED, f"link {wanted.name} is gone")
    if wanted.mac and link.mac != wanted.mac.lower():
        raise cni.Failure(frame.CHECK_FAILED, f"link {wanted.name} has MAC {link.mac}, not {wanted.mac}")
    return link


def forward(call: cni.Call, configuration: "cni.Document") -> None:
    """GC and STATUS concern the addresses only: no link outlives its namespace."""
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, call.command)


HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": forward, "STATUS": forward}


def main() -> "NoReturn":
    """The executable."""
    frame.main(HANDLERS, "CNI bridge plugin of netemu")
