"""bridge: a veth pair between the container and a bridge of the host, which can be its gateway.

Options and errors of the reference plugin (containernetworking/plugins, main/bridge). Differences, and why:
a container's MAC address is made from its IPv4 address, and it and its gateway are each other's permanent
neighbours, because the kernel's neighbour table has one limit for all namespaces; DAD, router solicitation
and link-local addresses of ports are off, because each floods the whole bridge.
"""

import errno
import os

from cni import delegate, frame
from netemu.kernel import rtnl
from netemu.wire import cni, rtnetlink


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """Address, link, routes; nothing remains when one of them fails."""
    from cni import plans, wiring  # DEL, called as often, needs neither

    wish = plans.options(call, configuration)
    layer3 = bool((configuration.get("ipam") or {}).get("type"))
    with frame.Netns(call.netns) as netns:
        ipam = delegate.ipam(call, configuration, "ADD") if layer3 else cni.Result()
        try:
            if layer3 and not (ipam and ipam.ips):
                raise cni.Failure(cni.INVALID_CONFIGURATION, "IPAM plugin returned missing IP config")
            assert ipam is not None
            plan = plans.with_gateways(ipam, wish)
            if configuration.get("dns"):
                plan = plan._replace(dns=cni.dns(configuration["dns"]))
            if wish.masquerade:
                from cni import masquerade

                masquerade.add(call, plan.ips)
            return wiring.connect(call, netns, wish, plan)
        except BaseException:
            _give_back(call, configuration)
            raise


def _give_back(call: cni.Call, configuration: "cni.Document") -> None:
    """Addresses, and the rules made for them."""
    if configuration.get("ipMasq"):
        from cni import masquerade

        masquerade.delete(call)
    if (configuration.get("ipam") or {}).get("type"):
        delegate.ipam(call, configuration, "DEL")


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
                gone = [rtnetlink.del_neighbour(bridge.index, rtnl.bare(ip)) for ip in held]
                host.run(gone, ignore=(errno.ENOENT,))
    _give_back(call, configuration)


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


ABOUT = "CNI bridge plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": forward, "STATUS": forward}
