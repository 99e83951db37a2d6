"""The links of a container: bridge, veth pair, addresses, routes and neighbours, in a few batched sends.

    bridge (the gateway) --- near ======== ifname (in the container)

Knows the kernel's side of the bridge plugin; what is wished is plans'.
"""

import errno
import posix as os

from cni import links, plans
from netemu.kernel import rtnl
from netemu.wire import addresses, cni, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    Gateways = tuple[addresses.Interface, ...]


def connect(
    call: cni.Call, configuration: "cni.Document", netns: int, wish: plans.Options, plan: cni.Result
) -> cni.Result:
    """Make what the plan says; the result with its interfaces. No link remains after a failure."""
    near = "veth" + os.urandom(4).hex()
    near_mac = (b"\x02" + os.urandom(5)).hex(":")  # ours, so that nobody has to ask the kernel for its own
    mac = wish.mac or (links.hardware(plan.ips[0].address) if plan.ips else "")
    with rtnl.Rtnl() as host:
        bridge = _bridge(host, wish, _gateways(wish, plan))
        try:
            host.run(_host_side(call, netns, wish, plan, bridge, near=near, near_mac=near_mac, mac=mac))
            far = _container_side(call, netns, wish, plan, bridge)
            # The bridge would learn it from a frame, but nobody asks a permanent neighbour for one: until it
            # speaks, and after five minutes of silence, all containers would get what is sent to this one.
            host.run([rtnetlink.new_station(far.tied, far.mac)])
            if wish.true_mac:
                from cni import spoofing

                spoofing.add(call, configuration, near, far.mac)
        except BaseException as problem:
            # The kernel works through a whole batch, whatever happens to one message of it.
            undo = [rtnetlink.del_neighbour(bridge.index, ip.address.ip) for ip in plan.ips]
            host.send([rtnetlink.del_link(near), *(undo if wish.gateway else ())])
            if isinstance(problem, OSError):
                raise links.told(call, problem) from None
            raise
    interfaces = (
        cni.Interface(bridge.name, bridge.mac),
        cni.Interface(near, near_mac),
        cni.Interface(call.ifname, far.mac, wish.mtu, call.netns),
    )
    return plan._replace(interfaces=interfaces)


def _gateways(wish: plans.Options, plan: cni.Result) -> "Gateways":
    """The bridge's own addresses: each gateway with the prefix of the subnet it serves."""
    if not wish.gateway:
        return ()
    return tuple(addresses.ip_interface((ip.gateway, ip.address.network.prefixlen)) for ip in plan.ips)


def _bridge(host: rtnl.Rtnl, wish: plans.Options, gateways: "Gateways") -> rtnetlink.Link:
    """The bridge, up and with its addresses; made if missing. Any number of us may do this at once."""
    link = host.link(wish.bridge)
    if link is None:
        mac = links.hardware(gateways[0]) if gateways else ""
        host.run([rtnetlink.new_bridge(wish.bridge, mac=mac, mtu=wish.mtu)], ignore=(errno.EEXIST,))
        link = host.link(wish.bridge)
    if link is None or link.kind != "bridge":
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'"{wish.bridge}" already exists but is not a bridge')
    messages = []
    if not link.flags & rtnetlink.IFF_UP:
        links.quiet(wish.bridge)
        messages.append(rtnetlink.set_link(index=link.index, up=True))
    if wish.promiscuous:
        messages.append(rtnetlink.set_link(index=link.index, promiscuous=True))
    if gateways and link.mac != links.hardware(gateways[0]):
        # Not made by us: left alone it takes its lowest port's MAC, and permanent neighbours would go stale.
        messages.append(rtnetlink.set_link(index=link.index, mac=link.mac))
    host.run(messages)
    outcomes = host.send([rtnetlink.new_address(link.index, gateway) for gateway in gateways])
    for gateway, (code, _) in zip(gateways, outcomes, strict=True):
        if code == 0:
            _sole(host, link, gateway, wish)
        elif code != errno.EEXIST:
            raise rtnl.RtnlError(code, f"address {gateway} on {wish.bridge}")
    links.forward(host, {gateway.version for gateway in gateways})
    return link


def _sole(host: rtnl.Rtnl, link: rtnetlink.Link, gateway: addresses.Interface, wish: plans.Options) -> None:
    """A bridge has one IPv4 address, and no two IPv6 subnets that overlap (the reference plugin's rule)."""
    dumped = [a.interface for a in host.dump(rtnetlink.dump_addresses()) if a.index == link.index]
    mine = [addresses.ip_interface(str(interface)) for interface in dumped]
    others = [
        other
        for other in mine
        if other != gateway
        and other.version == gateway.version
        and not (other.version == 6 and not gateway.network.overlaps(other.network))
    ]
    if others and not wish.force_address:
        host.send([rtnetlink.del_address(link.index, gateway)])
        text = f'"{wish.bridge}" already has an IP address different from {gateway}'
        raise cni.Failure(cni.INVALID_CONFIGURATION, text, ", ".join(map(str, others)))
    host.run([rtnetlink.del_address(link.index, other) for other in others], ignore=(errno.EADDRNOTAVAIL,))


def _host_side(
    call: cni.Call,
    netns: int,
    wish: plans.Options,
    plan: cni.Result,
    bridge: rtnetlink.Link,
    *,
    near: str,
    near_mac: str,
    mac: str,
) -> list[bytes]:
    """
    bridge (gateway) --- near ======== ifname (container)
    """
    ends = {"mac": near_mac, "peer_mac": mac, "mtu": wish.mtu, "master": bridge.index}
    messages = [rtnetlink.new_veth(near, call.ifname, netns, **ends)]
    if links.has_ipv6():
        messages.append(rtnetlink.set_no_ipv6_address(near))
    # Who has the gateway as his one neighbour needs no multicast of other containers; each report of a group
    # (MLD) would go to all of them, and the hundredth container would cost a hundred times what it does.
    # Not isolated: what is sent to a Service comes from one port and goes, translated, straight to another
    # (br_netfilter), or back.
    spared = wish.via_gateway and not wish.dad
    if wish.hairpin or wish.isolated or spared:
        messages.append(rtnetlink.set_port(near, hairpin=wish.hairpin, isolated=wish.isolated, spared=spared))
    messages.append(rtnetlink.set_link(near, up=True))
    if wish.gateway and mac:
        messages += [rtnetlink.new_neighbour(bridge.index, ip.address.ip, mac) for ip in plan.ips]
    return messages


def _container_side(
    call: cni.Call, netns: int, wish: plans.Options, plan: cni.Result, bridge: rtnetlink.Link
) -> rtnetlink.Link:
    with rtnl.Inside(netns), rtnl.Rtnl() as inside:
        link = inside.link(call.ifname)
        assert link is not None
        # It goes on asking the gateway, though that says that the other one is on the same link.
        redirects = False if wish.via_gateway else None
        use = any(ip.address.version == 6 for ip in plan.ips)
        links.quiet(call.ifname, dad=wish.dad, use=use, redirects=redirects)
        if not wish.shown:
            return link
        messages = [rtnetlink.set_link(index=link.index, up=True, redirects=redirects)]
        for ip in plan.ips:
            direct = not wish.via_gateway
            messages.append(rtnetlink.new_address(link.index, ip.address, dad=wish.dad, prefix_route=direct))
            if wish.gateway:
                messages.append(rtnetlink.new_neighbour(link.index, ip.gateway, bridge.mac))
            if not direct:
                messages += links.subnet_by_gateway(link.index, ip)
        messages += [links.route(link.index, route, plan) for route in plan.routes]
        inside.run(messages)
    return link
